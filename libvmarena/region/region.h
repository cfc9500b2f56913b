/* SPDX-License-Identifier: MIT */
/*
 * A region: one reservation of address space, with PROT_NONE guards at both edges, entered in the registry.
 *
 *      outer ─► guard │ base ... committed ... │ reserved ... size │ guard ◄─ outer + outer_size
 *
 * Its owner (an arena, a heap, a view) tells what an address inside means through one function pointer, so that the
 * fault handler knows no owner by name.
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
 * Fills kind, object, object_size and distance (and file_offset) of a fault whose signal and address are known. Called
 * in the signal handler: reads memory that never goes away, takes no lock, allocates nothing. Other threads may be
 * changing the owner at that moment: the answer may then be old, but the function must not fail.
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
    size_t committed;          /* bytes from base on that are accessible (by prot) */
    unsigned prot;             /* of the committed part */
    bool has_range_protection; /* a part of it may have another: see ranges.h */
    enum vmarena_commit_policy policy;
    const void *owner; /* the public handle, for scopes that claim one owner */
    vmarena_attribute_fn *attribute;
    vmarena_history_fn *history;         /* NULL: the owner knows nothing more */
    enum vmarena_owner kind;             /* of the owner, for inspect.h */
    const _Atomic size_t *objects;       /* how many live objects the owner counts; NULL: it does not */
    struct vmarena_fault_hook repair;    /* may make an access legal, which is then tried again */
    const struct vmarena_region *parent; /* whose repair function serves this one, too; NULL: its own */
    _Atomic(vmarena_fault_fn *) watch;   /* asked before anything else, without kind and object; true: try again */
    void *watch_arg;
    char name[VMARENA_NAME_SIZE];
    size_t entry;         /* 1 + its number in the shared table; 0: none */
    bool userfault;       /* its guards are userfaultfd's; under the global lock */
    bool absent_in_child; /* MADV_DONTFORK */
};

/* What a reservation is to be; sizes in bytes, whole pages. */
struct vmarena_region_plan {
    size_t size, align, guard;
    enum vmarena_commit_policy policy; /* not AUTO */
};

/*
 * Reserves and registers. *region, in memory that is never unmapped, has owner, explain and name set by the caller
 * before. All of it readable and writable under NORESERVE, nothing committed under PROTECT. Errors are explained.
 */
int vmarena_region_reserve(struct vmarena_region *region, const struct vmarena_region_plan *plan);

/* Takes it out of the registry and unmaps it; where it cannot be unmapped (sealed), it stays mapped and forgotten. */
void vmarena_region_release(struct vmarena_region *region);

/* Commits up to `bytes` from base (more than is already), with the region's protection. */
int vmarena_region_commit(struct vmarena_region *region, size_t bytes);

/* Changes the protection of the whole committed part, and of what is committed later. */
int vmarena_region_protect(struct vmarena_region *region, unsigned prot);

/* Whether [address, address + length) lies in [base, base + size). */
bool vmarena_region_holds(const struct vmarena_region *region, const void *address, size_t length);

/* Whether address lies in the reservation, edges included. */
static inline bool vmarena_region_spans(const struct vmarena_region *region, uintptr_t address) {
    return address - (uintptr_t)region->outer < region->outer_size;
}

#endif
