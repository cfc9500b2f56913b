/* SPDX-License-Identifier: MIT */
#include "vmarena/fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "error.h"
#include "fault.h"
#include "prim.h"
#include "region.h"
#include "registry.h"

const char vmarena_claims_registered[1], vmarena_claims_any[1];

/* ---- the thread's state: read and written by its own handler, so that only the compiler needs to be kept in order --- */

static _Thread_local struct {
    struct vmarena_scope *volatile top;
    const struct vmarena_fault *volatile last;
    /* While a repair function runs: the scopes opened before it, which get none of its own faults. */
    struct vmarena_scope *volatile repair_floor;
    volatile bool repairing;
    volatile bool explaining;
    volatile bool stack_ready;
    /* The chain in progress: which signal, from which frame, and how far down the handlers before ours. */
    const void *volatile chain_context;
    volatile uintptr_t chain_frame;
    volatile unsigned chain_level;
} thread;

/* ---- handlers ------------------------------------------------------------------------------------------------------- */

#define SIGNALS 2
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};

/* The handlers that were there before ours, the most recent last: one, and one more for each reassertion. */
#define EARLIER 9
static struct {
    struct vmarena_prim_action action[EARLIER];
    _Atomic unsigned count;
} earlier[SIGNALS];

enum state { ABSENT, INSTALLED, HOST };
static _Atomic int state;
static unsigned installs; /* vmarena_fault_install calls not undone; under the global lock */

static void handle(int signo, siginfo_t *info, void *context);

static unsigned signal_index(int signo) { return signo == SIGBUS; }

/* Who displaces us again and again, as a test framework does around each test, is kept once. */
static bool is_latest(unsigned i, unsigned count) {
    struct vmarena_prim_action now;
    return count > 0 && vmarena_prim_signal_is(signals[i], handle, &now) == 0 &&
           vmarena_prim_signal_same(&now, &earlier[i].action[count - 1]);
}

static int put_ours(unsigned i) {
    struct vmarena_prim_action again;
    unsigned count = atomic_load_explicit(&earlier[i].count, memory_order_relaxed);
    bool latest = is_latest(i, count);
    if (!latest && count == EARLIER)
        return vmarena_fail(-EOVERFLOW, "the fault handlers were displaced more than 8 times");
    int error = vmarena_prim_signal_set(signals[i], handle, latest ? &again : &earlier[i].action[count]);
    if (error != 0) return vmarena_fail_call(error, "sigaction", 0);
    if (!latest) atomic_store_explicit(&earlier[i].count, count + 1, memory_order_release);
    return 0;
}

static void take_ours(unsigned i) {
    unsigned count = atomic_load_explicit(&earlier[i].count, memory_order_relaxed);
    (void)vmarena_prim_signal_restore(signals[i], &earlier[i].action[count - 1]);
    atomic_store_explicit(&earlier[i].count, count - 1, memory_order_release);
}

static bool displaced(void) {
    for (unsigned i = 0; i < SIGNALS; i++)
        if (vmarena_prim_signal_is(signals[i], handle, NULL) != 1) return true;
    return false;
}

/* Under the lock. */
static int set_both(void) {
    int error = put_ours(0);
    if (error != 0) return error;
    error = put_ours(1);
    if (error != 0) take_ours(0);
    else atomic_store_explicit(&state, INSTALLED, memory_order_release);
    return error;
}

