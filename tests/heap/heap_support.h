/* SPDX-License-Identifier: MIT */
/* What the tests of heaps share. Include after support.h. */
#ifndef VMARENA_TESTS_HEAP_SUPPORT_H
#define VMARENA_TESTS_HEAP_SUPPORT_H

#include "prim/prim.h"

#define REPORTS 64
static struct {
    struct vmarena_heap_report all[REPORTS];
    size_t count;
} reports;

static inline void keep_report(const struct vmarena_heap_report *report, void *arg) {
    (void)arg;
    if (reports.count < REPORTS) reports.all[reports.count] = *report;
    reports.count++;
}

static inline struct vmarena_heap *make_heap(struct vmarena_heap_options options) {
    struct vmarena_heap *heap = NULL;
    if (options.report == NULL) options.report = keep_report;
    reports.count = 0;
    assert_int_equal(vmarena_fault_reassert(), 0); /* cmocka sets its own handlers before each test */
    int error = vmarena_heap_create(&heap, &options);
    if (error != 0) fail_msg("vmarena_heap_create: %d, %s", error, vmarena_explain());
    assert_non_null(heap);
    return heap;
}
#define new_heap(...) make_heap((struct vmarena_heap_options){__VA_ARGS__})

static inline char *new_object(struct vmarena_heap *heap, size_t size, size_t align) {
    char *object = vmarena_heap_alloc(heap, size, align);
    if (object == NULL) fail_msg("vmarena_heap_alloc: %s", vmarena_explain());
    return object;
}

static inline struct vmarena_heap_stats stats_of(const struct vmarena_heap *heap) {
    struct vmarena_heap_stats stats;
    vmarena_heap_stats(heap, &stats);
    return stats;
}

/* What an access to the heap's closed pages raises. */
static inline int signal_at(const struct vmarena_heap *heap, const void *address) {
    return guard_signal(address, stats_of(heap).guard_kind);
}

/* The fault that an access to address must end in. */
static inline struct vmarena_fault fault_at(void *address, enum vmarena_access access) {
    struct vmarena_fault fault = {.signo = 0};
    int result = vmarena_try(access == VMARENA_ACCESS_READ ? peek_body : poke_body, address, &fault);
    if (result != 1) fail_msg("access to %p: vmarena_try gave %d", address, result);
    return fault;
}

#define assert_last_words(words)                                                                                       \
    do {                                                                                                               \
        if (strstr(vmarena_explain(), (words)) == NULL) fail_msg("\"%s\" is not in: %s", (words), vmarena_explain());  \
    } while (0)

/* Whether the guard back end can be had here. */
static inline bool has_markers(void) {
    struct vmarena_caps caps;
    return vmarena_caps(&caps) == 0 && caps.guard_markers;
}

/* Whether the process's memory is what the library makes it: sanitizers and Valgrind keep tables of their own. */
static inline bool memory_is_plain(void) {
    if (!UNDER_SANITIZER && !vmarena_prim_annotating()) return true;
    print_message("the process's memory is not held to its limits under a sanitizer or Valgrind\n");
    return false;
}

/* A line of /proc/self/status, in KiB. */
static inline size_t status_kib(const char *key) {
    char line[256];
    size_t value = 0;
    FILE *status = fopen("/proc/self/status", "re");
    assert_non_null(status);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) value = strtoul(line + strlen(key), NULL, 10);
    fclose(status);
    return value;
}

#endif
