/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a region were written since last asked.
 *
 *      SCAN     the kernel notes it (userfaultfd write protection that it lifts by itself, read by PAGEMAP_SCAN)
 *      PROTECT  pages not written are read-only, and our fault handler makes a page writable at its first write
 *
 * Threads: one owner calls these functions. Other threads may write to the region while the tracking is given up
 * (vmarena_dirty_give_up, vmarena_dirty_end), as the owner of an arena may change its protection while others use it; during
 * any other call they must not. Errors are explained.
 */
#ifndef VMARENA_DIRTY_H
#define VMARENA_DIRTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/prim.h"
#include "region/region.h"
#include "vmarena/snapshot.h"

enum vmarena_dirty_state {
    VMARENA_DIRTY_OFF,
    VMARENA_DIRTY_ON,
    VMARENA_DIRTY_ENDING, /* PROTECT: all pages are being made writable; who faults tries again until that is done */
    VMARENA_DIRTY_LOST,   /* it is not known what was written: everything counts as written */
};

/* In memory that is never unmapped, since a fault handler may look at it at any time. */
struct vmarena_dirty_tracker {
    struct vmarena_region *region;
    enum vmarena_tracking kind;               /* SCAN, PROTECT; AUTO: none */
    _Atomic int state;                        /* enum vmarena_dirty_state */
    size_t size;                              /* bytes from the region's base on that are tracked */
    struct vmarena_prim_write_tracking track; /* SCAN; fd -1: none now */
    _Atomic uint64_t *written;                /* PROTECT: a bit a page of the region */
    size_t written_size;                      /* its bytes */
};

/*
 * Tracks the first size bytes of the region from now on, or goes on with as many more. kind is SCAN or PROTECT.
 * -EOPNOTSUPP: impossible here. -EBUSY: tracked in the other way already. -EMFILE, -ENFILE, -ENOMEM: refused.
 */
int vmarena_dirty_begin(struct vmarena_dirty_tracker *tracker, struct vmarena_region *region,
                        enum vmarena_tracking kind, size_t size);

/* Stops tracking. Nothing happens where nothing is tracked. */
void vmarena_dirty_end(struct vmarena_dirty_tracker *tracker);

/*
 * Reports runs of pages written since the last call that began anew, as bytes from the base, and begins anew if asked to:
 * whoever writes to the pages right afterwards does better not to. It cannot fail: at worst all pages were written.
 */
void vmarena_dirty_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                           void (*report)(void *arg, size_t start, size_t size), void *arg);

/* The protection of the region is about to change: what PROTECT tracks is lost, and has the region's protection again. */
void vmarena_dirty_give_up(struct vmarena_dirty_tracker *tracker);

/* Before many writes to a range, or one by the kernel: its tracked pages count as written, and are writable. */
void vmarena_dirty_open(struct vmarena_dirty_tracker *tracker, size_t start, size_t size);

#endif
