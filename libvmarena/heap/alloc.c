/* SPDX-License-Identifier: MIT */
/* Allocating: what a request goes through, from the public call to the pages. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "heap/heap.h"
#include "region/guard_layout.h"

static int explain(const struct vmarena_heap *heap, int error, size_t size, size_t align) {
    const char *name = heap->region.name;
    switch (error) {
    case -EINVAL: return vmarena_fail(error, "vmarena_heap_alloc: the alignment %zu is no power of two", align);
    case -EOVERFLOW: return vmarena_fail(error, "an object of %zu bytes exceeds the address space", size);
    case -ENOSPC:
        return vmarena_fail(error, "heap \"%s\": all %zu bytes of its reservation are in use; see options.reserve",
                            name, heap->region.size);
    case -EDEADLK:
        return vmarena_fail(error, "heap \"%s\": called from a signal handler that interrupted a call on a heap", name);
    case VMARENA_OVER_CAP:
        return vmarena_fail(-ENOMEM, "heap \"%s\": %zu bytes more would exceed its memory cap of %zu bytes", name, size,
                            heap->options.memory_cap);
    case VMARENA_OVER_GUARD_LIMIT:
        return vmarena_fail(
            -ENOMEM,
            "heap \"%s\": guards by mprotect for %zu objects use up the %zu map entries of the process; "
            "raise vm.max_map_count, or use a kernel with guard markers (Linux 6.13)",
            name, heap->guard_limit, heap->map_entry_limit);
    case VMARENA_PAUSING: return vmarena_fail(-ENOMEM, "heap \"%s\": the system refused memory a moment ago", name);
    default: return vmarena_fail_call(error, "mmap, madvise or mprotect", size);
    }
}

/* ---- the request ------------------------------------------------------------------------------------------------------------ */

static enum vmarena_heap_side choose_side(struct vmarena_heap *heap) {
    if (heap->options.side != VMARENA_HEAP_ALTERNATE) return heap->options.side;
    _Atomic unsigned char *turn = &vmarena_shard_of(heap)->turn;
    return atomic_fetch_xor_explicit(turn, 1, memory_order_relaxed) == 0 ? VMARENA_HEAP_END : VMARENA_HEAP_START;
}

int vmarena_request_place(const struct vmarena_heap *heap, struct vmarena_request *request) {
    struct vmarena_placement place;
    enum vmarena_fence fence = request->side == VMARENA_HEAP_END ? VMARENA_FENCE_END : VMARENA_FENCE_START;
    if (request->size > PTRDIFF_MAX) return -EOVERFLOW;
    int error = vmarena_place_object(&place, request->size, request->align, fence, heap->page);
    request->pages = place.pages;
    request->offset = place.offset;
    return error;
}

static int complete_request(struct vmarena_heap *heap, struct vmarena_request *request) {
    if (request->align == 0) request->align = heap->options.align;
    if ((request->align & (request->align - 1)) != 0) return -EINVAL;
    if (request->align > PTRDIFF_MAX) return -EOVERFLOW;
    request->side = choose_side(heap);
    return vmarena_request_place(heap, request);
}

/* ---- its place --------------------------------------------------------------------------------------------------------------- */

static int open_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, const struct vmarena_request *request) {
    int error = 0;
    if (VMARENA_UNLIKELY(vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED))
        error = vmarena_slot_close_exposed(heap, slot);
    if (error == 0)
        error = vmarena_guards_open(&heap->guards, vmarena_load_relaxed(slot->start) - request->offset, request->pages);
    if (error == 0) return 0;
    vmarena_state_cancel(slot);
    vmarena_free_slots_give(heap, slot);
    return error;
}

/* Before a request fails, what others have free is collected, and the quarantine is given up bit by bit. */
static struct vmarena_slot *find_slot(struct vmarena_heap *heap, const struct vmarena_request *request, bool large,
                                      int *error) {
    for (;;) {
        struct vmarena_slot *slot = (large ? vmarena_large_map : vmarena_free_slots_take)(heap, request, error);
        if (slot != NULL || *error == VMARENA_PAUSING || *error == -EDEADLK) return slot;
        if (!large && vmarena_free_slots_collect(heap, request)) continue;
        if (vmarena_quarantine_shorten(heap)) continue;
        vmarena_free_slots_pause(heap);
        return NULL;
    }
}

