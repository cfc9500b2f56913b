/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#include <errno.h>
#include <sched.h>

#include "prim/internal.h"

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER, pools = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* Both, in their order. */
static void lock(void) {
    (void)pthread_mutex_lock(&global);
    (void)pthread_mutex_lock(&pools);
}
static void unlock(void) {
    (void)pthread_mutex_unlock(&pools);
    (void)pthread_mutex_unlock(&global);
}

static _Thread_local uint32_t thread_id;

static void after_fork(void) {
    thread_id = 0; /* the child's one thread has another */
    unlock();
}

static void watch_forks(void) { (void)pthread_atfork(lock, unlock, after_fork); }

void vmarena_prim_global_lock(void) {
    (void)pthread_once(&fork_once, watch_forks);
    (void)pthread_mutex_lock(&global);
}

void vmarena_prim_global_unlock(void) { (void)pthread_mutex_unlock(&global); }

void vmarena_prim_pool_lock(void) {
    (void)pthread_once(&fork_once, watch_forks);
    (void)pthread_mutex_lock(&pools);
}

void vmarena_prim_pool_unlock(void) { (void)pthread_mutex_unlock(&pools); }

int vmarena_prim_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    (void)pthread_once(&fork_once, watch_forks);
    return -pthread_atfork(before, parent, child);
}

uint32_t vmarena_prim_thread_id(void) {
    if (thread_id == 0) thread_id = vmarena_prim_new_thread_id();
    return thread_id;
}

void vmarena_prim_yield(void) { (void)sched_yield(); }

/* One key for all: its value is a list that lives in the thread itself, so that nothing is allocated. */
#define EXITS 8
static _Thread_local struct exit_call {
    void (*function)(void *);
    void *argument;
} exits[EXITS];
static _Thread_local unsigned exit_count;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static int exit_error;

static void run_exits(void *unused) {
    (void)unused;
    while (exit_count > 0) {
        struct exit_call call = exits[--exit_count];
        call.function(call.argument);
    }
}

static void make_key(void) { exit_error = -pthread_key_create(&exit_key, run_exits); }

int vmarena_prim_at_thread_exit(void (*function)(void *), void *argument) {
    (void)pthread_once(&exit_once, make_key);
    if (exit_error != 0) return exit_error;
    if (exit_count == EXITS) return -ENOMEM;
    int error = -pthread_setspecific(exit_key, exits);
    if (error != 0) return error;
    exits[exit_count++] = (struct exit_call){function, argument};
    return 0;
}
