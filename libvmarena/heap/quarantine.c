/* SPDX-License-Identifier: MIT */
/*
 * Freed objects, kept from reuse while the heap's caps allow. A shard queues what its threads freed and counts with all
 * others; who takes the heap over a cap gives up what is oldest in its own shard, or, where that has none, in another.
 */
#include "heap/heap.h"
#include "prim/prim.h"

static void append(struct vmarena_slot_list *list, struct vmarena_slot *slot) {
    slot->next = NULL;
    if (list->first == NULL) list->first = slot;
    else list->last->next = slot;
    list->last = slot;
    list->count++;
}

/* xorshift64 (Marsaglia 2003), a thread's own. */
uint32_t vmarena_heap_chance(void) {
    static _Thread_local uint64_t state;
    if (state == 0) state = (uint64_t)(uintptr_t)&state * UINT64_C(0x9E3779B97F4A7C15) | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static unsigned any_queue(void) { return vmarena_heap_chance() % VMARENA_QUEUES; }

/* With random reuse a freed object joins any of the queues, and the oldest of any is given up. */
static struct vmarena_slot *take_oldest(struct vmarena_shard *shard, unsigned from) {
    if (shard->queued == 0) return NULL;
    while (shard->queue[from].first == NULL) from = (from + 1) % VMARENA_QUEUES;
    struct vmarena_slot *slot = shard->queue[from].first;
    shard->queue[from].first = slot->next;
    shard->queue[from].count--;
    shard->queued--;
    return slot;
}

static bool over_caps(const struct vmarena_heap *heap) {
    return vmarena_load_relaxed(heap->quarantined) > heap->options.quarantine_count ||
           vmarena_load_relaxed(heap->quarantined_bytes) > heap->options.quarantine_bytes;
}

/* What a freed object counts: its pages. One of no bytes counts by number only. */
static size_t weight(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return vmarena_slot_page_bytes(heap, slot);
}

/* Under the shard's lock; mappings to be given back after it are put on *large. */
static bool give_up_one(struct vmarena_heap *heap, struct vmarena_shard *shard, unsigned queue,
                        struct vmarena_slot **large) {
    struct vmarena_slot *slot = take_oldest(shard, queue);
    if (slot == NULL) return false;
    (void)atomic_fetch_sub_explicit(&heap->quarantined, 1, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&heap->quarantined_bytes, weight(heap, slot), memory_order_relaxed);
    if (vmarena_slot_is_large(slot)) {
        slot->next = *large;
        *large = slot;
    } else {
        vmarena_slot_give_locked(heap, shard, slot);
    }
    return true;
}

static void give_mappings(struct vmarena_slot *large) {
    while (large != NULL) {
        struct vmarena_slot *next = large->next;
        vmarena_large_give(large);
        large = next;
    }
}

/* The own shard has none left: one that another shard queued. */
static void give_up_elsewhere(struct vmarena_heap *heap, struct vmarena_slot **large) {
    for (unsigned i = 0; i < VMARENA_SHARDS && over_caps(heap); i++) {
        struct vmarena_shard *shard = &heap->shards[i];
        (void)pthread_mutex_lock(&shard->lock);
        while (over_caps(heap) && give_up_one(heap, shard, any_queue(), large)) {}
        (void)pthread_mutex_unlock(&shard->lock);
    }
}

#define EARLY 64

bool vmarena_quarantine_shorten(struct vmarena_heap *heap) {
    struct vmarena_shard *own = vmarena_shard_of(heap);
    struct vmarena_slot *large = NULL;
    size_t count = 0;
    for (unsigned i = 0; i < VMARENA_SHARDS && count < EARLY; i++) {
        struct vmarena_shard *shard = &heap->shards[((size_t)(own - heap->shards) + i) % VMARENA_SHARDS];
        (void)pthread_mutex_lock(&shard->lock);
        while (count < EARLY && give_up_one(heap, shard, 0, &large)) count++;
        (void)pthread_mutex_unlock(&shard->lock);
    }
    give_mappings(large);
    vmarena_add_relaxed(heap->shortened, count);
    return count != 0;
}

void vmarena_quarantine(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    bool random = heap->options.reuse == VMARENA_HEAP_RANDOM, more = true;
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    struct vmarena_slot *large = NULL;
    vmarena_add_relaxed(heap->quarantined, 1);
    vmarena_add_relaxed(heap->quarantined_bytes, weight(heap, slot));
    (void)pthread_mutex_lock(&shard->lock);
    append(&shard->queue[random ? any_queue() : 0], slot);
    shard->queued++;
    while (over_caps(heap) && more) more = give_up_one(heap, shard, random ? any_queue() : 0, &large);
    (void)pthread_mutex_unlock(&shard->lock);
    if (!more) give_up_elsewhere(heap, &large);
    give_mappings(large);
}
