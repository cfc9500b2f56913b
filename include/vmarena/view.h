/* SPDX-License-Identifier: MIT */
/*
 * Views: a file, or a window of it, as memory between two guards. Reading past the window, writing where one may only
 * read, and touching a part that the file lost meanwhile are faults that fault.h catches and explains.
 *
 *      guard │ view->data ........ window ........ view->size │ rest of the last page │ guard
 *     ───────┼────────────────────────────────────────────────┼───────────────────────┼───────
 *     faults │ bytes of the file from view->offset on         │ see below             │ faults
 *
 * The rest of the last page does not fault: past the end of the file it reads as zero, otherwise it shows what follows
 * in the file (mmap(2)). So an overrun of up to a page less one byte goes unseen. options.fence = VMARENA_FENCE_END
 * lays the window's end flush against the guard instead, VMARENA_FENCE_START its beginning; where the window does not
 * end (begin) at a page of the file, that takes a private copy of it, read when the view is opened (view info: copied).
 *
 * When the file shrinks under a view, touching a page that lies wholly past its new end is a SIGBUS: a fault of kind
 * VMARENA_FAULT_PAST_END_OF_FILE with the offset in the file and the file's name. The same tells of a read error of the
 * device, and of one that is full when a hole in the file is written to. This also holds for copy-on-write views, pages already changed included: truncation takes them away
 * (mmap(2), truncate(2)). When the file grows again, the access works again; the bytes are the file's.
 *
 * Common to all functions here:
 * - A view has one owner at a time: calls on one view must not overlap. Its memory may be read by any thread meanwhile,
 *   but not across vmarena_view_move() and vmarena_view_close().
 * - None is safe in a signal handler.
 * - Ranges are given in bytes from view->data on; length 0 stands for all that follows `from`. They need no alignment.
 *   -ERANGE everywhere: the range leaves the window.
 * - Functions that return int give 0 or a negative errno. On an error nothing has changed, and vmarena_explain() gives
 *   the reason in a sentence. -EBADF everywhere: the handle is NULL, or the view was closed.
 */
#ifndef VMARENA_VIEW_H
#define VMARENA_VIEW_H

#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "fault.h"

VMARENA_BEGIN_DECLS

enum vmarena_view_mode {
    VMARENA_VIEW_READ,          /* writing faults */
    VMARENA_VIEW_COPY_ON_WRITE, /* writing changes a private copy of the page; the file stays as it is */
    VMARENA_VIEW_SHARED, /* writing changes the file, for everybody at once; vmarena_view_sync() makes it durable */
};

/* All zero is a good default: the whole file, for reading. */
struct vmarena_view_options {
    enum vmarena_view_mode mode;
    enum vmarena_fence
        fence;              /* which end of the window lies flush against a guard for sure; SHARED: only at page ends */
    enum vmarena_huge huge; /* VMARENA_HUGE_TRANSPARENT: ask for huge pages (tmpfs, and where file systems have them) */
    unsigned flags;         /* VMARENA_LOCK, VMARENA_PREFAULT, VMARENA_DONT_DUMP, VMARENA_DONT_FORK, as in arena.h */
    uint64_t offset;        /* of the window in the file, any byte */
    size_t length;          /* of the window; 0: up to the end of the file */
    size_t guard;           /* width of each guard, rounded up to pages; 0: one page */
    const char *name;       /* for fault descriptions; NULL: the path, or its last part where it is long. 31 bytes */
};

/* A view. The members are to be read only; vmarena_view_move() changes them. */
struct vmarena_view {
    void *data;      /* the window's first byte */
    size_t size;     /* its bytes */
    uint64_t offset; /* of the first byte in the file */
};

struct vmarena_view_info {
    enum vmarena_view_mode mode;
    enum vmarena_huge huge_asked, huge_obtained; /* obtained: the advice was taken; "huge" tells what the kernel gave */
    uint64_t file_size;                          /* now, in bytes */
    size_t capacity;                             /* the longest window that the view can show, at any offset */
    size_t resident;   /* bytes of the window's pages mapped in now; 0 where the kernel does not tell */
    size_t huge;       /* of these, bytes on huge pages */
    size_t guard;      /* bytes of each guard, the room that the window leaves apart */
    size_t tail;       /* bytes after the window that do not fault */
    bool copied;       /* the window is a private copy, see above: a later change of the file is not seen */
    uint64_t spare[4]; /* 0: room for later versions */
};

