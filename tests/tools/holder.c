/* SPDX-License-Identifier: MIT */
/* holder KIND...: maps memory of these kinds, prints "ready" (or "skip: REASON"), and waits until its input ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <vmarena.h>

static size_t page;

static void fail(const char *what) {
    fprintf(stderr, "holder: %s: %s\n", what, vmarena_explain());
    exit(1);
}

static void skip(const char *why) {
    printf("skip: %s\n", why);
    exit(0);
}

static struct vmarena *make(struct vmarena_options options) {
    struct vmarena *arena;
    if (vmarena_create(&arena, &options) != 0) fail(options.name);
    return arena;
}

static char *take(struct vmarena *arena, size_t size) {
    char *object = vmarena_alloc(arena, size, 1);
    if (object == NULL) fail("object");
    return object;
}

static char *map(size_t size) {
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) fail("mmap");
    (void)madvise(pages, size, MADV_NOHUGEPAGE);
    return pages;
}

static void hold_arena(void) {
    struct vmarena_options options = {.name = "<tokens> & \"more\""}; /* characters that markup must escape */
    memset(take(make(options), 1000000), 1, 1000000);
}

static void hold_fenced(void) {
    struct vmarena_options options = {.name = "fenced", .fence = VMARENA_FENCE_END, .reserve = (size_t)1 << 24};
    struct vmarena *arena = make(options);
    for (int i = 0; i < 100; i++) take(arena, 5000)[0] = 1;
}

/* Too many pages for a cell each. */
static void hold_many_fenced(void) {
    struct vmarena_options options = {.name = "many", .fence = VMARENA_FENCE_END};
    struct vmarena *arena = make(options);
    for (int i = 0; i < 30000; i++) take(arena, 1)[0] = 1;
}

static void hold_heap(void) {
    struct vmarena_heap *heap;
    if (vmarena_heap_create(&heap, &(struct vmarena_heap_options){.name = "cells"}) != 0) fail("heap");
    for (int i = 0; i < 7; i++)
        if (vmarena_heap_alloc(heap, 100, 1) == NULL) fail("object");
}

static void hold_view(void) {
    struct vmarena_view *view;
    if (vmarena_view_open(&view, "/proc/self/exe", VMARENA_VIEW_READ) != 0) fail("view");
    if (vmarena_view_populate(view, 0, 0) != 0) fail("populate");
}

/* 30,000 mappings, of which no two neighbours are equal. */
static void hold_many(void) {
    char *pages = map(30000 * page);
    for (size_t i = 0; i < 30000; i++) {
        if (i % 3 == 0) pages[i * page] = 1;
        if (i % 2 == 1 && mprotect(pages + i * page, page, i % 4 == 1 ? PROT_READ : PROT_NONE) != 0) fail("mprotect");
    }
}

/* The same with two alternating names. */
static void hold_names(void) {
    char *pages = map(30000 * page);
    int fd = memfd_create("name", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)page) != 0) fail("memfd");
    for (size_t i = 0; i < 30000; i += 2)
        if (mmap(pages + i * page, page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) fail("mmap");
}

static void hold_tebibyte(void) {
    struct vmarena_options options = {.name = "tebibyte", .reserve = (size_t)1 << 40};
    struct vmarena *arena = make(options);
    for (int i = 0; i < 100; i++) *take(arena, 1 << 20) = 1;
}

/* A page in every 100 MiB of a tebibyte. */
static void hold_scattered(void) {
    char *pages = map((size_t)1 << 40);
    for (size_t at = 0; at < (size_t)1 << 40; at += (size_t)100 << 20) pages[at] = 1;
}

static void hold_huge(void) {
    struct vmarena_stats stats;
    struct vmarena_options options = {.name = "huge", .huge = VMARENA_HUGE_COLLAPSE, .reserve = (size_t)64 << 20};
    struct vmarena *arena = make(options);
    memset(take(arena, 16 << 20), 1, 16 << 20);
    vmarena_stats(arena, &stats);
    if (stats.huge == 0) skip("the system gives no huge pages");
}

/* Pages that are written and then shared with a child, and zero pages. */
static void hold_shared(void) {
    char *pages = map(20 * page);
    volatile char byte = 0;
    memset(pages, 1, 10 * page);
    for (size_t i = 10; i < 20; i++) byte = pages[i * page];
    (void)byte;
    int ready[2];
    char done;
    if (pipe(ready) != 0) fail("pipe");
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, 9);
        if (write(ready[1], "", 1) == 1) pause();
        _exit(1);
    }
    if (read(ready[0], &done, 1) != 1) fail("read");
}

static void hold_name(void) {
    int fd = memfd_create("\033[31mred\n\xff", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 1) != 0) fail("memfd");
    if (mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED) fail("mmap");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*hold)(void);
    } kinds[] = {{"arena", hold_arena},   {"fenced", hold_fenced},       {"many-fenced", hold_many_fenced},
                 {"view", hold_view},     {"heap", hold_heap},           {"many", hold_many},
                 {"names", hold_names},   {"tebibyte", hold_tebibyte},   {"huge", hold_huge},
                 {"shared", hold_shared}, {"scattered", hold_scattered}, {"name", hold_name}};
    page = vmarena_page_size();
    prctl(PR_SET_PDEATHSIG, 9);
    for (int i = 1; i < argc; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (strcmp(argv[i], kinds[k].name) == 0) kinds[k].hold();
    if (puts("ready") < 0 || fflush(stdout) != 0) return 1;
    (void)getchar();
    return 0;
}
