/* SPDX-License-Identifier: MIT */
/* Scopes: how they open and close, and how guarded bodies run. */
#include "prim/prim.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "fault/fault.h"

#define thread vmarena_fault_thread

/* Makes the scope the innermost. A handler may run between any two instructions and must find a complete scope. */
static inline void open_scope(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    scope->claims = claims;
    scope->stack = stack;
    scope->outer = thread.top;
    atomic_signal_fence(memory_order_release);
    thread.top = scope;
}

static inline void close_scope(const struct vmarena_scope *scope) { thread.top = scope->outer; }

/*
 * vmarena_scope_fault() is to return the scope's record now; the record that it returned before is kept in the scope's
 * claims, which are of no more use. vmarena_try puts that one back: it may run in a signal handler that came between a
 * landing and the question.
 */
static void set_last(struct vmarena_scope *scope) {
    scope->claims = thread.last;
    thread.last = &scope->fault;
}

static void put_last_back(const struct vmarena_scope *scope) { thread.last = scope->claims; }

/* A function of its own, so that the usual path through enter() saves no registers. */
__attribute__((noinline)) static int enter_first(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    int error = vmarena_fault_ready();
    if (error == 0) open_scope(scope, claims, stack);
    else {
        scope->fault = (struct vmarena_fault){.code = error};
        set_last(scope);
    }
    return error;
}

/* stack: an address below the frame that the landing is in, where the handler may put the frame of land(). */
static inline int enter(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    int mode = atomic_load_explicit(&vmarena_handler_mode, memory_order_relaxed);
    if (VMARENA_UNLIKELY(mode == VMARENA_MODE_ABSENT || !thread.has_stack)) return enter_first(scope, claims, stack);
    open_scope(scope, claims, stack);
    return 0;
}

/* What runs when nothing faults starts on a cache line of its own: its place in the line makes 0.5 ns of 5. */
#define HOT __attribute__((aligned(64)))

/* Never inlined, even by link-time optimisation: its frame must lie below the caller's, in which the landing is. */
HOT __attribute__((noinline)) int vmarena_scope_enter(struct vmarena_scope *scope, const void *claims) {
    return enter(scope, claims, vmarena_prim_stack_pointer());
}

void vmarena_scope_leave(struct vmarena_scope *scope) { close_scope(scope); }
const struct vmarena_fault *vmarena_scope_fault(void) { return thread.last; }
struct vmarena_scope *vmarena_scope_top(void) {
    return thread.top;
}
void vmarena_scope_unwind(struct vmarena_scope *top) { thread.top = top; }

/* The arguments are in vmarena_try's order, so that vmarena_try need not move them. */
HOT int vmarena_try_claiming(void (*body)(void *), void *arg, struct vmarena_fault *fault, const void *claims) {
    if (VMARENA_UNLIKELY(body == NULL)) return vmarena_fail(-EINVAL, "vmarena_try: no body");
    struct vmarena_scope scope;
    if (VMARENA_UNLIKELY(sigsetjmp(scope.landing, 0) != 0)) {
        if (fault != NULL) *fault = scope.fault;
        put_last_back(&scope);
        return 1;
    }
    int error = enter(&scope, claims, vmarena_prim_stack_pointer());
    if (error != 0) return put_last_back(&scope), error;
    body(arg);
    close_scope(&scope);
    return 0;
}

HOT int vmarena_try(void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    return vmarena_try_claiming(body, arg, fault, vmarena_claims_registered);
}

int vmarena_try_any(void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    return vmarena_try_claiming(body, arg, fault, vmarena_claims_any);
}

int vmarena_try_in(const struct vmarena *arena, void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    if (arena == NULL) return vmarena_fail(-EBADF, "vmarena_try_in: no arena");
    return vmarena_try_claiming(body, arg, fault, arena);
}
