/* SPDX-License-Identifier: MIT */
/*
 * A heap's locks. Each thread notes the locks that it holds or waits for. A signal handler that interrupted it in such a
 * section, and allocates, frees or forks, finds them there and keeps away from all locks: it might wait for its own thread.
 */
#include "prim/prim.h"

#include "heap/heap.h"

/* A shard's, a class's, grow, the library's own, and a fork's sections. */
#define MOST 8

static _Thread_local struct {
    pthread_mutex_t *lock; /* NULL: a section without a lock of ours */
    bool left_alone;       /* by a fork in a signal handler */
} sections[MOST];
static _Thread_local unsigned depth;

/* A signal handler of this thread must see the note before the lock is taken, and until it is free again. */
static void note(pthread_mutex_t *lock) {
    sections[depth].lock = lock;
    sections[depth].left_alone = false;
    atomic_signal_fence(memory_order_seq_cst);
    depth++;
    atomic_signal_fence(memory_order_seq_cst);
}

static void drop_note(void) {
    atomic_signal_fence(memory_order_seq_cst);
    depth--;
}

void vmarena_heap_lock(pthread_mutex_t *lock) {
    note(lock);
    (void)pthread_mutex_lock(lock);
}

void vmarena_heap_unlock(pthread_mutex_t *lock) {
    (void)pthread_mutex_unlock(lock);
    drop_note();
}

void vmarena_heap_enter(void) { note(NULL); }
void vmarena_heap_leave(void) { drop_note(); }

bool vmarena_heap_interrupted(void) { return depth != 0; }

static bool *noted(const pthread_mutex_t *lock) {
    for (unsigned i = 0; i < depth; i++)
        if (sections[i].lock == lock) return &sections[i].left_alone;
    return NULL;
}

/* Far longer than any of these locks is held by a thread that runs. */
#define ATTEMPTS 10000

/* The note does not tell whether the interrupted thread already had the lock, or was about to take it. */
void vmarena_lock_for_fork(pthread_mutex_t *lock) {
    bool *left_alone = noted(lock);
    if (left_alone == NULL) {
        (void)pthread_mutex_lock(lock);
        return;
    }
    unsigned attempt = 0;
    while (attempt < ATTEMPTS && pthread_mutex_trylock(lock) != 0) {
        vmarena_prim_yield();
        attempt++;
    }
    *left_alone = attempt == ATTEMPTS;
}

void vmarena_unlock_after_fork(pthread_mutex_t *lock) {
    const bool *left_alone = noted(lock);
    if (left_alone == NULL || !*left_alone) (void)pthread_mutex_unlock(lock);
}
