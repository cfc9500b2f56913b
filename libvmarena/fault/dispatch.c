/* SPDX-License-Identifier: MIT */
/* Who gets a fault. All of this runs in the signal handler: no lock, no allocation. */
#include "prim/prim.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "fault/fault.h"
#include "region/registry.h"

#define thread vmarena_fault_thread

/* ---- attributing a fault to an object ------------------------------------------------------------------------------------- */

/*
 * Another thread may release the region at any moment, and its record, which is zeroed first, may become another region's.
 * What the owner is asked with is therefore a copy that was complete while the region was registered.
 */
static bool copy_region(struct vmarena_region *copy, const struct vmarena_region *region) {
    /* Only what stays as it is until the release: a copy of all would race with an owner that commits. */
    *copy = (struct vmarena_region){.base = region->base,
                                    .size = region->size,
                                    .outer = region->outer,
                                    .outer_size = region->outer_size,
                                    .guard = region->guard,
                                    .committed = region->committed,
                                    .policy = region->policy,
                                    .owner = region->owner,
                                    .attribute = region->attribute,
                                    .history = region->history,
                                    .kind = region->kind,
                                    .parent = region->parent};
    memcpy(copy->name, region->name, sizeof copy->name);
    return copy->attribute != NULL && copy->owner != NULL && vmarena_registry_find((uintptr_t)copy->outer) == region;
}

static void copy_name(struct vmarena_fault *fault, const struct vmarena_region *region) {
    fault->owner = region->owner;
    for (size_t i = 0; i + 1 < sizeof fault->owner_name && region->name[i] != '\0'; i++)
        fault->owner_name[i] = region->name[i];
}

/* An address farther away than this is not one that strode past a guard: naming a region would mislead (for NULL, say). */
#define NEAREST_LIMIT ((size_t)1 << 30)

static size_t gap(const struct vmarena_region *region, uintptr_t address) {
    uintptr_t start = (uintptr_t)region->outer, end = start + region->outer_size;
    return address < start ? start - address : address - end;
}

static const struct vmarena_region *find_nearest(uintptr_t address) {
    const struct vmarena_region *below = vmarena_registry_next(address, -1), *above = vmarena_registry_next(address, 1);
    const struct vmarena_region *nearest = below;
    if (below == NULL || (above != NULL && gap(above, address) < gap(below, address))) nearest = above;
    return nearest != NULL && gap(nearest, address) <= NEAREST_LIMIT ? nearest : NULL;
}

/* Memory that is not ours: where nothing is mapped, the nearest region of ours is named. */
static void attribute_stray(struct vmarena_fault *fault) {
    struct vmarena_region copy;
    const struct vmarena_region *nearest = find_nearest((uintptr_t)fault->address);
    if (nearest == NULL || !copy_region(&copy, nearest)) return;
    copy.attribute(&copy, fault);
    fault->kind = VMARENA_FAULT_UNMAPPED;
    copy_name(fault, &copy);
}

static void attribute_ours(struct vmarena_fault *fault, const struct vmarena_region *region) {
    struct vmarena_region copy;
    if (!copy_region(&copy, region)) return; /* released meanwhile: the signal's own kind stands */
    copy_name(fault, &copy);
    copy.attribute(&copy, fault);
}

static void attribute(struct vmarena_fault *fault, const struct vmarena_region *region,
                      struct vmarena_handler_state outer) {
    thread.handler = (struct vmarena_handler_state){.attributing = vmarena_prim_frame_address(),
                                                    .repairing = outer.repairing,
                                                    .scope_limit = thread.top,
                                                    .depth = outer.depth + 1};
    fault->kind = vmarena_prim_fault_kind(fault->signo, fault->code);
    if (region != NULL) attribute_ours(fault, region);
    else if (fault->kind == VMARENA_FAULT_UNMAPPED) attribute_stray(fault);
    thread.handler = outer;
}

/* ---- repairing it ------------------------------------------------------------------------------------------------------------ */

/* Faults of the library's own making (dirty tracking by protection): nobody else gets to see them. */
static bool is_watched(const struct vmarena_fault *fault, const struct vmarena_region *region) {
    vmarena_fault_fn *function = atomic_load_explicit(&region->watch, memory_order_acquire);
    return function != NULL && function(fault, region->watch_arg);
}

