/* SPDX-License-Identifier: MIT */
/* The protection of an arena and of ranges in it, protection scopes, and seals. */
#include "prim/prim.h"

#include <errno.h>

#include "arena/arena.h"
#include "base/error.h"

#define ALL_PROTS (VMARENA_READ | VMARENA_WRITE | VMARENA_EXEC)

int vmarena_arena_check_pages(const struct vmarena_arena *arena, const void *start, size_t length, const char *call) {
    if ((uintptr_t)start % arena->page != 0)
        return vmarena_fail(-EINVAL, "%s: the start %p is not a multiple of the page size, %zu", call, start,
                            arena->page);
    if (length == 0 || length % arena->page != 0)
        return vmarena_fail(-EINVAL, "%s: the length %zu is not a positive multiple of the page size, %zu", call,
                            length, arena->page);
    if (!vmarena_region_holds(&arena->region, start, length))
        return vmarena_fail(-EINVAL, "%s: the range of %zu bytes at %p leaves the arena", call, length, start);
    return 0;
}

static int check_prot(const struct vmarena_arena *arena, unsigned prot) {
    if ((prot & ~ALL_PROTS) != 0) return vmarena_fail(-EINVAL, "unknown protection bits 0x%x", prot & ~ALL_PROTS);
    if ((prot & VMARENA_EXEC) && !(arena->options.flags & VMARENA_ALLOW_EXEC))
        return vmarena_fail(-EACCES, "VMARENA_EXEC needs an arena made with VMARENA_ALLOW_EXEC");
    if (arena->sealed) return vmarena_fail(-EPERM, "the arena is sealed: its protection stays as it is");
    return 0;
}

static void tell_observer(const struct vmarena_arena *arena) {
    if (arena->observer != NULL) arena->observer->protection_changes(arena->observer);
}

VMARENA_HOT static int protect_all(struct vmarena_arena *arena, unsigned prot) {
    int error = check_prot(arena, prot);
    if (error != 0) return error;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_protect(arena, prot);
    tell_observer(arena);
    vmarena_memfile_begin_change(&arena->memfile);
    error = vmarena_region_protect(&arena->region, prot);
    if (error == 0) arena->region.has_range_protection = false;
    vmarena_memfile_end_change(&arena->memfile);
    return error;
}

VMARENA_HOT int vmarena_protect(struct vmarena *handle, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    return arena == NULL ? -EBADF : protect_all(arena, prot);
}

int vmarena_protect_range(struct vmarena *handle, void *start, size_t length, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = vmarena_arena_check_pages(arena, start, length, "vmarena_protect_range");
    if (error == 0) error = check_prot(arena, prot);
    if (error != 0) return error;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_protect_range(arena, (uintptr_t)start, length, prot);
    /* Up to there the pages must be committed, or their protection would be lost when they are. */
    error = vmarena_arena_make_ready(arena, (uintptr_t)start + length);
    if (error != 0) return error;
    vmarena_arena_set_end(arena, vmarena_arena_end(arena));
    tell_observer(arena);
    vmarena_memfile_begin_change(&arena->memfile);
    arena->region.has_range_protection = true; /* before a call that may fail half-way */
    error = vmarena_prim_protect(start, length, prot);
    vmarena_memfile_end_change(&arena->memfile);
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", length);
}

int vmarena_protect_push(struct vmarena *handle, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (arena->prot_depth == VMARENA_SCOPES)
        return vmarena_fail(-EOVERFLOW, "vmarena_protect_push: %d protection scopes are open", VMARENA_SCOPES);
    unsigned before = arena->region.prot;
    int error = protect_all(arena, prot);
    if (error == 0) arena->prots[arena->prot_depth++] = (unsigned char)before;
    return error;
}

int vmarena_protect_pop(struct vmarena *handle) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (arena->prot_depth == 0) return vmarena_fail(-EINVAL, "vmarena_protect_pop: no protection scope is open");
    int error = protect_all(arena, arena->prots[arena->prot_depth - 1]);
    if (error == 0) arena->prot_depth--;
    return error;
}

int vmarena_seal(struct vmarena *handle) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_seal: a fenced arena changes its mapping with each object");
    tell_observer(arena);
    /* Sealed, a shared mapping could not become a private one any more, and a child would share the memory. */
    int error = vmarena_memfile_make_private(&arena->memfile);
    if (error != 0) return error;
    error = vmarena_prim_seal(arena->region.outer, arena->region.outer_size);
    if (error == -EOPNOTSUPP) return vmarena_fail(error, "vmarena_seal: this kernel has no mseal(2)");
    if (error != 0) return vmarena_fail_call(error, "mseal", arena->region.outer_size);
    arena->sealed = true;
    return 0;
}
