/* SPDX-License-Identifier: MIT */
/*
 * SIGSEGV and SIGBUS call our handler, which calls the program's own for every fault that is not in the heap's memory, with
 * the mask and the flags that the program set. Neither signal can be blocked while the program is guarded, because a fault
 * in a guard would then end it without a report.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "prim/prim.h"
#include "state.h"

/*
 * libvmarena's calls of sigaction() and pthread_sigmask() come here (--wrap, see meson.build) and not to the replacements
 * below, which are for the program.
 */
int __sigaction(int signo, const struct sigaction *action, struct sigaction *previous); /* glibc's own */
int __wrap_sigaction(int signo, const struct sigaction *action, struct sigaction *previous);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous);

int __wrap_sigaction(int signo, const struct sigaction *action, struct sigaction *previous) {
    return __sigaction(signo, action, previous);
}

/* glibc uses signals 32 and 33 internally; they must stay unblocked. */
#define KERNEL_SET_BYTES 8
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *previous) {
    sigset_t open;
    if (set != NULL) {
        open = *set;
        open.__val[0] &= ~(UINT64_C(3) << 31);
        set = &open;
    }
    return syscall(SYS_rt_sigprocmask, how, set, previous, KERNEL_SET_BYTES) == 0 ? 0 : errno;
}

#define SIGNALS 2
static const int signals[SIGNALS] = {SIGSEGV, SIGBUS};

/*
 * The program's own action for each signal. A writer fills the action that is not in use and then switches to it by the
 * version's lowest bit. So a reader never waits for a writer, which may be the code that a signal handler interrupted, or a
 * thread that does not exist in a forked child.
 */
static struct program_action {
    _Atomic unsigned version;
    struct vmarena_prim_action actions[2];
} program_actions[SIGNALS];
static pthread_mutex_t writers_lock = PTHREAD_MUTEX_INITIALIZER;
static bool opened;

static bool is_ours(int signo) { return signo == SIGSEGV || signo == SIGBUS; }
static unsigned index_of(int signo) { return signo == SIGBUS; }

/* The copy is valid if no writer finished meanwhile: one that has only begun writes to the other action. */
static struct vmarena_prim_action read_action(unsigned i) {
    const struct program_action *slot = &program_actions[i];
    struct vmarena_prim_action copy;
    unsigned version;
    do {
        version = atomic_load_explicit(&slot->version, memory_order_acquire);
        copy = slot->actions[version & 1];
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(&slot->version, memory_order_relaxed) != version);
    return copy;
}