static int ensure_installed(void) {
    int error = 0;
    vmarena_prim_global_lock();
    if (atomic_load_explicit(&state, memory_order_relaxed) == ABSENT) error = set_both();
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_install(void) {
    int error = 0;
    vmarena_prim_global_lock();
    int now = atomic_load_explicit(&state, memory_order_relaxed);
    if (now == ABSENT) error = set_both();
    else if (now == INSTALLED && displaced())
        error = vmarena_fail(-EAGAIN, "somebody displaced the fault handlers; vmarena_fault_reassert() puts them back");
    if (error == 0) installs++;
    vmarena_prim_global_unlock();
    return error;
}

static int uninstall(void) {
    if (atomic_load_explicit(&state, memory_order_relaxed) != INSTALLED)
        return vmarena_fail(-EINVAL, "the fault handlers are not installed");
    if (installs > 1) {
        installs--;
        return 0;
    }
    if (thread.top != NULL) return vmarena_fail(-EBUSY, "a fault scope is open in this thread");
    if (displaced()) return vmarena_fail(-EBUSY, "somebody displaced the fault handlers and may call them");
    installs = 0;
    atomic_store_explicit(&state, ABSENT, memory_order_release);
    for (unsigned i = 0; i < SIGNALS; i++) {
        /* What reassertions piled up goes with it; the handler that was there first comes back. */
        atomic_store_explicit(&earlier[i].count, 1, memory_order_relaxed);
        take_ours(i);
    }
    return 0;
}

int vmarena_fault_uninstall(void) {
    vmarena_prim_global_lock();
    int error = uninstall();
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_status(void) {
    int now = atomic_load_explicit(&state, memory_order_acquire);
    if (now == HOST) return VMARENA_HANDLER_HOST;
    if (now == ABSENT) return VMARENA_HANDLER_ABSENT;
    return displaced() ? VMARENA_HANDLER_DISPLACED : VMARENA_HANDLER_INSTALLED;
}

int vmarena_fault_reassert(void) {
    int error = 0;
    vmarena_prim_global_lock();
    if (atomic_load_explicit(&state, memory_order_relaxed) == INSTALLED)
        for (unsigned i = 0; i < SIGNALS && error == 0; i++)
            if (vmarena_prim_signal_is(signals[i], handle, NULL) != 1) error = put_ours(i);
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_host(bool on) {
    int error = 0;
    vmarena_prim_global_lock();
    if (atomic_load_explicit(&state, memory_order_relaxed) == INSTALLED)
        error = vmarena_fail(-EBUSY, "the library's own fault handlers are installed");
    else atomic_store_explicit(&state, on ? HOST : ABSENT, memory_order_release);
    vmarena_prim_global_unlock();
    return error;
}

/* ---- scopes ----------------------------------------------------------------------------------------------------------- */

int vmarena_fault_ready(void) {
    int error = 0;
    if (atomic_load_explicit(&state, memory_order_acquire) == ABSENT) error = ensure_installed();
    if (error != 0 || thread.stack_ready) return error;
    error = vmarena_prim_signal_stack();
    if (error != 0) return vmarena_fail_call(error, "sigaltstack", 0);
    thread.stack_ready = true;
    return 0;
}

/* Not inlined: its frame lies below the caller's, which is where a landing may put its own. */
__attribute__((noinline)) int vmarena_scope_enter(struct vmarena_scope *scope, const void *claims) {
    if (VMARENA_UNLIKELY(atomic_load_explicit(&state, memory_order_relaxed) == ABSENT || !thread.stack_ready)) {
        int error = vmarena_fault_ready();
        if (error != 0) {
            scope->fault = (struct vmarena_fault){.code = error};
            thread.last = &scope->fault;
            return error;
        }
    }
    scope->claims = claims;
    scope->stack = vmarena_prim_stack_here();
    scope->outer = thread.top;
    atomic_signal_fence(memory_order_release);
    thread.top = scope;
    return 0;
}

void vmarena_scope_leave(struct vmarena_scope *scope) { thread.top = scope->outer; }
const struct vmarena_fault *vmarena_scope_fault(void) { return thread.last; }
struct vmarena_scope *vmarena_scope_top(void) {
    return thread.top;
}
void vmarena_scope_unwind(struct vmarena_scope *top) { thread.top = top; }

static int try_claiming(const void *claims, void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    if (body == NULL) return vmarena_fail(-EINVAL, "vmarena_try: no body");
    struct vmarena_scope scope;
    if (sigsetjmp(scope.landing, 0) != 0) {
        if (fault != NULL) *fault = scope.fault;
        return 1;
    }
    int error = vmarena_scope_enter(&scope, claims);
    if (error != 0) return error;
    body(arg);
    vmarena_scope_leave(&scope);
    return 0;
}

int vmarena_try(void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    return try_claiming(vmarena_claims_registered, body, arg, fault);
}

int vmarena_try_any(void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    return try_claiming(vmarena_claims_any, body, arg, fault);
}

int vmarena_try_in(const struct vmarena *arena, void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    if (arena == NULL) return vmarena_fail(-EBADF, "vmarena_try_in: no arena");
    return try_claiming(arena, body, arg, fault);
}

/* ---- in the handler: no lock, no allocation ----------------------------------------------------------------------------- */

static void copy_name(struct vmarena_fault *fault, const struct vmarena_region *region) {
    fault->owner = region->owner;
    for (size_t i = 0; i + 1 < sizeof fault->owner_name && region->name[i] != '\0'; i++)
        fault->owner_name[i] = region->name[i];
}

/* Beyond this a stray address is no stride past a guard, and naming a neighbour would mislead (NULL, for one). */
#define STRAY ((size_t)1 << 30)

static size_t gap(const struct vmarena_region *region, uintptr_t address) {
    uintptr_t start = (uintptr_t)region->outer, end = start + region->outer_size;
    return address < start ? start - address : address - end;
}

/* Memory of nobody's: the nearest region of ours is named. */
static void explain_stray(struct vmarena_fault *fault) {
    uintptr_t address = (uintptr_t)fault->address;
    fault->kind = vmarena_prim_fault_kind(fault->signo, fault->code);
    if (fault->kind != VMARENA_FAULT_UNMAPPED) return;
    const struct vmarena_region *below = vmarena_registry_next(address, -1), *above = vmarena_registry_next(address, 1);
    const struct vmarena_region *nearest = below;
    if (below == NULL || (above != NULL && gap(above, address) < gap(below, address))) nearest = above;
    if (nearest == NULL || gap(nearest, address) > STRAY) return;
    nearest->explain(nearest, fault);
    fault->kind = VMARENA_FAULT_UNMAPPED;
    copy_name(fault, nearest);
}

static void explain(struct vmarena_fault *fault, const struct vmarena_region *region) {
    thread.explaining = true;
    if (region == NULL) explain_stray(fault);
    else {
        fault->kind = vmarena_prim_fault_kind(fault->signo, fault->code);
        copy_name(fault, region);
        region->explain(region, fault);
    }
    thread.explaining = false;
}

static bool repair(const struct vmarena_fault *fault, struct vmarena_region *region) {
    if (region == NULL || thread.repairing) return false;
    vmarena_fault_fn *function = atomic_load_explicit(&region->repair, memory_order_acquire);
    if (function == NULL) return false;
    thread.repair_floor = thread.top;
    thread.repairing = true;
    bool repaired = function(fault, region->repair_arg);
    thread.repairing = false;
    return repaired;
}

static bool claims(const struct vmarena_scope *scope, const struct vmarena_region *region) {
    if (scope->claims == vmarena_claims_any) return true;
    if (region == NULL) return false;
    return scope->claims == vmarena_claims_registered || scope->claims == region->owner;
}

static struct vmarena_scope *find_scope(const struct vmarena_region *region) {
    const struct vmarena_scope *floor = thread.repairing ? thread.repair_floor : NULL;
    for (struct vmarena_scope *scope = thread.top; scope != NULL && scope != floor; scope = scope->outer)
        if (claims(scope, region)) return scope;
    return NULL;
}

/* On the interrupted stack again, with the mask and floating-point modes of the moment of the fault. */
static void land(void *scope) { siglongjmp(((struct vmarena_scope *)scope)->landing, 1); }

static bool deal(int signo, siginfo_t *info, void *context, int saved_errno) {
    if (thread.explaining || !vmarena_prim_fault_is_access(signo, info)) return false;
    struct vmarena_fault fault;
    vmarena_prim_fault_read(&fault, signo, info, context);
    struct vmarena_region *region = vmarena_registry_find((uintptr_t)fault.address);
    if (region == NULL && thread.top == NULL) return false;
    explain(&fault, region);
    if (repair(&fault, region)) return true;
    struct vmarena_scope *scope = find_scope(region);
    if (scope == NULL) return false;
    scope->fault = fault;
    thread.last = &scope->fault;
    thread.top = scope->outer; /* before anything else can fault: no scope is landed in twice */
    errno = saved_errno;
    vmarena_prim_leave(context, land, scope, scope->stack);
    return true;
}

bool vmarena_handle_signal(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    if (signo != SIGSEGV && signo != SIGBUS) return false;
    bool dealt = deal(signo, info, context, saved);
    errno = saved;
    return dealt;
}

/*
 * Hands the signal to the handler before ours. After a reassertion that one may call ours again for the same signal:
 * then the one before it is next, so that there is no cycle. Ours is called again if the context is the same and the
 * stack is deeper than it was; a handler that jumped away instead left both as they are, for the next fault to find.
 */
__attribute__((noinline)) static void chain(int signo, siginfo_t *info, void *context) {
    static struct vmarena_prim_action by_default; /* zero is SIG_DFL */
    unsigned i = signal_index(signo), count = atomic_load_explicit(&earlier[i].count, memory_order_acquire);
    uintptr_t outer_frame = thread.chain_frame, frame = vmarena_prim_stack_here();
    const void *outer_context = thread.chain_context;
    unsigned outer_level = thread.chain_level, level = 0;
    if (outer_context == context && frame < outer_frame) level = outer_level;
    thread.chain_context = context;
    thread.chain_frame = frame;
    thread.chain_level = level + 1;
    struct vmarena_prim_action *action = level < count ? &earlier[i].action[count - 1 - level] : &by_default;
    vmarena_prim_signal_chain(signo, info, context, action);
    thread.chain_context = outer_context;
    thread.chain_frame = outer_frame;
    thread.chain_level = outer_level;
}

static void handle(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    if (!vmarena_handle_signal(signo, info, context)) chain(signo, info, context);
    errno = saved;
}
