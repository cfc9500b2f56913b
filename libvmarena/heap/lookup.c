/* SPDX-License-Identifier: MIT */
/*
 * Handle → heap, address → object. All but vmarena_heap_verify() may run in a signal handler while other threads change
 * what it reads.
 */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"
#include "region/guard_layout.h"

int vmarena_heap_verify(const struct vmarena_heap *heap) {
    if (vmarena_heap_is_alive(heap)) return 0;
    return vmarena_fail(-EBADF, heap == NULL ? "no heap was given" : "the heap was destroyed");
}

/* An object that is being freed is not freed yet. */
static bool is_freed(const struct vmarena_slot *slot) { return vmarena_state_of(slot) == VMARENA_SLOT_FREED; }

/* ---- address → slot ------------------------------------------------------------------------------------------------------- */

static size_t gap(const struct vmarena_slot *slot, uintptr_t address) {
    return vmarena_object_gap(vmarena_load_relaxed(slot->start), vmarena_load_relaxed(slot->size), address);
}

/* Whether the address lies at the side of the object that is against its guard. */
static bool is_at_guarded_side(const struct vmarena_slot *slot, uintptr_t address) {
    return (vmarena_load_relaxed(slot->side) == VMARENA_HEAP_END) == (address >= vmarena_load_relaxed(slot->start));
}

/*
 * Which of two objects an address outside both belongs to. A guard belongs to the object that lies against it: an overrun
 * by a whole page is nearer to the next object's slack than to the object that was overrun.
 */
static struct vmarena_slot *likelier(const struct vmarena_heap *heap, struct vmarena_slot *a, struct vmarena_slot *b,
                                     uintptr_t address) {
    if (a == NULL || b == NULL) return a == NULL ? b : a;
    size_t guard = heap->guard_pages * heap->page, far_a = gap(a, address), far_b = gap(b, address);
    bool guards_a = is_at_guarded_side(a, address) && far_a <= guard + heap->page;
    bool guards_b = is_at_guarded_side(b, address) && far_b <= guard + heap->page;
    if (guards_a != guards_b) return guards_a ? a : b;
    return far_b < far_a || (far_b == far_a && is_freed(a)) ? b : a;
}

/* Beyond the first guard the nearest object is named; beyond this many slots that would be a guess. */
#define FAR 16

static struct vmarena_slot *nearest_object(const struct vmarena_heap *heap, struct vmarena_slot *slot, int direction) {
    for (unsigned i = 0; i < FAR; i++) {
        slot = vmarena_slot_beside(heap, slot, direction);
        if (slot == NULL) return NULL;
        if (vmarena_slot_has_object(slot)) return slot;
    }
    return NULL;
}

static struct vmarena_slot *lookup_in_slots(const struct vmarena_heap *heap, struct vmarena_slot *slot,
                                            uintptr_t address) {
    struct vmarena_slot *own = vmarena_slot_has_object(slot) ? slot : NULL;
    if (own == NULL) return likelier(heap, nearest_object(heap, slot, -1), nearest_object(heap, slot, 1), address);
    uintptr_t pages = vmarena_slot_pages(heap, own);
    size_t bytes = vmarena_slot_page_bytes(heap, own);
    /* An object of no bytes has a page that is never opened. */
    if (address >= pages && address - pages < (bytes != 0 ? bytes : heap->page)) return own;
    return likelier(heap, own, nearest_object(heap, slot, address < pages ? -1 : 1), address);
}

/* Outside of the part that was cut: the first or the last object. */
static struct vmarena_slot *lookup_at_edge(const struct vmarena_heap *heap, uintptr_t address) {
    size_t cut = vmarena_load_relaxed(heap->cut);
    if (cut == 0 || !vmarena_region_spans(&heap->region, address)) return NULL;
    bool below = address < (uintptr_t)heap->region.base;
    uintptr_t end = (uintptr_t)heap->region.base + cut * heap->chunk;
    struct vmarena_slot *slot = vmarena_slot_at(heap, below ? (uintptr_t)heap->region.base : end - 1);
    if (slot == NULL || vmarena_slot_has_object(slot)) return slot;
    return nearest_object(heap, slot, below ? 1 : -1);
}

struct vmarena_slot *vmarena_lookup(const struct vmarena_heap *heap, uintptr_t address) {
    if (!vmarena_region_spans(&heap->region, address)) {
        struct vmarena_slot *slot = vmarena_large_at(heap, address);
        return slot != NULL && vmarena_slot_has_object(slot) ? slot : NULL;
    }
    struct vmarena_slot *slot = address >= (uintptr_t)heap->region.base ? vmarena_slot_at(heap, address) : NULL;
    return slot != NULL ? lookup_in_slots(heap, slot, address) : lookup_at_edge(heap, address);
}

