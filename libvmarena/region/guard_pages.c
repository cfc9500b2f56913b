/* SPDX-License-Identifier: MIT */
/* What more than one back end of the guards does with pages. */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

int vmarena_guard_discard(struct vmarena_guards *guards, struct vmarena_prim_range run) {
    if (guards->flags & VMARENA_GUARDS_LOCKED) (void)vmarena_prim_unlock(run.address, run.size);
    int error = vmarena_prim_discard(run.address, run.size);
    if (error == 0 || (guards->flags & VMARENA_GUARDS_MAY_UNLOCK) == 0) return error;
    if (vmarena_prim_unlock(run.address, run.size) != 0) return error;
    vmarena_guard_note(&guards->unlocked);
    return vmarena_prim_discard(run.address, run.size);
}

int vmarena_guard_commit(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call) {
    struct vmarena_region *region = guards->region;
    *call = "mprotect";
    int error = vmarena_prim_protect(fresh.address, fresh.size, region->prot);
    if (error == 0) region->committed = guards->covered + fresh.size;
    return error;
}