/*
 * Opens a whole file. *out is written only on success; vmarena_view_close() frees it. Errors:
 * what open(2) gives (-ENOENT, -EACCES, ...); -EISDIR: a directory; -ENODEV: no regular file (device, FIFO, socket), on
 * hugetlbfs, or its file system cannot map; -ENODATA: the file is empty; -EAGAIN: the file shrank while it was opened;
 * -EACCES: a descriptor that cannot read, or cannot write for SHARED; -EPERM: sealed (fcntl(2)); -EOVERFLOW, -ENOMEM:
 * larger than the address space or memory (and -EAGAIN, -EPERM: VMARENA_LOCK beyond RLIMIT_MEMLOCK); -EINVAL: a mode,
 * option or flag out of its range.
 */
VMARENA_API int vmarena_view_open(struct vmarena_view **out, const char *path, enum vmarena_view_mode mode);

/*
 * The same with options. -ERANGE: the window leaves the file as it is now. -EOPNOTSUPP: a fence for which the window
 * would have to be copied, on a SHARED view; or a flag that the system refuses for this memory.
 */
VMARENA_API int vmarena_view_open_with(struct vmarena_view **out, const char *path,
                                       const struct vmarena_view_options *options);

/*
 * The same for an open descriptor, which is duplicated and stays the caller's. options may be NULL. (As any close(2) of
 * the file, vmarena_view_close() gives up the process's fcntl(2) record locks on it.)
 */
VMARENA_API int vmarena_view_open_fd(struct vmarena_view **out, int fd, const struct vmarena_view_options *options);

/* Unmaps. NULL is allowed; a second call on the same handle is ignored. What was written to a SHARED view stays written. */
VMARENA_API void vmarena_view_close(struct vmarena_view *view);

/*
 * Shows another part of the file through the same address space: up to `length` bytes from offset on, less where the
 * file ends, 0: as many as the view has room for. Changes of a COPY_ON_WRITE view are lost. view->data may change, also
 * by a part of a page. -ERANGE: offset at or past the end of the file, or length more than the view's capacity.
 * -EAGAIN: the file shrank meanwhile. Where there is no address space for a second window (RLIMIT_AS), changes are lost
 * with an error, too.
 */
VMARENA_API int vmarena_view_move(struct vmarena_view *view, uint64_t offset, size_t length);

/*
 * Writes what was changed in a range of a SHARED view to the device, and waits for it (msync(2), MS_SYNC). In the other
 * modes there is nothing to do: 0. -EIO, -ENOSPC, ...: what the file system gives.
 */
VMARENA_API int vmarena_view_sync(struct vmarena_view *view, size_t from, size_t length);

enum vmarena_view_advice {
    VMARENA_VIEW_NORMAL,
    VMARENA_VIEW_SEQUENTIAL, /* read ahead much, drop behind */
    VMARENA_VIEW_RANDOM,     /* do not read ahead */
    VMARENA_VIEW_WILL_NEED,  /* read in soon */
    VMARENA_VIEW_DONT_NEED,  /* unmap the whole pages in the range; their private changes are lost (madvise(2)) */
};

/* Tells the system how a range will be used. -EINVAL: no such advice. Does nothing to a copied window. */
VMARENA_API int vmarena_view_advise(struct vmarena_view *view, size_t from, size_t length,
                                    enum vmarena_view_advice advice);

/* Maps a range in now, so that reading it does not fault later. -EFAULT: the file no longer reaches there. */
VMARENA_API int vmarena_view_populate(struct vmarena_view *view, size_t from, size_t length);

/* Keeps a range in memory: mlock(2), munlock(2). -ENOMEM, -EPERM, -EAGAIN: beyond RLIMIT_MEMLOCK, or past the file's end. */
VMARENA_API int vmarena_view_lock(struct vmarena_view *view, size_t from, size_t length);
VMARENA_API int vmarena_view_unlock(struct vmarena_view *view, size_t from, size_t length);

/* As vmarena_on_fault, for a view: the function may bring the file back (ftruncate(2) is async-signal-safe) and retry. */
VMARENA_API int vmarena_view_on_fault(struct vmarena_view *view, vmarena_fault_fn *function, void *arg);

/* Fills *out. -EINVAL: out is NULL. */
VMARENA_API int vmarena_view_info(const struct vmarena_view *view, struct vmarena_view_info *out);

VMARENA_END_DECLS

#endif
