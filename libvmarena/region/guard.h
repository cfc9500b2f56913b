/* SPDX-License-Identifier: MIT */
/*
 * Guards inside a region, whichever way this system can make them. The owner of a region says what it wants: usable
 * address space in which every page faults, a run of pages opened, a run of pages closed. How that is done is the back
 * end's affair:
 *
 *      MARKER     a closed page holds a guard marker (MADV_GUARD_INSTALL, Linux 6.13) below the region's protection
 *      USERFAULT  a closed page is poisoned, or missing, in a range registered with userfaultfd(2): SIGBUS
 *      PROTECT    a closed page is PROT_NONE
 *
 * Addresses and sizes are whole pages. Functions return 0 or a negative errno, explained; what they say about a run
 * holds for the run only, so that threads may open and close different runs at the same time.
 */
#ifndef VMARENA_GUARD_H
#define VMARENA_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/prim.h"
#include "region/region.h"

enum {
    /* Open pages are locked in memory (mlock(2)), and unlocked when they are closed. Excludes markers, which locked
     * memory refuses (madvise(2)). */
    VMARENA_GUARDS_LOCKED = 1u << 0,
    /* The memory is wiped in a child of fork (MADV_WIPEONFORK), its markers included. Excludes markers. */
    VMARENA_GUARDS_WIPED = 1u << 1,
    /* Memory that somebody else locked is unlocked if it cannot be closed, or given back, otherwise. */
    VMARENA_GUARDS_MAY_UNLOCK = 1u << 2,
    /* Runs are opened and closed in any order for ever: closed ones must merge again into one map entry. */
    VMARENA_GUARDS_REUSED = 1u << 3,
};

struct vmarena_guards {
    struct vmarena_region *region;
    enum vmarena_guard_kind kind; /* obtained: not AUTO */
    unsigned flags;
    size_t covered;        /* bytes from the region's base on that vmarena_guards_cover has made usable */
    _Atomic bool unlocked; /* memory was unlocked that somebody else had locked */
    _Atomic bool kept;     /* memory could not be given back when it was closed: opened again, it is not zero */
};

/*
 * Chooses the back end by trying it on this very memory. The region is reserved under VMARENA_COMMIT_PROTECT, with
 * nothing of it committed. -EOPNOTSUPP: the kind asked for does not work here, or not with these flags.
 */
int vmarena_guards_init(struct vmarena_guards *guards, struct vmarena_region *region, enum vmarena_guard_kind kind,
                        unsigned flags);

/*
 * Makes the region usable up to `bytes` from its base: each page faults until it is opened. A failure leaves what lies
 * above guards->covered inaccessible. One thread at a time.
 */
int vmarena_guards_cover(struct vmarena_guards *guards, size_t bytes);

/* Opens a run: its pages are zero (but see `kept`) and have the region's protection. A failure leaves it closed. */
int vmarena_guards_open(struct vmarena_guards *guards, uintptr_t start, size_t size);

/* Closes a run: its contents are dropped and every access faults. A run that is closed may be closed again. A failure
 * of one call leaves the run as it was; where a back end needs several, the run may be closed in part. */
int vmarena_guards_close(struct vmarena_guards *guards, uintptr_t start, size_t size);

/*
 * The same for many runs, in as few system calls as the back end knows. If opening fails, all are closed; if closing
 * fails, some may be closed already, and the caller may try again.
 */
int vmarena_guards_open_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs, size_t count);
int vmarena_guards_close_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs, size_t count);

/*
 * Whether a closed page is closed by its protection: whoever changes the protection of a range must then leave closed
 * pages out. Otherwise one mprotect(2) may run over open and closed pages alike.
 */
static inline bool vmarena_guards_are_protection(const struct vmarena_guards *guards) {
    return guards->kind == VMARENA_GUARD_PROTECT;
}

#endif
