/* SPDX-License-Identifier: MIT */
/*
 * The malloc family, with glibc's semantics where programs rely on them: realloc(p, 0) frees, memalign() rounds an odd
 * alignment up. malloc_usable_size() returns exactly the size that was requested.
 */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deferred_free.h"
#include "prim/prim.h"
#include "state.h"

/*
 * The functions below are compiled with frame pointers (see meson.build), so that two loads find the caller's frame, where
 * the walk over the program's stack starts. Use ENTER() after vmarena_malloc_enter() returned true.
 */
#define ENTER()                                                                                                        \
    int saved_errno = errno;                                                                                           \
    vmarena_prim_frame_of_caller(&thread->caller)

/* The same in a function that one of them calls, with its caller's frame. */
#define ENTER_FROM(frame)                                                                                              \
    int saved_errno = errno;                                                                                           \
    thread->caller = *(frame)

#define LEAVE() leave(thread, saved_errno)

/*
 * The figures of a process that is killed or calls execve(2) lag behind by at most this many calls of each thread. A short
 * life publishes at each power of two, and so at least half of its calls.
 */
#define PUBLISH_EVERY 1024

static inline void count_call(struct vmarena_malloc_thread *thread) {
    uint32_t calls = ++thread->calls;
    if (__builtin_expect(calls % PUBLISH_EVERY == 0 || (calls & (calls - 1)) == 0, 0)) vmarena_malloc_publish();
}

static inline void leave(struct vmarena_malloc_thread *thread, int saved_errno) {
    if (__builtin_expect(atomic_load_explicit(&vmarena_deferred_count, memory_order_relaxed) != 0, 0))
        vmarena_deferred_free_all();
    vmarena_gate_leave(&thread->pass);
    errno = saved_errno;
    count_call(thread);
}

static inline void *or_enomem(void *pointer) {
    if (__builtin_expect(pointer == NULL, 0)) errno = ENOMEM;
    return pointer;
}

/* Counts an object that should have been guarded as unguarded. */
static void *bypass(void *pointer) {
    if (pointer != NULL && atomic_load_explicit(&vmarena_malloc.mode, memory_order_relaxed) == VMARENA_MALLOC_GUARDING)
        (void)atomic_fetch_add_explicit(&vmarena_malloc.bypassed, 1, memory_order_relaxed);
    return pointer;
}

/* ---- calls that cannot enter the heap; look-ups in it take no lock and work nevertheless ---- */

static bool is_guarded(const void *pointer) {
    return vmarena_malloc.heap != NULL && vmarena_heap_owns(vmarena_malloc.heap, pointer);
}

static void free_outside(void *pointer, const struct vmarena_prim_frame *caller) {
    int saved_errno = errno;
    bool guarding = atomic_load(&vmarena_malloc.mode) == VMARENA_MALLOC_GUARDING;
    if (is_guarded(pointer)) {
        if (guarding) vmarena_deferred_free(pointer, caller);
    } else if (vmarena_libc_owns(pointer, NULL)) vmarena_libc_free(pointer, NULL);
    errno = saved_errno;
}

static void *move_outside(void *pointer, size_t size, const struct vmarena_prim_frame *caller) {
    size_t old = vmarena_heap_usable_size(vmarena_malloc.heap, pointer);
    void *moved = bypass(vmarena_libc_alloc(size, 0, NULL));
    if (moved == NULL) return NULL;
    memcpy(moved, pointer, old < size ? old : size);
    free_outside(pointer, caller);
    return moved;
}

static void *realloc_outside(void *pointer, size_t size, const struct vmarena_prim_frame *caller) {
    if (pointer == NULL) return bypass(vmarena_libc_alloc(size, 0, NULL));
    if (is_guarded(pointer)) return move_outside(pointer, size, caller);
    if (vmarena_libc_owns(pointer, NULL)) return vmarena_libc_realloc(pointer, size, NULL);
    return or_enomem(NULL);
}

/* ---- the family ---- */

VMARENA_REPLACES void *malloc(size_t size) {
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (!vmarena_malloc_enter(thread)) return bypass(vmarena_libc_alloc(size, 0, NULL));
    ENTER();
    void *pointer = vmarena_heap_alloc(vmarena_malloc.heap, size, 0);
    LEAVE();
    return or_enomem(pointer);
}

VMARENA_REPLACES void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return or_enomem(NULL);
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (!vmarena_malloc_enter(thread)) return bypass(vmarena_libc_calloc(bytes, 0, NULL));
    ENTER();
    void *pointer = vmarena_heap_calloc(vmarena_malloc.heap, 1, bytes, 0);
    LEAVE();
    return or_enomem(pointer);
}

