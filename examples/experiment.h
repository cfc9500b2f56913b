/* SPDX-License-Identifier: MIT */
/* What the experiments in C have in common: each checks what it claims, and ends with a plain line where it is not so. */
#ifndef EXPERIMENT_H
#define EXPERIMENT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "vmarena.h"

/* Ends the program with the sentence unless it is so. */
static inline void must_be(bool so, const char *sentence) {
    if (so) return;
    fflush(stdout);
    fprintf(stderr, "not as expected: %s\n", sentence);
    exit(1);
}

/* The same for a count that must be exact. */
static inline void must_count(long found, long expected, const char *what) {
    if (found == expected) return;
    fflush(stdout);
    fprintf(stderr, "not as expected: %ld %s instead of %ld\n", found, what, expected);
    exit(1);
}

/* Ends the program with the library's own sentence where a call of it failed. */
static inline void must_work(bool worked, const char *call) {
    if (worked) return;
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", call, vmarena_explain());
    exit(1);
}

/* Whether to show more than what all languages show. */
static inline bool wants_more(int argc, char **argv) {
    if (argc == 1) return false;
    if (argc == 2 && strcmp(argv[1], "--full") == 0) return true;
    fprintf(stderr, "usage: %s [--full]\n", argv[0]);
    exit(2);
}

/* An arena of the given size on small pages, so that each page counts by itself. */
static inline struct vmarena *small_page_arena(size_t bytes, const char *name) {
    struct vmarena_options options = {.reserve = bytes, .huge = VMARENA_HUGE_NEVER, .name = name};
    struct vmarena *arena = NULL;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    return arena;
}

static inline char *must_alloc(struct vmarena *arena, size_t size, size_t align) {
    char *object = vmarena_alloc(arena, size, align);
    must_work(object != NULL, "vmarena_alloc");
    return object;
}

/* Whether the fault was for this access, as far as the CPU tells at all. */
static inline bool access_is(const struct vmarena_fault *fault, enum vmarena_access access) {
    struct vmarena_caps caps;
    must_work(vmarena_caps(&caps) == 0, "vmarena_caps");
    return caps.fault_access ? fault->access == access : fault->access == VMARENA_ACCESS_UNKNOWN;
}

/* Page faults of this process that needed no disk, so far. */
static inline long minor_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

#endif