struct vmarena_slot *vmarena_lookup_start(const struct vmarena_heap *heap, const void *pointer) {
    uintptr_t address = (uintptr_t)pointer;
    struct vmarena_slot *slot;
    if (address - (uintptr_t)heap->region.base < heap->region.size) slot = vmarena_slot_at(heap, address);
    else slot = vmarena_large_at(heap, address);
    return slot != NULL && vmarena_slot_has_object(slot) && vmarena_load_relaxed(slot->start) == address ? slot : NULL;
}

void vmarena_lookup_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg) {
    if (vmarena_slots_visit(heap, visit, arg)) (void)vmarena_large_visit(heap, visit, arg);
}

/* ---- slot → object --------------------------------------------------------------------------------------------------------- */

bool vmarena_slot_describe(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                           struct vmarena_heap_object *object) {
    *object = (struct vmarena_heap_object){.state = VMARENA_HEAP_NONE};
    if (!vmarena_slot_has_object(slot)) return false;
    uintptr_t start = vmarena_load_relaxed(slot->start), pages = start & ~(uintptr_t)(heap->page - 1);
    size_t size = vmarena_load_relaxed(slot->size), page_bytes = vmarena_round_up(size, heap->page);
    bool freed = is_freed(slot);
    *object = (struct vmarena_heap_object){
        .start = (void *)start,
        .size = size,
        .align = (size_t)1 << vmarena_load_relaxed(slot->shift),
        .state = freed ? VMARENA_HEAP_FREED : VMARENA_HEAP_LIVE,
        .side = (enum vmarena_heap_side)vmarena_load_relaxed(slot->side),
        .slack_before = size == 0 ? 0 : start - pages,
        .slack_after = size == 0 ? 0 : pages + page_bytes - start - size,
        .alloc_stack = vmarena_load_relaxed(slot->alloc_stack),
        .alloc_thread = vmarena_load_relaxed(slot->alloc_thread),
        .alloc_number = vmarena_load_relaxed(slot->alloc_number),
    };
    if (freed) {
        object->free_stack = vmarena_load_relaxed(slot->free_stack);
        object->free_thread = vmarena_load_relaxed(slot->free_thread);
        object->free_number = vmarena_load_relaxed(slot->free_number);
    }
    return true;
}

/* ---- faults -------------------------------------------------------------------------------------------------------------- */

void vmarena_heap_attribute(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct vmarena_heap *heap = region->owner;
    const struct vmarena_slot *slot = vmarena_lookup(heap, (uintptr_t)fault->address);
    if (slot == NULL) return; /* the signal's own kind stands */
    vmarena_attribute(fault, vmarena_load_relaxed(slot->start), vmarena_load_relaxed(slot->size), !is_freed(slot));
}

/* Enough frames to recognise a caller by; two such stacks fit in a report. */
#define HISTORY_FRAMES ((size_t)16)

static void add_event(struct vmarena_text *text, const struct vmarena_heap *heap, const char *event, uint32_t thread,
                      uint32_t stack) {
    void *frames[HISTORY_FRAMES];
    size_t count = vmarena_stacks_frames(&heap->stacks, stack, frames, HISTORY_FRAMES);
    vmarena_text_add(text, event);
    vmarena_text_decimal(text, thread);
    vmarena_text_add(text, count > 0 ? " at:\n" : "\n");
    for (size_t i = 0; i < count && i < HISTORY_FRAMES; i++) {
        vmarena_text_add(text, "    ");
        vmarena_text_hex(text, (uintptr_t)frames[i]);
        vmarena_text_char(text, '\n');
    }
}

void vmarena_heap_history(const void *owner, const struct vmarena_fault *fault, struct vmarena_text *text) {
    const struct vmarena_heap *heap = owner;
    struct vmarena_heap_object object;
    const struct vmarena_slot *slot = vmarena_lookup(heap, (uintptr_t)fault->address);
    if (slot == NULL || !vmarena_slot_describe(heap, slot, &object)) return;
    add_event(text, heap, "  allocated by thread ", object.alloc_thread, object.alloc_stack);
    if (object.state == VMARENA_HEAP_FREED)
        add_event(text, heap, "  freed by thread ", object.free_thread, object.free_stack);
}

/* ---- public ----------------------------------------------------------------------------------------------------------------- */

bool vmarena_heap_owns(const struct vmarena_heap *heap, const void *address) {
    if (!vmarena_heap_is_alive(heap)) return false;
    return vmarena_region_spans(&heap->region, (uintptr_t)address) ||
           vmarena_large_at(heap, (uintptr_t)address) != NULL;
}

int vmarena_heap_find(const struct vmarena_heap *heap, const void *address, struct vmarena_heap_object *object) {
    if (!vmarena_heap_is_alive(heap)) return -EBADF;
    const struct vmarena_slot *slot = vmarena_lookup(heap, (uintptr_t)address);
    if (slot != NULL && vmarena_slot_describe(heap, slot, object)) return 0;
    *object = (struct vmarena_heap_object){.state = VMARENA_HEAP_NONE};
    return -ENOENT;
}
