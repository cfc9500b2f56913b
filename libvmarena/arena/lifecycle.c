/* SPDX-License-Identifier: MIT */
/* Creation, clones, and destruction. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "arena/arena.h"
#include "base/error.h"
#include "base/rounding.h"

#define DEFAULT_RESERVE ((uint64_t)64 << 30)
#define LEAST_RESERVE ((size_t)1 << 20)

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static int reserve(struct vmarena_arena *arena, size_t align) {
    size_t page = vmarena_prim_page_size();
    struct vmarena_region_plan plan = {.align = align, .policy = arena->options.commit_policy};
    plan.guard = arena->options.guard == 0 ? page : vmarena_round_up(arena->options.guard, page);
    plan.size = vmarena_round_up(arena->options.reserve, align > page ? align : page);
    if (plan.guard == 0 || plan.size == 0)
        return vmarena_fail(-ENOMEM, "vmarena_create: the sizes exceed the address space");
    int error = vmarena_region_reserve(&arena->region, &plan);
    if (error != 0) return error;
    arena->options.guard = plan.guard;
    arena->options.reserve = plan.size;
    arena->ready = arena->dirty = arena->populated = arena->peak = (uintptr_t)arena->region.base;
    return 0;
}

static int advise_by_flags(struct vmarena_arena *arena) {
    static const struct {
        unsigned flag;
        enum vmarena_prim_advice advice;
        const char *name;
    } advices[] = {{VMARENA_DONT_DUMP, VMARENA_PRIM_DONT_DUMP, "VMARENA_DONT_DUMP"},
                   {VMARENA_DONT_FORK, VMARENA_PRIM_DONT_FORK, "VMARENA_DONT_FORK"},
                   {VMARENA_WIPE_ON_FORK, VMARENA_PRIM_WIPE_ON_FORK, "VMARENA_WIPE_ON_FORK"}};
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if ((arena->options.flags & advices[i].flag) == 0) continue;
        int error = vmarena_arena_advise(arena, advices[i].advice);
        if (error != 0) return vmarena_fail(-EOPNOTSUPP, "%s: this system refuses it for this memory", advices[i].name);
    }
    arena->region.absent_in_child = (arena->options.flags & VMARENA_DONT_FORK) != 0;
    return 0;
}

static void set_name(struct vmarena_arena *arena, const char *name) {
    if (name == NULL) return;
    for (size_t i = 0; i + 1 < VMARENA_NAME_SIZE && name[i] != '\0'; i++) arena->region.name[i] = name[i];
    arena->named = arena->memfile.file != NULL ||
                   vmarena_prim_name(arena->region.base, arena->region.size, arena->region.name) == 0;
}

static void set_owner(struct vmarena_arena *arena) {
    struct vmarena_region *region = &arena->region;
    bool fenced = vmarena_arena_is_fenced(arena);
    arena->page = vmarena_prim_page_size();
    arena->annotated = vmarena_prim_annotating();
    region->owner = arena;
    region->kind = VMARENA_OWNER_ARENA;
    region->objects = fenced ? (const _Atomic size_t *)&arena->objects.live : NULL;
    region->attribute = fenced ? vmarena_fenced_attribute : vmarena_bump_attribute;
}

/* In the reservation: files, advice, guards, tables, and the first commit. */
static int furnish(struct vmarena_arena *arena, const char *name, size_t align) {
    int error = 0;
    if (arena->options.flags & VMARENA_MEMFD) error = vmarena_memfile_open(&arena->memfile, &arena->region, name);
    if (error == 0) error = vmarena_arena_choose_huge(arena);
    if (error != 0) return error;
    vmarena_arena_choose_step(arena, align);
    set_name(arena, name);
    error = advise_by_flags(arena);
    if (error == 0 && vmarena_arena_is_fenced(arena)) return vmarena_fenced_open(arena);
    if (error == 0 && arena->step == 0) error = vmarena_arena_make_ready(arena, vmarena_arena_limit(arena));
    return error;
}

static void release(struct vmarena_arena *arena) {
    vmarena_memfile_close(&arena->memfile); /* first: fork(2) must not touch what is unmapped */
    vmarena_region_release(&arena->region);
}

