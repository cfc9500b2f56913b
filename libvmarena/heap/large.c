/* SPDX-License-Identifier: MIT */
/* Objects too large for a slot: a mapping each, with guards at its edges that cost no page tables. */
#include <errno.h>

#include "heap/heap.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "region/registry.h"

struct large {
    struct vmarena_slot slot; /* first */
    struct vmarena_region region;
};

/* Never unmapped: a handler, or a free of a stale pointer, may look at one that was given back. */
static struct vmarena_pool pool = VMARENA_POOL(struct large);

static struct large *large_of(struct vmarena_slot *slot) { return (struct large *)(void *)slot; }

static struct large *take_record(struct vmarena_heap *heap) {
    struct large *large = vmarena_pool_take(&pool);
    if (large == NULL) return NULL;
    large->slot.class = VMARENA_CLASS_LARGE;
    large->region.owner = heap;
    large->region.kind = VMARENA_OWNER_HEAP;
    large->region.attribute = vmarena_heap_attribute;
    large->region.history = vmarena_heap_history;
    large->region.parent = &heap->region;
    for (size_t i = 0; i < sizeof large->region.name; i++) large->region.name[i] = heap->region.name[i];
    return large;
}

static void give_record(struct large *large) { vmarena_pool_give(&pool, large); }

/* Errors are explained by the region. */
struct vmarena_slot *vmarena_large_take(struct vmarena_heap *heap, const struct vmarena_request *request, int *error) {
    struct large *large = take_record(heap);
    *error = -ENOMEM;
    if (large == NULL) return NULL;
    struct vmarena_region_plan plan = {.size = request->pages,
                                       .align = request->align > heap->page ? request->align : heap->page,
                                       .guard = heap->guard_pages * heap->page,
                                       .policy = VMARENA_COMMIT_NORESERVE};
    *error = vmarena_region_reserve(&large->region, &plan);
    if (*error != 0) {
        give_record(large);
        return NULL;
    }
    vmarena_store_relaxed(large->slot.start, (uintptr_t)large->region.base + request->offset);
    return &large->slot;
}

void vmarena_large_give(struct vmarena_slot *slot) {
    struct large *large = large_of(slot);
    vmarena_region_release(&large->region);
    vmarena_store_relaxed(slot->state, VMARENA_SLOT_EMPTY);
    give_record(large);
}

/* One call drops the memory and the page tables, too; the guards it merges with. */
int vmarena_large_close(struct vmarena_slot *slot) {
    const struct vmarena_region *region = &large_of(slot)->region;
    (void)atomic_fetch_and_explicit(&slot->flags, (unsigned char)~VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    return vmarena_prim_map_reserved(region->outer, region->outer_size);
}

int vmarena_large_expose(struct vmarena_slot *slot, uintptr_t page, size_t size) {
    (void)atomic_fetch_or_explicit(&slot->flags, VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    return vmarena_prim_protect((void *)page, size, VMARENA_READ | VMARENA_WRITE);
}

int vmarena_large_rearm(struct vmarena_slot *slot) {
    const struct vmarena_region *region = &large_of(slot)->region;
    size_t lead = (size_t)(region->base - region->outer);
    (void)atomic_fetch_and_explicit(&slot->flags, (unsigned char)~VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    int error = vmarena_prim_map_reserved(region->outer, lead);
    if (error != 0) return error;
    return vmarena_prim_map_reserved(region->base + region->size, region->outer_size - lead - region->size);
}

struct vmarena_slot *vmarena_large_at(const struct vmarena_heap *heap, uintptr_t address) {
    struct vmarena_region *region = vmarena_registry_find(address);
    if (region == NULL || region->owner != heap || region == &heap->region) return NULL;
    return &((struct large *)(void *)((char *)region - offsetof(struct large, region)))->slot;
}

bool vmarena_large_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg) {
    struct vmarena_region *region;
    for (uintptr_t at = 0; (region = vmarena_registry_next(at, 1)) != NULL;) {
        uintptr_t end = (uintptr_t)region->outer + region->outer_size;
        if (end <= at) break; /* taken away while we looked */
        at = end - 1;
        if (region->owner != heap || region == &heap->region) continue;
        struct vmarena_slot *slot = &((struct large *)(void *)((char *)region - offsetof(struct large, region)))->slot;
        if (vmarena_load_relaxed(slot->state) != VMARENA_SLOT_EMPTY && !visit(heap, slot, arg)) return false;
    }
    return true;
}
