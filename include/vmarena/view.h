/* SPDX-License-Identifier: MIT */
/*
 * Views: a file, or a window of it, as memory between two guards. Reading past the window, writing to a read-only view, and
 * touching a part that has been cut off the file are faults that fault.h catches and describes.
 *
 *      guard │ view->data ........ window ........ view->size │ rest of the last page │ guard
 *     ───────┼────────────────────────────────────────────────┼───────────────────────┼───────
 *     faults │ bytes of the file from view->offset on         │ see below             │ faults
 *
 * The rest of the last page does not fault: past the end of the file it reads as zero, elsewhere it shows the bytes that
 * follow in the file (mmap(2)). So an overrun of less than a page may go unseen. With options.fence = VMARENA_FENCE_END the
 * window's end lies flush against the guard, with VMARENA_FENCE_START its beginning. If the window does not end (begin) at a
 * page boundary of the file, that takes a private copy of it, read when the view is opened (view info: copied).
 *
 * When the file shrinks under a view, touching a page that lies wholly past its new end raises SIGBUS: a fault of kind
 * VMARENA_FAULT_PAST_END_OF_FILE, with the offset in the file and the file's name. A read error of the device looks the
 * same, and so does a full device when a hole in the file is written to. This also holds for copy-on-write views, including
 * pages that were already changed: truncation removes them (mmap(2), truncate(2)). When the file grows again, access works
 * again, and the bytes are the file's.
 *
 * Common to all functions here:
 * - A view has one owner at a time: calls on one view must not overlap. Any thread may read its memory meanwhile, but not
 *   during vmarena_view_move() and vmarena_view_close().
 * - None is safe in a signal handler.
 * - Ranges are given in bytes from view->data on; length 0 means everything from `from` on. They need no alignment.
 *   -ERANGE everywhere: the range leaves the window.
 * - Functions that return int return 0 or a negative errno. On an error nothing has changed, and vmarena_explain() returns
 *   a sentence with the reason. -EBADF everywhere: the handle is NULL, or the view was closed.
 * - In a child of fork(2) a view is the same file at the same place; a COPY_ON_WRITE view goes its own way there. With
 *   VMARENA_DONT_FORK the view is absent: the child may close it, and everything else returns -EBADF.
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
        fence;              /* the end of the window that is to lie flush against a guard; SHARED: at page ends only */
    enum vmarena_huge huge; /* VMARENA_HUGE_TRANSPARENT: ask for huge pages (tmpfs, and file systems that have them) */
    unsigned flags;         /* VMARENA_LOCK, VMARENA_PREFAULT, VMARENA_DONT_DUMP, VMARENA_DONT_FORK, as in arena.h */
    uint64_t offset;        /* of the window in the file, any byte */
    size_t length;          /* of the window; 0: up to the end of the file */
    size_t guard;           /* width of each guard, rounded up to pages; 0: one page */
    const char *name; /* for fault descriptions, cut to 31 bytes; NULL: the path, or its last part if it is long */
};

/* A view. Only read the members; vmarena_view_move() changes them. */
struct vmarena_view {
    void *data;      /* the window's first byte */
    size_t size;     /* its bytes */
    uint64_t offset; /* of the first byte in the file */
};

struct vmarena_view_info {
    enum vmarena_view_mode mode;
    enum vmarena_huge huge_asked, huge_obtained; /* obtained: the advice was taken; `huge` is what the kernel gave */
    uint64_t file_size;                          /* now, in bytes */
    size_t capacity;                             /* the longest window that the view can show, at any offset */
    size_t resident;   /* bytes of the window's pages mapped in now; 0 if the kernel does not say */
    size_t huge;       /* of these, bytes on huge pages */
    size_t guard;      /* bytes of each guard, without the room that the window leaves free */
    size_t tail;       /* bytes after the window that do not fault */
    bool copied;       /* the window is a private copy, see above: it does not show later changes of the file */
    uint64_t spare[4]; /* 0: room for later versions */
};