VMARENA_REPLACES void free(void *pointer) {
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (pointer == NULL) return;
    if (!vmarena_malloc_enter(thread)) {
        struct vmarena_prim_frame caller;
        vmarena_prim_frame_of_caller(&caller);
        free_outside(pointer, &caller);
        return;
    }
    ENTER();
    (void)vmarena_heap_free(vmarena_malloc.heap, pointer);
    LEAVE();
}

static void *resize(const struct vmarena_prim_frame *caller, void *pointer, size_t size) {
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (!vmarena_malloc_enter(thread)) return realloc_outside(pointer, size, caller);
    ENTER_FROM(caller);
    void *moved = vmarena_heap_realloc(vmarena_malloc.heap, pointer, size);
    LEAVE();
    return or_enomem(moved);
}

VMARENA_REPLACES void *realloc(void *pointer, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    if (pointer == NULL || size != 0) return resize(&caller, pointer, size);
    free(pointer);
    return NULL;
}

VMARENA_REPLACES void *reallocarray(void *pointer, size_t count, size_t size) {
    struct vmarena_prim_frame caller;
    size_t bytes;
    vmarena_prim_frame_of_caller(&caller);
    if (__builtin_mul_overflow(count, size, &bytes)) return or_enomem(NULL);
    if (pointer == NULL || bytes != 0) return resize(&caller, pointer, bytes);
    free(pointer);
    return NULL;
}

/* ---- aligned ---- */

/* Returns 0 if align is too large. */
static size_t power_of_two(size_t align) {
    size_t least = vmarena_malloc.options.align, power = least == 0 ? 16 : least;
    while (power != 0 && power < align) power <<= 1;
    return power;
}

/* A function of its own, with the caller's frame as a parameter: its own caller is one of the functions below. */
static void *alloc_aligned(const struct vmarena_prim_frame *caller, size_t align, size_t size) {
    size_t power = power_of_two(align);
    if (power == 0) {
        errno = EINVAL;
        return NULL;
    }
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (!vmarena_malloc_enter(thread)) return bypass(vmarena_libc_alloc(size, power, NULL));
    ENTER_FROM(caller);
    void *pointer = vmarena_heap_alloc(vmarena_malloc.heap, size, power);
    LEAVE();
    return or_enomem(pointer);
}

VMARENA_REPLACES void *memalign(size_t align, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    return alloc_aligned(&caller, align, size);
}

VMARENA_REPLACES void *aligned_alloc(size_t align, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    return alloc_aligned(&caller, align, size);
}

VMARENA_REPLACES int posix_memalign(void **out, size_t align, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0) return EINVAL;
    int saved_errno = errno;
    void *pointer = alloc_aligned(&caller, align, size);
    errno = saved_errno;
    if (pointer == NULL) return ENOMEM;
    *out = pointer;
    return 0;
}

VMARENA_REPLACES void *valloc(size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    return alloc_aligned(&caller, vmarena_prim_page_size(), size);
}

VMARENA_REPLACES void *pvalloc(size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    size_t page = vmarena_prim_page_size();
    if (size > SIZE_MAX - page) return or_enomem(NULL);
    return alloc_aligned(&caller, page, (size + page - 1) & ~(page - 1));
}

/* ---- the rest ---- */

VMARENA_REPLACES size_t malloc_usable_size(void *pointer) {
    if (pointer == NULL) return 0;
    if (is_guarded(pointer)) return vmarena_heap_usable_size(vmarena_malloc.heap, pointer);
    return vmarena_libc_owns(pointer, NULL) ? vmarena_libc_usable_size(pointer, NULL) : 0;
}

/* cfree(3) left glibc in 2.26; programs linked earlier still call it. */
VMARENA_REPLACES void cfree(void *pointer);
VMARENA_REPLACES void cfree(void *pointer) { free(pointer); }

static void free_stated(const struct vmarena_prim_frame *caller, void *pointer, size_t size, size_t align) {
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (!vmarena_malloc_enter(thread)) {
        free_outside(pointer, caller);
        return;
    }
    ENTER_FROM(caller);
    (void)vmarena_heap_free_sized(vmarena_malloc.heap, pointer, size, align);
    LEAVE();
}

/* C23 7.24.3.4 and 7.24.3.5; glibc has them since 2.42. */
VMARENA_REPLACES void free_sized(void *pointer, size_t size);
VMARENA_REPLACES void free_sized(void *pointer, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    if (pointer != NULL) free_stated(&caller, pointer, size, 0);
}

VMARENA_REPLACES void free_aligned_sized(void *pointer, size_t align, size_t size);
VMARENA_REPLACES void free_aligned_sized(void *pointer, size_t align, size_t size) {
    struct vmarena_prim_frame caller;
    vmarena_prim_frame_of_caller(&caller);
    if (pointer != NULL) free_stated(&caller, pointer, size, power_of_two(align));
}
