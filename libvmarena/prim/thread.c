/* SPDX-License-Identifier: MIT */
#include "../prim.h"

#include <errno.h>

static pthread_mutex_t global = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void lock(void) { (void)pthread_mutex_lock(&global); }
static void unlock(void) { (void)pthread_mutex_unlock(&global); }
static void watch_forks(void) { (void)pthread_atfork(lock, unlock, unlock); }

void vmarena_prim_global_lock(void) {
    (void)pthread_once(&fork_once, watch_forks);
    lock();
}

void vmarena_prim_global_unlock(void) { unlock(); }

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
