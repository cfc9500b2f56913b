/* SPDX-License-Identifier: MIT */
/* Guards by protection, which work everywhere and spend map entries: a closed page is PROT_NONE. */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

static int protect_close(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call) {
    *call = "mprotect";
    for (size_t i = 0; i < runs.count; i++) {
        int error = vmarena_prim_protect(runs.first[i].address, runs.first[i].size, VMARENA_NONE);
        if (error != 0) return error;
        if (vmarena_guard_discard(guards, runs.first[i]) != 0)
            vmarena_guard_note(&guards->kept); /* inaccessible all the same */
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

const struct vmarena_guard_back_end vmarena_guard_protect = {protect_works, protect_cover, protect_open, protect_close};
