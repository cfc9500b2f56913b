/* SPDX-License-Identifier: MIT */
/* Allocation past the fast path: objects one after the other, resized and freed. */
#include "prim/prim.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "arena/arena.h"
#include "base/error.h"
#include "base/rounding.h"
#include "region/guard_layout.h"

#define LARGEST_ALIGN ((size_t)1 << (sizeof(size_t) * 8 - 2))

void vmarena_bump_attribute(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct vmarena_arena *arena = region->owner;
    uintptr_t address = (uintptr_t)fault->address, base = (uintptr_t)region->base, end = arena->head.cursor + 1;
    fault->object = region->base;
    fault->object_size = end - base;
    fault->distance = vmarena_object_distance(base, end - base, address);
    if (fault->kind == VMARENA_FAULT_PAST_END_OF_FILE) fault->kind = VMARENA_FAULT_OTHER; /* no file: a hugetlb pool */
    if (fault->signo != SIGSEGV) return;
    if (address < base) fault->kind = VMARENA_FAULT_UNDERRUN;
    else if (address - base < region->committed) fault->kind = VMARENA_FAULT_PROTECTED;
    else fault->kind = VMARENA_FAULT_OVERRUN;
}

/* Between objects under ASan or Valgrind, so that an overrun is not another object's memory. */
#define RED_ZONE ((size_t)16)

static int check_request(const struct vmarena_arena *arena, size_t size, size_t align) {
    if (size == 0) return vmarena_fail(-EINVAL, "an allocation of 0 bytes");
    if (align == 0 || (align & (align - 1)) != 0)
        return vmarena_fail(-EINVAL, "the alignment %zu is no power of two", align);
    if (align > LARGEST_ALIGN || align > vmarena_round_up(arena->region.size, arena->page))
        return vmarena_fail(-EINVAL, "the alignment %zu is larger than the arena of %zu bytes", align,
                            arena->region.size);
    return 0;
}

static void *bump(struct vmarena_arena *arena, size_t size, size_t align) {
    const struct vmarena_region *region = &arena->region;
    uintptr_t end = vmarena_arena_end(arena), last = (uintptr_t)region->base + region->size;
    if (arena->annotated && end != (uintptr_t)region->base && last - end >= RED_ZONE) end += RED_ZONE;
    uintptr_t start = vmarena_align_up(end, align);
    if (start < end || start > last || size > last - start) {
        (void)vmarena_fail(-ENOSPC, "the arena is full: %zu of %zu bytes used, %zu asked for",
                           end - (uintptr_t)region->base, region->size, size);
        return NULL;
    }
    if (vmarena_arena_make_ready(arena, start + size) != 0) return NULL;
    if (arena->annotated) vmarena_prim_unpoison((const void *)start, size);
    vmarena_arena_set_end(arena, start + size);
    return (void *)start;
}

void *vmarena_alloc_slow(struct vmarena *handle, size_t size, size_t align) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL || check_request(arena, size, align) != 0) return NULL;
    return vmarena_arena_is_fenced(arena) ? vmarena_fenced_alloc(arena, size, align) : bump(arena, size, align);
}

void *vmarena_alloc_array(struct vmarena *handle, size_t count, size_t size, size_t align) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        (void)vmarena_fail(-EOVERFLOW, "an array of %zu objects of %zu bytes exceeds the address space", count, size);
        return NULL;
    }
    if (handle == NULL) return vmarena_alloc_slow(handle, bytes, align);
    return vmarena_alloc(handle, bytes, align);
}

