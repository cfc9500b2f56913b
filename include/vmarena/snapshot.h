/* SPDX-License-Identifier: MIT */
/*
 * Snapshots: an arena brought back to a point, and copies of it that share memory until one is written to. For fixtures
 * and fuzzers that build once and restore between runs.
 *
 *      vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_AUTO);
 *      for (;;) {
 *          run(arena);
 *          vmarena_restore(arena, snapshot);
 *      }
 *
 * What it costs depends on how the arena's pages are told that were written since, which vmarena_snapshot_info() says:
 *
 *                            taking it            cloning it      restoring
 *      TRACK_FILE            the same always      the same        the pages written since
 *      TRACK_SCAN, _PROTECT  a copy of the pages  a copy          the pages written since
 *      TRACK_COMPARE         a copy of the pages  a copy          all pages
 *
 * TRACK_FILE is for arenas made with VMARENA_MEMFD, whose memory is a file in memory. A snapshot turns the mapping of that
 * file from a shared one into a private one: the file stays as it is, and the kernel copies each page that is written.
 * The page table is moved away as a whole and not torn down; pages are mapped again as they are touched. A second
 * snapshot, after writing, takes the time of the pages written since the first if that one is gone and was not cloned,
 * and otherwise a copy of all pages.
 *
 * Restoring brings back the contents of all memory that was allocated at the snapshot, and the point up to which it was:
 * what was allocated since is taken back. Marks taken since are stale; older ones stay good unless the arena was rewound
 * below them since. Protection stays as it is now.
 *
 * Threads: an arena has one owner, and so has what is done here. No thread may write to the arena during a call.
 *
 * fork(2): parent and child each go on with an arena and snapshots of their own. An arena on a memory file is frozen for
 * it as by a snapshot; should that fail, it is absent in the child (madvise(2), MADV_DONTFORK). After a fork the first
 * restore in the child by TRACK_SCAN copies everything, as the kernel stops tracking there. Processes made past the C
 * library's fork() (a raw clone(2)) share the memory of a VMARENA_MEMFD arena that was never frozen.
 *
 * Not for fenced arenas (-EOPNOTSUPP everywhere). None is safe in a signal handler. Functions give 0 or a negative errno,
 * and vmarena_explain() the reason. -EBADF everywhere: NULL, or something destroyed or freed.
 */
#ifndef VMARENA_SNAPSHOT_H
#define VMARENA_SNAPSHOT_H

#include "export.h"

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "inspect.h"

VMARENA_BEGIN_DECLS

/* How written pages are told from others. */
enum vmarena_tracking {
    VMARENA_TRACK_AUTO,    /* asked for: the first of these that works for this arena on this system */
    VMARENA_TRACK_FILE,    /* the kernel's copy on write, in an arena made with VMARENA_MEMFD */
    VMARENA_TRACK_SCAN,    /* write protection that the kernel lifts by itself, and PAGEMAP_SCAN (Linux 6.7) */
    VMARENA_TRACK_PROTECT, /* write protection that our fault handler lifts. System calls that write to the arena's pages
                              fail with EFAULT (read(2) into it) where they are the first to write to a page; writes where
                              a SIGSEGV is blocked or another handler has displaced ours are fatal */
    VMARENA_TRACK_COMPARE, /* none: all pages are compared with their copies */
};

struct vmarena_snapshot;

/*
 * Takes a snapshot. *out is freed by vmarena_snapshot_free(), before or after the arena. An arena may have many; all but
 * those by TRACK_FILE and _COMPARE must track alike.
 * -EOPNOTSUPP: the tracking asked for is not possible (AUTO always is; _SCAN and _PROTECT are not with VMARENA_MEMFD, nor on
 * hugetlb pages). -EBUSY: the arena's pages are tracked otherwise already. -EACCES: the arena is not readable, or not
 * writable with _SCAN or _PROTECT. -ENOMEM, -EMFILE (_SCAN), -EPERM (sealed): refused. -EINVAL: no such tracking, or out is NULL.
 */
VMARENA_API int vmarena_snapshot(struct vmarena_snapshot **out, struct vmarena *arena, enum vmarena_tracking tracking);

/*
 * Brings the arena back to the snapshot, which stays. The arena is the one it was taken of, or, by TRACK_FILE, a clone made
 * of it. -EINVAL: another arena. -EACCES: not writable (TRACK_FILE does not mind). -ENOMEM, -EPERM: the system refused; the
 * arena may be half restored then, and restoring again is safe.
 */
VMARENA_API int vmarena_restore(struct vmarena *arena, struct vmarena_snapshot *snapshot);

/*
 * Makes a new arena with the contents of the snapshot, at another address: what points into the old arena still does, so
 * that data to be cloned should use offsets. Freed by vmarena_destroy(). Errors as vmarena_create().
 */
VMARENA_API int vmarena_clone(struct vmarena **out, struct vmarena_snapshot *snapshot);

/*
 * Calls function for each run of pages written since the snapshot was taken or restored last, ascending, in the part of
 * the arena that is allocated now; pages allocated since count as written. The state of a run is VMARENA_PAGE_DIRTY. Gives
 * what function returned last. A huge page counts as a whole. By TRACK_COMPARE: pages that differ. -EINVAL: another arena.
 */
VMARENA_API int vmarena_dirty_pages(struct vmarena *arena, struct vmarena_snapshot *snapshot,
                                    vmarena_pages_fn *function, void *arg);

/* NULL is allowed; freeing twice is ignored. */
VMARENA_API void vmarena_snapshot_free(struct vmarena_snapshot *snapshot);

struct vmarena_snapshot_info {
    enum vmarena_tracking tracking; /* as obtained */
    size_t used;                    /* bytes allocated in the arena when it was taken */
    size_t copied;                  /* bytes copied to take it */
    size_t restored;                /* bytes brought back by the last vmarena_restore() */
    uint64_t restores;              /* calls of it that succeeded */
    uint64_t spare[4];              /* 0: room for later versions */
};
VMARENA_API int vmarena_snapshot_info(const struct vmarena_snapshot *snapshot, struct vmarena_snapshot_info *out);

VMARENA_END_DECLS

#endif
