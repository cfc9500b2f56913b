/* SPDX-License-Identifier: MIT */
/* The handlers for SIGSEGV and SIGBUS: how they come and go, and how a signal that is not ours is passed on. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "fault/fault.h"

#define thread vmarena_fault_thread

#define SIGNALS 2
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};

/* The handlers that were there before ours, the most recent last: one, and one more for each reassertion. */
#define MOST_PREVIOUS 9
static struct {
    struct vmarena_prim_action action[MOST_PREVIOUS];
    _Atomic unsigned count;
    bool was_displaced; /* another handler was set on top of ours, and may call ours from then on */
} previous[SIGNALS];

_Atomic int vmarena_handler_mode;
static unsigned installs; /* vmarena_fault_install calls not undone; under the global lock */

static int mode(void) { return atomic_load_explicit(&vmarena_handler_mode, memory_order_relaxed); }
static void set_mode(int now) { atomic_store_explicit(&vmarena_handler_mode, now, memory_order_release); }

static unsigned signal_index(int signo) { return signo == SIGBUS; }

static unsigned count_previous(unsigned i) { return atomic_load_explicit(&previous[i].count, memory_order_relaxed); }
static void set_count(unsigned i, unsigned count) {
    atomic_store_explicit(&previous[i].count, count, memory_order_release);
}

/* ---- in the handler: no lock, no allocation ------------------------------------------------------------------------------ */

/*
 * Passes the signal on to the handler before ours. After a reassertion, that handler may call ours again for the same
 * signal: then the handler before it is next, so that there is no cycle. We recognise such a call by a deeper stack,
 * together with the same context or a signal that was sent: Python's faulthandler restores the handler that it found, which
 * is ours, and raises the signal. A handler that jumped away instead has left this state behind, for the next fault to
 * find; that fault's stack is not deeper, or its context is another.
 *
 * Never inlined: the address of its own frame is what is compared.
 */
__attribute__((noinline)) static void pass_on(int signo, siginfo_t *info, void *context) {
    static struct vmarena_prim_action by_default; /* zero is SIG_DFL */
    unsigned i = signal_index(signo), count = atomic_load_explicit(&previous[i].count, memory_order_acquire);
    struct vmarena_chain_state outer = thread.chain;
    struct vmarena_chain_state mine = {.context = context, .frame = vmarena_prim_frame_address(), .level = 1};
    struct vmarena_handler_state handler = thread.handler;
    bool again = outer.context == context || info->si_code <= 0;
    if (outer.context != NULL && again && mine.frame < outer.frame) mine.level = outer.level + 1;
    thread.chain = mine;
    /* The previous handler may open scopes of its own, which get its faults as at any other time. */
    thread.handler = (struct vmarena_handler_state){.scope_limit = NULL};
    vmarena_prim_signal_chain(signo, info, context,
                              mine.level <= count ? &previous[i].action[count - mine.level] : &by_default);
    thread.handler = handler;
    thread.chain = outer;
}

/* errno belongs to the code that was interrupted. */
static void handle(int signo, siginfo_t *info, void *context) {
    int saved = errno;
    if (!vmarena_handle_signal(signo, info, context)) pass_on(signo, info, context);
    errno = saved;
}

/* ---- installing: under the global lock ------------------------------------------------------------------------------------ */

/*
 * Another thread may fault and pass its signal on at any moment. So a previous handler is recorded before ours takes its
 * place and stays recorded when ours is gone, and a record is written again only where it would change.
 */
static int record_previous(unsigned i, unsigned index) {
    struct vmarena_prim_action now, *action = previous[i].action;
    int error = vmarena_prim_signal_get(signals[i], &now);
    if (error != 0) return vmarena_fail_call(error, "sigaction", 0);
    /* A handler that displaces ours again and again, as a test framework's does around each test, is recorded once. */
    if (index > 0 && vmarena_prim_signal_same(&now, &action[index - 1])) return 0;
    if (index == MOST_PREVIOUS) return vmarena_fail(-EOVERFLOW, "the fault handlers were displaced more than 8 times");
    if (index >= count_previous(i) || !vmarena_prim_signal_same(&now, &action[index])) action[index] = now;
    set_count(i, index + 1);
    return 0;
}

