/* SPDX-License-Identifier: MIT */
/* Resizing: in place where a new object would lie the same, otherwise by moving. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "heap/heap.h"

/* Whether a new object of this size would lie in the same pages at the same address. */
static bool stays(const struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t size) {
    struct vmarena_request request = {.size = size,
                                      .align = (size_t)1 << vmarena_load_relaxed(slot->shift),
                                      .side = (enum vmarena_heap_side)vmarena_load_relaxed(slot->side)};
    return size != 0 && vmarena_request_place(heap, &request) == 0 &&
           request.pages == vmarena_slot_page_bytes(heap, slot) &&
           request.offset == vmarena_load_relaxed(slot->start) - vmarena_slot_pages(heap, slot);
}

static void resize_in_place(struct vmarena_heap *heap, struct vmarena_slot *slot, size_t size, uint32_t stack) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_add_relaxed(shard->bytes_out, vmarena_load_relaxed(slot->size));
    vmarena_add_relaxed(shard->bytes_in, size);
    vmarena_store_relaxed(slot->size, size);
    vmarena_store_relaxed(slot->alloc_stack, stack);
    vmarena_store_relaxed(slot->alloc_thread, vmarena_prim_thread_id());
    vmarena_slack_fill(heap, slot);
    vmarena_state_unclaim(slot);
}

static void *move(struct vmarena_heap *heap, struct vmarena_slot *slot, size_t size, uint32_t stack,
                  const struct vmarena_origin *origin) {
    size_t old_size = vmarena_load_relaxed(slot->size);
    void *moved = vmarena_alloc_object(heap, size, (size_t)1 << vmarena_load_relaxed(slot->shift), origin, false);
    if (moved == NULL) {
        vmarena_state_unclaim(slot);
        return NULL;
    }
    memcpy(moved, (void *)vmarena_load_relaxed(slot->start), old_size < size ? old_size : size);
    vmarena_free_claimed(heap, slot, stack);
    return moved;
}

static void *realloc_object(struct vmarena_heap *heap, void *pointer, size_t size,
                            const struct vmarena_origin *origin) {
    int error;
    if (vmarena_fallback_owns(heap, pointer)) return heap->fallback.realloc(pointer, size, heap->fallback.arg);
    uint32_t stack = vmarena_heap_capture(heap, origin);
    struct vmarena_slot *slot = vmarena_free_claim(heap, pointer, VMARENA_HEAP_IN_REALLOC, stack, &error);
    if (slot == NULL) return NULL;
    if (vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_REALLOC, stack) != 0) vmarena_slack_fill(heap, slot);
    if (!stays(heap, slot, size)) return move(heap, slot, size, stack, origin);
    resize_in_place(heap, slot, size, stack);
    return pointer;
}

__attribute__((noinline)) void *vmarena_heap_realloc(struct vmarena_heap *heap, void *pointer, size_t size) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    int saved = errno;
    void *object = pointer == NULL ? vmarena_alloc_object(heap, size, 0, &origin, false)
                                   : realloc_object(heap, pointer, size, &origin);
    errno = saved;
    return object;
}
