/* SPDX-License-Identifier: MIT */
/* Which requests are guarded, and the allocator that serves the others. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

/* The distance from one guarded request to the next: evenly spread from 1 to twice the mean. */
static uint64_t next_gap(const struct vmarena_heap *heap) {
    return vmarena_random() % (2 * (uint64_t)heap->options.sample - 1) + 1;
}

/* The gap belongs to the shard: each heap keeps its own rate, and threads rarely meet. */
static bool ends_gap(const struct vmarena_heap *heap, struct vmarena_shard *shard) {
    uint64_t gap = vmarena_load_relaxed(shard->gap), left;
    bool ends;
    do {
        left = (gap != 0 ? gap : next_gap(heap)) - 1;
        ends = left == 0;
        if (ends) left = next_gap(heap);
    } while (
        !atomic_compare_exchange_weak_explicit(&shard->gap, &gap, left, memory_order_relaxed, memory_order_relaxed));
    return ends;
}

bool vmarena_is_sampled(struct vmarena_heap *heap, size_t size) {
    const struct vmarena_heap_options *options = &heap->options;
    if (size < options->guard_min || (options->guard_max != 0 && size > options->guard_max)) return false;
    return options->sample <= 1 || ends_gap(heap, vmarena_shard_of(heap));
}

void *vmarena_fallback_alloc(struct vmarena_heap *heap, size_t size, size_t align, bool zero,
                             _Atomic uint64_t *served) {
    const struct vmarena_heap_fallback *fallback = &heap->fallback;
    if (align == 0) align = heap->options.align;
    void *pointer = (zero ? fallback->calloc : fallback->alloc)(size, align, fallback->arg);
    if (pointer != NULL) {
        vmarena_add_relaxed(*served, 1);
        return pointer;
    }
    vmarena_add_relaxed(heap->failed, 1);
    (void)vmarena_fail(-ENOMEM, "heap \"%s\": the fallback failed to allocate %zu bytes", heap->region.name, size);
    return NULL;
}

bool vmarena_fallback_owns(const struct vmarena_heap *heap, const void *pointer) {
    if (!heap->has_fallback || vmarena_heap_owns(heap, pointer)) return false;
    return heap->fallback.owns == NULL || heap->fallback.owns(pointer, heap->fallback.arg);
}

size_t vmarena_heap_usable_size(const struct vmarena_heap *heap, const void *pointer) {
    if (!vmarena_heap_is_alive(heap) || pointer == NULL) return 0;
    if (vmarena_fallback_owns(heap, pointer)) return heap->fallback.usable_size(pointer, heap->fallback.arg);
    const struct vmarena_slot *slot = vmarena_lookup_start(heap, pointer);
    return slot != NULL && vmarena_state_of(slot) != VMARENA_SLOT_FREED ? vmarena_load_relaxed(slot->size) : 0;
}
