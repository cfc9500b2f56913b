/* SPDX-License-Identifier: MIT */
/*
 * Programs that test_hostile runs under guard: they write to the report channel, or have names that a terminal, a browser or
 * a parser would interpret.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/record.h"

static __attribute__((noinline)) void *pass(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

/* ---- the channel, found by its magic number ---- */

static struct vmarena_channel *find_channel(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    struct vmarena_channel *found = NULL;
    while (found == NULL && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start;
        if (strstr(line, "vmarena-guard") != NULL && strstr(line, " rw-s ") != NULL &&
            sscanf(line, "%lx-", &start) == 1)
            found = (void *)start;
    }
    fclose(maps);
    return found;
}

static void publish(struct vmarena_channel *channel, uint32_t index) {
    channel->report[index].ready = 1;
    channel->reports = index + 1;
    channel->events++;
}

static const char *argument;

static void set_kind(struct vmarena_report *r) { r->kind = VMARENA_REPORT_KINDS; }
static void set_access(struct vmarena_report *r) { r->access = 4; }
static void set_call(struct vmarena_report *r) { r->call = 6; }
static void set_program(struct vmarena_report *r) { memset(r->program, 'x', sizeof r->program); }
static void set_call_name(struct vmarena_report *r) { memset(r->call_name, 'x', sizeof r->call_name); }
static void set_where(struct vmarena_report *r) { memset(r->where, 'x', sizeof r->where); }
static void set_object(struct vmarena_report *r) { r->has_object = 2; }
static void set_modules(struct vmarena_report *r) { r->modules = UINT64_MAX; }
static void set_module_name(struct vmarena_report *r) {
    r->modules = 1;
    memset(r->module[0], '/', sizeof r->module[0]);
}
static void set_module_option(struct vmarena_report *r) {
    r->modules = 1;
    strcpy(r->module[0], "--help");
}
static void set_access_stack(struct vmarena_report *r) { r->access_stack.count = 65; }
static void set_alloc_stack(struct vmarena_report *r) { r->alloc_stack.count = UINT64_MAX; }
static void set_frame_module(struct vmarena_report *r) {
    r->free_stack.count = 1;
    r->free_stack.frames[0].module = 1;
}
static void set_window(struct vmarena_report *r) { r->window_length = 97; }
/* Valid, but each byte of its names takes six in JSON: more than any buffer. */
static void set_long(struct vmarena_report *r) {
    struct vmarena_report_stack *stacks[] = {&r->access_stack, &r->alloc_stack, &r->free_stack};
    r->has_object = r->freed = 1;
    r->modules = 1;
    memset(r->module[0], 1, sizeof r->module[0] - 1);
    r->module[0][0] = '/';
    for (size_t s = 0; s < 3; s++) {
        stacks[s]->count = VMARENA_REPORT_FRAMES;
        for (size_t i = 0; i < VMARENA_REPORT_FRAMES; i++) stacks[s]->frames[i].module = 1;
    }
}
/* A FIFO, or another file. */
static void set_fifo(struct vmarena_report *r) {
    r->access_stack.count = 1;
    r->access_stack.frames[0].module = 1;
    r->modules = 1;
    (void)snprintf(r->module[0], sizeof r->module[0], "%s", argument);
}

static const struct {
    const char *name;
    void (*set)(struct vmarena_report *);
} fields[] = {{"kind", set_kind},
              {"access", set_access},
              {"call", set_call},
              {"program", set_program},
              {"call_name", set_call_name},
              {"where", set_where},
              {"object", set_object},
              {"modules", set_modules},
              {"module name", set_module_name},
              {"module option", set_module_option},
              {"access_stack", set_access_stack},
              {"alloc_stack", set_alloc_stack},
              {"free_stack", set_frame_module},
              {"window_length", set_window},
              {"long", set_long},
              {"fifo", set_fifo}};

static int scribble(const char *name) {
    struct vmarena_channel *channel = find_channel();
    if (channel == NULL) return 9;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].name, name) != 0) continue;
        fields[i].set(&channel->report[0]);
        publish(channel, 0);
        return 3;
    }
    return 8;
}

static int scribble_at_random(const char *seed) {
    struct vmarena_channel *channel = find_channel();
    unsigned long long state = strtoull(seed, NULL, 10) + 1;
    if (channel == NULL) return 9;
    for (uint32_t index = 0; index < 60; index++) {
        unsigned char *bytes = (unsigned char *)&channel->report[index];
        for (size_t i = 0; i < sizeof channel->report[0]; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (unsigned char)(state >> 56);
        }
        publish(channel, index);
    }
    return 3;
}

/* A process that outlives the program keeps restoring the word that the command waits on. */
static int freeze_events(const char *unused) {
    struct vmarena_channel *channel = find_channel();
    (void)unused;
    if (channel == NULL) return 9;
    if (fork() != 0) {
        usleep(200000); /* so that it is at it */
        return 3;
    }
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    uint32_t events = channel->events;
    for (unsigned long turns = 0; channel->closed == 0 && turns < 400000000; turns++) channel->events = events;
    _exit(0);
}

/* ---- names ---- */

#define EVIL "\033[31m\342\200\256\"<b>&'\302\233"

static int bad_mapping(const char *unused) {
    char path[] = "/tmp/" EVIL "XXXXXX";
    int fd = mkstemp(path);
    (void)unused;
    if (fd < 0 || unlink(path) != 0 || ftruncate(fd, 4096) != 0) return 9;
    char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    free(pass(mapped + 64));
    return 3;
}

static int one_error(const char *unused) {
    char *object = pass(malloc(16));
    (void)unused;
#line 1 "e\033[31mvil\342\200\256.c"
    *(volatile char *)(object + 16) = 1;
#line 170 "hostile.c"
    free(object);
    return 3;
}

/* Prints whether the kernel distrusts the environment. */
static int secure(const char *unused) {
    (void)unused;
    free(pass(malloc(10)));
    printf("AT_SECURE %lu\n", getauxval(AT_SECURE));
    return 3;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        int (*run)(const char *);
    } programs[] = {{"scribble", scribble},       {"random", scribble_at_random}, {"freeze", freeze_events},
                    {"bad_mapping", bad_mapping}, {"one_error", one_error},       {"secure", secure}};
    argument = count > 3 ? arguments[3] : "";
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && count > 1; i++)
        if (strcmp(arguments[1], programs[i].name) == 0) return programs[i].run(count > 2 ? arguments[2] : "");
    return 1;
}
