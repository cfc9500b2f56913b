/* SPDX-License-Identifier: MIT */
/* What an arena says of itself, and to whom it reports faults. */
#include "prim/prim.h"

#include <errno.h>

#include "arena/arena.h"
#include "fault/fault.h"

void vmarena_info(const struct vmarena *handle, struct vmarena_stats *out) {
    if (out == NULL) return;
    *out = (struct vmarena_stats){.reserved = 0};
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return;
    uintptr_t base = (uintptr_t)arena->region.base, end = vmarena_arena_end(arena);
    out->reserved = arena->region.size;
    out->committed = arena->ready - base;
    out->used = end - base;
    out->peak = (end > arena->peak ? end : arena->peak) - base;
    out->objects = arena->objects.live;
    out->guard = arena->region.guard;
    out->page_size = arena->page;
    out->prot = arena->region.prot;
    out->flags = arena->options.flags;
    out->huge_asked = arena->options.huge;
    out->huge_obtained = arena->huge;
    out->guard_kind = arena->options.guard_kind;
    out->commit_policy = arena->options.commit_policy;
    out->named = arena->named;
    out->sealed = arena->sealed;
    out->annotated = arena->annotated;
}

void vmarena_stats(const struct vmarena *handle, struct vmarena_stats *out) {
    vmarena_info(handle, out);
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (out == NULL || arena == NULL) return;
    (void)vmarena_prim_residency(arena->region.base, arena->region.size, &out->resident, &out->huge);
}

bool vmarena_owns(const struct vmarena *handle, const void *address) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    return arena != NULL && vmarena_region_spans(&arena->region, (uintptr_t)address);
}

int vmarena_check(const struct vmarena *handle) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    return vmarena_arena_is_fenced(arena) ? vmarena_fenced_check(arena) : 0;
}

int vmarena_on_fault(struct vmarena *handle, vmarena_fault_fn *function, void *arg) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    return vmarena_fault_set_repair(&arena->region, function, arg);
}
