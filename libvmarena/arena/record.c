/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <stdatomic.h>

#include "arena/arena.h"
#include "base/error.h"
#include "base/pool.h"

static struct vmarena_pool arenas = VMARENA_POOL(struct vmarena_arena);
static _Atomic uint64_t last_id;

struct vmarena_arena *vmarena_arena_of(const struct vmarena *handle) {
    struct vmarena_arena *arena = (struct vmarena_arena *)(uintptr_t)handle;
    if (arena != NULL && arena->id != 0) return arena;
    (void)vmarena_fail(-EBADF, arena == NULL ? "no arena (NULL)" : "the arena was destroyed");
    return NULL;
}

struct vmarena_arena *vmarena_arena_take_record(void) {
    struct vmarena_arena *arena = vmarena_pool_take(&arenas);
    if (arena != NULL) arena->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    else (void)vmarena_fail(-ENOMEM, "no memory for the arena's record");
    return arena;
}

/* The pool's link lies in the first word, the cursor: with a limit of 0 every allocation takes the slow path. */
void vmarena_arena_give_record(struct vmarena_arena *arena) {
    arena->id = 0;
    arena->head.limit = 0;
    vmarena_pool_give(&arenas, arena);
}
