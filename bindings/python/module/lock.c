/* SPDX-License-Identifier: MIT */
#include "module.h"

/* All fields are used with the GIL held, except that a thread waits for `lock` without it. */
struct vmarena_py_lock {
    PyThread_type_lock lock;
    unsigned long owner; /* PyThread_get_thread_ident() of the thread that holds it; 0: none */
    unsigned depth;      /* how often that thread took it */
    unsigned forks;      /* when `lock` was made */
    size_t users;
};

static unsigned forks; /* between the first process and this one */

void vmarena_py_lock_forked(void) { forks++; }

struct vmarena_py_lock *vmarena_py_lock_new(void) {
    struct vmarena_py_lock *lock = PyMem_Calloc(1, sizeof *lock);
    if (lock != NULL) lock->lock = PyThread_allocate_lock();
    if (lock == NULL || lock->lock == NULL) {
        PyMem_Free(lock);
        (void)PyErr_NoMemory();
        return NULL;
    }
    lock->users = 1;
    lock->forks = forks;
    return lock;
}

struct vmarena_py_lock *vmarena_py_lock_share(struct vmarena_py_lock *lock) {
    lock->users++;
    return lock;
}

void vmarena_py_lock_drop(struct vmarena_py_lock *lock) {
    if (--lock->users != 0) return;
    PyThread_free_lock(lock->lock);
    PyMem_Free(lock);
}

/* In a child process: nobody there gives back what another thread held, or had just got, at the fork. */
static bool renew(struct vmarena_py_lock *lock) {
    PyThread_type_lock fresh = lock->owner == 0 ? PyThread_allocate_lock() : NULL;
    if (fresh == NULL) return false;
    lock->lock = fresh;
    lock->forks = forks;
    return true;
}

bool vmarena_py_lock_take(struct vmarena_py_lock *lock) {
    unsigned long thread = PyThread_get_thread_ident();
    if (lock->owner == thread) {
        lock->depth++;
        return true;
    }
    if (lock->forks != forks && !renew(lock)) return false;
    if (PyThread_acquire_lock(lock->lock, NOWAIT_LOCK) == 0) {
        Py_BEGIN_ALLOW_THREADS;
        (void)PyThread_acquire_lock(lock->lock, WAIT_LOCK);
        Py_END_ALLOW_THREADS;
    }
    lock->owner = thread;
    lock->depth = 1;
    return true;
}

void vmarena_py_lock_give(struct vmarena_py_lock *lock) {
    if (--lock->depth != 0) return;
    lock->owner = 0;
    PyThread_release_lock(lock->lock);
}
