/* SPDX-License-Identifier: MIT */
/*
 * The guarded heap: one object of 24 bytes allocated, touched and freed, with others live behind it, each with its two
 * stacks of 16 frames; held against what the kernel alone takes for the same page, and against those that put objects
 * on pages of their own as well. What replaces malloc (the preloaded library of `vmarena guard`, Electric Fence, DUMA) is
 * measured in a child process, by the same loop, in turn.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "vmarena.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#define SIZE 24
#define DEPTH 16

/* ---- the kernel's floor: remove a marker, touch the page, install the marker ------------------------------------------ */

#define FLOOR_PAGES 4096

static double floor_pairs(void *arg, size_t count) {
    static size_t next;
    size_t page = vmarena_page_size();
    char *start = arg;
    double begin = bench_now();
    for (size_t i = 0; i < count; i++, next++) {
        char *slot = start + next % FLOOR_PAGES * 2 * page;
        bench_must(madvise(slot, page, MADV_GUARD_REMOVE) == 0, "MADV_GUARD_REMOVE");
        *(char *)bench_keep(slot) = 1;
        bench_must(madvise(slot, page, MADV_GUARD_INSTALL) == 0, "MADV_GUARD_INSTALL");
    }
    return bench_now() - begin;
}

static void *floor_pages(void) {
    size_t size = FLOOR_PAGES * 2 * vmarena_page_size();
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_must(pages != MAP_FAILED && madvise(pages, size, MADV_GUARD_INSTALL) == 0, "reserving pages for the floor");
    return pages;
}

/* ---- pairs ----------------------------------------------------------------------------------------------------------------- */

struct pairs {
    void *(*alloc)(struct pairs *, size_t);
    void (*free)(struct pairs *, void *);
    struct vmarena_heap *heap;
    void **live;
    size_t count;
    unsigned random;
};

/* A stack of DEPTH frames below the loop. */
__attribute__((noinline)) static double at_depth(unsigned depth, double (*run)(struct pairs *, size_t),
                                                 struct pairs *pairs, size_t count) {
    double took = depth == 0 ? run(pairs, count) : at_depth(depth - 1, run, pairs, count);
    __asm__ volatile("" : : : "memory"); /* no tail call */
    return took;
}

/* Objects come and go, those behind them stay. */
static double run_pairs(struct pairs *pairs, size_t count) {
    double begin = bench_now();
    for (size_t i = 0; i < count; i++) {
        char *object = pairs->alloc(pairs, SIZE);
        *(char *)bench_keep(object) = 1;
        pairs->free(pairs, object);
    }
    return bench_now() - begin;
}

/* Any of the live objects goes, and another comes. */
static double run_churn(struct pairs *pairs, size_t count) {
    double begin = bench_now();
    for (size_t i = 0; i < count; i++) {
        pairs->random = pairs->random * 1664525u + 1013904223u;
        void **object = &pairs->live[(uint64_t)pairs->random * pairs->count >> 32];
        pairs->free(pairs, *object);
        *object = pairs->alloc(pairs, SIZE);
        *(char *)bench_keep(*object) = 1;
    }
    return bench_now() - begin;
}

static double pairs_at_depth(void *arg, size_t count) { return at_depth(DEPTH, run_pairs, arg, count); }
static double churn_at_depth(void *arg, size_t count) { return at_depth(DEPTH, run_churn, arg, count); }

