/* SPDX-License-Identifier: MIT */
/* What the guards' interface and its back ends share. */
#ifndef VMARENA_GUARD_BACK_ENDS_H
#define VMARENA_GUARD_BACK_ENDS_H

#include "region/guard.h"

struct vmarena_guard_runs {
    const struct vmarena_prim_range *first;
    size_t count;
};

/* All but works() set *call to the system call that failed; none explains. */
struct vmarena_guard_back_end {
    bool (*works)(struct vmarena_guards *guards);
    int (*cover)(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call);
    int (*open)(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call);
    int (*close)(struct vmarena_guards *guards, struct vmarena_guard_runs runs, const char **call);
};

extern const struct vmarena_guard_back_end vmarena_guard_marker, vmarena_guard_protect, vmarena_guard_userfault;

static inline void vmarena_guard_note(_Atomic bool *fact) { atomic_store_explicit(fact, true, memory_order_relaxed); }

/* Gives memory back. Locked memory refuses (-EINVAL): it stays as it is if it may not be unlocked. */
int vmarena_guard_discard(struct vmarena_guards *guards, struct vmarena_prim_range run);

/* Makes what was covered usable with the region's protection, now that its pages fault by themselves. */
int vmarena_guard_commit(struct vmarena_guards *guards, struct vmarena_prim_range fresh, const char **call);

#endif
