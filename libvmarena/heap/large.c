/* SPDX-License-Identifier: MIT */
/* Objects too large for a slot: a mapping each, with guards at its edges that cost no page tables. */
#include "prim/prim.h"

#include <errno.h>

#include "base/pool.h"
#include "heap/heap.h"
#include "region/registry.h"

struct large {
    struct vmarena_slot slot; /* first */
    struct vmarena_region region;
};

/* Never unmapped: a handler, or a free of a stale pointer, may look at a record that was given back. */
static struct vmarena_pool pool = VMARENA_POOL(struct large);

static struct large *large_of(const struct vmarena_slot *slot) { return (struct large *)(uintptr_t)slot; }

static struct large *of_region(struct vmarena_region *region) {
    return (struct large *)(void *)((char *)region - offsetof(struct large, region));
}

static void init_region(struct vmarena_heap *heap, struct vmarena_region *region) {
    region->owner = heap;
    region->kind = VMARENA_OWNER_HEAP;
    region->attribute = heap->region.attribute;
    region->history = heap->region.history;
    region->parent = &heap->region;
    for (size_t i = 0; i < sizeof region->name; i++) region->name[i] = heap->region.name[i];
}

static struct large *map(struct vmarena_heap *heap, const struct vmarena_request *request, int *error) {
    struct vmarena_region_plan plan = {.size = request->pages,
                                       .align = request->align > heap->page ? request->align : heap->page,
                                       .guard = heap->guard_pages * heap->page,
                                       .policy = VMARENA_COMMIT_NORESERVE};
    struct large *large = vmarena_pool_take(&pool);
    *error = -ENOMEM;
    if (large == NULL) return NULL;
    large->slot.class = VMARENA_CLASS_LARGE;
    init_region(heap, &large->region);
    (void)vmarena_state_take(heap, &large->slot);
    *error = vmarena_region_reserve(&large->region, &plan);
    if (*error == 0) return large;
    vmarena_state_cancel(&large->slot);
    vmarena_pool_give(&pool, large);
    return NULL;
}

struct vmarena_slot *vmarena_large_map(struct vmarena_heap *heap, const struct vmarena_request *request, int *error) {
    vmarena_heap_enter(); /* the registry and the pool have locks */
    struct large *large = map(heap, request, error);
    vmarena_heap_leave();
    if (large == NULL) return NULL;
    vmarena_store_relaxed(large->slot.start, (uintptr_t)large->region.base + request->offset);
    return &large->slot;
}

void vmarena_large_unmap(struct vmarena_slot *slot) {
    struct large *large = large_of(slot);
    vmarena_heap_enter();
    vmarena_region_release(&large->region);
    vmarena_pool_give(&pool, large);
    vmarena_heap_leave();
}

/*
 * Once it is unmapped, somebody else may get the address. Whoever is about to change its pages holds the slot, which
 * eviction waits for, or is in vmarena_large_expose(), which it does not: that one may be a signal handler of this thread.
 * Both sides first say what they do and then look at the other, in one order for all threads.
 */
bool vmarena_large_evict(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    if (!vmarena_state_evict(heap, slot)) return false;
    if (atomic_load(&heap->exposing) != 0) {
        vmarena_state_unevict(slot);
        return false;
    }
    vmarena_large_unmap(slot);
    return true;
}

/* ---- pages ------------------------------------------------------------------------------------------------------------- */

/* One call drops the memory and its page tables, and merges the range with the guards. */
int vmarena_large_close(struct vmarena_slot *slot) {
    const struct vmarena_region *region = &large_of(slot)->region;
    return vmarena_prim_map_reserved(region->outer, region->outer_size);
}

int vmarena_large_close_guards(struct vmarena_slot *slot) {
    const struct vmarena_region *region = &large_of(slot)->region;
    size_t lead = (size_t)(region->base - region->outer);
    int error = vmarena_prim_map_reserved(region->outer, lead);
    if (error != 0) return error;
    return vmarena_prim_map_reserved(region->base + region->size, region->outer_size - lead - region->size);
}

static int expose(struct vmarena_heap *heap, uintptr_t page) {
    struct vmarena_slot *slot = vmarena_large_at(heap, page);
    if (slot == NULL || !vmarena_slot_has_object(slot) || !vmarena_large_belongs(heap, slot) ||
        !vmarena_region_spans(&large_of(slot)->region, page))
        return -EINVAL;
    /* Noted after it is opened, too: somebody who closes the pages may have removed the note in between. */
    (void)atomic_fetch_or_explicit(&slot->flags, VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    int error = vmarena_prim_protect((void *)page, heap->page, VMARENA_READ | VMARENA_WRITE);
    (void)atomic_fetch_or_explicit(&slot->flags, VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    return error;
}

int vmarena_large_expose(struct vmarena_heap *heap, uintptr_t page) {
    (void)atomic_fetch_add(&heap->exposing, 1);
    int error = expose(heap, page);
    (void)atomic_fetch_sub(&heap->exposing, 1);
    return error;
}

/* ---- finding ----------------------------------------------------------------------------------------------------------- */

struct vmarena_slot *vmarena_large_at(const struct vmarena_heap *heap, uintptr_t address) {
    struct vmarena_region *region = vmarena_registry_find(address);
    if (region == NULL || region->owner != heap || region == &heap->region) return NULL;
    return &of_region(region)->slot;
}

bool vmarena_large_belongs(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return large_of(slot)->region.owner == heap;
}

bool vmarena_large_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg) {
    struct vmarena_region *region;
    for (uintptr_t at = 0; (region = vmarena_registry_next(at, 1)) != NULL;) {
        uintptr_t end = (uintptr_t)region->outer + region->outer_size;
        if (end <= at) break; /* it was removed while we looked */
        at = end - 1;
        if (region->owner != heap || region == &heap->region) continue;
        struct vmarena_slot *slot = &of_region(region)->slot;
        if (vmarena_state_of(slot) != VMARENA_SLOT_EMPTY && !visit(heap, slot, arg)) return false;
    }
    return true;
}
