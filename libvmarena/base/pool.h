/* SPDX-License-Identifier: MIT */
/*
 * Records of one type each, in memory that is never unmapped: a signal handler, or a caller with a stale handle, may
 * look at one that was given back. The library's own memory comes from here, so that it needs no malloc.
 */
#ifndef VMARENA_POOL_H
#define VMARENA_POOL_H

#include <stddef.h>

struct vmarena_pool {
    size_t size;
    void *free;       /* a list through the records' first word */
    char *next, *end; /* not yet used */
};

#define VMARENA_POOL(type)                                                                                             \
    { .size = sizeof(type) < sizeof(void *) ? sizeof(void *) : sizeof(type) }

/* Returns a record, all zero, aligned to 16 bytes, or NULL if there is no memory. Any thread; takes its own lock. */
void *vmarena_pool_take(struct vmarena_pool *pool);

/* Gives a record back. All but its first word keeps its value until the record is taken again. Any thread. */
void vmarena_pool_give(struct vmarena_pool *pool, void *record);

#endif
