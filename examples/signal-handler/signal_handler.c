/* SPDX-License-Identifier: MIT */
/*
 * What a signal handler must not do: take a lock that the code it interrupted may hold. malloc and printf hold such locks
 * for moments, so that a handler that calls them works most of the time. Here the moment is made to last, and the lock is
 * one that says what it sees instead of waiting for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "../experiment.h"

static pthread_mutex_t lock;
static volatile int in_handler = -1;

/* In the signal handler. */
static bool try_lock(const struct vmarena_fault *fault, void *arg) {
    (void)fault, (void)arg;
    in_handler = pthread_mutex_lock(&lock);
    return false; /* it is no repair: on to the scope */
}

static void write_under_lock(void *byte) {
    (void)pthread_mutex_lock(&lock);
    *(volatile char *)byte = 1; /* read-only: faults */
    (void)pthread_mutex_unlock(&lock);
}

int main(void) {
    pthread_mutexattr_t kind;
    size_t page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(page, "article");
    char *byte = must_alloc(arena, page, page);
    struct vmarena_fault fault;
    must_be(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK) == 0 &&
                pthread_mutex_init(&lock, &kind) == 0,
            "there are locks that see a deadlock");
    must_work(vmarena_protect(arena, VMARENA_READ) == 0, "vmarena_protect");
    must_work(vmarena_on_fault(arena, try_lock, NULL) == 0, "vmarena_on_fault");

    must_be(vmarena_try(write_under_lock, byte, &fault) == 1, "the write faults");
    must_be(in_handler == EDEADLK, "the handler's own thread holds the lock");
    printf("a fault under a lock; its handler wants that lock: EDEADLK, an ordinary lock would wait for ever\n");
    must_be(pthread_mutex_lock(&lock) == EDEADLK, "leaving the scope does not unlock it");
    printf("after the scope: whoever was to unlock it was left, and it is locked still\n");
    must_be(pthread_mutex_unlock(&lock) == 0, "it can be unlocked now");
    must_be(pthread_mutex_lock(&lock) == 0 && pthread_mutex_unlock(&lock) == 0, "and be used again");
    printf("unlocked by hand: after the scope everything may be called, printf among it\n");
    vmarena_destroy(arena);
    return 0;
}
