/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdint.h>
#include <string.h>

#include "prim.h"

#define CHUNK ((size_t)64 * 1024)

static void *fresh(struct vmarena_pool *pool, size_t size) {
    if (size > (size_t)(pool->end - pool->next)) {
        void *chunk;
        size_t page = vmarena_prim_page_size(), bytes = (CHUNK + size + page - 1) / page * page;
        if (vmarena_prim_map(&chunk, bytes, page, VMARENA_READ | VMARENA_WRITE, true) != 0) return NULL;
        pool->next = chunk;
        pool->end = pool->next + bytes;
    }
    void *record = pool->next;
    pool->next += size;
    return record;
}

void *vmarena_pool_take(struct vmarena_pool *pool) {
    size_t size = (pool->size + 15) & ~(size_t)15;
    void *record = pool->free;
    if (record == NULL) return fresh(pool, size);
    memcpy(&pool->free, record, sizeof pool->free);
    return memset(record, 0, size);
}

void vmarena_pool_give(struct vmarena_pool *pool, void *record) {
    memcpy(record, &pool->free, sizeof pool->free);
    pool->free = record;
}