static bool repair(const struct vmarena_fault *fault, const struct vmarena_region *region,
                   struct vmarena_handler_state outer) {
    vmarena_fault_fn *function;
    void *arg;
    vmarena_fault_hook_get(&(region->parent != NULL ? region->parent : region)->repair, &function, &arg);
    if (function == NULL) return false;
    thread.handler =
        (struct vmarena_handler_state){.repairing = vmarena_prim_frame_address(), .scope_limit = thread.top};
    bool repaired = function(fault, arg);
    thread.handler = outer;
    return repaired;
}

/* ---- the scope that claims it ------------------------------------------------------------------------------------------------ */

static bool claims(const struct vmarena_scope *scope, const struct vmarena_region *region) {
    if (scope->claims == vmarena_claims_any || scope->claims == vmarena_claims_operands) return true;
    if (region == NULL) return false;
    return scope->claims == vmarena_claims_registered || scope->claims == region->owner;
}

/* Returns the innermost scope that claims the fault, looking no further out than `limit`. */
static struct vmarena_scope *find_scope(const struct vmarena_region *region, const struct vmarena_scope *limit) {
    for (struct vmarena_scope *scope = thread.top; scope != NULL && scope != limit; scope = scope->outer)
        if (claims(scope, region)) return scope;
    return NULL;
}

/* Runs after the handler has returned, on the interrupted stack, with the signal mask and floating-point modes that were
 * in force at the fault. */
static void land(void *scope) { siglongjmp(((struct vmarena_scope *)scope)->landing, 1); }

/* Gives the fault to the scope, and closes it before anything else can fault: nobody lands in a scope twice. */
static void leave_for(struct vmarena_scope *scope, const struct vmarena_fault *fault, void *context, int saved_errno) {
    scope->fault = *fault;
    scope->claims = thread.last; /* see scopes.c */
    thread.last = &scope->fault;
    thread.top = scope->outer;
    errno = saved_errno;
    vmarena_prim_leave_handler(context, land, scope, scope->stack);
}

/* ---- the order of it all ------------------------------------------------------------------------------------------------------ */

/* What the thread's handler was doing when this fault interrupted it, if it did: `here` is where its own handler lies on the
 * stack, below what it interrupted. */
static struct vmarena_handler_state interrupted_state(uintptr_t here) {
    struct vmarena_handler_state state = thread.handler;
    if (here >= state.attributing) state.attributing = state.depth = 0;
    if (here >= state.repairing) state.repairing = 0;
    if (state.attributing == 0 && state.repairing == 0) state.scope_limit = NULL;
    return state;
}

/* An access for which the kernel gives no address, in a scope whose body accesses nothing but its operands. */
static bool is_operand(int signo, const siginfo_t *info) {
    const struct vmarena_scope *top = thread.top;
    return top != NULL && top->claims == vmarena_claims_operands &&
           vmarena_prim_fault_is_general_protection(signo, info->si_code);
}

/* A signal handler of the program may interrupt attribution and fault, as at any time. But a fault of attribution itself
 * would recur for ever. */
#define MOST_DEPTH 4

static bool dispatch_fault(int signo, siginfo_t *info, void *context, int saved_errno) {
    struct vmarena_handler_state outer = interrupted_state(vmarena_prim_frame_address());
    if (outer.depth == MOST_DEPTH) return false;
    if (!vmarena_prim_fault_has_address(signo, info) && !is_operand(signo, info)) return false;
    struct vmarena_fault fault;
    vmarena_prim_fault_read(&fault, signo, info, context);
    struct vmarena_region *region = vmarena_registry_find((uintptr_t)fault.address);
    if (region != NULL && vmarena_region_is_absent(region)) region = NULL;
    if (region == NULL && thread.top == NULL) return false;
    if (region != NULL && is_watched(&fault, region)) return true;
    attribute(&fault, region, outer);
    /* A fault in a repair function is not repaired by it. */
    if (region != NULL && outer.repairing == 0 && repair(&fault, region, outer)) return true;
    struct vmarena_scope *scope = find_scope(region, outer.scope_limit);
    if (scope != NULL) leave_for(scope, &fault, context, saved_errno);
    else if (region != NULL && outer.depth == 0) vmarena_fault_report(&fault, region);
    return scope != NULL;
}

bool vmarena_handle_signal(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    if (signo != SIGSEGV && signo != SIGBUS) return false;
    bool claimed = dispatch_fault(signo, info, context, saved);
    errno = saved;
    return claimed;
}
