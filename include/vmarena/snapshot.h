/* SPDX-License-Identifier: MIT */
/*
 * Snapshots: an arena restored to an earlier state, and clones of it that share memory until one of them writes. For
 * fixtures and fuzzers that build once and restore between runs.
 *
 *      vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_AUTO);
 *      for (;;) {
 *          run(arena);
 *          vmarena_restore(arena, snapshot);
 *      }
 *
 * What it costs depends on how written pages are detected, which vmarena_snapshot_info() reports:
 *
 *                            taking it              cloning it        restoring
 *      TRACK_FILE            constant time          constant time     the pages written since
 *      TRACK_SCAN, _PROTECT  copies resident pages  copies all pages  the pages written since
 *      TRACK_COMPARE         copies resident pages  copies all pages  compares all pages
 *
 * TRACK_FILE is for arenas made with VMARENA_MEMFD, whose memory is a file in memory. A snapshot freezes the arena: it turns
 * the shared mapping of the file into a private one, so that the file stays as it is and the kernel copies each page that is
 * written. The page table is moved away as a whole instead of being torn down; pages are mapped again as they are touched. A
 * further snapshot copies the pages written since the previous one if nobody holds that any more and there was no fork(2);
 * otherwise it copies all pages.
 *
 * Restoring brings back the contents of all memory that was allocated at the snapshot, and takes back what was allocated
 * since. Marks taken since become stale; older ones stay good unless the arena was rewound below them since. Protection
 * stays as it is now.
 *
 * Threads: an arena has one owner, who also makes the calls here. No thread may write to the arena during a call, but fork(2)
 * may be called by any thread at any time; it waits while an arena's mapping is being changed.
 *
 * fork(2): parent and child each go on with an arena and snapshots of their own. A fork freezes every VMARENA_MEMFD arena as
 * a snapshot does; an arena that cannot be frozen (RLIMIT_DATA is exceeded, for example) is inaccessible in the child and can
 * only be destroyed there. In a child the first restore by TRACK_SCAN copies everything, as the kernel stops tracking there.
 * Processes made by other means than the C library's fork() (a raw clone(2)) share the memory of a VMARENA_MEMFD arena that
 * was never frozen.
 *
 * Not for fenced arenas (-EOPNOTSUPP everywhere). None of the functions is safe in a signal handler. They return 0 or a
 * negative errno, and vmarena_explain() gives the reason. All return -EBADF for NULL and for something destroyed or freed.
 */
#ifndef VMARENA_SNAPSHOT_H
#define VMARENA_SNAPSHOT_H

#include "export.h"

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "inspect.h"

VMARENA_BEGIN_DECLS

/* How written pages are detected. */
enum vmarena_tracking {
    VMARENA_TRACK_AUTO,    /* the first of these that works for this arena on this system */
    VMARENA_TRACK_FILE,    /* the kernel's copy on write, in an arena made with VMARENA_MEMFD */
    VMARENA_TRACK_SCAN,    /* write protection that the kernel lifts by itself, and PAGEMAP_SCAN (Linux 6.7) */
    VMARENA_TRACK_PROTECT, /* write protection that our fault handler lifts. A system call that is the first to write to a
                              page, such as read(2) into it, fails with EFAULT. A write is fatal while SIGSEGV is blocked or
                              another handler has displaced ours */
    VMARENA_TRACK_COMPARE, /* not at all: all pages are compared with their copies */
};

struct vmarena_snapshot;

/*
 * Takes a snapshot. *out is freed by vmarena_snapshot_free(), before or after the arena. An arena may have many snapshots; all
 * of them by TRACK_SCAN and _PROTECT must use the same one of the two. After a failure the arena is as it was.
 * -EOPNOTSUPP: the tracking asked for is not possible (AUTO always is; _SCAN and _PROTECT are not with VMARENA_MEMFD or on
 * hugetlb pages, _FILE not without VMARENA_MEMFD). -EBUSY: the arena's pages are tracked in the other way already. -EACCES: the
 * arena, or a part of it that must be copied, is not readable; with _SCAN and _PROTECT it is not writable; with _PROTECT a
 * range has a protection of its own. -ENOMEM, -EMFILE, -ENFILE, -EFBIG (_FILE, RLIMIT_FSIZE), -EPERM (sealed): the system
 * refused. -EINVAL: no such tracking, or out is NULL.
 */
VMARENA_API int vmarena_snapshot(struct vmarena_snapshot **out, struct vmarena *arena, enum vmarena_tracking tracking);

/*
 * Restores the arena to the snapshot, which stays. The arena is the one it was taken of or, with TRACK_FILE, a clone made of
 * it (-EINVAL: another). -EACCES: the arena is not readable and writable (TRACK_FILE does not need that), or a range that must
 * be written is not. -ENOMEM, -EPERM (sealed, TRACK_FILE): the system refused. After -EACCES and -ENOMEM the arena may be half
 * restored; restoring again is safe.
 */
VMARENA_API int vmarena_restore(struct vmarena *arena, struct vmarena_snapshot *snapshot);

/*
 * Creates a new arena with the contents of the snapshot, at another address: pointers into the old arena still point there, so
 * data that is to be cloned should use offsets. Freed by vmarena_destroy(). Errors as vmarena_create(); -EINVAL: out is NULL.
 */
VMARENA_API int vmarena_clone(struct vmarena **out, struct vmarena_snapshot *snapshot);

/*
 * Calls function for each run of pages written since the snapshot was taken or last restored, in ascending order, in the part
 * of the arena that is allocated now; pages allocated since count as written. The state of a run is VMARENA_PAGE_DIRTY.
 * Returns what function returned last. A huge page counts as a whole. With TRACK_COMPARE: pages that differ. -EINVAL: another
 * arena, or function is NULL. -ENOMEM and errors of reading /proc/self/pagemap with TRACK_FILE.
 */
VMARENA_API int vmarena_dirty_pages(struct vmarena *arena, struct vmarena_snapshot *snapshot,
                                    vmarena_pages_fn *function, void *arg);

/* NULL is allowed. A second call is ignored unless a new snapshot has the handle. */
VMARENA_API void vmarena_snapshot_free(struct vmarena_snapshot *snapshot);

struct vmarena_snapshot_info {
    enum vmarena_tracking tracking; /* as obtained */
    size_t used;                    /* bytes allocated in the arena when it was taken */
    size_t copied;                  /* bytes copied to take it */
    size_t restored;                /* bytes that the last vmarena_restore() wrote or dropped */
    uint64_t restores;              /* successful calls of vmarena_restore() */
    uint64_t spare[4];              /* 0: room for later versions */
};
VMARENA_API int vmarena_snapshot_info(const struct vmarena_snapshot *snapshot, struct vmarena_snapshot_info *out);

VMARENA_END_DECLS

#endif
