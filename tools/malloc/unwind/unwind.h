/* SPDX-License-Identifier: MIT */
/* Call stacks, cheap enough for every malloc and safe in one. Return addresses only: the command names them later. */
#ifndef VMARENA_MALLOC_UNWIND_UNWIND_H
#define VMARENA_MALLOC_UNWIND_UNWIND_H

#include <stddef.h>

#include "prim/unwind.h"

/*
 * Writes up to limit program counters, the frame's own first and then those of its callers, and returns how many. They are
 * return addresses, except for the first of an exact frame. The walk ends where the unwind tables end. Any thread;
 * signal-safe: no lock, no allocation, and the stack is read by vmarena_prim_probe().
 *
 * Where VMARENA_PRIM_HAS_UNWIND_TABLES is 1 the walk uses the .eh_frame tables, which programs built without frame pointers
 * have too; rules and whole walks are cached. Elsewhere it follows the frame pointers.
 */
size_t vmarena_unwind(const struct vmarena_prim_frame *from, void **pcs, size_t limit);

#endif