/*
 * Opens a whole file. *out is written only on success; free it with vmarena_view_close(). Errors: those of open(2) (-ENOENT,
 * -EACCES, ...); -EISDIR: a directory; -ENODEV: not a regular file (a device, FIFO or socket), a file on hugetlbfs, or a file
 * system that cannot map files; -ENODATA: the file is empty; -EAGAIN: the file shrank while it was opened, or VMARENA_LOCK
 * exceeds RLIMIT_MEMLOCK; -EACCES: the descriptor is not open for reading, or not for writing as SHARED needs; -EPERM: the
 * file is sealed (fcntl(2)), or VMARENA_LOCK is not permitted; -EOVERFLOW, -ENOMEM: the file exceeds the address space or
 * memory; -EINVAL: a mode, option or flag has no such value.
 */
VMARENA_API int vmarena_view_open(struct vmarena_view **out, const char *path, enum vmarena_view_mode mode);

/*
 * The same with options. -ERANGE: the window leaves the file as it is now. -EOPNOTSUPP: the fence would take a copy of the
 * window, which a SHARED view cannot be; or the system refuses a flag for this memory.
 */
VMARENA_API int vmarena_view_open_with(struct vmarena_view **out, const char *path,
                                       const struct vmarena_view_options *options);

/*
 * The same for an open descriptor, which is duplicated and stays the caller's. options may be NULL. As any close(2) of the
 * file does, vmarena_view_close() releases the process's fcntl(2) record locks on it.
 */
VMARENA_API int vmarena_view_open_fd(struct vmarena_view **out, int fd, const struct vmarena_view_options *options);

/* Unmaps the view. view may be NULL; a second call with the same handle is ignored. Data written to a SHARED view stays in
 * the file. */
VMARENA_API void vmarena_view_close(struct vmarena_view *view);

/*
 * Shows another part of the file in the same address space: `length` bytes from offset on, or fewer if the file ends
 * before; 0 means as many as the view has room for. Changes made in a COPY_ON_WRITE view are lost. view->data may change,
 * and by less than a page. -ERANGE: offset is at or past the end of the file, or length exceeds the view's capacity.
 * -EAGAIN: the file shrank meanwhile. If there is no address space for a second window (RLIMIT_AS), a call that fails may
 * also lose changes.
 */
VMARENA_API int vmarena_view_move(struct vmarena_view *view, uint64_t offset, size_t length);

/*
 * Writes the changes in a range of a SHARED view to the device, and waits for that (msync(2), MS_SYNC). In the other modes
 * there is nothing to do, and it returns 0. -EIO, -ENOSPC, ...: errors of the file system.
 */
VMARENA_API int vmarena_view_sync(struct vmarena_view *view, size_t from, size_t length);

enum vmarena_view_advice {
    VMARENA_VIEW_NORMAL,
    VMARENA_VIEW_SEQUENTIAL, /* read ahead far, and drop pages soon after use */
    VMARENA_VIEW_RANDOM,     /* do not read ahead */
    VMARENA_VIEW_WILL_NEED,  /* read in soon */
    VMARENA_VIEW_DONT_NEED,  /* unmap the whole pages in the range; their private changes are lost (madvise(2)) */
};

/* Tells the system how a range will be used. -EINVAL: no such advice. Has no effect on a copied window. */
VMARENA_API int vmarena_view_advise(struct vmarena_view *view, size_t from, size_t length,
                                    enum vmarena_view_advice advice);

/* Maps a range in now, so that reading it causes no page fault later. -EFAULT: the file ends before the range does. No
 * signal is raised, whether the fault handlers are installed or not. */
VMARENA_API int vmarena_view_populate(struct vmarena_view *view, size_t from, size_t length);

/* Lock a range in memory, and unlock it: mlock(2), munlock(2). -ENOMEM, -EPERM, -EAGAIN: RLIMIT_MEMLOCK would be exceeded, or
 * the file ends before the range does. */
VMARENA_API int vmarena_view_lock(struct vmarena_view *view, size_t from, size_t length);
VMARENA_API int vmarena_view_unlock(struct vmarena_view *view, size_t from, size_t length);

/* As vmarena_on_fault, for a view: the function may extend the file again (ftruncate(2) is async-signal-safe) and retry. */
VMARENA_API int vmarena_view_on_fault(struct vmarena_view *view, vmarena_fault_fn *function, void *arg);

/* Fills *out. -EINVAL: out is NULL. */
VMARENA_API int vmarena_view_info(const struct vmarena_view *view, struct vmarena_view_info *out);

VMARENA_END_DECLS

#endif
