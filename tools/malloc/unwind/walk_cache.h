/* SPDX-License-Identifier: MIT */
/*
 * Walks that were made before. A walk follows from its first frame and from the words that it reads on the stack: while all
 * of these are unchanged, so is the walk, and a load and a comparison for each frame replace a rule. Any thread, without a
 * lock; signal-safe.
 */
#ifndef VMARENA_MALLOC_UNWIND_WALK_CACHE_H
#define VMARENA_MALLOC_UNWIND_WALK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/unwind.h"

#define VMARENA_WALK_FRAMES 16
#define VMARENA_WALK_WORDS 16
#define VMARENA_WALK_NOT_REPEATABLE SIZE_MAX /* as a limit, which nobody asks for */

struct vmarena_walk {
    struct vmarena_prim_frame from;
    size_t limit, count;                                           /* frames asked for and found */
    size_t words;                                                  /* saved frame pointers that the walk depends on */
    bool by_fp;                                                    /* it depends on the first frame's fp, too */
    uintptr_t pc[VMARENA_WALK_FRAMES], pc_at[VMARENA_WALK_FRAMES]; /* return addresses and where they are */
    uintptr_t word[VMARENA_WALK_WORDS], word_at[VMARENA_WALK_WORDS];
};

/* Writes a kept walk's program counters and returns how many; 0: no such walk is kept. */
size_t vmarena_walk_cache_find(const struct vmarena_prim_frame *from, void **pcs, size_t limit);

/* A place for a walk that starts so, for this caller alone until it is released; NULL: it is in use. */
struct vmarena_walk *vmarena_walk_cache_take(const struct vmarena_prim_frame *from);
void vmarena_walk_cache_release(struct vmarena_walk *walk);

#endif
