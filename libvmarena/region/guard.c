/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

#include <errno.h>

#include "base/error.h"

static void note(_Atomic bool *fact) { atomic_store_explicit(fact, true, memory_order_relaxed); }

/* ---- markers --------------------------------------------------------------------------------------------------------- */

/* Unlocks the whole region: that one page was locked does not say which others are. */
static bool unlock_region(struct vmarena_guards *guards) {
    const struct vmarena_region *region = guards->region;
    if ((guards->flags & VMARENA_GUARDS_MAY_UNLOCK) == 0) return false;
    if (vmarena_prim_unlock(region->base, region->size) != 0) return false;
    note(&guards->unlocked);
    return true;
}

VMARENA_HOT static int marker_close(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    *call = "madvise(MADV_GUARD_INSTALL)";
    int error = vmarena_prim_guard_install_many(runs.first, runs.count);
    /* EINVAL: locked memory takes no marker. */
    if (error == -EINVAL && unlock_region(guards)) error = vmarena_prim_guard_install_many(runs.first, runs.count);
    return error;
}

VMARENA_HOT static int marker_open(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    (void)guards;
    *call = "madvise(MADV_GUARD_REMOVE)";
    return vmarena_prim_guard_remove_many(runs.first, runs.count);
}

int vmarena_guard_commit(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call) {
    struct vmarena_region *region = guards->region;
    *call = "mprotect";
    int error = vmarena_prim_protect(fresh.address, fresh.size, region->prot);
    if (error == 0) region->committed = guards->covered + fresh.size;
    return error;
}

/* The markers come first, so that no page is accessible in between. */
static int marker_cover(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call) {
    int error = marker_close(guards, (struct vmarena_guard_runs){&fresh, 1}, call);
    if (error != 0) return error;
    return vmarena_guard_commit(guards, fresh, call);
}

static bool marker_works(struct vmarena_guards *guards) {
    if (guards->flags & (VMARENA_GUARDS_LOCKED | VMARENA_GUARDS_WIPED)) return false;
    if (!vmarena_prim_has_guard_markers()) return false;
    /* Memory that mlockall(2) has locked refuses them. The marker stays: the page is to be covered anyway. */
    struct vmarena_prim_range first = {guards->region->base, vmarena_prim_page_size()};
    const char *call;
    return marker_close(guards, (struct vmarena_guard_runs){&first, 1}, &call) == 0;
}

/* ---- protection ------------------------------------------------------------------------------------------------------ */

int vmarena_guard_discard(struct vmarena_guards *guards, struct vmarena_prim_range run) {
    if (guards->flags & VMARENA_GUARDS_LOCKED) (void)vmarena_prim_unlock(run.address, run.size);
    int error = vmarena_prim_discard(run.address, run.size);
    if (error == 0 || (guards->flags & VMARENA_GUARDS_MAY_UNLOCK) == 0) return error;
    if (vmarena_prim_unlock(run.address, run.size) != 0) return error;
    note(&guards->unlocked);
    return vmarena_prim_discard(run.address, run.size);
}

static int protect_close(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    *call = "mprotect";
    for (size_t i = 0; i < runs.count; i++) {
        int error = vmarena_prim_protect(runs.first[i].address, runs.first[i].size, VMARENA_NONE);
        if (error != 0) return error;
        if (vmarena_guard_discard(guards, runs.first[i]) != 0) note(&guards->kept); /* inaccessible all the same */
    }
    return 0;
}

static int open_one(const struct vmarena_guards *guards, struct vmarena_prim_range run, const char **call) {
    *call = "mprotect";
    int error = vmarena_prim_protect(run.address, run.size, guards->region->prot);
    if (error != 0 || (guards->flags & VMARENA_GUARDS_LOCKED) == 0) return error;
    *call = "mlock (RLIMIT_MEMLOCK may be too low)";
    return vmarena_prim_lock(run.address, run.size);
}

static int protect_open(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    int error = 0;
    for (size_t i = 0; i < runs.count && error == 0; i++) error = open_one(guards, runs.first[i], call);
    return error;
}

