/* SPDX-License-Identifier: MIT */
#include "walk_cache.h"

#include <stdatomic.h>

/*
 * Walks that start at the same frame differ further out: a few of them are kept side by side. An entry that is in use is
 * passed over, since it belongs to another thread or to the code that a signal handler interrupted.
 */
#define WAYS 4
struct entry {
    struct vmarena_walk walk; /* the first member: a walk's address is its entry's */
    _Atomic bool busy;
};
static struct entry entries[256][WAYS];

static bool try_lock(struct entry *entry) {
    return !atomic_exchange_explicit(&entry->busy, true, memory_order_acquire);
}
static void unlock(struct entry *entry) { atomic_store_explicit(&entry->busy, false, memory_order_release); }

static struct entry *entries_for(const struct vmarena_prim_frame *from) {
    uint64_t hash = (from->pc ^ from->sp << 20) * UINT64_C(0x9e3779b97f4a7c15);
    return entries[hash >> 56];
}

/* A page of the stack that was read a moment ago can be read without a probe. 4096: no page is smaller. */
#define SMALLEST_PAGE 4096
static inline bool holds(uintptr_t *page, uintptr_t address, uintptr_t value) {
    if (address / SMALLEST_PAGE == *page) return *(const uintptr_t *)address == value;
    struct vmarena_prim_word word = vmarena_prim_probe(address);
    *page = address / SMALLEST_PAGE;
    return word.present && word.value == value;
}

static bool is_unchanged(const struct vmarena_walk *walk, const struct vmarena_prim_frame *from, size_t limit) {
    uintptr_t page = 0;
    if (walk->from.pc != from->pc || walk->from.sp != from->sp || walk->from.exact != from->exact ||
        walk->limit != limit || (walk->by_fp && walk->from.fp != from->fp))
        return false;
    for (size_t i = 1; i < walk->count; i++)
        if (!holds(&page, walk->pc_at[i], walk->pc[i])) return false;
    for (size_t i = 0; i < walk->words; i++)
        if (!holds(&page, walk->word_at[i], walk->word[i])) return false;
    return true;
}

size_t vmarena_walk_cache_find(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    struct entry *ways = entries_for(from);
    size_t count = 0;
    for (size_t way = 0; way < WAYS && count == 0; way++) {
        if (!try_lock(&ways[way])) continue;
        const struct vmarena_walk *walk = &ways[way].walk;
        if (is_unchanged(walk, from, limit))
            for (count = 0; count < walk->count; count++) pcs[count] = (void *)walk->pc[count];
        unlock(&ways[way]);
    }
    return count;
}

struct vmarena_walk *vmarena_walk_cache_take(const struct vmarena_prim_frame *from) {
    static _Atomic unsigned turn;
    struct entry *entry = &entries_for(from)[atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % WAYS];
    return try_lock(entry) ? &entry->walk : NULL;
}

void vmarena_walk_cache_release(struct vmarena_walk *walk) { unlock((struct entry *)walk); }
