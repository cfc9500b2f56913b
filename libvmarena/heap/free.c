/* SPDX-License-Identifier: MIT */
/*
 * What happens to a freed object:
 *
 *      claim      one thread wins it; a pointer that starts no live object is reported   slot_state.c, report.c
 *      check      the stated size and alignment, and the slack around it                 slack.c
 *      record     who freed it, and when; from now on a touch is a use after free
 *      close      its pages fault, and their memory goes back to the system              exposure.c
 *      quarantine its address is not used again before the caps demand it                quarantine.c
 *
 * Where the system refuses to close the pages, the object counts as freed all the same and in stats.unfenced; its memory
 * is discarded, and the pages are closed before the slot is used again, or by vmarena_heap_rearm().
 */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"

struct vmarena_slot *vmarena_free_claim(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call,
                                        uint32_t stack, int *error) {
    struct vmarena_slot *slot = vmarena_lookup_start(heap, pointer);
    int refused = slot != NULL ? vmarena_state_claim(heap, slot) : -EALREADY;
    if (refused == 0) return slot;
    *error = refused == -EDEADLK
                 ? vmarena_fail(refused, "%p cannot be freed or resized: this thread is checking it", pointer)
                 : vmarena_report_pointer(heap, pointer, call, stack);
    return NULL;
}

static void record(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_store_relaxed(slot->free_stack, stack);
    vmarena_store_relaxed(slot->free_thread, vmarena_prim_thread_id());
    vmarena_store_relaxed(slot->free_number, vmarena_load_relaxed(heap->number));
    vmarena_state_free(slot);
    vmarena_add_relaxed(shard->frees, 1);
    vmarena_add_relaxed(shard->bytes_out, vmarena_load_relaxed(slot->size));
    vmarena_discharge(heap, vmarena_slot_page_bytes(heap, slot));
}

/* Recorded first: for a thread that faults as soon as the pages are closed, the report says use after free. */
void vmarena_free_claimed(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack) {
    record(heap, slot, stack);
    if (VMARENA_UNLIKELY(!vmarena_slot_close(heap, slot))) vmarena_add_relaxed(heap->unfenced, 1);
    vmarena_quarantine_add(heap, slot);
}

static int check_stated(struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t size, size_t align,
                        uint32_t stack) {
    int error = 0;
    if (size != SIZE_MAX && size != vmarena_load_relaxed(slot->size))
        error = vmarena_report_mismatch(heap, slot, VMARENA_HEAP_SIZE_MISMATCH, size, stack);
    if (align != 0 && align != (size_t)1 << vmarena_load_relaxed(slot->shift))
        error = vmarena_report_mismatch(heap, slot, VMARENA_HEAP_ALIGN_MISMATCH, align, stack);
    return error;
}

static int free_object(struct vmarena_heap *heap, void *pointer, size_t size, size_t align,
                       const struct vmarena_origin *origin) {
    int error;
    if (vmarena_fallback_owns(heap, pointer)) {
        heap->fallback.free(pointer, heap->fallback.arg);
        return 0;
    }
    uint32_t stack = vmarena_heap_capture(heap, origin);
    struct vmarena_slot *slot = vmarena_free_claim(heap, pointer, VMARENA_HEAP_IN_FREE, stack, &error);
    if (slot == NULL) return error;
    error = check_stated(heap, slot, size, align, stack);
    int slack = vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_FREE, stack);
    vmarena_free_claimed(heap, slot, stack);
    vmarena_check_if_due(heap);
    return slack != 0 ? slack : error;
}

static int free_checked(struct vmarena_heap *heap, void *pointer, size_t size, size_t align,
                        const struct vmarena_origin *origin) {
    int error = vmarena_heap_verify(heap);
    if (error != 0 || pointer == NULL) return error;
    int saved = errno;
    error = free_object(heap, pointer, size, align, origin);
    errno = saved;
    return error;
}

__attribute__((noinline)) int vmarena_heap_free(struct vmarena_heap *heap, void *pointer) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    return free_checked(heap, pointer, SIZE_MAX, 0, &origin);
}

__attribute__((noinline)) int vmarena_heap_free_sized(struct vmarena_heap *heap, void *pointer, size_t size,
                                                      size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    return free_checked(heap, pointer, size, align, &origin);
}
