/* SPDX-License-Identifier: MIT */
/* The ladder of huge pages at an arena's creation. */
#include "prim/prim.h"

#include <errno.h>

#include "arena/arena.h"
#include "base/error.h"

/*
 * Maps the whole arena from a hugetlb pool, since a pool that is too small must be known now and not at a touch.
 * 1: done; 0: not possible.
 */
static int map_hugetlb(struct vmarena_arena *arena, unsigned shift) {
    struct vmarena_region *region = &arena->region;
    size_t page = (size_t)1 << shift;
    if ((uintptr_t)region->base % page != 0 || region->size % page != 0) return 0;
    int error = vmarena_prim_map_hugetlb(region->base, region->size, shift);
    if (error == 0) {
        arena->page = page;
        region->committed = region->size;
        return 1;
    }
    if (error != -ENOTRECOVERABLE && region->committed != 0)
        error = vmarena_prim_protect(region->base, region->committed, region->prot) == 0 ? 0 : -ENOTRECOVERABLE;
    return error == -ENOTRECOVERABLE ? vmarena_fail(-ENOMEM, "the hugetlb pool was emptied by another process") : 0;
}

/* The rung obtained from a hugetlb pool, VMARENA_HUGE_SYSTEM for none, or an error. */
static int try_hugetlb(struct vmarena_arena *arena) {
    if (arena->options.flags & VMARENA_MEMFD) return VMARENA_HUGE_SYSTEM;
    int got = arena->options.huge == VMARENA_HUGE_1G ? map_hugetlb(arena, 30) : 0;
    if (got != 0) return got > 0 ? VMARENA_HUGE_1G : got;
    got = arena->options.huge >= VMARENA_HUGE_2M ? map_hugetlb(arena, 21) : 0;
    return got > 0 ? VMARENA_HUGE_2M : got;
}

int vmarena_arena_advise(struct vmarena_arena *arena, enum vmarena_prim_advice advice) {
    if (arena->memfile.file != NULL) return vmarena_memfile_advise(&arena->memfile, advice);
    return vmarena_prim_advise(arena->region.base, arena->region.size, advice);
}

int vmarena_arena_choose_huge(struct vmarena_arena *arena) {
    enum vmarena_huge asked = arena->options.huge;
    arena->huge = VMARENA_HUGE_SYSTEM;
    if (asked == VMARENA_HUGE_SYSTEM) return 0;
    int got = try_hugetlb(arena);
    if (got < 0) return got;
    if (got > 0) arena->huge = (enum vmarena_huge)got;
    else if (asked == VMARENA_HUGE_NEVER) {
        if (vmarena_arena_advise(arena, VMARENA_PRIM_NO_HUGE) == 0) arena->huge = asked;
    } else if (vmarena_arena_advise(arena, VMARENA_PRIM_HUGE) == 0)
        arena->huge = asked == VMARENA_HUGE_COLLAPSE ? asked : VMARENA_HUGE_TRANSPARENT;
    return 0;
}