static int build(struct vmarena_arena *arena, const char *name) {
    if (arena->options.fence == VMARENA_FENCE_OFF)
        arena->options.guard_kind = VMARENA_GUARD_PROTECT; /* only the edges, and those are always PROT_NONE */
    vmarena_options_choose_commit(&arena->options);
    set_owner(arena);
    size_t align = vmarena_options_align(&arena->options);
    int error = reserve(arena, align);
    if (error != 0) return error;
    error = furnish(arena, name, align);
    if (error != 0) release(arena);
    return error;
}

/* A default size gives way to what the process may have. */
static int build_some(struct vmarena_arena *arena, const struct vmarena_options *options) {
    size_t size = DEFAULT_RESERVE > SIZE_MAX / 16 ? (size_t)256 << 20 : (size_t)DEFAULT_RESERVE;
    bool by_default = options->reserve == 0;
    for (;; size /= 2) {
        arena->options = *options;
        arena->options.name = NULL;
        if (by_default) arena->options.reserve = size;
        int error = build(arena, options->name);
        /* EAGAIN: under mlockall(2) more than RLIMIT_MEMLOCK; EFBIG: a memory file beyond RLIMIT_FSIZE */
        bool too_large = error == -ENOMEM || error == -EAGAIN || error == -EFBIG;
        if (!too_large || !by_default || size <= LEAST_RESERVE) return error;
    }
}

int vmarena_create(struct vmarena **out, const struct vmarena_options *options) {
    static const struct vmarena_options defaults;
    if (options == NULL) options = &defaults;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_create: nowhere to put the arena");
    int error = vmarena_options_check(options);
    if (error != 0) return error;
    struct vmarena_arena *arena = vmarena_arena_take_record();
    if (arena == NULL) return -ENOMEM;
    error = build_some(arena, options);
    if (error != 0) {
        vmarena_arena_give_record(arena);
        return error;
    }
    vmarena_arena_set_end(arena, (uintptr_t)arena->region.base);
    *out = &arena->head;
    return 0;
}

/* ---- clones ------------------------------------------------------------------------------------------------------ */

static int build_clone(struct vmarena_arena *arena, const struct vmarena_arena_form *form,
                       struct vmarena_memfile *file) {
    struct vmarena_region *region = &arena->region;
    struct vmarena_region_plan plan = {.size = form->options.reserve,
                                       .guard = form->options.guard,
                                       .align = vmarena_memfile_align(form->options.reserve),
                                       .policy = VMARENA_COMMIT_PROTECT}; /* what is committed is mapped at once */
    arena->options = form->options;
    set_owner(arena);
    memcpy(region->name, form->name, sizeof region->name);
    int error = vmarena_region_reserve(region, &plan);
    if (error != 0) return error;
    region->policy = form->options.commit_policy;
    region->prot = form->prot;
    bool by_steps = region->policy == VMARENA_COMMIT_PROTECT;
    region->committed = by_steps ? vmarena_round_up(form->used, arena->page) : region->size;
    arena->named = true;
    error = vmarena_memfile_adopt(&arena->memfile, region, file);
    if (error == 0) error = vmarena_arena_choose_huge(arena);
    if (error == 0) error = advise_by_flags(arena);
    if (error != 0) release(arena);
    return error;
}

int vmarena_arena_clone(struct vmarena **out, const struct vmarena_arena_form *form, struct vmarena_memfile *file) {
    struct vmarena_arena *arena = vmarena_arena_take_record();
    if (arena == NULL) return -ENOMEM;
    int error = build_clone(arena, form, file);
    if (error != 0) {
        vmarena_arena_give_record(arena);
        return error;
    }
    uintptr_t base = (uintptr_t)arena->region.base;
    vmarena_arena_choose_step(arena, arena->page);
    arena->ready = base + (arena->step == 0 ? arena->region.size : vmarena_round_up(form->used, arena->page));
    arena->dirty = arena->populated = arena->peak = base + form->dirty;
    vmarena_arena_set_end(arena, base + form->used);
    *out = &arena->head;
    return 0;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void vmarena_destroy(struct vmarena *handle) {
    struct vmarena_arena *arena = (struct vmarena_arena *)(void *)handle;
    if (arena == NULL || arena->id == 0) return;
    size_t ready = arena->ready - (uintptr_t)arena->region.base;
    if (arena->observer != NULL) arena->observer->destroyed(arena->observer);
    if (arena->annotated) vmarena_prim_defined(arena->region.base, ready); /* for the next mapping there */
    release(arena);
    if (vmarena_arena_is_fenced(arena)) vmarena_fenced_close(arena);
    vmarena_arena_give_record(arena);
}
