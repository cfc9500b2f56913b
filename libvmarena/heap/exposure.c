/* SPDX-License-Identifier: MIT */
/*
 * Going on after a fault. A page that is opened is noted in its slot's flags. The note is made before the page is opened
 * and again after, and removed before pages are closed, and made again if closing fails: whichever way two threads meet,
 * no page is open without a note.
 */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "fault/fault.h"
#include "heap/heap.h"

static void note(struct vmarena_slot *slot) {
    (void)atomic_fetch_or_explicit(&slot->flags, VMARENA_SLOT_EXPOSED, memory_order_relaxed);
}

static void remove_note(struct vmarena_slot *slot) {
    (void)atomic_fetch_and_explicit(&slot->flags, (unsigned char)~VMARENA_SLOT_EXPOSED, memory_order_relaxed);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

static int expose_in_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, uintptr_t page) {
    note(slot);
    int error = vmarena_guards_open(&heap->guards, page, heap->page);
    note(slot);
    return error;
}

int vmarena_heap_expose(struct vmarena_heap *heap, const void *address) {
    if (!vmarena_heap_is_alive(heap)) return -EBADF;
    uintptr_t page = vmarena_align_down((uintptr_t)address, heap->page);
    if (!vmarena_region_spans(&heap->region, page)) return vmarena_large_expose(heap, page);
    bool edge = page < (uintptr_t)heap->region.base;
    struct vmarena_slot *slot = edge ? NULL : vmarena_slot_at(heap, page);
    return slot != NULL ? expose_in_slot(heap, slot, page) : -EINVAL;
}

int vmarena_heap_on_fault(struct vmarena_heap *heap, vmarena_fault_fn *function, void *arg) {
    int error = vmarena_heap_verify(heap);
    return error != 0 ? error : vmarena_fault_set_repair(&heap->region, function, arg);
}

/* ---- closing again ------------------------------------------------------------------------------------------------------ */

int vmarena_slot_close_exposed(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    remove_note(slot);
    int error = vmarena_slot_is_large(slot) ? vmarena_large_close(slot)
                                            : vmarena_guards_close(&heap->guards, vmarena_slot_base(heap, slot),
                                                                   vmarena_slot_bytes(heap, slot));
    if (error != 0) note(slot);
    return error;
}

static int close_freed(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    if (vmarena_slot_is_large(slot) || VMARENA_UNLIKELY(vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED))
        return vmarena_slot_close_exposed(heap, slot);
    return vmarena_guards_close(&heap->guards, vmarena_slot_pages(heap, slot), vmarena_slot_page_bytes(heap, slot));
}

/* Pages that stay accessible at least give their memory back. */
bool vmarena_slot_close(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    if (close_freed(heap, slot) == 0) return true;
    note(slot);
    (void)vmarena_prim_discard((void *)vmarena_slot_pages(heap, slot), vmarena_slot_page_bytes(heap, slot));
    return false;
}

static int close_around_pages(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    uintptr_t base = vmarena_slot_base(heap, slot), pages = vmarena_slot_pages(heap, slot);
    uintptr_t after = pages + vmarena_slot_page_bytes(heap, slot), end = base + vmarena_slot_bytes(heap, slot);
    int error = vmarena_guards_close(&heap->guards, base, pages - base);
    if (error != 0) return error;
    return vmarena_guards_close(&heap->guards, after, end - after);
}

/* All but the pages of a live object. */
static int close_around(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    remove_note(slot);
    int error = vmarena_slot_is_large(slot) ? vmarena_large_close_guards(slot) : close_around_pages(heap, slot);
    if (error != 0) note(slot);
    return error;
}

static int rearm_held(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    enum vmarena_slot_state state = vmarena_state_of(slot);
    if (vmarena_slot_is_large(slot) && (state == VMARENA_SLOT_EMPTY || !vmarena_large_belongs(heap, slot))) return 0;
    return state == VMARENA_SLOT_LIVE ? close_around(heap, slot) : vmarena_slot_close_exposed(heap, slot);
}

/* Held meanwhile, a slot is not freed, taken or evicted. */
static bool rearm_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    int *error = arg;
    if ((vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED) == 0) return true;
    if (!vmarena_state_hold(heap, slot)) return true;
    int failed = rearm_held(heap, slot);
    vmarena_state_release(heap);
    if (failed != 0) *error = failed;
    return true;
}

int vmarena_heap_rearm(struct vmarena_heap *heap) {
    struct vmarena_turn turn;
    int failed = 0, error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    error = vmarena_turn_begin(heap, &turn, true);
    if (error != 0) return vmarena_fail(error, "vmarena_heap_rearm: called from a check's report");
    vmarena_lookup_visit(heap, rearm_slot, &failed);
    vmarena_turn_end(heap, &turn);
    return failed == 0 ? 0 : vmarena_fail_call(failed, "rearm: madvise, mprotect or mmap", heap->page);
}