/* Sets our handler on top of the one that is set now, and of `below` earlier ones. */
static int set_ours(unsigned i, unsigned below) {
    unsigned count = count_previous(i);
    if (count > 0 && vmarena_prim_signal_is(signals[i], handle) == 1) return 0;
    int error = record_previous(i, below);
    if (error != 0) return error;
    error = vmarena_prim_signal_set(signals[i], handle);
    if (error == 0) return 0;
    set_count(i, count);
    return vmarena_fail_call(error, "sigaction", 0);
}

static int reassert_ours(unsigned i) {
    if (vmarena_prim_signal_is(signals[i], handle) == 0) previous[i].was_displaced = true;
    return set_ours(i, count_previous(i));
}

/* Starts the list of previous handlers anew, because none of those in it can call ours. If ours was displaced once, the one
 * that displaced it may still call ours: then the list goes on, unless it is full. */
static int set_ours_first(unsigned i) {
    unsigned count = count_previous(i);
    return set_ours(i, previous[i].was_displaced && count < MOST_PREVIOUS ? count : 0);
}

/* If the handler that is restored calls ours, ours passes the signal to it once more, and then to those before it. */
static void restore_previous(unsigned i) {
    (void)vmarena_prim_signal_restore(signals[i], &previous[i].action[count_previous(i) - 1]);
}

static bool is_displaced(void) {
    for (unsigned i = 0; i < SIGNALS; i++)
        if (vmarena_prim_signal_is(signals[i], handle) != 1) return true;
    return false;
}

static int set_both(void) {
    int error = set_ours_first(0);
    if (error != 0) return error;
    error = set_ours_first(1);
    if (error != 0) restore_previous(0);
    else set_mode(VMARENA_MODE_INSTALLED);
    return error;
}

static int lock(void) {
    int error = vmarena_prim_global_lock();
    return error != 0 ? vmarena_fail_call(error, "pthread_atfork", 0) : 0;
}

int vmarena_fault_ensure_installed(void) {
    int error = lock();
    if (error != 0) return error;
    if (mode() == VMARENA_MODE_ABSENT) error = set_both();
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_install(void) {
    int error = lock();
    if (error != 0) return error;
    if (mode() == VMARENA_MODE_ABSENT) error = set_both();
    else if (mode() == VMARENA_MODE_INSTALLED && is_displaced())
        error = vmarena_fail(-EAGAIN, "somebody displaced the fault handlers; vmarena_fault_reassert() puts them back");
    if (error == 0) installs++;
    vmarena_prim_global_unlock();
    return error;
}

static int uninstall(void) {
    bool ours = mode() == VMARENA_MODE_INSTALLED;
    if (!ours && installs == 0) return vmarena_fail(-EINVAL, "the fault handlers are not installed");
    if (!ours || installs > 1) {
        installs--;
        return 0;
    }
    if (thread.top != NULL) return vmarena_fail(-EBUSY, "a fault scope is open in this thread");
    if (is_displaced()) return vmarena_fail(-EBUSY, "somebody displaced the fault handlers and may call them");
    installs = 0;
    set_mode(VMARENA_MODE_ABSENT);
    for (unsigned i = 0; i < SIGNALS; i++) restore_previous(i);
    return 0;
}

int vmarena_fault_uninstall(void) {
    int error = lock();
    if (error != 0) return error;
    error = uninstall();
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_status(void) {
    int now = atomic_load_explicit(&vmarena_handler_mode, memory_order_acquire);
    if (now == VMARENA_MODE_HOST) return VMARENA_HANDLER_HOST;
    if (now == VMARENA_MODE_ABSENT) return VMARENA_HANDLER_ABSENT;
    return is_displaced() ? VMARENA_HANDLER_DISPLACED : VMARENA_HANDLER_INSTALLED;
}

int vmarena_fault_reassert(void) {
    int error = lock();
    if (error != 0) return error;
    if (mode() == VMARENA_MODE_INSTALLED)
        for (unsigned i = 0; i < SIGNALS && error == 0; i++) error = reassert_ours(i);
    vmarena_prim_global_unlock();
    return error;
}

int vmarena_fault_host(bool on) {
    int error = lock();
    if (error != 0) return error;
    if (mode() == VMARENA_MODE_INSTALLED)
        error = vmarena_fail(-EBUSY, "the library's own fault handlers are installed");
    else set_mode(on ? VMARENA_MODE_HOST : VMARENA_MODE_ABSENT);
    vmarena_prim_global_unlock();
    return error;
}
