/* SPDX-License-Identifier: MIT */
/* The free lists: each shard has one per class, and exchanges slots by the batch with a list that all share. */
#include "prim/prim.h"

#include <errno.h>

#include "heap/heap.h"

static void push(struct vmarena_slot_list *list, struct vmarena_slot *slot) {
    slot->next = list->first;
    list->first = slot;
    list->count++;
}

static struct vmarena_slot *pop(struct vmarena_slot_list *list) {
    struct vmarena_slot *slot = list->first;
    if (slot == NULL) return NULL;
    list->first = slot->next;
    list->count--;
    return slot;
}

static void move(struct vmarena_slot_list *from, struct vmarena_slot_list *to, size_t count) {
    for (struct vmarena_slot *slot; count > 0 && (slot = pop(from)) != NULL; count--) push(to, slot);
}

/* Slots that a shard fetches or hands back at a time: few where they are wide. */
static size_t batch_of(const struct vmarena_class *class) { return class->slots >= 128 ? 32 : class->slots / 4 + 1; }

static pthread_mutex_t *central_lock(struct vmarena_heap *heap, unsigned class) {
    return &heap->central_locks[class % VMARENA_CENTRAL_LOCKS];
}

/* Pushes the next slots of the span that is being cut, backwards, so that the list hands them out by address. */
static void push_fresh(struct vmarena_heap *heap, struct vmarena_central *central, struct vmarena_slot_list *to,
                       size_t batch) {
    size_t count = central->end - central->cut < batch ? central->end - central->cut : batch;
    for (size_t i = count; i > 0; i--) push(to, vmarena_slot_of(heap, central->chunk, central->cut + i - 1));
    central->cut += count;
}

/*
 * The first slot of the reservation stays unused where underruns are to fault: before it lies the edge, which
 * vmarena_heap_expose() does not open.
 */
static size_t first_to_cut(const struct vmarena_heap *heap, unsigned class, size_t chunk) {
    bool at_edge = chunk == 0 && heap->options.side != VMARENA_HEAP_END;
    return at_edge && heap->classes[class].slots > 1 ? 1 : 0;
}

/* Fills a shard's empty list with slots that were in use before, or else with new ones. */
static int fetch(struct vmarena_heap *heap, struct vmarena_slot_list *to, unsigned class) {
    struct vmarena_central *central = &heap->central[class];
    size_t batch = batch_of(&heap->classes[class]);
    int error = 0;
    vmarena_heap_lock(central_lock(heap, class));
    move(&central->free, to, batch);
    if (to->count == 0 && central->cut == central->end) {
        error = vmarena_slots_cut(heap, class, &central->chunk);
        if (error == 0) {
            central->cut = first_to_cut(heap, class, central->chunk);
            central->end = heap->classes[class].slots;
        }
    }
    if (to->count == 0 && error == 0) push_fresh(heap, central, to, batch);
    vmarena_heap_unlock(central_lock(heap, class));
    return error;
}

/* Where one thread frees what another allocates, slots must get back from the one shard to the other. */
static void hand_back(struct vmarena_heap *heap, struct vmarena_slot_list *from, unsigned class, size_t count) {
    vmarena_heap_lock(central_lock(heap, class));
    move(from, &heap->central[class].free, count);
    vmarena_heap_unlock(central_lock(heap, class));
}

struct vmarena_shard *vmarena_shard_of(struct vmarena_heap *heap) {
    static _Atomic unsigned threads;
    static _Thread_local unsigned mine; /* + 1 */
    if (mine == 0) mine = vmarena_add_relaxed(threads, 1) % VMARENA_SHARDS + 1;
    return &heap->shards[mine - 1];
}

/* After a refusal, where the fallback serves, not every request is to try the system again. */
#define PAUSE 1024

static bool is_pausing(struct vmarena_heap *heap) {
    size_t left = vmarena_load_relaxed(heap->pause);
    if (left == 0) return false;
    vmarena_store_relaxed(heap->pause, left - 1);
    return true;
}

void vmarena_free_slots_pause(struct vmarena_heap *heap) {
    if (heap->options.full == VMARENA_HEAP_UNGUARDED) vmarena_store_relaxed(heap->pause, PAUSE);
}

static struct vmarena_slot *pop_or_fetch(struct vmarena_heap *heap, unsigned class, int *error) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    struct vmarena_slot_list *list = &shard->free[class];
    vmarena_heap_lock(&shard->lock);
    *error = list->count != 0 ? 0 : is_pausing(heap) ? VMARENA_PAUSING : fetch(heap, list, class);
    struct vmarena_slot *slot = pop(list);
    vmarena_heap_unlock(&shard->lock);
    return slot;
}

struct vmarena_slot *vmarena_free_slots_take(struct vmarena_heap *heap, const struct vmarena_request *request,
                                             int *error) {
    struct vmarena_slot *slot = pop_or_fetch(heap, vmarena_class_for(heap, request), error);
    if (slot == NULL) return NULL;
    if (!vmarena_state_take(heap, slot)) {
        vmarena_free_slots_give(heap, slot);
        *error = -EDEADLK;
        return NULL;
    }
    uintptr_t base = vmarena_slot_base(heap, slot);
    vmarena_store_relaxed(slot->start, vmarena_align_up(base, request->align) + request->offset);
    return slot;
}

void vmarena_free_slots_give_locked(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot *slot) {
    struct vmarena_slot_list *list = &shard->free[slot->class];
    size_t batch = batch_of(&heap->classes[slot->class]);
    push(list, slot);
    if (list->count >= 2 * batch) hand_back(heap, list, slot->class, batch);
}

void vmarena_free_slots_give(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_heap_lock(&shard->lock);
    vmarena_free_slots_give_locked(heap, shard, slot);
    vmarena_heap_unlock(&shard->lock);
}

bool vmarena_free_slots_collect(struct vmarena_heap *heap, const struct vmarena_request *request) {
    unsigned class = vmarena_class_for(heap, request);
    bool found = false;
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) {
        struct vmarena_shard *shard = &heap->shards[i];
        vmarena_heap_lock(&shard->lock);
        if (shard->free[class].count != 0) {
            hand_back(heap, &shard->free[class], class, SIZE_MAX);
            found = true;
        }
        vmarena_heap_unlock(&shard->lock);
    }
    return found;
}
