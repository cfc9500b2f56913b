/* SPDX-License-Identifier: MIT */
/*
 * Call stacks, each stored once and kept as long as the heap. The store is a hash table that only grows: a bucket is the
 * head of a list, an entry is written before it is linked and never changes afterwards, so that finding one takes no
 * lock and a signal handler can read it. Two threads may enter the same stack at once; then it is stored twice.
 */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "heap/heap.h"

struct entry {
    uint32_t next; /* an id */
    uint32_t hash, count;
    uint32_t reserved;
    void *frames[];
};

/* An id is an entry's offset in units. 0 is no stack, so that the first unit stays unused. */
#define UNIT ((size_t)16)
#define BUCKETS ((size_t)1 << 16)

int vmarena_stacks_open(struct vmarena_stacks *stacks, size_t bytes) {
    int error = vmarena_table_open(&stacks->buckets, BUCKETS * sizeof(uint32_t));
    if (error != 0) return error;
    error = vmarena_table_reach(&stacks->buckets, BUCKETS * sizeof(uint32_t));
    if (error == 0) error = vmarena_table_open(&stacks->entries, bytes);
    if (error != 0) {
        vmarena_table_close(&stacks->buckets);
        return error;
    }
    atomic_init(&stacks->used, UNIT);
    atomic_init(&stacks->count, 0);
    return pthread_mutex_init(&stacks->lock, NULL);
}

void vmarena_stacks_close(struct vmarena_stacks *stacks) {
    vmarena_table_close(&stacks->buckets);
    vmarena_table_close(&stacks->entries);
}

static uint32_t hash_of(void *const *frames, size_t count) {
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (uintptr_t)frames[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static struct entry *entry_of(const struct vmarena_stacks *stacks, uint32_t id) {
    return (struct entry *)(void *)(stacks->entries.base + (size_t)id * UNIT);
}

static bool is_same(const struct entry *entry, uint32_t hash, void *const *frames, size_t count) {
    return entry->hash == hash && entry->count == count && memcmp(entry->frames, frames, count * sizeof *frames) == 0;
}

/* Searches the list that starts at an entry. */
static uint32_t search(const struct vmarena_stacks *stacks, uint32_t first, uint32_t hash, void *const *frames,
                       size_t count) {
    uint32_t id = first;
    while (id != 0 && !is_same(entry_of(stacks, id), hash, frames, count)) id = entry_of(stacks, id)->next;
    return id;
}

/* Under the lock, which a signal handler that interrupted its owner must not wait for. */
static bool commit(struct vmarena_stacks *stacks, size_t bytes) {
    if (vmarena_heap_interrupted()) return false;
    vmarena_heap_lock(&stacks->lock);
    int error = vmarena_table_reach(&stacks->entries, bytes);
    vmarena_heap_unlock(&stacks->lock);
    return error == 0;
}

/* Room for an entry, which no other thread is given, and its id; 0: none. `used` never exceeds the size. */
static uint32_t reserve(struct vmarena_stacks *stacks, size_t bytes) {
    size_t at = vmarena_load_relaxed(stacks->used);
    do {
        if (bytes > stacks->entries.size - at) return 0;
        size_t committed = atomic_load_explicit(&stacks->entries.committed, memory_order_acquire);
        if (at + bytes > committed && !commit(stacks, at + bytes)) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&stacks->used, &at, at + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (uint32_t)(at / UNIT);
}

static void link_entry(struct vmarena_stacks *stacks, _Atomic uint32_t *bucket, uint32_t id) {
    uint32_t head = atomic_load_explicit(bucket, memory_order_relaxed);
    do entry_of(stacks, id)->next = head;
    while (!atomic_compare_exchange_weak_explicit(bucket, &head, id, memory_order_release, memory_order_relaxed));
    vmarena_add_relaxed(stacks->count, 1);
}

uint32_t vmarena_stacks_store(struct vmarena_stacks *stacks, void *const *frames, size_t count) {
    if (count == 0) return 0;
    uint32_t hash = hash_of(frames, count);
    _Atomic uint32_t *bucket = (_Atomic uint32_t *)(void *)stacks->buckets.base + hash % BUCKETS;
    uint32_t id = search(stacks, atomic_load_explicit(bucket, memory_order_acquire), hash, frames, count);
    if (id != 0) return id;
    id = reserve(stacks, vmarena_round_up(sizeof(struct entry) + count * sizeof *frames, UNIT));
    if (id == 0) return 0;
    struct entry *entry = entry_of(stacks, id);
    entry->hash = hash;
    entry->count = (uint32_t)count;
    memcpy(entry->frames, frames, count * sizeof *frames);
    link_entry(stacks, bucket, id);
    return id;
}

size_t vmarena_stacks_frames(const struct vmarena_stacks *stacks, uint32_t id, void **frames, size_t count) {
    size_t used = vmarena_load_relaxed(stacks->used);
    if (id == 0 || (size_t)id * UNIT >= used) return 0;
    const struct entry *entry = entry_of(stacks, id);
    for (size_t i = 0; i < entry->count && i < count; i++) frames[i] = entry->frames[i];
    return entry->count;
}

/* ---- capturing ------------------------------------------------------------------------------------------------------------- */

/* The frames of the library and of the hook that may lie above the public function's caller. */
#define OWN_FRAMES 12

/* How many frames lie above the caller; 0 where it is not among them. */
static size_t count_own(void *const *frames, size_t count, const void *caller) {
    for (size_t own = 0; own < count && own < OWN_FRAMES; own++)
        if (frames[own] == caller) return own;
    return 0;
}

uint32_t vmarena_heap_capture(struct vmarena_heap *heap, const struct vmarena_origin *origin) {
    const struct vmarena_heap_options *options = &heap->options;
    void *frames[VMARENA_HEAP_STACK_DEPTH_MAX + OWN_FRAMES];
    size_t count, own = 0, depth = options->stack_depth;
    if (options->flags & VMARENA_HEAP_NO_STACKS) return 0;
    if (options->capture == NULL) {
        /* Where no frame pointer is, Valgrind sees that the walk reads what was never written. */
        count = heap->annotated ? 0 : vmarena_prim_backtrace(origin->frame, frames, depth);
        if (count == 0) frames[count++] = origin->caller;
    } else {
        count = options->capture(frames, depth + OWN_FRAMES, options->capture_arg);
        own = count_own(frames, count, origin->caller);
    }
    return vmarena_stacks_store(&heap->stacks, frames + own, count - own < depth ? count - own : depth);
}

__attribute__((noinline)) size_t vmarena_heap_capture_frames(void **frames, size_t depth, void *arg) {
    (void)arg;
    return vmarena_prim_backtrace(__builtin_frame_address(0), frames, depth);
}