/* Signals are blocked meanwhile, because a handler may set handlers, too. */
static void write_action(unsigned i, const struct sigaction *action) {
    struct program_action *slot = &program_actions[i];
    sigset_t all, before;
    sigfillset(&all);
    (void)__wrap_pthread_sigmask(SIG_BLOCK, &all, &before);
    (void)pthread_mutex_lock(&writers_lock);
    unsigned version = atomic_load_explicit(&slot->version, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    slot->actions[(version + 1) & 1].system = *action;
    atomic_store_explicit(&slot->version, version + 1, memory_order_release);
    (void)pthread_mutex_unlock(&writers_lock);
    (void)__wrap_pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The forking thread cannot hold the lock, which is held only while signals are blocked; any other holder is gone. */
void vmarena_signals_after_fork(void) { (void)pthread_mutex_init(&writers_lock, NULL); }

static bool is_default(const struct vmarena_prim_action *action) { return action->system.sa_handler == SIG_DFL; }

static void chain(int signo, siginfo_t *info, void *context) {
    unsigned i = index_of(signo);
    struct vmarena_prim_action action = read_action(i), set = action;
    /* SA_RESETHAND: the handler is removed before it is called, as the kernel does. */
    if (!is_default(&set) && set.system.sa_handler != SIG_IGN && (set.system.sa_flags & (int)SA_RESETHAND) != 0) {
        struct sigaction reset = {.sa_flags = 0};
        reset.sa_handler = SIG_DFL;
        write_action(i, &reset);
    }
    vmarena_prim_signal_chain(signo, info, context, &action);
}

static void handle(int signo, siginfo_t *info, void *context) {
    int saved_errno = errno;
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (vmarena_prim_peek_faulted(context)) return;
    void *outer = thread->context;
    thread->context = context;
    thread->reported = false;
    bool handled = vmarena_handle_signal(signo, info, context);
    bool named = vmarena_prim_fault_has_address(signo, info);
    bool is_access = named || vmarena_prim_fault_is_general_protection(signo, info->si_code);
    if (!handled && !thread->reported && is_access) {
        struct vmarena_prim_action action = read_action(index_of(signo));
        struct vmarena_fault fault;
        vmarena_prim_fault_read(&fault, signo, info, context);
        if (is_default(&action)) vmarena_write_wild_access(&fault, named, context);
    }
    thread->context = outer;
    errno = saved_errno;
    if (!handled) chain(signo, info, context);
}

/* In the handler, for a fault in the heap's memory: reports it and opens the page, so that the access is tried again. */
static bool mend(const struct vmarena_fault *fault, void *unused) {
    (void)unused;
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    thread->reported = true;
    vmarena_write_fault(fault, thread->context);
    return vmarena_heap_expose(vmarena_malloc.heap, fault->address) == 0;
}

void vmarena_signals_open(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | (int)SA_RESTART};
    action.sa_sigaction = handle;
    sigemptyset(&action.sa_mask);
    (void)vmarena_fault_host(true);
    (void)vmarena_heap_on_fault(vmarena_malloc.heap, mend, NULL);
    for (unsigned i = 0; i < SIGNALS; i++)
        (void)__sigaction(signals[i], &action, &program_actions[i].actions[0].system);
    sigset_t ours;
    sigemptyset(&ours);
    for (unsigned i = 0; i < SIGNALS; i++) sigaddset(&ours, signals[i]);
    (void)__wrap_pthread_sigmask(SIG_UNBLOCK, &ours, NULL); /* the parent process may have blocked them */
    opened = true;
}

/* ---- what the program sees instead ---- */

static void without_ours(sigset_t *set) {
    for (unsigned i = 0; i < SIGNALS; i++) (void)sigdelset(set, signals[i]);
}

VMARENA_REPLACES int sigaction(int signo, const struct sigaction *restrict action,
                               struct sigaction *restrict previous) {
    if (!opened) return __sigaction(signo, action, previous);
    if (is_ours(signo)) {
        struct sigaction before = read_action(index_of(signo)).system;
        if (action != NULL) write_action(index_of(signo), action);
        if (previous != NULL) *previous = before;
        return 0;
    }
    if (action == NULL) return __sigaction(signo, NULL, previous);
    struct sigaction open = *action;
    without_ours(&open.sa_mask);
    return __sigaction(signo, &open, previous);
}

static __sighandler_t set_handler(int signo, __sighandler_t handler, int flags) {
    struct sigaction action = {.sa_flags = flags}, previous;
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    if (handler == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return sigaction(signo, &action, &previous) == 0 ? previous.sa_handler : SIG_ERR;
}

/* As glibc's signal(2): BSD semantics. */
VMARENA_REPLACES __sighandler_t signal(int signo, __sighandler_t handler) {
    return set_handler(signo, handler, (int)SA_RESTART);
}
VMARENA_REPLACES __sighandler_t bsd_signal(int signo, __sighandler_t handler);
VMARENA_REPLACES __sighandler_t bsd_signal(int signo, __sighandler_t handler) { return signal(signo, handler); }
VMARENA_REPLACES __sighandler_t ssignal(int signo, __sighandler_t handler) { return signal(signo, handler); }
VMARENA_REPLACES __sighandler_t sysv_signal(int signo, __sighandler_t handler) {
    return set_handler(signo, handler, (int)(SA_RESETHAND | SA_NODEFER));
}
/* What signal() means in a program compiled with -std=c11 and _XOPEN_SOURCE. */
VMARENA_REPLACES __sighandler_t __sysv_signal(int signo, __sighandler_t handler) { return sysv_signal(signo, handler); }

/* The kernel fills only its own part of previous; like glibc, we leave the rest of the sigset_t unchanged. */
VMARENA_REPLACES int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict previous) {
    if (!opened || set == NULL || how == SIG_UNBLOCK) return __wrap_pthread_sigmask(how, set, previous);
    sigset_t open = *set;
    without_ours(&open);
    int saved_errno = errno, error = __wrap_pthread_sigmask(how, &open, previous);
    errno = saved_errno;
    return error;
}

VMARENA_REPLACES int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict previous) {
    int error = pthread_sigmask(how, set, previous);
    if (error == 0) return 0;
    errno = error;
    return -1;
}
