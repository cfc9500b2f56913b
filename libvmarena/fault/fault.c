/* SPDX-License-Identifier: MIT */
#include "vmarena/fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/error.h"
#include "fault/fault.h"
#include "prim/prim.h"
#include "prim/cpu/stack_pointer.h"
#include "region/region.h"
#include "region/registry.h"

const char vmarena_claims_registered[1], vmarena_claims_any[1], vmarena_claims_operands[1];

/* ---- the thread's state: read and written by its own handler, so that only the compiler needs to be kept in order --- */

/* What this thread's handler is at. It counts only for what interrupts it, deeper on the same stack: a handler of somebody
 * else's, called in between, may have jumped away and left it as it was. */
struct busy {
    uintptr_t explaining, repairing; /* the frame that does, or 0 */
    struct vmarena_scope *floor;     /* the scopes from here on outwards get none of the faults that come meanwhile */
    unsigned depth;                  /* of faults while explaining one */
};
/* A signal handler that comes in between may fault as at any time; but a fault of our own would come again for ever. */
#define DEEPEST 4

/* The chain in progress: for which signal, from which frame, and how far down the handlers before ours. */
struct chain {
    const void *context;
    uintptr_t frame;
    unsigned level;
};

static _Thread_local struct {
    struct vmarena_scope *volatile top;
    const struct vmarena_fault *volatile last;
    volatile struct busy busy;
    volatile struct chain chain;
    volatile bool stack_ready;
} thread;

/* ---- handlers ------------------------------------------------------------------------------------------------------- */

#define SIGNALS 2
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};

/* The handlers that were there before ours, the most recent last: one, and one more for each reassertion. */
#define EARLIER 9
static struct {
    struct vmarena_prim_action action[EARLIER];
    _Atomic unsigned count;
    bool displaced; /* somebody was put on top of ours, and may pass on to it for ever */
} earlier[SIGNALS];

enum state { ABSENT, INSTALLED, HOST };
static _Atomic int state;
static unsigned installs; /* vmarena_fault_install calls not undone; under the global lock */

static void handle(int signo, siginfo_t *info, void *context);

static unsigned signal_index(int signo) { return signo == SIGBUS; }

static unsigned count_earlier(unsigned i) { return atomic_load_explicit(&earlier[i].count, memory_order_relaxed); }
static void set_count(unsigned i, unsigned count) {
    atomic_store_explicit(&earlier[i].count, count, memory_order_release);
}

/*
 * Another thread may fault and chain at any moment. So an earlier handler is entered before ours takes its place and stays
 * entered when ours is gone, and an entry is written again only where there is something else to write.
 */
static int enter_earlier(unsigned i, unsigned below) {
    struct vmarena_prim_action now, *action = earlier[i].action;
    int error = vmarena_prim_signal_get(signals[i], &now);
    if (error != 0) return vmarena_fail_call(error, "sigaction", 0);
    /* Who displaces us again and again, as a test framework does around each test, is kept once. */
    if (below > 0 && vmarena_prim_signal_same(&now, &action[below - 1])) return 0;
    if (below == EARLIER) return vmarena_fail(-EOVERFLOW, "the fault handlers were displaced more than 8 times");
    if (below >= count_earlier(i) || !vmarena_prim_signal_same(&now, &action[below])) action[below] = now;
    set_count(i, below + 1);
    return 0;
}

/* On top of the handler that is there now, and `below` ones before that. */
static int put_ours(unsigned i, unsigned below) {
    unsigned count = count_earlier(i);
    if (count > 0 && vmarena_prim_signal_is(signals[i], handle) == 1) return 0;
    int error = enter_earlier(i, below);
    if (error != 0) return error;
    error = vmarena_prim_signal_set(signals[i], handle);
    if (error == 0) return 0;
    set_count(i, count);
    return vmarena_fail_call(error, "sigaction", 0);
}

static int put_ours_back(unsigned i) {
    if (vmarena_prim_signal_is(signals[i], handle) == 0) earlier[i].displaced = true;
    return put_ours(i, count_earlier(i));
}

/* Anew: nobody passes on to ours who was not there before, and what piled up is of no use where it is full. */
static int put_ours_first(unsigned i) {
    unsigned count = count_earlier(i);
    return put_ours(i, earlier[i].displaced && count < EARLIER ? count : 0);
}

/* The handler below ours comes back. If that passes on to ours, it is called once more, and then those below it. */
static void take_ours(unsigned i) {
    (void)vmarena_prim_signal_restore(signals[i], &earlier[i].action[count_earlier(i) - 1]);
}

