/* SPDX-License-Identifier: MIT */
/* A function and its argument that a thread may replace while signal handlers of other threads call it. */
#ifndef VMARENA_FAULT_HOOK_H
#define VMARENA_FAULT_HOOK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "vmarena/types.h"

/* All zero: no function. */
struct vmarena_fault_hook {
    _Atomic unsigned generation; /* its lowest bit is the index of the pair in force */
    struct {
        _Atomic(vmarena_fault_fn *) function;
        _Atomic(void *) arg;
    } pairs[2];
};

/* function may be NULL. A call under way goes on with the old pair. Takes the global lock. */
void vmarena_fault_hook_set(struct vmarena_fault_hook *hook, vmarena_fault_fn *function, void *arg);

/* Reads a function and the argument that was set with it; *function may be NULL. Signal-safe. */
void vmarena_fault_hook_get(const struct vmarena_fault_hook *hook, vmarena_fault_fn **function, void **arg);

#endif
