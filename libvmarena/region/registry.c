/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/registry.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/pool.h"

#define BITS 9u
#define FANOUT ((size_t)1 << BITS)
#define LEVELS 6u
/* User addresses have 57 bits at most (x86-64 with five levels; arm64 and others have fewer). */
#define ADDRESS_BITS (sizeof(uintptr_t) * 8 < 57 ? (unsigned)sizeof(uintptr_t) * 8 : 57u)

/* An entry is 0, a region, or a node of the next level with the lowest bit set. Nodes are never freed. */
struct node {
    _Atomic uintptr_t entries[FANOUT];
};
#define IS_NODE ((uintptr_t)1)

static struct node root;
static _Atomic unsigned top_level; /* 0 until the first region */
static struct vmarena_pool nodes = VMARENA_POOL(struct node);

static unsigned level_shift(unsigned level) {
    return (unsigned)__builtin_ctzl((unsigned long)vmarena_prim_page_size()) + BITS * level;
}

static size_t index_at(uintptr_t address, unsigned level) { return (address >> level_shift(level)) & (FANOUT - 1); }

static struct node *as_node(uintptr_t entry) { return entry & IS_NODE ? (struct node *)(entry - IS_NODE) : NULL; }

static uintptr_t load_acquire(const struct node *node, size_t index) {
    return atomic_load_explicit(&node->entries[index], memory_order_acquire);
}
static void store_release(struct node *node, size_t index, uintptr_t entry) {
    atomic_store_explicit(&node->entries[index], entry, memory_order_release);
}

/* What walk() does. */
struct walk {
    bool make;       /* makes the nodes that the range needs */
    bool set;        /* sets each entry that lies wholly in the range */
    uintptr_t entry; /* to this */
};

static int descend(struct node *node, size_t index, struct node **child, bool make) {
    *child = as_node(load_acquire(node, index));
    if (*child != NULL || !make) return 0;
    *child = vmarena_pool_take(&nodes);
    if (*child == NULL) return -ENOMEM;
    store_release(node, index, (uintptr_t)*child | IS_NODE);
    return 0;
}

/* Visits [start, last] (within one node's reach) in the largest blocks that fit. */
static int walk(struct node *node, unsigned level, uintptr_t start, uintptr_t last, const struct walk *what) {
    uintptr_t block = (uintptr_t)1 << level_shift(level);
    for (uintptr_t at = start;; at = (at & ~(block - 1)) + block) {
        uintptr_t end = at | (block - 1);
        size_t index = index_at(at, level);
        bool whole = (at & (block - 1)) == 0 && end <= last;
        struct node *child = as_node(load_acquire(node, index));
        if (whole && child == NULL) {
            if (what->set) store_release(node, index, what->entry);
        } else {
            int error = descend(node, index, &child, what->make);
            if (error == 0 && child != NULL) error = walk(child, level - 1, at, end < last ? end : last, what);
            if (error != 0) return error;
        }
        if (end >= last) return 0;
    }
}

static unsigned find_top(void) {
    unsigned level = atomic_load_explicit(&top_level, memory_order_relaxed);
    if (level != 0) return level;
    while (level_shift(level + 1) < ADDRESS_BITS) level++;
    atomic_store_explicit(&top_level, level, memory_order_release);
    return level;
}

int vmarena_registry_add(uintptr_t start, uintptr_t end, struct vmarena_region *region) {
    int error = vmarena_prim_global_lock();
    if (error != 0) return error;
    unsigned level = find_top();
    /* Makes every node first, which may fail, then sets the entries, which cannot. */
    struct walk what = {.make = true};
    error = walk(&root, level, start, end - 1, &what);
    what = (struct walk){.set = true, .entry = (uintptr_t)region};
    if (error == 0) error = walk(&root, level, start, end - 1, &what);
    vmarena_prim_global_unlock();
    return error;
}

void vmarena_registry_remove(uintptr_t start, uintptr_t end) {
    struct walk what = {.set = true, .entry = 0};
    (void)vmarena_prim_global_lock(); /* cannot fail: the region was added under it */
    (void)walk(&root, find_top(), start, end - 1, &what);
    vmarena_prim_global_unlock();
}

struct vmarena_region *vmarena_registry_find(uintptr_t address) {
    unsigned level = atomic_load_explicit(&top_level, memory_order_acquire);
    if (level == 0 || (sizeof address * 8 > ADDRESS_BITS && address >> (ADDRESS_BITS - 1) >> 1 != 0)) return NULL;
    for (const struct node *node = &root;; level--) {
        uintptr_t entry = load_acquire(node, index_at(address, level));
        node = as_node(entry);
        if (node == NULL) return (struct vmarena_region *)entry;
    }
}

/* Returns the first region found in node from index on, in the given direction. */
static struct vmarena_region *scan(const struct node *node, size_t index, int direction) {
    for (; index < FANOUT; index += (size_t)direction) { /* below 0 it wraps past FANOUT */
        uintptr_t entry = load_acquire(node, index);
        const struct node *child = as_node(entry);
        if (child != NULL) entry = (uintptr_t)scan(child, direction > 0 ? 0 : FANOUT - 1, direction);
        if (entry != 0) return (struct vmarena_region *)entry;
    }
    return NULL;
}

struct vmarena_region *vmarena_registry_next(uintptr_t address, int direction) {
    const struct node *path[LEVELS];
    unsigned top = atomic_load_explicit(&top_level, memory_order_acquire), level = top;
    if (top == 0) return NULL;
    path[top] = &root;
    while (level > 0) {
        const struct node *child = as_node(load_acquire(path[level], index_at(address, level)));
        if (child == NULL) break;
        path[--level] = child;
    }
    for (; level <= top; level++) {
        size_t index = index_at(address, level) + (size_t)direction;
        struct vmarena_region *region = scan(path[level], index, direction);
        if (region != NULL) return region;
    }
    return NULL;
}
