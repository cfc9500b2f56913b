/* SPDX-License-Identifier: MIT */
/*
 * Guards by userfaultfd(2), all on one descriptor of the process.
 *
 * The descriptor is the weak part of it. A child of fork(2) inherits it, but there it acts on the parent's memory: a page
 * that the kernel wipes in a child tells whose it is. And a program may close it, as daemons close all descriptors. Then
 * the next call opens another and registers every region on that; until then poisoned pages still fault, and missing
 * ones do not.
 */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

#include <errno.h>

#include "region/registry.h"

static struct {
    enum vmarena_prim_userfault mode;
    _Atomic int fd;
    _Atomic unsigned char *own; /* 1: fd is this process's; wiped in a child. NULL until the first guards are made */
    bool watching;              /* for forks */
    bool ready;                 /* the mode is known */
} shared = {.fd = -1};

static bool is_own(void) { return shared.own != NULL && atomic_load_explicit(shared.own, memory_order_acquire) != 0; }

/* ---- the descriptor -------------------------------------------------------------------------------------------------- */

/* -EBUSY: the region is registered on a descriptor that still stands. */
static int register_region(int fd, const struct vmarena_region *region) {
    return vmarena_prim_userfault_register(fd, shared.mode, region->base, region->size);
}

/* Registers all regions anew. Only what says that nothing was lost is an error: of what fails, the next call tells. */
static int register_all(int fd, bool in_child) {
    uintptr_t at = 0;
    for (struct vmarena_region *region; (region = vmarena_registry_next(at, 1)) != NULL;) {
        at = (uintptr_t)region->outer + region->outer_size - 1;
        /* What lies there in the child is not ours. */
        if (in_child && region->absent_in_child) region->userfault = false;
        if (region->userfault && register_region(fd, region) == -EBUSY) return -EBUSY;
    }
    return 0;
}

/* Opens a descriptor for this process in place of `old`, which is not ours or is no more. Under the global lock. */
static int replace_descriptor(int old, bool in_child) {
    if (atomic_load_explicit(&shared.fd, memory_order_relaxed) != old) return 0; /* another thread did */
    int fd = vmarena_prim_userfault_open(shared.mode);
    if (fd < 0) return fd;
    int error = register_all(fd, in_child);
    if (error != 0) {
        vmarena_prim_file_close(fd);
        return error;
    }
    atomic_store_explicit(&shared.fd, fd, memory_order_relaxed);
    atomic_store_explicit(shared.own, 1, memory_order_release);
    return 0;
}

/* The number of the old descriptor is left alone: in a child it may be closed, but after a program closed ours the number
 * may be another file's. */
static int renew_descriptor(int old, bool in_child) {
    (void)vmarena_prim_global_lock(); /* cannot fail: a region was added under it */
    int error = in_child && is_own() ? 0 : replace_descriptor(old, in_child);
    vmarena_prim_global_unlock();
    return error;
}

static int descriptor(void) {
    int fd = atomic_load_explicit(&shared.fd, memory_order_relaxed);
    if (is_own()) return fd;
    int error = renew_descriptor(fd, true);
    return error != 0 ? error : atomic_load_explicit(&shared.fd, memory_order_relaxed);
}

typedef int operation(int fd, void *address, size_t size);

static int operate(operation *function, struct vmarena_prim_range run) {
    int fd = descriptor();
    if (fd < 0) return fd;
    int error = function(fd, run.address, run.size);
    if (error == 0 || error == -EEXIST || error == -ENOMEM) return error;
    if (renew_descriptor(fd, false) != 0) return error;
    fd = descriptor();
    return fd < 0 ? fd : function(fd, run.address, run.size);
}

/* Missing pages would come as zeroes to whoever touches them first: before anything else in the child may. */
static void after_fork_in_child(void) {
    if (shared.mode == VMARENA_PRIM_USERFAULT_MISSING) (void)descriptor();
}

/* ---- the back end ---------------------------------------------------------------------------------------------------- */

/* A page may come between the two calls, if another thread touches it; then it is discarded, too. A thread that always
 * comes in between is not waited for. */
#define TRIES 64

static int close_one(struct vmarena_guards *guards, struct vmarena_prim_range run, const char **call) {
    int error = -EEXIST;
    for (int i = 0; i < TRIES && error == -EEXIST; i++) {
        *call = "madvise(MADV_DONTNEED)";
        error = vmarena_guard_discard(guards, run);
        if (error != 0 || shared.mode == VMARENA_PRIM_USERFAULT_MISSING) return error;
        *call = "ioctl(UFFDIO_POISON)";
        error = operate(vmarena_prim_userfault_poison, run);
    }
    return error;
}

