/* SPDX-License-Identifier: MIT */
/*
 * malloc is built on mappings: small objects are cut from one that grows, a large one is a mapping of its own, and goes
 * back when it is freed. Counted in the process's memory map. How glibc does it; others do otherwise, and it is told.
 */
#include <string.h>

#include "../experiment.h"

#define SMALL 24
#define COUNT 100000
#define LARGE ((size_t)8 << 20)

/* The mappings that can be written to: how many, their bytes, and the heap's among them. */
struct seen {
    int count;
    uint64_t bytes, heap;
    uintptr_t wanted; /* an address, and whether [heap] holds it */
    bool in_heap;
};

static int add_mapping(const struct vmarena_mapping *mapping, void *arg) {
    struct seen *seen = arg;
    bool heap = strcmp(mapping->name, "[heap]") == 0;
    if ((mapping->prot & VMARENA_WRITE) == 0) return 0;
    seen->count++;
    seen->bytes += mapping->end - mapping->start;
    if (heap) seen->heap += mapping->end - mapping->start;
    if (seen->wanted >= mapping->start && seen->wanted < mapping->end) seen->in_heap = heap;
    return 0;
}

static struct seen look(const void *wanted) {
    struct seen seen = {.wanted = (uintptr_t)wanted};
    must_work(vmarena_maps(0, add_mapping, &seen) == 0, "vmarena_maps");
    return seen;
}

static void *must_malloc(size_t size) {
    void *object = malloc(size);
    must_be(object != NULL, "malloc works");
    memset(object, 1, size);
    return object;
}

static void show_small(void **objects) {
    struct seen before = look(NULL);
    for (size_t i = 0; i < COUNT; i++) objects[i] = must_malloc(SMALL);
    struct seen after = look(objects[COUNT - 1]);
    uint64_t grown = after.heap - before.heap;
    bool told = after.in_heap && after.count == before.count;
    if (told)
        printf("%d objects of %d bytes: [heap] grew by %d KiB, and no mapping came\n", COUNT, SMALL,
               (int)(grown / 1024));
    else printf("%d objects of %d bytes: not in [heap] with this C library\n", COUNT, SMALL);
    size_t apart = (size_t)((char *)objects[COUNT - 1] - (char *)objects[COUNT - 2]);
    if (after.in_heap) must_be(grown >= (uint64_t)COUNT * SMALL, "it grew by as much as they are, at least");
    if (after.in_heap) printf("they lie %zu bytes apart: a write past one hits the next, and nothing faults\n", apart);
    else printf("how far apart they lie is that library's business\n");
    for (size_t i = 0; i < COUNT; i++) free(objects[i]);
}

static void show_large(void) {
    struct seen before = look(NULL);
    void *object = must_malloc(LARGE);
    struct seen after = look(object);
    free(object);
    struct seen freed = look(NULL);
    if (!after.in_heap && after.bytes - before.bytes >= LARGE && freed.bytes == before.bytes)
        printf("an object of %zu MiB: %zu MiB more are mapped, outside of [heap], and gone when it is freed\n",
               LARGE >> 20, (size_t)(after.bytes - before.bytes) >> 20);
    else printf("an object of %zu MiB: no mapping that comes and goes with it, with this C library\n", LARGE >> 20);
}

/* This library's heap gives each object pages of its own, between guards: a fault at the first wrong byte, at its price. */
static void show_guarded(void) {
    struct vmarena_heap *heap;
    struct vmarena_fault fault;
    size_t page = vmarena_page_size();
    must_work(vmarena_heap_create(&heap, NULL) == 0, "vmarena_heap_create");
    char *first = vmarena_heap_alloc(heap, SMALL, 1), *second = vmarena_heap_alloc(heap, SMALL, 1), byte;
    must_work(first != NULL && second != NULL, "vmarena_heap_alloc");
    must_be((uintptr_t)first / page != (uintptr_t)second / page, "no two share a page");
    must_be(vmarena_read(first + SMALL, &byte, 1, &fault) == 1 && fault.distance == 1, "the byte after it faults");
    printf("in a guarded heap no two share a page, and the byte after an object faults\n");
    must_work(vmarena_heap_free(heap, first) == 0, "vmarena_heap_free");
    must_be(vmarena_read(first, &byte, 1, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE,
            "a freed object faults");
    printf("and so does an object that was freed\n");
    vmarena_heap_destroy(heap);
}

int main(void) {
    struct vmarena *arena =
        small_page_arena(COUNT * sizeof(void *), "pointers"); /* not from the heap that is watched */
    setvbuf(stdout, NULL, _IONBF, 0);
    free(must_malloc(SMALL)); /* [heap] is there from the first object on */
    show_small((void **)(void *)must_alloc(arena, COUNT * sizeof(void *), sizeof(void *)));
    show_large();
    show_guarded();
    return 0;
}
