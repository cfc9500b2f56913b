/* SPDX-License-Identifier: MIT */
/* A heap's options: checked, and stored with their defaults. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

static bool is_power(size_t value) { return value != 0 && (value & (value - 1)) == 0; }

static int check_values(const struct vmarena_heap_options *options) {
    if (options->align != 0 && !is_power(options->align))
        return vmarena_fail(-EINVAL, "options.align: %zu is no power of two", options->align);
    if ((unsigned)options->side > VMARENA_HEAP_ALTERNATE || (unsigned)options->reuse > VMARENA_HEAP_RANDOM ||
        (unsigned)options->full > VMARENA_HEAP_UNGUARDED || (unsigned)options->guard_kind > VMARENA_GUARD_USERFAULT)
        return vmarena_fail(-EINVAL, "options: side, reuse, full or guard_kind is none of its values");
    if ((options->flags & ~(VMARENA_HEAP_NO_QUARANTINE | VMARENA_HEAP_NO_STACKS)) != 0)
        return vmarena_fail(-EINVAL, "options.flags: unknown bits in 0x%x", options->flags);
    return 0;
}

static int check_ranges(const struct vmarena_heap_options *options) {
    if (options->stack_depth > VMARENA_HEAP_STACK_DEPTH_MAX)
        return vmarena_fail(-EINVAL, "options.stack_depth: %u is more than %d", options->stack_depth,
                            VMARENA_HEAP_STACK_DEPTH_MAX);
    if (options->sample > SIZE_MAX / 2)
        return vmarena_fail(-EINVAL, "options.sample: %zu is more than %zu", options->sample, SIZE_MAX / 2);
    if (options->guard > SIZE_MAX / 8) return vmarena_fail(-EINVAL, "options.guard: %zu is too wide", options->guard);
    if (options->reserve > SIZE_MAX / 4)
        return vmarena_fail(-EINVAL, "options.reserve: %zu bytes exceed the address space", options->reserve);
    if (options->guard_max != 0 && options->guard_min > options->guard_max)
        return vmarena_fail(-EINVAL, "options.guard_min is more than guard_max");
    return 0;
}

static int check_fallback(const struct vmarena_heap_options *options) {
    const struct vmarena_heap_fallback *fallback = options->fallback;
    bool needed = options->sample > 1 || options->guard_min != 0 || options->guard_max != 0 ||
                  options->full == VMARENA_HEAP_UNGUARDED;
    if (needed && fallback == NULL)
        return vmarena_fail(-EINVAL, "options.fallback is needed with sample, guard_min, guard_max and UNGUARDED");
    if (fallback != NULL && (fallback->alloc == NULL || fallback->calloc == NULL || fallback->realloc == NULL ||
                             fallback->free == NULL || fallback->usable_size == NULL))
        return vmarena_fail(-EINVAL, "options.fallback: only its function `owns` may be left out");
    return 0;
}

int vmarena_heap_check_options(const struct vmarena_heap_options *options) {
    int error = check_values(options);
    if (error == 0) error = check_ranges(options);
    return error != 0 ? error : check_fallback(options);
}

/* ---- applying ------------------------------------------------------------------------------------------------------------ */

static void set_defaults(struct vmarena_heap_options *options) {
    if (options->align == 0) options->align = 16;
    if (options->stack_depth == 0) options->stack_depth = VMARENA_HEAP_STACK_DEPTH;
    if (options->quarantine_count == 0) options->quarantine_count = VMARENA_HEAP_QUARANTINE_COUNT;
    if (options->flags & VMARENA_HEAP_NO_QUARANTINE) options->quarantine_count = 0;
}

static void copy_name(struct vmarena_heap *heap, const char *name) {
    for (size_t i = 0; i + 1 < VMARENA_NAME_SIZE && name[i] != '\0'; i++) heap->region.name[i] = name[i];
}

void vmarena_heap_apply_options(struct vmarena_heap *heap, const struct vmarena_heap_options *options) {
    struct vmarena_heap_options *own = &heap->options;
    *own = *options;
    set_defaults(own);
    heap->filters = own->sample > 1 || own->guard_min != 0 || own->guard_max != 0;
    heap->has_fallback = options->fallback != NULL;
    if (heap->has_fallback) heap->fallback = *options->fallback;
    own->fallback = NULL;
    own->name = NULL;
    heap->annotated = vmarena_prim_annotating();
    heap->page = vmarena_prim_page_size();
    heap->chunk = heap->page * VMARENA_CHUNK_PAGES;
    heap->guard_pages = own->guard == 0 ? 1 : vmarena_round_up(own->guard, heap->page) / heap->page;
    copy_name(heap, options->name != NULL ? options->name : "heap");
}
