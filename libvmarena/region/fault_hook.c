/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/fault_hook.h"

/*
 * The pair that is not in force is written, then the generation makes it the one in force. The writes release and the
 * reads acquire, so that a reader who sees a later pair also sees that the generation has moved on.
 */
void vmarena_fault_hook_set(struct vmarena_fault_hook *hook, vmarena_fault_fn *function, void *arg) {
    (void)vmarena_prim_global_lock(); /* cannot fail: the region was added under it */
    unsigned next = atomic_load_explicit(&hook->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&hook->pairs[next & 1].function, function, memory_order_release);
    atomic_store_explicit(&hook->pairs[next & 1].arg, arg, memory_order_release);
    atomic_store_explicit(&hook->generation, next, memory_order_release);
    vmarena_prim_global_unlock();
}

/* A handler that interrupts _set in its own thread finds the old pair whole: it never waits. */
void vmarena_fault_hook_get(const struct vmarena_fault_hook *hook, vmarena_fault_fn **function, void **arg) {
    unsigned now;
    do {
        now = atomic_load_explicit(&hook->generation, memory_order_acquire);
        *function = atomic_load_explicit(&hook->pairs[now & 1].function, memory_order_acquire);
        *arg = atomic_load_explicit(&hook->pairs[now & 1].arg, memory_order_acquire);
    } while (atomic_load_explicit(&hook->generation, memory_order_relaxed) != now);
}
