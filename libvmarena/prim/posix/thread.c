/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "prim/internal.h"

/* ---- what is made once, and may fail ----------------------------------------------------------------------------- */

void vmarena_prim_yield(void) { (void)sched_yield(); }

/* Waits while another thread makes an attempt, unless it is a thread of the parent that was not copied by fork(2). */
static bool begin_attempt(struct vmarena_prim_once *once) {
    pid_t self = getpid();
    while (!atomic_load_explicit(&once->done, memory_order_acquire)) {
        pid_t busy = atomic_load_explicit(&once->process, memory_order_relaxed);
        if (busy == self) vmarena_prim_yield();
        else if (atomic_compare_exchange_weak(&once->process, &busy, self)) return true;
    }
    return false;
}

int vmarena_prim_once(struct vmarena_prim_once *once, int (*attempt)(void)) {
    if (atomic_load_explicit(&once->done, memory_order_acquire) || !begin_attempt(once)) return 0;
    int error = atomic_load_explicit(&once->done, memory_order_acquire) ? 0 : attempt();
    if (error == 0) atomic_store_explicit(&once->done, true, memory_order_release);
    atomic_store_explicit(&once->process, 0, memory_order_release);
    return error;
}

/* ---- locks that fork(2) respects --------------------------------------------------------------------------------- */

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER, pools = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local uint32_t thread_id;

/* If a thread forks while another one is in the middle of the registration, the child may register the handlers a
 * second time. So the first call before a fork locks, and the last one after it unlocks. */
static _Thread_local unsigned held;

/* Both locks, in their order. */
static void before_fork(void) {
    if (held++ != 0) return;
    (void)pthread_mutex_lock(&global);
    (void)pthread_mutex_lock(&pools);
}

static void after_fork(void) {
    if (--held != 0) return;
    (void)pthread_mutex_unlock(&pools);
    (void)pthread_mutex_unlock(&global);
}

static unsigned fork_generation;

unsigned vmarena_prim_fork_generation(void) { return fork_generation; }

static void after_fork_in_child(void) {
    thread_id = 0; /* the child's one thread has another */
    fork_generation++;
    after_fork();
}

static int register_handlers(void) { return -pthread_atfork(before_fork, after_fork, after_fork_in_child); }

static int watch_forks(void) {
    static struct vmarena_prim_once once;
    return vmarena_prim_once(&once, register_handlers);
}

static int lock(pthread_mutex_t *mutex) {
    int error = watch_forks();
    if (error == 0) (void)pthread_mutex_lock(mutex);
    return error;
}

int vmarena_prim_global_lock(void) { return lock(&global); }
void vmarena_prim_global_unlock(void) { (void)pthread_mutex_unlock(&global); }
int vmarena_prim_pool_lock(void) { return lock(&pools); }
void vmarena_prim_pool_unlock(void) { (void)pthread_mutex_unlock(&pools); }

int vmarena_prim_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    int error = watch_forks();
    return error != 0 ? error : -pthread_atfork(before, parent, child);
}

uint32_t vmarena_prim_thread_id(void) {
    if (thread_id == 0) thread_id = vmarena_prim_new_thread_id();
    return thread_id;
}

/* ---- the end of a thread ----------------------------------------------------------------------------------------- */

/* One key for all calls: its value is a list that lives in the thread itself, so that nothing is allocated. */
#define EXITS 8
static _Thread_local struct exit_call {
    void (*function)(void *);
    void *argument;
} exits[EXITS];
static _Thread_local unsigned exit_count;
static pthread_key_t exit_key;

static void run_exits(void *unused) {
    (void)unused;
    while (exit_count > 0) {
        struct exit_call call = exits[--exit_count];
        call.function(call.argument);
    }
}

static int make_exit_key(void) { return -pthread_key_create(&exit_key, run_exits); }

int vmarena_prim_at_thread_exit(void (*function)(void *), void *argument) {
    static struct vmarena_prim_once once;
    int error = vmarena_prim_once(&once, make_exit_key);
    if (error != 0) return error;
    if (exit_count == EXITS) return -ENOMEM;
    error = -pthread_setspecific(exit_key, exits);
    if (error != 0) return error;
    exits[exit_count++] = (struct exit_call){function, argument};
    return 0;
}
