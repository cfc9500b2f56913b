/* SPDX-License-Identifier: MIT */
/* Going back: marks, rewind, reset, and memory returned to the system. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "arena/arena.h"
#include "base/error.h"
#include "base/rounding.h"

struct vmarena_mark vmarena_mark(const struct vmarena *handle) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return (struct vmarena_mark){.arena = 0};
    return (struct vmarena_mark){arena->id, arena->generation, handle->cursor, arena->objects.count};
}

/*
 * A lower rewind supersedes the higher ones before it, so that floors rise from entry to entry. When the table is full the
 * oldest entry goes.
 */
void vmarena_arena_remember_rewind(struct vmarena_arena *arena, uintptr_t floor) {
    unsigned count = arena->rewound_count;
    while (count > 0 && arena->rewound[count - 1].floor >= floor) count--;
    if (count == VMARENA_REWINDS) {
        memmove(arena->rewound, arena->rewound + 1, (VMARENA_REWINDS - 1) * sizeof arena->rewound[0]);
        count--;
    }
    arena->rewound[count] = (struct vmarena_rewound){++arena->generation, floor};
    arena->rewound_count = count + 1;
}

/* Whether the arena went below the mark since it was taken. */
static bool is_stale(const struct vmarena_arena *arena, struct vmarena_mark mark) {
    if (mark.cursor > arena->head.cursor) return true;
    for (unsigned i = 0; i < arena->rewound_count; i++)
        if (arena->rewound[i].generation > mark.generation) return arena->rewound[i].floor < mark.cursor + 1;
    return false;
}

/* Takes back everything from end on, after vmarena_arena_remember_use(). */
static int rewind_to(struct vmarena_arena *arena, uintptr_t end, size_t objects) {
    int error = 0;
    if (vmarena_arena_is_fenced(arena)) {
        error = vmarena_fenced_rewind(arena, end, objects);
        if (error != 0 && error != -EILSEQ) return error;
    }
    vmarena_arena_remember_rewind(arena, end);
    vmarena_arena_poison(arena, end, vmarena_arena_end(arena));
    vmarena_arena_set_end(arena, end);
    return error;
}

int vmarena_rewind(struct vmarena *handle, struct vmarena_mark mark) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (mark.arena != arena->id) return vmarena_fail(-EINVAL, "vmarena_rewind: the mark is of another arena");
    if (is_stale(arena, mark))
        return vmarena_fail(-ESTALE, "vmarena_rewind: the arena was rewound past this mark since it was taken");
    if (mark.cursor == handle->cursor) return 0;
    vmarena_arena_remember_use(arena);
    return rewind_to(arena, mark.cursor + 1, mark.objects);
}

/* Whole pages of the arena read as zero from now on. */
static int discard(struct vmarena_arena *arena, void *start, size_t size) {
    if (arena->memfile.file != NULL) {
        int error = vmarena_memfile_discard(&arena->memfile, start, size);
        if (error != 0) return error;
    } else {
        int error = vmarena_prim_discard(start, size);
        if (error != 0) return vmarena_fail_call(error, "madvise(MADV_DONTNEED)", size);
    }
    if (arena->observer != NULL)
        arena->observer->discarded(arena->observer, (size_t)((char *)start - arena->region.base), size);
    return 0;
}

/* Gives back what is resident from base + keep on. */
static int discard_tail(struct vmarena_arena *arena, size_t keep) {
    uintptr_t base = (uintptr_t)arena->region.base, floor = base + keep;
    if (arena->sealed) return vmarena_fail(-EPERM, "vmarena_reset: the memory is sealed and cannot be given back");
    uintptr_t end = arena->populated > arena->dirty ? arena->populated : arena->dirty;
    int error = discard(arena, (void *)floor, vmarena_round_up(end - base, arena->page) - keep);
    if (error != 0) return error;
    if (arena->dirty > floor) arena->dirty = floor;
    if (arena->populated > floor) arena->populated = floor;
    return 0;
}

int vmarena_reset(struct vmarena *handle, size_t keep_bytes) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    vmarena_arena_remember_use(arena);
    uintptr_t base = (uintptr_t)arena->region.base;
    size_t resident = (arena->dirty > arena->populated ? arena->dirty : arena->populated) - base;
    size_t keep = vmarena_round_up(keep_bytes, arena->page);
    bool keeps_all = vmarena_arena_is_fenced(arena) || (arena->options.flags & VMARENA_LOCK) ||
                     keep_bytes >= resident || keep >= resident;
    int error = keeps_all ? 0 : discard_tail(arena, keep);
    if (error != 0) return error;
    error = rewind_to(arena, base, 0);
    if (!keeps_all) vmarena_arena_make_unready(arena, base + keep);
    return error;
}

int vmarena_discard(struct vmarena *handle, void *start, size_t length) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_discard: a fenced arena gives memory back by rewind and reset");
    int error = vmarena_arena_check_pages(arena, start, length, "vmarena_discard");
    if (error != 0) return error;
    if ((uintptr_t)start + length > vmarena_align_up(vmarena_arena_end(arena), arena->page))
        return vmarena_fail(-EINVAL, "vmarena_discard: the range goes past the used part");
    if (arena->sealed) return vmarena_fail(-EPERM, "vmarena_discard: the memory is sealed");
    if (arena->options.flags & VMARENA_LOCK)
        return vmarena_fail(-EINVAL, "vmarena_discard: locked memory is not given back");
    return discard(arena, start, length);
}
