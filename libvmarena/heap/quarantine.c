/* SPDX-License-Identifier: MIT */
/*
 * Freed objects, kept from reuse as long as the heap's caps allow. A shard queues what its threads freed, and all shards
 * count together. Whoever takes the heap over a cap gives up the oldest in its own shard or, where that has none, in
 * another. A slot that is given up goes to the shard's free list (free_slots.c), a large object is unmapped (large.c).
 */
#include "prim/prim.h"

#include "heap/heap.h"

static void append(struct vmarena_slot_list *list, struct vmarena_slot *slot) {
    slot->next = NULL;
    if (list->first == NULL) list->first = slot;
    else list->last->next = slot;
    list->last = slot;
    list->count++;
}

/* xorshift64 (Marsaglia 2003), one per thread. */
uint64_t vmarena_random(void) {
    static _Thread_local uint64_t state;
    if (state == 0) state = (uint64_t)(uintptr_t)&state * UINT64_C(0x9E3779B97F4A7C15) | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * UINT64_C(0x2545F4914F6CDD1D); /* xorshift64*: its low bits are good, too */
}

/* With random reuse a freed object joins any of the queues, and the oldest of any is given up. */
static unsigned choose_queue(const struct vmarena_heap *heap) {
    return heap->options.reuse == VMARENA_HEAP_RANDOM ? (unsigned)(vmarena_random() >> 32) % VMARENA_QUEUES : 0;
}

static struct vmarena_slot *take_oldest(struct vmarena_shard *shard, unsigned from) {
    if (shard->queued == 0) return NULL;
    while (shard->queue[from].first == NULL) from = (from + 1) % VMARENA_QUEUES;
    struct vmarena_slot *slot = shard->queue[from].first;
    shard->queue[from].first = slot->next;
    shard->queue[from].count--;
    shard->queued--;
    return slot;
}

/* ---- the caps ------------------------------------------------------------------------------------------------------------ */

static bool is_over_caps(const struct vmarena_heap *heap) {
    return vmarena_load_relaxed(heap->quarantined) > heap->options.quarantine_count ||
           vmarena_load_relaxed(heap->quarantined_bytes) > heap->options.quarantine_bytes;
}

/* A freed object counts with the pages it had. One of no bytes counts by number only. */
static void count_in(struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    vmarena_add_relaxed(heap->quarantined, 1);
    vmarena_add_relaxed(heap->quarantined_bytes, vmarena_slot_page_bytes(heap, slot));
}

static void count_out(struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    (void)atomic_fetch_sub_explicit(&heap->quarantined, 1, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&heap->quarantined_bytes, vmarena_slot_page_bytes(heap, slot),
                                    memory_order_relaxed);
}

/* ---- taking in ------------------------------------------------------------------------------------------------------------ */

/* With the shard's lock. */
static void enqueue(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot *slot) {
    append(&shard->queue[choose_queue(heap)], slot);
    shard->queued++;
}

/* For a signal handler that must not wait for a lock. */
static void defer(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    slot->next = vmarena_load_relaxed(heap->deferred);
    while (!atomic_compare_exchange_weak_explicit(&heap->deferred, &slot->next, slot, memory_order_release,
                                                  memory_order_relaxed)) {}
}

/* With the shard's lock. */
static void enqueue_deferred(struct vmarena_heap *heap, struct vmarena_shard *shard) {
    if (vmarena_load_relaxed(heap->deferred) == NULL) return;
    struct vmarena_slot *slot = atomic_exchange_explicit(&heap->deferred, NULL, memory_order_acquire);
    while (slot != NULL) {
        struct vmarena_slot *next = slot->next;
        enqueue(heap, shard, slot);
        slot = next;
    }
}

/* ---- giving up ------------------------------------------------------------------------------------------------------------ */

/* With the shard's lock. Large objects are put on *large, to be unmapped without it. */
static bool give_up_oldest(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot **large) {
    struct vmarena_slot *slot = take_oldest(shard, choose_queue(heap));
    if (slot == NULL) return false;
    count_out(heap, slot);
    if (vmarena_slot_is_large(slot)) {
        slot->next = *large;
        *large = slot;
    } else {
        vmarena_free_slots_give_locked(heap, shard, slot);
    }
    return true;
}

static void keep(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    count_in(heap, slot);
    vmarena_heap_lock(&shard->lock);
    enqueue(heap, shard, slot);
    vmarena_heap_unlock(&shard->lock);
}

static void evict_all(struct vmarena_heap *heap, struct vmarena_slot *large) {
    while (large != NULL) {
        struct vmarena_slot *next = large->next;
        if (!vmarena_large_evict(heap, large)) keep(heap, large);
        large = next;
    }
}

/* The own shard has none left. */
static void give_up_elsewhere(struct vmarena_heap *heap, struct vmarena_slot **large) {
    for (unsigned i = 0; i < VMARENA_SHARDS && is_over_caps(heap); i++) {
        struct vmarena_shard *shard = &heap->shards[i];
        vmarena_heap_lock(&shard->lock);
        while (is_over_caps(heap) && give_up_oldest(heap, shard, large)) {}
        vmarena_heap_unlock(&shard->lock);
    }
}

#define EARLY 64

bool vmarena_quarantine_shorten(struct vmarena_heap *heap) {
    size_t own = (size_t)(vmarena_shard_of(heap) - heap->shards), count = 0;
    struct vmarena_slot *large = NULL;
    for (unsigned i = 0; i < VMARENA_SHARDS && count < EARLY; i++) {
        struct vmarena_shard *shard = &heap->shards[(own + i) % VMARENA_SHARDS];
        vmarena_heap_lock(&shard->lock);
        enqueue_deferred(heap, shard);
        while (count < EARLY && give_up_oldest(heap, shard, &large)) count++;
        vmarena_heap_unlock(&shard->lock);
    }
    evict_all(heap, large);
    vmarena_add_relaxed(heap->shortened, count);
    return count != 0;
}

void vmarena_quarantine_add(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    struct vmarena_slot *large = NULL;
    bool more = true;
    count_in(heap, slot);
    if (VMARENA_UNLIKELY(vmarena_heap_interrupted())) {
        defer(heap, slot);
        return;
    }
    vmarena_heap_lock(&shard->lock);
    enqueue_deferred(heap, shard);
    enqueue(heap, shard, slot);
    while (more && is_over_caps(heap)) more = give_up_oldest(heap, shard, &large);
    vmarena_heap_unlock(&shard->lock);
    if (!more) give_up_elsewhere(heap, &large);
    evict_all(heap, large);
}
