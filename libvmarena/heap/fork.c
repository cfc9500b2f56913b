/* SPDX-License-Identifier: MIT */
/*
 * The list of all heaps, and what keeps them usable in the child of fork(2): every lock of theirs but `check` is held
 * while the process is copied, so that none belongs to a thread that does not exist in the child.
 */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

/* All heaps ever created. A destroyed one stays, for stale handles, until its record is used again. */
static pthread_mutex_t heaps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmarena_heap *heaps;

struct vmarena_heap **vmarena_heaps_lock(void) {
    vmarena_heap_lock(&heaps_lock);
    return &heaps;
}

void vmarena_heaps_unlock(void) { vmarena_heap_unlock(&heaps_lock); }

static void each_lock(struct vmarena_heap *heap, void (*operate)(pthread_mutex_t *)) {
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) operate(&heap->shards[i].lock);
    for (unsigned i = 0; i < VMARENA_CENTRAL_LOCKS; i++) operate(&heap->central_locks[i]);
    operate(&heap->grow);
    operate(&heap->stacks.lock);
}

/* The handlers may be registered twice: a fork during their registration leaves it to the child to repeat it. */
static _Thread_local unsigned nested;

static void before_fork(void) {
    if (nested++ > 0) return;
    vmarena_lock_for_fork(&heaps_lock);
    for (struct vmarena_heap *heap = heaps; heap != NULL; heap = heap->next)
        if (vmarena_heap_is_alive(heap)) each_lock(heap, vmarena_lock_for_fork);
    vmarena_heap_enter(); /* other handlers of pthread_atfork(3) may call malloc */
}

/*
 * The thread that was checking or rearming does not exist in the child, unless it is the one that forked, out of a report.
 * Waiting for it in the parent would not do: its report may be forking, too.
 */
static void take_over(struct vmarena_heap *heap) {
    vmarena_store_relaxed(heap->forked, true);
    atomic_store(&heap->exposing, 0);
    vmarena_turn_abandon(heap);
}

static void after_fork(bool child) {
    if (--nested > 0) return;
    vmarena_heap_leave();
    for (struct vmarena_heap *heap = heaps; heap != NULL; heap = heap->next) {
        if (!vmarena_heap_is_alive(heap)) continue;
        if (child) take_over(heap);
        each_lock(heap, vmarena_unlock_after_fork);
    }
    vmarena_unlock_after_fork(&heaps_lock);
}

static void after_fork_in_parent(void) { after_fork(false); }
static void after_fork_in_child(void) { after_fork(true); }

static int watch(void) { return vmarena_prim_at_fork(before_fork, after_fork_in_parent, after_fork_in_child); }

int vmarena_fork_watch(void) {
    static struct vmarena_prim_once once;
    int error = vmarena_prim_once(&once, watch);
    return error != 0 ? vmarena_fail_call(error, "pthread_atfork", 0) : 0;
}