static bool displaced(void) {
    for (unsigned i = 0; i < SIGNALS; i++)
        if (vmarena_prim_signal_is(signals[i], handle) != 1) return true;
    return false;
}

/* Under the lock. */
static int set_both(void) {
    int error = put_ours_first(0);
    if (error != 0) return error;
    error = put_ours_first(1);
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
    bool ours = atomic_load_explicit(&state, memory_order_relaxed) == INSTALLED;
    if (!ours && installs == 0) return vmarena_fail(-EINVAL, "the fault handlers are not installed");
    if (!ours || installs > 1) {
        installs--;
        return 0;
    }
    if (thread.top != NULL) return vmarena_fail(-EBUSY, "a fault scope is open in this thread");
    if (displaced()) return vmarena_fail(-EBUSY, "somebody displaced the fault handlers and may call them");
    installs = 0;
    atomic_store_explicit(&state, ABSENT, memory_order_release);
    for (unsigned i = 0; i < SIGNALS; i++) take_ours(i);
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
        for (unsigned i = 0; i < SIGNALS && error == 0; i++) error = put_ours_back(i);
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

/* Makes it the innermost, as seen by a handler at every instruction. */
static inline void open_scope(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    scope->claims = claims;
    scope->stack = stack;
    scope->outer = thread.top;
    atomic_signal_fence(memory_order_release);
    thread.top = scope;
}

static inline void close_scope(const struct vmarena_scope *scope) { thread.top = scope->outer; }

/*
 * The record that vmarena_scope_fault() gives. vmarena_try needs it not, and puts back what was there before: it may run in
 * a signal handler that came between a landing and the question. The scope's claims are needed no more, and keep it.
 */
static void set_last(struct vmarena_scope *scope) {
    scope->claims = thread.last;
    thread.last = &scope->fault;
}

static void put_last_back(const struct vmarena_scope *scope) { thread.last = scope->claims; }

/* Apart, so that the other way through enter() saves no registers. */
__attribute__((noinline)) static int enter_first(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    int error = vmarena_fault_ready();
    if (error == 0) open_scope(scope, claims, stack);
    else {
        scope->fault = (struct vmarena_fault){.code = error};
        set_last(scope);
    }
    return error;
}

/* stack: below the frame that the scope's landing is in, which is where the handler may put a frame. */
static inline int enter(struct vmarena_scope *scope, const void *claims, uintptr_t stack) {
    if (VMARENA_UNLIKELY(atomic_load_explicit(&state, memory_order_relaxed) == ABSENT || !thread.stack_ready))
        return enter_first(scope, claims, stack);
    open_scope(scope, claims, stack);
    return 0;
}

/* What runs where nothing faults starts on a cache line of its own: it is short, and 0.5 ns of 5 hang on where it lies. */
#define HOT __attribute__((aligned(64)))

/* Not inlined, link-time optimisation or not: its own frame lies below the caller's. */
HOT __attribute__((noinline)) int vmarena_scope_enter(struct vmarena_scope *scope, const void *claims) {
    return enter(scope, claims, vmarena_prim_stack_below());
}

void vmarena_scope_leave(struct vmarena_scope *scope) { close_scope(scope); }
const struct vmarena_fault *vmarena_scope_fault(void) { return thread.last; }
struct vmarena_scope *vmarena_scope_top(void) {
    return thread.top;
}
void vmarena_scope_unwind(struct vmarena_scope *top) { thread.top = top; }

/* The arguments are in vmarena_try's order, so that it need not move them. */
HOT int vmarena_try_claiming(void (*body)(void *), void *arg, struct vmarena_fault *fault, const void *claims) {
    if (VMARENA_UNLIKELY(body == NULL)) return vmarena_fail(-EINVAL, "vmarena_try: no body");
    struct vmarena_scope scope;
    if (VMARENA_UNLIKELY(sigsetjmp(scope.landing, 0) != 0)) {
        if (fault != NULL) *fault = scope.fault;
        put_last_back(&scope);
        return 1;
    }
    int error = enter(&scope, claims, vmarena_prim_stack_below());
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
    nearest->attribute(nearest, fault);
    fault->kind = VMARENA_FAULT_UNMAPPED;
    copy_name(fault, nearest);
}

/* Of what the thread is at, as much as a fault interrupts that is found here on the stack. */
static struct busy interrupted(uintptr_t here) {
    struct busy busy = thread.busy;
    if (here >= busy.explaining) busy.explaining = busy.depth = 0;
    if (here >= busy.repairing) busy.repairing = 0;
    if (busy.explaining == 0 && busy.repairing == 0) busy.floor = NULL;
    return busy;
}

static void explain(struct vmarena_fault *fault, const struct vmarena_region *region, struct busy outer) {
    thread.busy = (struct busy){vmarena_prim_stack_here(), outer.repairing, thread.top, outer.depth + 1};
    if (region == NULL) explain_stray(fault);
    else {
        fault->kind = vmarena_prim_fault_kind(fault->signo, fault->code);
        copy_name(fault, region);
        region->attribute(region, fault);
    }
    thread.busy = outer;
}

static bool repair(const struct vmarena_fault *fault, struct vmarena_region *region, struct busy outer) {
    vmarena_fault_fn *function = atomic_load_explicit(&region->repair, memory_order_acquire);
    if (function == NULL) return false;
    thread.busy = (struct busy){.repairing = vmarena_prim_stack_here(), .floor = thread.top};
    bool repaired = function(fault, region->repair_arg);
    thread.busy = outer;
    return repaired;
}

/* The library's own use of protection: nobody else is to know of the fault. */
static bool is_watched(const struct vmarena_fault *fault, const struct vmarena_region *region) {
    vmarena_fault_fn *function = atomic_load_explicit(&region->watch, memory_order_acquire);
    return function != NULL && function(fault, region->watch_arg);
}

static bool claims(const struct vmarena_scope *scope, const struct vmarena_region *region) {
    if (scope->claims == vmarena_claims_any || scope->claims == vmarena_claims_operands) return true;
    if (region == NULL) return false;
    return scope->claims == vmarena_claims_registered || scope->claims == region->owner;
}

static struct vmarena_scope *find_scope(const struct vmarena_region *region, const struct vmarena_scope *floor) {
    for (struct vmarena_scope *scope = thread.top; scope != NULL && scope != floor; scope = scope->outer)
        if (claims(scope, region)) return scope;
    return NULL;
}

/* On the interrupted stack again, with the mask and floating-point modes of the moment of the fault. */
static void land(void *scope) { siglongjmp(((struct vmarena_scope *)scope)->landing, 1); }

/* An access for which the kernel names no address, in a scope where there is no other access that it could be. */
static bool is_operand(int signo, const siginfo_t *info) {
    const struct vmarena_scope *top = thread.top;
    return top != NULL && top->claims == vmarena_claims_operands && vmarena_prim_fault_is_unnamed(signo, info->si_code);
}

static bool deal(int signo, siginfo_t *info, void *context, int saved_errno) {
    struct busy outer = interrupted(vmarena_prim_stack_here());
    if (outer.depth == DEEPEST) return false;
    if (!vmarena_prim_fault_is_access(signo, info) && !is_operand(signo, info)) return false;
    struct vmarena_fault fault;
    vmarena_prim_fault_read(&fault, signo, info, context);
    struct vmarena_region *region = vmarena_registry_find((uintptr_t)fault.address);
    if (region == NULL && thread.top == NULL) return false;
    if (region != NULL && is_watched(&fault, region)) return true;
    explain(&fault, region, outer);
    if (region != NULL && outer.repairing == 0 && repair(&fault, region, outer)) return true;
    struct vmarena_scope *scope = find_scope(region, outer.floor);
    if (scope == NULL) return false;
    scope->fault = fault;
    set_last(scope);
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
 * then the one before it is next, so that there is no cycle. Ours is called again if the stack is deeper than it was, and
 * the context the same or the signal sent: Python's faulthandler puts the handler back that it found, which is ours, and
 * raises the signal. A handler that jumped away instead left both as they are, for the next fault to find.
 */
__attribute__((noinline)) static void chain(int signo, siginfo_t *info, void *context) {
    static struct vmarena_prim_action by_default; /* zero is SIG_DFL */
    unsigned i = signal_index(signo), count = atomic_load_explicit(&earlier[i].count, memory_order_acquire);
    struct chain outer = thread.chain, mine = {.context = context, .frame = vmarena_prim_stack_here(), .level = 1};
    struct busy busy = thread.busy;
    bool again = outer.context == context || info->si_code <= 0;
    if (outer.context != NULL && again && mine.frame < outer.frame) mine.level = outer.level + 1;
    thread.chain = mine;
    thread.busy = (struct busy){.floor = NULL};
    vmarena_prim_signal_chain(signo, info, context,
                              mine.level <= count ? &earlier[i].action[count - mine.level] : &by_default);
    thread.busy = busy;
    thread.chain = outer;
}

static void handle(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    if (!vmarena_handle_signal(signo, info, context)) chain(signo, info, context);
    errno = saved;
}
