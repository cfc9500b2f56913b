/* SPDX-License-Identifier: MIT */
/* The address space of a heap: size classes, spans cut into slots, and the slot of an address. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

/* ---- size classes ------------------------------------------------------------------------------------------------------ */

/* The most pages of an object in the main reservation: 64 MiB of pages of 4 KiB. */
#define MOST_PAGES ((size_t)16384)

static void add_class(struct vmarena_heap *heap, size_t pages) {
    struct vmarena_class class = {.pages = pages + heap->guard_pages, .slots = 1};
    if (class.pages <= VMARENA_CHUNK_PAGES) {
        class.chunks = 1;
        class.slots = VMARENA_CHUNK_PAGES / class.pages;
        class.pages = VMARENA_CHUNK_PAGES / class.slots; /* what is left over is shared out */
    } else {
        class.chunks = (class.pages + VMARENA_CHUNK_PAGES - 1) / VMARENA_CHUNK_PAGES;
        class.pages = class.chunks * VMARENA_CHUNK_PAGES;
    }
    if (heap->class_count > 0 && heap->classes[heap->class_count - 1].pages >= class.pages) return;
    heap->classes[heap->class_count++] = class;
}

/* Objects of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... pages: four steps from one power of two to the next. */
void vmarena_slots_plan(struct vmarena_heap *heap) {
    heap->class_count = 0;
    for (size_t step = 1, pages = 1; pages <= MOST_PAGES; pages += step) {
        if (pages == 8 * step) step *= 2;
        add_class(heap, pages);
    }
    for (size_t need = 0, class = 0; need <= VMARENA_CHUNK_PAGES; need++) {
        while (heap->classes[class].pages < need) class ++;
        heap->class_of[need] = (unsigned char)class;
    }
    heap->records_per_chunk = heap->classes[0].slots;
}

/* The pages that a slot must have. An alignment wider than a page may cost that many before the object. */
static size_t pages_needed(const struct vmarena_heap *heap, const struct vmarena_request *request) {
    size_t wide = request->align > heap->page ? request->align - heap->page : 0, bytes;
    if (__builtin_add_overflow(request->pages, wide, &bytes)) return SIZE_MAX;
    return bytes / heap->page + heap->guard_pages;
}

unsigned vmarena_class_for(const struct vmarena_heap *heap, const struct vmarena_request *request) {
    size_t need = pages_needed(heap, request);
    unsigned class = heap->class_of[need < VMARENA_CHUNK_PAGES ? need : VMARENA_CHUNK_PAGES];
    while (class < heap->class_count && heap->classes[class].pages < need) class ++;
    return class;
}

/* ---- chunks and records --------------------------------------------------------------------------------------------------- */

/* A chunk's word: its class + 1 in the lowest byte, above it how many chunks of its span lie before it. 0: not cut. */
static _Atomic uint32_t *chunk_word(const struct vmarena_heap *heap, size_t chunk) {
    return (_Atomic uint32_t *)(void *)heap->chunks.base + chunk;
}

struct vmarena_slot *vmarena_slot_of(const struct vmarena_heap *heap, size_t chunk, size_t index) {
    return (struct vmarena_slot *)(void *)heap->records.base + (chunk * heap->records_per_chunk + index);
}

static void place_of(const struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t *chunk, size_t *index) {
    size_t number = (size_t)(slot - (const struct vmarena_slot *)(const void *)heap->records.base);
    *chunk = number / heap->records_per_chunk;
    *index = number % heap->records_per_chunk;
}

uintptr_t vmarena_slot_base(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    size_t chunk, index;
    place_of(heap, slot, &chunk, &index);
    return (uintptr_t)heap->region.base + chunk * heap->chunk + index * vmarena_slot_bytes(heap, slot);
}

/* The class of the span that a chunk is part of, and the span's first chunk in *chunk; NULL: not cut. */
static const struct vmarena_class *span_at(const struct vmarena_heap *heap, size_t *chunk) {
    if (*chunk >= atomic_load_explicit(&heap->cut, memory_order_acquire)) return NULL;
    uint32_t word = atomic_load_explicit(chunk_word(heap, *chunk), memory_order_acquire);
    if (word == 0) return NULL;
    *chunk -= word >> 8;
    return &heap->classes[(word & 255) - 1];
}

