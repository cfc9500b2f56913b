/* SPDX-License-Identifier: MIT */
/* An arena's state as snapshots take it and bring it back. */
#include "prim/prim.h"

#include <string.h>

#include "arena/arena.h"
#include "base/rounding.h"

static uintptr_t later(uintptr_t one, uintptr_t other) { return one > other ? one : other; }

size_t vmarena_arena_touched(const struct vmarena_arena *arena) {
    uintptr_t end = later(vmarena_arena_end(arena), later(arena->dirty, arena->populated));
    return vmarena_round_up(end - (uintptr_t)arena->region.base, arena->page);
}

struct vmarena_arena_form vmarena_arena_form(const struct vmarena_arena *arena) {
    struct vmarena_arena_form form = {.options = arena->options, .prot = arena->region.prot};
    uintptr_t base = (uintptr_t)arena->region.base, end = vmarena_arena_end(arena);
    memcpy(form.name, arena->region.name, sizeof form.name);
    form.used = end - base;
    form.dirty = later(end, arena->dirty) - base;
    return form;
}

void vmarena_arena_expect_dirty(struct vmarena_arena *arena, size_t bytes) {
    arena->dirty = later(arena->dirty, (uintptr_t)arena->region.base + bytes);
}

/* How far down the arena was rewound since. */
static uintptr_t lowest_since(const struct vmarena_arena *arena, uint64_t generation) {
    for (unsigned i = 0; i < arena->rewound_count; i++)
        if (arena->rewound[i].generation > generation) return arena->rewound[i].floor;
    return UINTPTR_MAX;
}

void vmarena_arena_return(struct vmarena_arena *arena, size_t used, uint64_t generation) {
    uintptr_t base = (uintptr_t)arena->region.base, end = base + used, floor = lowest_since(arena, generation);
    vmarena_arena_remember_use(arena);
    vmarena_arena_remember_rewind(arena, floor < end ? floor : end);
    if (arena->annotated && used != 0) vmarena_prim_defined(arena->region.base, used);
    vmarena_arena_poison(arena, end, arena->ready);
    vmarena_arena_set_end(arena, end);
}
