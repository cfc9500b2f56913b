/* SPDX-License-Identifier: MIT */
#include "fork_gate.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/single_threaded.h>
#include <time.h>

#include "state.h"

struct vmarena_gate vmarena_gate;

uint16_t vmarena_gate_stripe_number(void) {
    static _Atomic uint32_t threads;
    return (uint16_t)(atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % VMARENA_GATE_STRIPES + 1);
}

/* ---- waiting for those inside ---- */

static uint64_t milliseconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool is_inside_more(size_t stripe, const struct vmarena_gate_pass *own) {
    uint32_t allowed = own->inside && stripe + 1 == own->stripe ? 1 : 0;
    return atomic_load(&vmarena_gate.stripes[stripe].inside) > allowed;
}

/* Returns true when no other thread is inside. */
static bool wait_for_others(const struct vmarena_gate_pass *own, uint64_t patience) {
    const struct timespec pause = {.tv_nsec = 100000};
    uint64_t start = milliseconds();
    unsigned turns = 0;
    for (size_t i = 0; i < VMARENA_GATE_STRIPES; i++)
        while (is_inside_more(i, own)) {
            if (turns++ < 1000) (void)sched_yield();
            else (void)nanosleep(&pause, NULL);
            if (turns % 64 == 0 && milliseconds() - start > patience) return false;
        }
    return true;
}

/*
 * Limits of that wait, in milliseconds. The short one applies where waiting may be in vain: a thread that forks in a signal
 * handler that interrupted the heap may hold the lock that those inside wait for, and a thread that jumped out of the heap
 * from a signal handler is counted as inside for ever.
 */
#define PATIENCE 10000
#define SHORT_PATIENCE 500
static _Atomic bool somebody_never_left;

static uint64_t patience_of(const struct vmarena_gate_pass *own) {
    return own->inside || atomic_load(&somebody_never_left) ? SHORT_PATIENCE : PATIENCE;
}

/*
 * Once a thread has waited in vain, nobody waits for this fork any more: the fork may be waiting for that thread.
 */
#define WAIT 100 /* milliseconds */
static _Atomic bool wait_is_in_vain;

bool vmarena_gate_wait(const struct vmarena_gate_pass *pass) {
    const struct timespec pause = {.tv_nsec = 50000};
    int saved_errno = errno;
    if (pass->forks) return false;
    for (uint64_t start = milliseconds(); atomic_load(&vmarena_gate.closed) != 0; (void)nanosleep(&pause, NULL)) {
        if (milliseconds() - start > WAIT) atomic_store(&wait_is_in_vain, true);
        if (!atomic_load(&wait_is_in_vain)) continue;
        errno = saved_errno;
        return false;
    }
    errno = saved_errno;
    return true;
}

/* ---- stdio's list of files ---- */

/* glibc exports these but declares them in no header. The lock is recursive. */
void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

static _Thread_local bool has_list;

static void lock_list(void) {
    has_list =
        _IO_list_lock != NULL && _IO_list_unlock != NULL && _IO_list_resetlock != NULL && !__libc_single_threaded;
    if (has_list) _IO_list_lock();
}
static void unlock_list(void) {
    if (has_list) _IO_list_unlock();
}
/* glibc's fork resets the lock, too, but not if it believes that there was only one thread. */
static void reset_list(void) {
    if (has_list) _IO_list_resetlock();
}

/* ---- libvmarena's own fork handlers, which take and release its locks ---- */

#define HANDLERS 16
static struct { void (*before)(void), (*parent)(void), (*child)(void); } handlers[HANDLERS];
static size_t handler_count;

static void call_before(void) {
    for (size_t i = handler_count; i-- > 0;)
        if (handlers[i].before != NULL) handlers[i].before();
}
static void call_parent(void) {
    for (size_t i = 0; i < handler_count; i++)
        if (handlers[i].parent != NULL) handlers[i].parent();
}
/* Where no locks were taken, only those handlers run that release none. */
static void call_child(bool locked) {
    for (size_t i = 0; i < handler_count; i++)
        if (handlers[i].child != NULL && (locked || handlers[i].before == NULL)) handlers[i].child();
}

/* ---- fork ---- */

enum {
    FORK_LOCKED, /* nobody was inside: libvmarena's handlers took its locks without contention */
    FORK_INSIDE, /* only the forking thread is inside, interrupted: it continues in both processes and keeps its locks */
    FORK_TORN,   /* others are still inside: the child's heap is in the middle of an update */
};

static void before_fork(void) {
    struct vmarena_gate_pass *own = &vmarena_malloc_thread.pass;
    int saved_errno = errno;
    lock_list();
    own->forks = true;
    atomic_store(&wait_is_in_vain, false);
    (void)atomic_fetch_add(&vmarena_gate.closed, 1);
    bool quiet = wait_for_others(own, patience_of(own));
    if (!quiet && !own->inside) atomic_store(&somebody_never_left, true);
    own->fork = !quiet ? FORK_TORN : own->inside ? FORK_INSIDE : FORK_LOCKED;
    if (own->fork == FORK_LOCKED) call_before();
    errno = saved_errno;
}

static void after_fork_in_parent(void) {
    struct vmarena_gate_pass *own = &vmarena_malloc_thread.pass;
    if (own->fork == FORK_LOCKED) call_parent();
    (void)atomic_fetch_sub(&vmarena_gate.closed, 1);
    own->forks = false;
    unlock_list();
}

/* Only the forking thread exists in the child, so the counts of the others are cleared. */
static void after_fork_in_child(void) {
    struct vmarena_gate_pass *own = &vmarena_malloc_thread.pass;
    call_child(own->fork == FORK_LOCKED);
    for (size_t i = 0; i < VMARENA_GATE_STRIPES; i++)
        atomic_store(&vmarena_gate.stripes[i].inside, own->inside && i + 1 == own->stripe ? 1 : 0);
    atomic_store(&somebody_never_left, false);
    vmarena_malloc_after_fork(own->fork == FORK_TORN);
    atomic_store(&vmarena_gate.closed, 0);
    own->forks = false;
    reset_list();
}

/*
 * Replaces pthread_atfork(3) in libvmarena (--wrap, see meson.build), so that its handlers run between ours. Ours are
 * registered at the program's first allocation, before its own: so they run last before the fork and first after it.
 */
int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));

int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    static int error = -1; /* -1: not tried yet. A failure stays, so that nothing is guarded without the gate. */
    if (error < 0) error = __real_pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (error != 0) return error;
    if (handler_count == HANDLERS) return ENOMEM;
    handlers[handler_count].before = before;
    handlers[handler_count].parent = parent;
    handlers[handler_count++].child = child;
    return 0;
}
