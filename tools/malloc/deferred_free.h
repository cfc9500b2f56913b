/* SPDX-License-Identifier: MIT */
/*
 * Guarded objects that were freed where the heap could not be entered: in a signal handler that interrupted it, or while
 * another thread forks. The next thread that leaves the heap frees them. Any thread, without a lock; signal-safe.
 */
#ifndef VMARENA_MALLOC_DEFERRED_FREE_H
#define VMARENA_MALLOC_DEFERRED_FREE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/unwind.h"

/* Keeps the object with the stack of the call that frees it. If too many are kept, the object stays allocated for good, and
 * one line on standard error says so. */
void vmarena_deferred_free(void *pointer, const struct vmarena_prim_frame *caller);

extern _Atomic uint32_t vmarena_deferred_count;
/* Frees them all. The caller must be inside the heap. */
void vmarena_deferred_free_all(void);

/* While the calling thread frees one of them: writes the stack that was kept with it and returns its length; otherwise
 * returns 0. */
size_t vmarena_deferred_stack(void **frames, size_t depth);

#endif
