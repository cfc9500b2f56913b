/* SPDX-License-Identifier: MIT */
/* Statistics, stored stacks, and visiting objects. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

static void add_shards(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    uint64_t in = 0, gone = 0;
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) {
        const struct vmarena_shard *shard = &heap->shards[i];
        out->allocs += vmarena_load_relaxed(shard->allocs);
        out->frees += vmarena_load_relaxed(shard->frees);
        out->unsampled += vmarena_load_relaxed(shard->unsampled);
        in += vmarena_load_relaxed(shard->bytes_in);
        gone += vmarena_load_relaxed(shard->bytes_out);
    }
    out->live_bytes = (size_t)(in - gone);
}

static void add_counts(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    out->live = vmarena_load_relaxed(heap->live);
    out->live_peak = vmarena_load_relaxed(heap->live_peak);
    out->page_bytes = vmarena_load_relaxed(heap->page_bytes);
    out->page_peak = vmarena_load_relaxed(heap->page_peak);
    out->quarantined = vmarena_load_relaxed(heap->quarantined);
    out->quarantined_bytes = vmarena_load_relaxed(heap->quarantined_bytes);
    out->shortened = vmarena_load_relaxed(heap->shortened);
    out->unfenced = vmarena_load_relaxed(heap->unfenced);
    out->unguarded = vmarena_load_relaxed(heap->unguarded);
    out->failed = vmarena_load_relaxed(heap->failed);
    out->errors = vmarena_load_relaxed(heap->errors);
    out->checks = vmarena_load_relaxed(heap->check_count);
}

static void add_memory(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    out->reserved = heap->region.size;
    out->committed = vmarena_load_relaxed(heap->cut) * heap->chunk;
    out->record_bytes =
        vmarena_load_relaxed(heap->records.committed) + vmarena_load_relaxed(heap->chunks.committed) + sizeof *heap;
    out->stacks = vmarena_load_relaxed(heap->stacks.count);
    out->stack_bytes = vmarena_load_relaxed(heap->stacks.used) + vmarena_load_relaxed(heap->stacks.buckets.committed);
}

void vmarena_heap_stats(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    *out = (struct vmarena_heap_stats){.live = 0};
    if (!vmarena_heap_is_alive(heap)) return;
    add_shards(heap, out);
    add_counts(heap, out);
    add_memory(heap, out);
    out->guard = heap->guard_pages * heap->page;
    out->guard_kind = heap->guards.kind;
    out->guard_limit = heap->guard_limit;
    out->map_entry_limit = heap->map_entry_limit;
    out->unlocked = vmarena_load_relaxed(heap->guards.unlocked);
    out->forked = vmarena_load_relaxed(heap->forked);
}

size_t vmarena_heap_stack(const struct vmarena_heap *heap, uint32_t stack, void **frames, size_t count) {
    return vmarena_heap_is_alive(heap) ? vmarena_stacks_frames(&heap->stacks, stack, frames, count) : 0;
}

struct visit {
    vmarena_heap_visit_fn *function;
    void *arg;
    bool freed;
};

static bool visit_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    const struct visit *visit = arg;
    struct vmarena_heap_object object;
    if (!vmarena_slot_describe(heap, slot, &object)) return true;
    if (object.state == VMARENA_HEAP_FREED && !visit->freed) return true;
    return visit->function(&object, visit->arg);
}

int vmarena_heap_for_each(struct vmarena_heap *heap, bool freed, vmarena_heap_visit_fn *function, void *arg) {
    int error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_heap_for_each: no function");
    struct visit visit = {function, arg, freed};
    vmarena_lookup_visit(heap, visit_slot, &visit);
    return 0;
}