static int find_room(struct vmarena_heap *heap, struct vmarena_slot **slot, const struct vmarena_request *request) {
    bool large = vmarena_class_for(heap, request) == heap->class_count;
    int error = 0;
    if (VMARENA_UNLIKELY(vmarena_heap_interrupted())) return -EDEADLK;
    *slot = find_slot(heap, request, large, &error);
    if (*slot != NULL && !large) error = open_slot(heap, *slot, request);
    return error == -EINVAL ? -EPERM : error; /* the kernel's EINVAL is not about the caller's arguments */
}

/* ---- the object -------------------------------------------------------------------------------------------------------------- */

static void record(struct vmarena_heap *heap, struct vmarena_slot *slot, const struct vmarena_request *request,
                   uint32_t stack) {
    vmarena_store_relaxed(slot->size, request->size);
    vmarena_store_relaxed(slot->side, (unsigned char)request->side);
    vmarena_store_relaxed(slot->shift, (unsigned char)__builtin_ctzl((unsigned long)request->align));
    vmarena_store_relaxed(slot->alloc_stack, stack);
    vmarena_store_relaxed(slot->alloc_thread, vmarena_prim_thread_id());
    vmarena_store_relaxed(slot->alloc_number, vmarena_add_relaxed(heap->number, 1) + 1);
}

static void *alloc_guarded(struct vmarena_heap *heap, struct vmarena_request request,
                           const struct vmarena_origin *origin, int *error) {
    struct vmarena_slot *slot;
    *error = complete_request(heap, &request);
    if (*error == 0) *error = vmarena_charge(heap, request.pages);
    if (*error != 0) return NULL;
    *error = find_room(heap, &slot, &request);
    if (*error != 0) {
        vmarena_discharge(heap, request.pages);
        return NULL;
    }
    vmarena_note_peaks(heap);
    record(heap, slot, &request, vmarena_heap_capture(heap, origin));
    if (request.zero && vmarena_load_relaxed(heap->guards.kept)) /* otherwise it is fresh from the system */
        memset((void *)vmarena_load_relaxed(slot->start), 0, request.size);
    vmarena_slack_fill(heap, slot);
    vmarena_state_publish(slot);
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_add_relaxed(shard->allocs, 1);
    vmarena_add_relaxed(shard->bytes_in, request.size);
    return (void *)vmarena_load_relaxed(slot->start);
}

void *vmarena_alloc_object(struct vmarena_heap *heap, size_t size, size_t align, const struct vmarena_origin *origin,
                           bool zero) {
    int error;
    if (heap->filters && !vmarena_is_sampled(heap, size))
        return vmarena_fallback_alloc(heap, size, align, zero, &vmarena_shard_of(heap)->unsampled);
    struct vmarena_request request = {.size = size, .align = align, .zero = zero};
    void *object = alloc_guarded(heap, request, origin, &error);
    if (object == NULL) {
        bool senseless = error == -EINVAL || error == -EOVERFLOW;
        if (!senseless && heap->options.full == VMARENA_HEAP_UNGUARDED)
            return vmarena_fallback_alloc(heap, size, align, zero, &heap->unguarded);
        vmarena_add_relaxed(heap->failed, 1);
        (void)explain(heap, error, size, align);
    }
    vmarena_check_if_due(heap);
    return object;
}

__attribute__((noinline)) void *vmarena_heap_alloc(struct vmarena_heap *heap, size_t size, size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    int saved = errno;
    void *object = vmarena_alloc_object(heap, size, align, &origin, false);
    errno = saved;
    return object;
}

__attribute__((noinline)) void *vmarena_heap_calloc(struct vmarena_heap *heap, size_t count, size_t size,
                                                    size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    size_t bytes;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        vmarena_add_relaxed(heap->failed, 1);
        (void)vmarena_fail(-EOVERFLOW, "%zu objects of %zu bytes exceed the address space", count, size);
        return NULL;
    }
    int saved = errno;
    void *object = vmarena_alloc_object(heap, bytes, align, &origin, true);
    errno = saved;
    return object;
}