struct vmarena_slot *vmarena_slot_at(const struct vmarena_heap *heap, uintptr_t address) {
    size_t offset = address - (uintptr_t)heap->region.base, chunk = offset / heap->chunk;
    const struct vmarena_class *class = span_at(heap, &chunk);
    if (class == NULL) return NULL;
    size_t index = (offset - chunk * heap->chunk) / heap->page / class->pages;
    return vmarena_slot_of(heap, chunk, index < class->slots ? index : class->slots - 1);
}

struct vmarena_slot *vmarena_slot_beside(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                                         int direction) {
    size_t chunk, index;
    place_of(heap, slot, &chunk, &index);
    const struct vmarena_class *class = &heap->classes[slot->class];
    if (direction > 0 && index + 1 < class->slots) return vmarena_slot_of(heap, chunk, index + 1);
    if (direction < 0 && index > 0) return vmarena_slot_of(heap, chunk, index - 1);
    if (direction < 0 && chunk == 0) return NULL;
    chunk = direction > 0 ? chunk + class->chunks : chunk - 1;
    class = span_at(heap, &chunk);
    if (class == NULL) return NULL;
    return vmarena_slot_of(heap, chunk, direction > 0 ? 0 : class->slots - 1);
}

bool vmarena_slots_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg) {
    size_t chunk = 0;
    for (const struct vmarena_class *class; (class = span_at(heap, &chunk)) != NULL; chunk += class->chunks)
        for (size_t i = 0; i < class->slots; i++)
            if (!visit(heap, vmarena_slot_of(heap, chunk, i), arg)) return false;
    return true;
}

/* ---- opening and closing --------------------------------------------------------------------------------------------------------------------- */

static int open_tables(struct vmarena_heap *heap) {
    size_t chunks = heap->region.size / heap->chunk;
    int error = vmarena_table_open(&heap->chunks, chunks * sizeof(uint32_t));
    if (error != 0) return error;
    error = vmarena_table_open(&heap->records, chunks * heap->records_per_chunk * sizeof(struct vmarena_slot));
    if (error != 0) vmarena_table_close(&heap->chunks);
    return error;
}

int vmarena_slots_open(struct vmarena_heap *heap, size_t reserve) {
    struct vmarena_region_plan plan = {.size = reserve,
                                       .align = heap->chunk,
                                       .guard = heap->guard_pages * heap->page,
                                       .policy = VMARENA_COMMIT_PROTECT};
    int error = vmarena_region_reserve(&heap->region, &plan);
    if (error != 0) return error;
    error = open_tables(heap);
    if (error == 0) return 0;
    vmarena_region_release(&heap->region);
    return vmarena_fail_call(error, "mmap", reserve);
}

void vmarena_slots_close(struct vmarena_heap *heap) {
    vmarena_region_release(&heap->region);
    vmarena_table_close(&heap->chunks);
    vmarena_table_close(&heap->records);
}

/* ---- cutting spans ---------------------------------------------------------------------------------------------------- */

/* Makes chunks from first on usable, with their records. */
static int commit(struct vmarena_heap *heap, size_t first, size_t count) {
    size_t end = first + count;
    int error = vmarena_table_reach(&heap->chunks, end * sizeof(uint32_t));
    if (error == 0)
        error = vmarena_table_reach(&heap->records, end * heap->records_per_chunk * sizeof(struct vmarena_slot));
    return error == 0 ? vmarena_guards_cover(&heap->guards, end * heap->chunk) : error;
}

/* Makes a span of chunks from first on, which a signal handler may look at at once. */
static void publish(struct vmarena_heap *heap, unsigned class, size_t first) {
    const struct vmarena_class *span = &heap->classes[class];
    for (size_t i = 0; i < span->slots; i++) vmarena_slot_of(heap, first, i)->class = (unsigned char)class;
    for (size_t i = 0; i < span->chunks; i++)
        atomic_store_explicit(chunk_word(heap, first + i), (uint32_t)(i << 8 | (class + 1)), memory_order_release);
    atomic_store_explicit(&heap->cut, first + span->chunks, memory_order_release);
}

int vmarena_slots_cut(struct vmarena_heap *heap, unsigned class, size_t *chunk) {
    size_t count = heap->classes[class].chunks;
    vmarena_heap_lock(&heap->grow);
    size_t first = vmarena_load_relaxed(heap->cut);
    int error = first + count > heap->region.size / heap->chunk ? -ENOSPC : commit(heap, first, count);
    if (error == 0) publish(heap, class, first);
    *chunk = first;
    vmarena_heap_unlock(&heap->grow);
    return error;
}