static void fill(struct pairs *pairs, size_t count) {
    /* Not from malloc, which may be Electric Fence. */
    void *live = mmap(NULL, (count + 1) * sizeof(void *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_must(live != MAP_FAILED, "mmap");
    pairs->live = live;
    pairs->count = count;
    for (size_t i = 0; i < count; i++) {
        char *object = pairs->alloc(pairs, SIZE);
        bench_must(object != NULL, "filling with live objects");
        *object = 1;
        pairs->live[i] = object;
    }
}

static void drain(struct pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++) pairs->free(pairs, pairs->live[i]);
    (void)munmap(pairs->live, (pairs->count + 1) * sizeof(void *));
}

/* ---- ours -------------------------------------------------------------------------------------------------------------------- */

static void *heap_alloc(struct pairs *pairs, size_t size) { return vmarena_heap_alloc(pairs->heap, size, 0); }
static void heap_free(struct pairs *pairs, void *object) { (void)vmarena_heap_free(pairs->heap, object); }

static struct pairs heap_pairs(size_t live) {
    struct pairs pairs = {.alloc = heap_alloc, .free = heap_free};
    struct vmarena_heap_options options = {.stack_depth = DEPTH};
    bench_must(vmarena_heap_create(&pairs.heap, &options) == 0, "vmarena_heap_create");
    fill(&pairs, live);
    return pairs;
}

static void heap_end(struct pairs *pairs) {
    vmarena_heap_destroy(pairs->heap);
    (void)munmap(pairs->live, (pairs->count + 1) * sizeof(void *));
}

static double leave_one(struct pairs *pairs, size_t count) {
    pairs->live[0] = pairs->alloc(pairs, SIZE);
    return (double)count;
}

static void show_depth(struct pairs *pairs) {
    struct vmarena_heap_object object;
    void *frames[DEPTH], *first = pairs->live[0];
    (void)at_depth(DEPTH, leave_one, pairs, 1);
    bench_must(vmarena_heap_find(pairs->heap, pairs->live[0], &object) == 0, "vmarena_heap_find");
    size_t count = vmarena_heap_stack(pairs->heap, object.alloc_stack, frames, DEPTH);
    pairs->free(pairs, pairs->live[0]);
    pairs->live[0] = first;
    bench_figure("frames kept of a stack", (double)count, "", 0);
}

/* ---- peers ---------------------------------------------------------------------------------------------------------------------- */

static void *plain_alloc(struct pairs *pairs, size_t size) {
    (void)pairs;
    return malloc(size);
}
static void plain_free(struct pairs *pairs, void *object) {
    (void)pairs;
    free(object);
}

/* In the child: fills, warms up, runs, writes the nanoseconds of a pair to descriptor 3. */
static int be_peer(size_t live, size_t count) {
    struct pairs pairs = {.alloc = plain_alloc, .free = plain_free};
    fill(&pairs, live);
    (void)pairs_at_depth(&pairs, count);
    double took = pairs_at_depth(&pairs, count) / (double)count;
    return write(3, &took, sizeof took) == (ssize_t)sizeof took ? 0 : 1;
}

/* The nanoseconds of a pair under a preloaded malloc; 0: it died. */
static double preloaded(const char *library, size_t live, size_t count) {
    int pipes[2];
    double took = 0;
    char live_text[32], count_text[32];
    (void)snprintf(live_text, sizeof live_text, "%zu", live);
    (void)snprintf(count_text, sizeof count_text, "%zu", count);
    bench_must(pipe(pipes) == 0, "pipe");
    pid_t child = fork();
    bench_must(child >= 0, "fork");
    if (child == 0) {
        (void)dup2(pipes[1], 3);
        FILE *quiet = freopen("/dev/null", "w", stderr);
        (void)quiet;
        (void)setenv("LD_PRELOAD", library, 1);
        (void)execl("/proc/self/exe", "heap", "--peer", live_text, count_text, (char *)NULL);
        _exit(127);
    }
    (void)close(pipes[1]);
    ssize_t got = read(pipes[0], &took, sizeof took);
    (void)close(pipes[0]);
    (void)waitpid(child, NULL, 0);
    return got == (ssize_t)sizeof took ? took : 0;
}

#define PEER_LIVE 20000
#define OUR_PAIRS 70000  /* the first so many fill the quarantine, so that addresses are used again */
#define THEIR_PAIRS 1000 /* Electric Fence and DUMA look at all objects for each */
#define PEER_ROUNDS 3

static double floor_pair(void *pages) { return floor_pairs(pages, OUR_PAIRS) / OUR_PAIRS; }
static double library_pair(void *library) {
    return access(library, R_OK) == 0 ? preloaded(library, PEER_LIVE, THEIR_PAIRS) : 0;
}

static void guard_against(const char *name, double (*theirs)(void *), void *arg, double target) {
    double a[PEER_ROUNDS], b[PEER_ROUNDS], ratios[PEER_ROUNDS];
    for (size_t i = 0; i < PEER_ROUNDS; i++) {
        a[i] = preloaded(VMARENA_PRELOAD, PEER_LIVE, OUR_PAIRS);
        b[i] = theirs(arg);
        bench_must(a[i] > 0, "running under the preloaded malloc");
        if (b[i] <= 0) {
            if (!bench.json) printf("%s is not installed, or died: not compared\n", name);
            return;
        }
        ratios[i] = a[i] / b[i];
    }
    bench_row("malloc and free under guard, 20,000 live", name, bench_median(a, PEER_ROUNDS),
              bench_median(b, PEER_ROUNDS), bench_median(ratios, PEER_ROUNDS), target);
}

static void measure_guard(void *pages) {
    if (pages != NULL) guard_against("the kernel's floor", floor_pair, pages, 1.5);
    guard_against("Electric Fence", library_pair, (char[]){"/usr/lib/libefence.so.0"}, 1.0 / 15);
    guard_against("DUMA", library_pair, (char[]){"/usr/lib/libduma.so.0"}, 1.0 / 15);
}

static struct {
    void *(*alloc)(size_t);
    void (*free)(void *);
} sodium;

static void *sodium_pair_alloc(struct pairs *pairs, size_t size) {
    (void)pairs;
    return sodium.alloc(size);
}
static void sodium_pair_free(struct pairs *pairs, void *object) {
    (void)pairs;
    sodium.free(object);
}

/* It costs four map entries an object, of 65,530 as a rule: 20,000 objects are too many for it. */
#define SODIUM_LIVE 10000

static void against_sodium(void) {
    void *library = dlopen("libsodium.so.23", RTLD_LAZY);
    if (library == NULL) {
        if (!bench.json) printf("libsodium is not installed: not compared\n");
        return;
    }
    int (*init)(void) = (int (*)(void))dlsym(library, "sodium_init");
    sodium.alloc = (void *(*)(size_t))dlsym(library, "sodium_malloc");
    sodium.free = (void (*)(void *))dlsym(library, "sodium_free");
    bench_must(init != NULL && sodium.alloc != NULL && sodium.free != NULL && init() >= 0, "sodium_init");
    struct pairs ours = heap_pairs(SODIUM_LIVE);
    struct pairs theirs = {.alloc = sodium_pair_alloc, .free = sodium_pair_free};
    fill(&theirs, SODIUM_LIVE);
    bench_compare("pair, 10,000 live", pairs_at_depth, &ours, "sodium_malloc, sodium_free", pairs_at_depth, &theirs,
                  0.25);
    drain(&theirs);
    heap_end(&ours);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------ */

static double status_kib(const char *key) {
    char line[256];
    double value = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL) return 0;
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) value = strtod(line + strlen(key) + 1, NULL);
    (void)fclose(status);
    return value;
}

