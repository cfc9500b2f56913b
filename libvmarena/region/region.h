/* SPDX-License-Identifier: MIT */
/*
 * A region: one reservation of address space, with PROT_NONE guards at both edges, entered in the registry.
 *
 *      outer ─► guard │ base ... committed ... │ reserved ... size │ guard ◄─ outer + outer_size
 *
 * Its owner (an arena, a heap, a view) says through a function pointer what an address inside means, so that the fault
 * handler need not know any owner by name.
 */
#ifndef VMARENA_REGION_H
#define VMARENA_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "region/fault_hook.h"
#include "vmarena/arena.h"
#include "vmarena/fault.h"
#include "vmarena/inspect.h"

#define VMARENA_NAME_SIZE 32

struct vmarena_region;

/*
 * Fills in kind, object, object_size and distance (and file_offset) of a fault whose signal and address are known. Runs in
 * the signal handler, with a copy of the region: it may read only memory that is never unmapped, and must not lock or
 * allocate. Other threads may change the owner at that moment: then the answer may be out of date, but the function must
 * not fail.
 */
typedef void vmarena_attribute_fn(const struct vmarena_region *region, struct vmarena_fault *fault);

/*
 * Adds what the owner knows of the object of an attributed fault: lines that start with two spaces and end with a newline.
 * Called in the signal handler, as the function above.
 */
typedef void vmarena_history_fn(const void *owner, const struct vmarena_fault *fault, struct vmarena_text *text);

struct vmarena_region {
    char *base;  /* the usable part */
    size_t size; /* its bytes */
    char *outer; /* with the guards at the edges */
    size_t outer_size;
    size_t guard;              /* bytes of each guard */
    _Atomic size_t committed;  /* bytes from base on that are accessible (by prot); handlers of other threads read it */
    unsigned prot;             /* of the committed part */
    bool has_range_protection; /* a part of it may have another: see ranges.h */
    enum vmarena_commit_policy policy;
    const void *owner; /* the public handle; a scope may claim the faults of one owner */
    vmarena_attribute_fn *attribute;
    vmarena_history_fn *history;         /* NULL: the owner knows nothing more */
    enum vmarena_owner kind;             /* of the owner, for inspect.h */
    const _Atomic size_t *objects;       /* the owner's count of live objects; NULL: it does not count them */
    struct vmarena_fault_hook repair;    /* may make an access legal, which is then tried again */
    const struct vmarena_region *parent; /* whose repair function serves this one, too; NULL: its own */
    _Atomic(vmarena_fault_fn *) watch;   /* asked before anything else, without kind and object; true: try again */
    void *watch_arg;
    char name[VMARENA_NAME_SIZE];
    size_t entry;         /* 1 + its number in the shared table; 0: none */
    bool userfault;       /* its guards are userfaultfd's; under the global lock */
    bool absent_in_child; /* MADV_DONTFORK, for a part of base..size at least */
    unsigned generation;  /* of the process that reserved it (vmarena_prim_fork_generation) */
};

/* What to reserve. Sizes are in bytes and whole pages. */
struct vmarena_region_plan {
    size_t size, align, guard;
    enum vmarena_commit_policy policy; /* not AUTO */
};

/*
 * Reserves address space and registers it. *region lies in memory that is never unmapped, and the caller has set its owner,
 * attribute, kind and name. Under NORESERVE all of it becomes readable and writable, under PROTECT nothing is committed.
 * Errors are explained.
 */
int vmarena_region_reserve(struct vmarena_region *region, const struct vmarena_region_plan *plan);

/*
 * Removes the region from the registry, then unmaps it. If it cannot be unmapped (it is sealed), it stays mapped. Of a region
 * that is absent only the guards are unmapped: what lies between them is not ours.
 */
void vmarena_region_release(struct vmarena_region *region);

/* Commits the first `bytes` from base on, more than are committed already, with the region's protection. */
int vmarena_region_commit(struct vmarena_region *region, size_t bytes);

/* Changes the protection of the whole committed part and of what will be committed later. */
int vmarena_region_protect(struct vmarena_region *region, unsigned prot);

/* Whether this process is a child, or a child's child, of the one that the region's memory was kept to (VMARENA_DONT_FORK):
 * anybody may have mapped something in its place. Signal-safe. */
bool vmarena_region_is_absent(const struct vmarena_region *region);

/* Whether [address, address + length) lies in [base, base + size). */
bool vmarena_region_holds(const struct vmarena_region *region, const void *address, size_t length);

/* Whether address lies in the reservation, edges included. */
static inline bool vmarena_region_spans(const struct vmarena_region *region, uintptr_t address) {
    return address - (uintptr_t)region->outer < region->outer_size;
}

#endif
