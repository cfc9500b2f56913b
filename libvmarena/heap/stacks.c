/* SPDX-License-Identifier: MIT */
/*
 * Call stacks, each kept once and for as long as the heap. A hash table that only grows: a bucket is the head of a list,
 * an entry is written before it is linked and never changes after, so that finding one takes no lock, and a signal
 * handler can read it. Two threads may enter the same stack at once: then it is there twice.
 */
#include <errno.h>
#include <string.h>

#include "heap/heap.h"

struct entry {
    uint32_t next; /* an id */
    uint32_t hash, count;
    uint32_t reserved;
    void *frames[];
};

/* An id is an entry's offset in these; 0 is none, so that the first unit is left out. */
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

static bool same(const struct entry *entry, uint32_t hash, void *const *frames, size_t count) {
    return entry->hash == hash && entry->count == count && memcmp(entry->frames, frames, count * sizeof *frames) == 0;
}

/* Looks from one id down to, not including, another. */
static uint32_t look(const struct vmarena_stacks *stacks, uint32_t from, uint32_t to, uint32_t hash,
                     void *const *frames, size_t count) {
    for (uint32_t id = from; id != to; id = entry_of(stacks, id)->next)
        if (same(entry_of(stacks, id), hash, frames, count)) return id;
    return 0;
}

/* Room for an entry that a signal handler or another thread may read as soon as it is linked; 0: none. */
static uint32_t make_room(struct vmarena_stacks *stacks, size_t bytes) {
    size_t at = vmarena_add_relaxed(stacks->used, bytes), end = at + bytes;
    if (end > stacks->entries.size) {
        (void)atomic_fetch_sub_explicit(&stacks->used, bytes, memory_order_relaxed);
        return 0;
    }
    int error = 0;
    if (end > atomic_load_explicit(&stacks->entries.committed, memory_order_acquire)) {
        (void)pthread_mutex_lock(&stacks->lock);
        error = vmarena_table_reach(&stacks->entries, end);
        (void)pthread_mutex_unlock(&stacks->lock);
    }
    return error == 0 ? (uint32_t)(at / UNIT) : 0;
}

uint32_t vmarena_stacks_keep(struct vmarena_stacks *stacks, void *const *frames, size_t count) {
    if (count == 0) return 0;
    uint32_t hash = hash_of(frames, count);
    _Atomic uint32_t *bucket = (_Atomic uint32_t *)(void *)stacks->buckets.base + hash % BUCKETS;
    uint32_t head = atomic_load_explicit(bucket, memory_order_acquire);
    uint32_t found = look(stacks, head, 0, hash, frames, count);
    if (found != 0) return found;
    size_t bytes = vmarena_round_up(sizeof(struct entry) + count * sizeof *frames, UNIT);
    uint32_t id = make_room(stacks, bytes);
    if (id == 0) return 0;
    struct entry *entry = entry_of(stacks, id);
    entry->hash = hash;
    entry->count = (uint32_t)count;
    memcpy(entry->frames, frames, count * sizeof *frames);
    entry->next = head;
    while (!atomic_compare_exchange_weak_explicit(bucket, &head, id, memory_order_release, memory_order_acquire))
        entry->next = head;
    vmarena_add_relaxed(stacks->count, 1);
    return id;
}

size_t vmarena_stacks_frames(const struct vmarena_stacks *stacks, uint32_t id, void **frames, size_t count) {
    size_t used = vmarena_load_relaxed(stacks->used);
    if (id == 0 || (size_t)id * UNIT >= used) return 0;
    const struct entry *entry = entry_of(stacks, id);
    for (size_t i = 0; i < entry->count && i < count; i++) frames[i] = entry->frames[i];
    return entry->count;
}