static double map_entries(void) {
    double lines = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL) return 0;
    for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
    (void)fclose(maps);
    return lines;
}

static void measure_memory(void) {
    double memory = status_kib("VmRSS:") + status_kib("VmPTE:"), entries = map_entries();
    struct pairs pairs = heap_pairs(1000000);
    memory = status_kib("VmRSS:") + status_kib("VmPTE:") - memory - 8e6 / 1024; /* our own array */
    bench_figure("pages of memory an object, records and page tables in it",
                 memory * 1024 / 1e6 / (double)vmarena_page_size(), "pages", 1.15);
    bench_figure("map entries more with 1,000,000 live", map_entries() - entries, "", 64);
    struct pairs few = heap_pairs(1000);
    bench_compare("pair, 1,000,000 live", pairs_at_depth, &pairs, "1,000 live", pairs_at_depth, &few, 1.3);
    bench_compare("any one of 1,000,000 replaced", churn_at_depth, &pairs, "of 1,000", churn_at_depth, &few, 1.3);
    heap_end(&few);
    (void)pairs_at_depth(&pairs, 200000); /* more than the quarantine holds */
    double tables = status_kib("VmPTE:");
    (void)pairs_at_depth(&pairs, 1000000);
    bench_figure("page tables more after 1,000,000 pairs", status_kib("VmPTE:") - tables, "KiB", 0);
    heap_end(&pairs);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--peer") == 0)
        return be_peer(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    bench_begin(argc, argv);
    struct vmarena_caps caps;
    bench_must(vmarena_caps(&caps) == 0, "vmarena_caps");
    struct pairs pairs = heap_pairs(PEER_LIVE);
    show_depth(&pairs);
    void *pages = caps.guard_markers ? floor_pages() : NULL;
    if (pages != NULL)
        bench_compare("pair, 20,000 live, stacks by frame pointers", pairs_at_depth, &pairs, "the kernel's floor",
                      floor_pairs, pages, 1.5);
    else if (!bench.json) printf("no guard markers here: no floor to compare with\n");
    heap_end(&pairs);
    if (*VMARENA_PRELOAD != '\0') {
        /* Without it the dynamic linker goes on by itself, and glibc's malloc would be measured. */
        bench_must(access(VMARENA_PRELOAD, R_OK) == 0, "finding the preloaded malloc, " VMARENA_PRELOAD);
        measure_guard(pages);
    }
    against_sodium();
    measure_memory();
    return bench_end();
}
