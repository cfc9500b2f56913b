/* SPDX-License-Identifier: MIT */
/* Guards by markers in the page table: MADV_GUARD_INSTALL, Linux 6.13. */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

#include <errno.h>

/* Unlocks the whole region: that one page was locked does not say which others are. */
static bool unlock_region(struct vmarena_guards *guards) {
    const struct vmarena_region *region = guards->region;
    if ((guards->flags & VMARENA_GUARDS_MAY_UNLOCK) == 0) return false;
    if (vmarena_prim_unlock(region->base, region->size) != 0) return false;
    vmarena_guard_note(&guards->unlocked);
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

const struct vmarena_guard_back_end vmarena_guard_marker = {marker_works, marker_cover, marker_open, marker_close};
