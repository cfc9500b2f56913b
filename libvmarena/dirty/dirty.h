/* SPDX-License-Identifier: MIT */
/* Which pages of an arena were written since last asked. */
#ifndef VMARENA_DIRTY_H
#define VMARENA_DIRTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/prim.h"
#include "vmarena/inspect.h"
#include "vmarena/snapshot.h"

struct vmarena_arena;

struct vmarena_dirty_tracker {
    enum vmarena_tracking kind; /* SCAN, PROTECT, or AUTO: none */
    char *base;
    size_t size;                     /* bytes from base on that are tracked */
    struct vmarena_prim_track track; /* SCAN; fd -1: none now */
    _Atomic uint64_t *written;       /* PROTECT: a bit a page of the region */
    size_t written_size;             /* its bytes */
    _Atomic bool lost;               /* what was written is not known: all */
};

/* Bits, a page each: any thread may set one, in a signal handler too. The memory is the caller's, and zero at first. */
size_t vmarena_bits_bytes(size_t count);
void vmarena_bits_set(_Atomic uint64_t *bits, size_t index);
void vmarena_bits_clear(_Atomic uint64_t *bits, size_t count);

/* The next run of set ones from *at on: [*at, *end); false: there is none. */
bool vmarena_bits_next_run(const _Atomic uint64_t *bits, size_t count, size_t *at, size_t *end);

/*
 * Tracks the first size bytes of the arena from now on, or goes on with as many more. kind is SCAN or PROTECT.
 * -EOPNOTSUPP: impossible here. -EBUSY: tracked otherwise already. Explained.
 */
int vmarena_dirty_begin(struct vmarena_arena *arena, enum vmarena_tracking kind, size_t size);
void vmarena_dirty_end(struct vmarena_arena *arena);

/*
 * Reports runs of pages written since it last began anew, and begins anew if asked to: what is written to soon after had
 * better be left as it is. It cannot fail: at worst, all were written.
 */
void vmarena_dirty_collect(struct vmarena_arena *arena, bool anew, void (*report)(void *arg, size_t start, size_t size),
                           void *arg);

/* The protection of the arena is about to be changed: what is tracked by it is lost. */
void vmarena_dirty_lose(struct vmarena_arena *arena);

/* Before many writes to a range, or one by the kernel: what of it is tracked counts as written and can be. */
void vmarena_dirty_open(struct vmarena_arena *arena, size_t start, size_t size);

#endif
