/* SPDX-License-Identifier: MIT */
/* Memory made ready for the fast path: committed step by step, locked, populated, collapsed. */
#include "prim/prim.h"

#include <errno.h>

#include "arena/arena.h"
#include "base/error.h"
#include "base/rounding.h"

#define DEFAULT_STEP ((size_t)64 << 10)
#define DEFAULT_FENCED_STEP ((size_t)2 << 20) /* guards are installed a step at a time: 20-30 ns a page in bulk */

void vmarena_arena_poison(const struct vmarena_arena *arena, uintptr_t start, uintptr_t end) {
    if (arena->annotated && !vmarena_arena_is_fenced(arena) && start < end)
        vmarena_prim_poison((const void *)start, end - start);
}

int vmarena_arena_check_writable(const struct vmarena_arena *arena) {
    if (arena->region.prot & VMARENA_WRITE) return 0;
    return vmarena_fail(-EACCES, "the arena is not writable now");
}

static int populate(struct vmarena_arena *arena, char *start, size_t size) {
    int error = vmarena_arena_check_writable(arena);
    if (error != 0) return error;
    if (arena->observer != NULL)
        arena->observer->kernel_writes(arena->observer, (size_t)(start - arena->region.base), size);
    error = vmarena_prim_advise(start, size, VMARENA_PRIM_POPULATE_WRITE);
    if (error != 0) return vmarena_fail_call(error, "prefault", size);
    if ((uintptr_t)start + size > arena->populated) arena->populated = (uintptr_t)start + size;
    return 0;
}

/* Best effort. Only pages that are there can be collapsed: they are brought in first, as huge ones where that works. */
static void collapse(struct vmarena_arena *arena, char *start, size_t size) {
    if ((arena->region.prot & VMARENA_WRITE) == 0 || populate(arena, start, size) != 0) return;
    if (vmarena_prim_advise(start, size, VMARENA_PRIM_COLLAPSE) == -EINVAL) arena->huge = VMARENA_HUGE_TRANSPARENT;
}

/* What each newly committed part gets, as the options ask. */
static int prepare(struct vmarena_arena *arena, char *start, size_t size) {
    int error = 0;
    if (arena->options.flags & VMARENA_LOCK) {
        error = vmarena_prim_lock(start, size);
        if (error != 0)
            return vmarena_fail(error, "mlock of %zu bytes: beyond RLIMIT_MEMLOCK, or memory is short", size);
    }
    if ((arena->options.flags & VMARENA_PREFAULT) && !vmarena_arena_is_fenced(arena)) {
        error = populate(arena, start, size);
        if (error != 0) return error;
    }
    if (arena->huge == VMARENA_HUGE_COLLAPSE) collapse(arena, start, size);
    return 0;
}

void vmarena_arena_choose_step(struct vmarena_arena *arena, size_t align) {
    const struct vmarena_options *options = &arena->options;
    /* Annotated: by steps too, since ASan's shadow of a whole reservation would be an eighth of it in memory. */
    bool by_steps = options->commit_policy == VMARENA_COMMIT_PROTECT || arena->annotated ||
                    (options->flags & (VMARENA_LOCK | VMARENA_PREFAULT)) != 0 || arena->huge == VMARENA_HUGE_COLLAPSE;
    size_t step = options->commit;
    if (step == 0) step = options->fence != VMARENA_FENCE_OFF ? DEFAULT_FENCED_STEP : DEFAULT_STEP;
    step = vmarena_round_up(step, align > arena->page ? align : arena->page);
    arena->step = by_steps ? step : 0; /* a step that overflows to 0 commits everything at once, as was asked */
}

size_t vmarena_arena_step_end(const struct vmarena_arena *arena, uintptr_t end) {
    size_t wanted = end - (uintptr_t)arena->region.base;
    size_t rounded = arena->step != 0 ? vmarena_round_up(wanted, arena->step) : arena->region.size;
    return rounded == 0 || rounded > arena->region.size ? arena->region.size : rounded;
}

static int commit(struct vmarena_arena *arena, size_t bytes) {
    if (bytes <= arena->region.committed) return 0;
    return arena->memfile.file != NULL ? vmarena_memfile_commit(&arena->memfile, bytes)
                                       : vmarena_region_commit(&arena->region, bytes);
}

int vmarena_arena_make_ready(struct vmarena_arena *arena, uintptr_t end) {
    if (end <= arena->ready) return 0;
    struct vmarena_region *region = &arena->region;
    size_t bytes = vmarena_arena_step_end(arena, end), before = arena->ready - (uintptr_t)region->base;
    int error = commit(arena, bytes);
    if (error == 0) error = prepare(arena, region->base + before, bytes - before);
    if (error != 0) return error;
    vmarena_arena_poison(arena, arena->ready, (uintptr_t)region->base + bytes);
    arena->ready = (uintptr_t)region->base + bytes;
    return 0;
}

void vmarena_arena_make_unready(struct vmarena_arena *arena, uintptr_t floor) {
    bool again = (arena->options.flags & VMARENA_PREFAULT) || arena->huge == VMARENA_HUGE_COLLAPSE;
    if (!again || arena->ready <= floor) return;
    if (arena->annotated) vmarena_prim_defined((const void *)floor, arena->ready - floor); /* until it is ready again */
    arena->ready = floor;
    vmarena_arena_set_end(arena, vmarena_arena_end(arena));
}

void vmarena_arena_set_end(struct vmarena_arena *arena, uintptr_t end) {
    arena->head.cursor = end - 1;
    bool slow = arena->annotated || vmarena_arena_is_fenced(arena);
    arena->head.limit = slow ? end - 1 : arena->ready - 1;
}

void vmarena_arena_remember_use(struct vmarena_arena *arena) {
    uintptr_t end = vmarena_arena_end(arena);
    if (end > arena->dirty) arena->dirty = end;
    if (end > arena->peak) arena->peak = end;
}

int vmarena_prefault(struct vmarena *handle, size_t bytes) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_prefault: a fenced arena's pages come with each object");
    uintptr_t end = vmarena_arena_end(arena), last = vmarena_arena_limit(arena);
    if (bytes > last - end)
        return vmarena_fail(-ENOSPC, "vmarena_prefault: %zu bytes are left of %zu", last - end, arena->region.size);
    if (bytes == 0) return 0;
    int error = vmarena_arena_check_writable(arena);
    if (error == 0) error = vmarena_arena_make_ready(arena, end + bytes);
    if (error != 0) return error;
    vmarena_arena_set_end(arena, end);
    uintptr_t from = vmarena_align_down(end, arena->page), to = vmarena_align_up(end + bytes, arena->page);
    return populate(arena, (char *)from, to - from);
}