static int userfault_close(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    int error = 0;
    for (size_t i = 0; i < runs.count && error == 0; i++) error = close_one(guards, runs.first[i], call);
    return error;
}

/* Pages that are there already were open, or came while the descriptor was closed. */
static int open_missing(struct vmarena_guards *guards, struct vmarena_prim_range run) {
    int error = operate(vmarena_prim_userfault_populate, run);
    if (error != -EEXIST) return error;
    error = vmarena_guard_discard(guards, run);
    return error != 0 ? error : operate(vmarena_prim_userfault_populate, run);
}

static int userfault_open(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    bool poison = shared.mode == VMARENA_PRIM_USERFAULT_POISON;
    int error = 0;
    *call = poison ? "madvise(MADV_DONTNEED)" : "ioctl(UFFDIO_COPY)";
    for (size_t i = 0; i < runs.count && error == 0; i++)
        error = poison ? vmarena_guard_discard(guards, runs.first[i]) : open_missing(guards, runs.first[i]);
    return error;
}

static int userfault_cover(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call) {
    int error = userfault_close(guards, (struct vmarena_guard_runs){&fresh, 1}, call);
    return error != 0 ? error : vmarena_guard_commit(guards, fresh, call);
}

/* ---- trying it ------------------------------------------------------------------------------------------------------- */

static int make_own_page(void) {
    void *page;
    size_t size = vmarena_prim_page_size();
    int error = vmarena_prim_map(&page, size, size, VMARENA_READ | VMARENA_WRITE, true);
    if (error != 0) return error;
    error = vmarena_prim_advise(page, size, VMARENA_PRIM_WIPE_ON_FORK);
    if (error == 0) shared.own = page;
    else (void)vmarena_prim_unmap(page, size);
    return error;
}

/* Registers the region and makes one guard in it, which stays: the page is to be covered anyway. */
static int try_mode(const struct vmarena_region *region, enum vmarena_prim_userfault mode) {
    int fd = vmarena_prim_userfault_open(mode);
    if (fd < 0) return fd;
    int error = vmarena_prim_userfault_register(fd, mode, region->base, region->size);
    if (error == 0 && mode == VMARENA_PRIM_USERFAULT_POISON)
        error = vmarena_prim_userfault_poison(fd, region->base, vmarena_prim_page_size());
    if (error != 0) {
        vmarena_prim_file_close(fd); /* which ends the registration */
        return error;
    }
    shared.mode = mode;
    atomic_store_explicit(&shared.fd, fd, memory_order_relaxed);
    atomic_store_explicit(shared.own, 1, memory_order_release);
    return 0;
}

/* The first guards of the process decide the mode. */
static int register_first(const struct vmarena_region *region) {
    int error = shared.own == NULL ? make_own_page() : 0;
    if (error == 0 && !shared.watching) {
        error = vmarena_prim_at_fork(NULL, NULL, after_fork_in_child);
        shared.watching = error == 0;
    }
    if (error != 0) return error;
    error = try_mode(region, VMARENA_PRIM_USERFAULT_POISON);
    if (error != 0) error = try_mode(region, VMARENA_PRIM_USERFAULT_MISSING);
    shared.ready = error == 0;
    return error;
}

static int register_next(const struct vmarena_region *region) {
    int fd = atomic_load_explicit(&shared.fd, memory_order_relaxed);
    int error = is_own() ? register_region(fd, region) : -EBADF;
    if (error == 0) return 0;
    error = replace_descriptor(fd, !is_own());
    return error != 0 ? error : register_region(atomic_load_explicit(&shared.fd, memory_order_relaxed), region);
}

static bool userfault_works(struct vmarena_guards *guards) {
    struct vmarena_region *region = guards->region;
    if (guards->flags & (VMARENA_GUARDS_LOCKED | VMARENA_GUARDS_WIPED)) return false;
    /* What mlockall(2) has locked cannot be given back, and that is how pages are closed. */
    if (vmarena_prim_discard(region->base, vmarena_prim_page_size()) != 0) return false;
    (void)vmarena_prim_global_lock(); /* cannot fail: a region was added under it */
    int error = shared.ready ? register_next(region) : register_first(region);
    if (error == 0) region->userfault = true;
    vmarena_prim_global_unlock();
    return error == 0;
}

const struct vmarena_guard_back_end vmarena_guard_userfault = {userfault_works, userfault_cover, userfault_open,
                                                               userfault_close};
