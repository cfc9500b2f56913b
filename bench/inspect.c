/* SPDX-License-Identifier: MIT */
/* Looking at large processes: one mapping of 30,000 by its address, and pictures, which must not keep anybody waiting. */
#include "bench.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmarena.h>

#define MAPPINGS 30000

static void make_mappings(void) {
    size_t page = vmarena_page_size();
    char *pages =
        mmap(NULL, MAPPINGS * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_must(pages != MAP_FAILED, "mmap");
    for (size_t i = 0; i < MAPPINGS; i++) {
        if (i % 3 == 0) pages[i * page] = 1;
        if (i % 2 == 1) bench_must(mprotect(pages + i * page, page, PROT_READ) == 0, "mprotect");
    }
}

static void reserve_a_tebibyte(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.name = "tebibyte", .reserve = (size_t)1 << 40};
    bench_must(vmarena_create(&arena, &options) == 0, vmarena_explain());
    for (int i = 0; i < 1000; i++) *(char *)vmarena_alloc(arena, 1 << 20, 1) = 1;
}

/* ---- one mapping -------------------------------------------------------------------------------------------------------- */

static double by_address(void *arg, size_t count) {
    struct vmarena_mapping mapping;
    double start = bench_now();
    for (size_t i = 0; i < count; i++)
        bench_must(vmarena_mapping_at(0, (uintptr_t)arg, &mapping, NULL, 0) == 0, vmarena_explain());
    return bench_now() - start;
}

static int is_it(const struct vmarena_mapping *mapping, void *arg) { return mapping->end > (uintptr_t)arg; }

static double by_list(void *arg, size_t count) {
    double start = bench_now();
    for (size_t i = 0; i < count; i++) bench_must(vmarena_maps(0, is_it, arg) == 1, vmarena_explain());
    return bench_now() - start;
}

/* ---- pictures ----------------------------------------------------------------------------------------------------------- */

static pid_t start(void (*make)(void)) {
    int ready[2];
    char byte;
    bench_must(pipe(ready) == 0, "pipe");
    pid_t child = fork();
    bench_must(child >= 0, "fork");
    if (child == 0) {
        make();
        if (write(ready[1], "", 1) == 1) pause();
        _exit(1);
    }
    close(ready[1]);
    bench_must(read(ready[0], &byte, 1) == 1, "the process to look at");
    close(ready[0]);
    return child;
}

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void draw(const char *name, void (*make)(void)) {
    char command[1024], label[96];
    double times[BENCH_LEAST];
    pid_t child = start(make);
    for (int html = 0; html < 2; html++) {
        char file[] = "/tmp/vmarena-bench-XXXXXX.html";
        int fd = mkstemps(file, 5);
        bench_must(fd >= 0, "mkstemps");
        (void)snprintf(command, sizeof command, "'%s' picture %d -o %s", VMARENA_COMMAND, (int)child,
                       html ? file : "- >/dev/null");
        for (size_t i = 0; i < BENCH_LEAST; i++) {
            double began = seconds();
            bench_must(system(command) == 0, command);
            times[i] = seconds() - began;
        }
        close(fd);
        unlink(file);
        (void)snprintf(label, sizeof label, "picture as %s: %s", html ? "HTML" : "SVG", name);
        bench_figure(label, (double)(long)(bench_median(times, BENCH_LEAST) * 1e3 + 1), "ms", 3000);
    }
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv);
    if (*VMARENA_COMMAND != '\0') {
        draw("30,000 mappings", make_mappings);
        draw("1 TiB reserved", reserve_a_tebibyte);
    }
    make_mappings();
    char *stack = (char *)&argc; /* the last mapping but one */
    bench_compare("vmarena_mapping_at, 30,000 mappings", by_address, stack, "vmarena_maps", by_list, stack, 0);
    return bench_end();
}