void *vmarena_alloc_zeroed(struct vmarena *handle, size_t size, size_t align) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return NULL;
    bool clears = vmarena_arena_end(arena) < arena->dirty && !vmarena_arena_is_fenced(arena);
    if (clears && vmarena_arena_check_writable(arena) != 0) return NULL;
    char *object = vmarena_alloc(handle, size, align);
    if (object == NULL) return NULL;
    uintptr_t start = (uintptr_t)object;
    if (vmarena_arena_is_fenced(arena)) return arena->guards.kept ? memset(object, 0, size) : object;
    if (arena->annotated) vmarena_prim_defined(object, size);
    if (start < arena->dirty) memset(object, 0, arena->dirty - start < size ? arena->dirty - start : size);
    return object;
}

/* The last object: only the end moves. */
static void *resize_last(struct vmarena_arena *arena, char *object, size_t old_size, size_t new_size) {
    uintptr_t start = (uintptr_t)object, last = (uintptr_t)arena->region.base + arena->region.size;
    if (new_size > last - start) {
        (void)vmarena_fail(-ENOSPC, "the arena is full: an object of %zu bytes cannot grow to %zu", old_size, new_size);
        return NULL;
    }
    if (vmarena_arena_make_ready(arena, start + new_size) != 0) return NULL;
    if (new_size < old_size) {
        vmarena_arena_remember_use(arena);
        vmarena_arena_remember_rewind(arena,
                                      start + new_size); /* a mark above it would cut what is allocated next in two */
    }
    vmarena_arena_set_end(arena, start + new_size);
    if (arena->annotated && new_size > old_size) vmarena_prim_unpoison(object + old_size, new_size - old_size);
    if (new_size < old_size) vmarena_arena_poison(arena, start + new_size, start + old_size);
    return object;
}

static size_t natural_align(const void *object) {
    size_t align = (size_t)((uintptr_t)object & (0 - (uintptr_t)object));
    return align < 16 ? align : 16;
}

static int check_object(const struct vmarena_arena *arena, const void *object, size_t size) {
    bool inside = vmarena_region_holds(&arena->region, object, size);
    if (inside && size != 0 && (uintptr_t)object + size <= vmarena_arena_end(arena)) return 0;
    return vmarena_fail(-EINVAL, "no object of %zu bytes at %p in this arena", size, object);
}

static void *resize_bump(struct vmarena_arena *arena, char *object, size_t old_size, size_t new_size) {
    if (check_object(arena, object, old_size) != 0) return NULL;
    if ((uintptr_t)object + old_size == vmarena_arena_end(arena)) return resize_last(arena, object, old_size, new_size);
    if (new_size <= old_size) {
        vmarena_arena_poison(arena, (uintptr_t)object + new_size, (uintptr_t)object + old_size);
        return object;
    }
    if ((arena->region.prot & VMARENA_READ) == 0) {
        (void)vmarena_fail(-EACCES, "the arena is not readable now: an object cannot be moved");
        return NULL;
    }
    if (vmarena_arena_check_writable(arena) != 0) return NULL;
    void *moved = vmarena_alloc(&arena->head, new_size, natural_align(object));
    if (moved == NULL) return NULL;
    memcpy(moved, object, old_size);
    vmarena_arena_poison(arena, (uintptr_t)object, (uintptr_t)object + old_size);
    return moved;
}

void *vmarena_resize(struct vmarena *handle, void *object, size_t old_size, size_t new_size) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return NULL;
    if (object == NULL) return vmarena_alloc(handle, new_size, 16);
    if (new_size == 0 || old_size == 0) {
        (void)vmarena_fail(-EINVAL, "vmarena_resize: a size of 0 bytes");
        return NULL;
    }
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_resize(arena, object, old_size, new_size);
    return resize_bump(arena, object, old_size, new_size);
}

int vmarena_free(struct vmarena *handle, void *object, size_t size) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (object == NULL) return 0;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_free(arena, object, size);
    int error = check_object(arena, object, size);
    if (error != 0) return error;
    if ((uintptr_t)object + size == vmarena_arena_end(arena)) (void)resize_last(arena, object, size, 0);
    else vmarena_arena_poison(arena, (uintptr_t)object, (uintptr_t)object + size);
    return 0;
}
