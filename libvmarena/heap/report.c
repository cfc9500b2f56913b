/* SPDX-License-Identifier: MIT */
/* Errors found without a fault: their reports and sentences. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "heap/heap.h"
#include "region/guard_layout.h"

static void emit(struct vmarena_heap *heap, struct vmarena_heap_report *report) {
    report->thread = vmarena_prim_thread_id();
    if (report->kind != VMARENA_HEAP_NEAR_LIMIT) vmarena_add_relaxed(heap->errors, 1);
    if (heap->options.report != NULL) heap->options.report(report, heap->options.report_arg);
}

/* Finds the object that pointer may have been meant for. */
static bool find_near(const struct vmarena_heap *heap, uintptr_t pointer, struct vmarena_heap_object *object) {
    const struct vmarena_slot *slot = vmarena_lookup(heap, pointer);
    size_t near = heap->page * (heap->guard_pages + 1);
    bool found = slot != NULL && vmarena_slot_describe(heap, slot, object) &&
                 vmarena_object_gap((uintptr_t)object->start, object->size, pointer) <= near;
    if (!found) *object = (struct vmarena_heap_object){.state = VMARENA_HEAP_NONE};
    return found;
}

/* Decides on the kind of a bad pointer, fills it in and explains it. */
static int judge(const struct vmarena_heap *heap, struct vmarena_heap_report *report) {
    const struct vmarena_heap_object *object = &report->object;
    const char *name = heap->region.name;
    void *pointer = report->pointer;
    report->kind = VMARENA_HEAP_INVALID_FREE;
    if (!find_near(heap, (uintptr_t)pointer, &report->object))
        return vmarena_fail(-EINVAL, "invalid free: %p is no object of heap \"%s\"", pointer, name);
    if (object->start == pointer) {
        report->kind = VMARENA_HEAP_DOUBLE_FREE;
        return vmarena_fail(-EALREADY, "double free: the %zu-byte object at %p in \"%s\" was freed before",
                            object->size, pointer, name);
    }
    report->kind = VMARENA_HEAP_INTERIOR_FREE;
    report->distance = vmarena_object_distance((uintptr_t)object->start, object->size, (uintptr_t)pointer);
    return vmarena_fail(-EINVAL, "interior free: %p is not the start of the %zu-byte object at %p in \"%s\"", pointer,
                        object->size, object->start, name);
}

int vmarena_report_pointer(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call, uint32_t stack) {
    struct vmarena_heap_report report = {.call = call, .pointer = pointer, .stack = stack};
    int error = judge(heap, &report);
    emit(heap, &report);
    return error;
}

int vmarena_report_mismatch(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_error kind,
                            size_t given, uint32_t stack) {
    struct vmarena_heap_report report = {.kind = kind, .call = VMARENA_HEAP_IN_FREE, .given = given, .stack = stack};
    (void)vmarena_slot_describe(heap, slot, &report.object);
    report.pointer = report.object.start;
    bool by_size = kind == VMARENA_HEAP_SIZE_MISMATCH;
    int error = vmarena_fail(-ERANGE, "freed with %s %zu: the object at %p in \"%s\" was allocated with %zu",
                             by_size ? "size" : "alignment", given, report.object.start, heap->region.name,
                             by_size ? report.object.size : report.object.align);
    emit(heap, &report);
    return error;
}

int vmarena_report_slack(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_call call,
                         uint32_t stack, uintptr_t bad, size_t length) {
    struct vmarena_heap_report report = {.kind = VMARENA_HEAP_SLACK_BEFORE, .call = call, .stack = stack};
    (void)vmarena_slot_describe(heap, slot, &report.object);
    uintptr_t start = (uintptr_t)report.object.start;
    if (bad >= start) report.kind = VMARENA_HEAP_SLACK_AFTER;
    if (call != VMARENA_HEAP_IN_CHECK) report.pointer = report.object.start;
    report.bad = (unsigned char *)bad;
    report.found = *report.bad;
    report.expected = vmarena_pattern_byte(bad);
    report.bad_length = length;
    report.distance = vmarena_object_distance(start, report.object.size, bad);
    int error =
        vmarena_fail(-EILSEQ, "slack overwritten: byte %+td of the %zu-byte object at %p in \"%s\" holds 0x%02x",
                     report.distance, report.object.size, report.object.start, heap->region.name, report.found);
    emit(heap, &report);
    return error;
}

void vmarena_report_near_limit(struct vmarena_heap *heap) {
    struct vmarena_heap_report report = {.kind = VMARENA_HEAP_NEAR_LIMIT, .call = VMARENA_HEAP_IN_ALLOC};
    if (!atomic_exchange_explicit(&heap->warned, true, memory_order_relaxed)) emit(heap, &report);
}
