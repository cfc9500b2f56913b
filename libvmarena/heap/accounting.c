/* SPDX-License-Identifier: MIT */
/* Live objects and their pages, counted against the memory cap and the limit of map entries. */
#include "prim/prim.h"

#include <errno.h>

#include "heap/heap.h"

static void raise_to(_Atomic size_t *peak, size_t value) {
    size_t known = atomic_load_explicit(peak, memory_order_relaxed);
    while (known < value &&
           !atomic_compare_exchange_weak_explicit(peak, &known, value, memory_order_relaxed, memory_order_relaxed)) {}
}

void vmarena_discharge(struct vmarena_heap *heap, size_t pages) {
    (void)atomic_fetch_sub_explicit(&heap->page_bytes, pages, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&heap->live, 1, memory_order_relaxed);
}

int vmarena_charge(struct vmarena_heap *heap, size_t pages) {
    size_t bytes = vmarena_add_relaxed(heap->page_bytes, pages) + pages, live = vmarena_add_relaxed(heap->live, 1) + 1;
    int error = 0;
    if (heap->options.memory_cap != 0 && bytes > heap->options.memory_cap) error = VMARENA_OVER_CAP;
    else if (heap->guard_limit != 0 && live > heap->guard_limit) error = VMARENA_OVER_GUARD_LIMIT;
    if (error != 0) {
        vmarena_discharge(heap, pages);
        return error;
    }
    if (heap->guard_limit != 0 && live > heap->guard_limit / 10 * 9) vmarena_report_near_limit(heap);
    return 0;
}

void vmarena_note_peaks(struct vmarena_heap *heap) {
    raise_to(&heap->page_peak, vmarena_load_relaxed(heap->page_bytes));
    raise_to(&heap->live_peak, vmarena_load_relaxed(heap->live));
}
