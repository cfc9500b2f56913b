/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "base/pool.h"

#include <stdint.h>
#include <string.h>

#include "base/rounding.h"

#define ALIGNMENT ((size_t)16)
#define CHUNK ((size_t)64 * 1024)

static void *fresh(struct vmarena_pool *pool, size_t size) {
    if (size > (size_t)(pool->end - pool->next)) {
        void *chunk;
        size_t page = vmarena_prim_page_size(), bytes = vmarena_round_up(CHUNK + size, page);
        if (vmarena_prim_map(&chunk, bytes, page, VMARENA_READ | VMARENA_WRITE, true) != 0) return NULL;
        pool->next = chunk;
        pool->end = pool->next + bytes;
    }
    void *record = pool->next;
    pool->next += size;
    return record;
}

void *vmarena_pool_take(struct vmarena_pool *pool) {
    size_t size = vmarena_round_up(pool->size, ALIGNMENT);
    if (vmarena_prim_pool_lock() != 0) return NULL;
    void *record = pool->free, *unused = record == NULL ? fresh(pool, size) : NULL;
    if (record != NULL) memcpy(&pool->free, record, sizeof pool->free);
    vmarena_prim_pool_unlock();
    return record != NULL ? memset(record, 0, size) : unused;
}

void vmarena_pool_give(struct vmarena_pool *pool, void *record) {
    (void)vmarena_prim_pool_lock(); /* cannot fail: the record was taken under it */
    memcpy(record, &pool->free, sizeof pool->free);
    pool->free = record;
    vmarena_prim_pool_unlock();
}
