/* SPDX-License-Identifier: MIT */
/*
 * A write barrier without a line of it in the program: a collector of young objects must know which old ones point to
 * them, and looks only at old pages that were written since. The first write to a page tells by a fault; others cost
 * nothing.
 */
#include "../experiment.h"

#define OBJECTS 100000
#define PAGES_MOST 4096

struct object {
    struct object *refers; /* to a young one, or NULL */
    uint64_t value;
};

struct heap {
    struct vmarena *arena;
    struct object *old;
    volatile size_t written[PAGES_MOST]; /* numbers of pages; volatile: they change in the handler, at any write */
    volatile int count;
};

static size_t page;

/* In the signal handler: the page is noted, and open until the next collection. */
static bool note(const struct vmarena_fault *fault, void *arg) {
    struct heap *heap = arg;
    size_t number = (size_t)((char *)fault->address - (char *)heap->old) / page;
    if (fault->kind != VMARENA_FAULT_PROTECTED || heap->count == PAGES_MOST) return false;
    heap->written[heap->count++] = number;
    return vmarena_protect_range(heap->arena, (char *)heap->old + number * page, page, VMARENA_READ | VMARENA_WRITE) ==
           0;
}

static void close_all(struct heap *heap) {
    heap->count = 0;
    must_work(vmarena_protect(heap->arena, VMARENA_READ) == 0, "vmarena_protect");
}

/* References to young objects on the pages that were written; nowhere else can there be one. */
static size_t collect(struct heap *heap, size_t *looked_at) {
    size_t found = 0, each = page / sizeof(struct object);
    *looked_at = 0;
    for (int i = 0; i < heap->count; i++)
        for (size_t j = heap->written[i] * each; j < (heap->written[i] + 1) * each && j < OBJECTS; j++, ++*looked_at)
            found += heap->old[j].refers != NULL;
    close_all(heap);
    return found;
}

static size_t count_all(const struct heap *heap) {
    size_t found = 0;
    for (size_t i = 0; i < OBJECTS; i++) found += heap->old[i].refers != NULL;
    return found;
}

int main(void) {
    static struct heap heap;
    static struct object young;
    size_t looked_at;
    page = vmarena_page_size();
    heap.arena = small_page_arena(vmarena_page_round_up(OBJECTS * sizeof *heap.old), "old");
    heap.old = (struct object *)(void *)must_alloc(heap.arena, vmarena_page_round_up(OBJECTS * sizeof *heap.old), page);
    must_work(vmarena_on_fault(heap.arena, note, &heap) == 0, "vmarena_on_fault");
    close_all(&heap);
    printf("%d old objects, none written to: %d pages noted\n", OBJECTS, heap.count);

    for (size_t i = 0; i < 50; i++) heap.old[i * 1999].refers = &young;
    must_be((size_t)heap.count <= 50, "a page is noted once");
    int noted = heap.count;
    for (size_t round = 0; round < 1000; round++)
        for (size_t i = 0; i < 50; i++) heap.old[i * 1999].value++;
    must_count(heap.count, noted, "pages noted, once and for all");
    printf("50 of them made to refer to a young one, and written to 1000 times more: %d pages noted\n", heap.count);

    size_t found = collect(&heap, &looked_at);
    must_be(found == count_all(&heap), "no reference was missed");
    must_be(looked_at < OBJECTS, "not all objects were looked at");
    printf("a collection looked at these pages only, and found all %zu references\n", found);
    found = collect(&heap, &looked_at);
    must_count((long)looked_at, 0, "objects looked at though nothing was written");
    printf("another, with nothing written since: it looked at %zu objects\n", looked_at);
    vmarena_destroy(heap.arena);
    return 0;
}