/*
 * Nothing to do for the faults: what is reserved is inaccessible. But Linux merges a mapping that was written to with a
 * neighbour only if both share one reverse map (struct anon_vma), and a mapping takes over its neighbour's at its first
 * write. One write to each fresh range gives the whole region one reverse map.
 */
static int protect_cover(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call) {
    if ((guards->flags & VMARENA_GUARDS_REUSED) == 0) return 0;
    *call = "mprotect";
    int error = vmarena_prim_protect(fresh.address, fresh.size, VMARENA_READ | VMARENA_WRITE);
    if (error != 0) return error;
    *(volatile char *)fresh.address = 0;
    return protect_close(guards, (struct vmarena_guard_runs){&fresh, 1}, call);
}

static bool protect_works(struct vmarena_guards *guards) { return (void)guards, true; }

/* ---- the interface --------------------------------------------------------------------------------------------------- */

static const struct vmarena_guard_back_end marker = {marker_works, marker_cover, marker_open, marker_close};
static const struct vmarena_guard_back_end protect = {protect_works, protect_cover, protect_open, protect_close};

static const struct vmarena_guard_back_end *const back_ends[] = {
    [VMARENA_GUARD_MARKER] = &marker,
    [VMARENA_GUARD_PROTECT] = &protect,
    [VMARENA_GUARD_USERFAULT] = &vmarena_guard_userfault,
};

int vmarena_guards_init(struct vmarena_guards *guards, struct vmarena_region *region, enum vmarena_guard_kind kind,
                        unsigned flags) {
    static const enum vmarena_guard_kind preferred[] = {VMARENA_GUARD_MARKER, VMARENA_GUARD_USERFAULT,
                                                        VMARENA_GUARD_PROTECT};
    *guards = (struct vmarena_guards){.region = region, .flags = flags};
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        if (kind != VMARENA_GUARD_AUTO && kind != preferred[i]) continue;
        guards->kind = preferred[i];
        if (back_ends[guards->kind]->works(guards)) return 0;
    }
    return vmarena_fail(-EOPNOTSUPP,
                        "guards by %s do not work here, or not in this memory (is it locked, or wiped in "
                        "children?)",
                        kind == VMARENA_GUARD_MARKER ? "markers" : "userfaultfd");
}

int vmarena_guards_cover(struct vmarena_guards *guards, size_t bytes) {
    if (bytes <= guards->covered) return 0;
    struct vmarena_prim_range fresh = {guards->region->base + guards->covered, bytes - guards->covered};
    const char *call;
    int error = back_ends[guards->kind]->cover(guards, fresh, &call);
    if (error != 0) return vmarena_fail_call(error, call, fresh.size);
    guards->covered = bytes;
    return 0;
}

static size_t total(struct vmarena_guard_runs runs) {
    size_t size = 0;
    for (size_t i = 0; i < runs.count; i++) size += runs.first[i].size;
    return size;
}

VMARENA_HOT int vmarena_guards_open_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs,
                                         size_t count) {
    const struct vmarena_guard_back_end *back_end = back_ends[guards->kind];
    struct vmarena_guard_runs all = {runs, count};
    const char *call, *ignored;
    int error = back_end->open(guards, all, &call);
    if (error == 0) return 0;
    (void)back_end->close(guards, all, &ignored);
    return vmarena_fail_call(error, call, total(all));
}

VMARENA_HOT int vmarena_guards_close_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs,
                                          size_t count) {
    struct vmarena_guard_runs all = {runs, count};
    const char *call;
    int error = back_ends[guards->kind]->close(guards, all, &call);
    return error == 0 ? 0 : vmarena_fail_call(error, call, total(all));
}

VMARENA_HOT int vmarena_guards_open(struct vmarena_guards *guards, uintptr_t start, size_t size) {
    struct vmarena_prim_range run = {(void *)start, size};
    return size == 0 ? 0 : vmarena_guards_open_many(guards, &run, 1);
}

VMARENA_HOT int vmarena_guards_close(struct vmarena_guards *guards, uintptr_t start, size_t size) {
    struct vmarena_prim_range run = {(void *)start, size};
    return size == 0 ? 0 : vmarena_guards_close_many(guards, &run, 1);
}
