/* SPDX-License-Identifier: MIT */
/* The slack around objects, and the reports of what is found without a fault. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "region/guard_layout.h"
#include "heap/heap.h"
#include "prim/prim.h"

/* ---- reports -------------------------------------------------------------------------------------------------------------- */

void vmarena_heap_tell(struct vmarena_heap *heap, struct vmarena_heap_report *report) {
    report->thread = vmarena_prim_thread_id();
    if (report->kind != VMARENA_HEAP_NEAR_LIMIT) vmarena_add_relaxed(heap->errors, 1);
    if (heap->options.report != NULL) heap->options.report(report, heap->options.report_arg);
}

/* ---- one object's slack ------------------------------------------------------------------------------------------------------ */

/* The slack on both sides of an object: [before, start) and [end, after). */
struct slack {
    uintptr_t before, start, end, after;
};

static struct slack slack_of(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    uintptr_t start = vmarena_load_relaxed(slot->start), pages = vmarena_slot_pages(heap, slot);
    return (struct slack){pages, start, start + vmarena_load_relaxed(slot->size),
                          pages + vmarena_slot_page_bytes(heap, slot)};
}

void vmarena_slack_fill(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    struct slack slack = slack_of(heap, slot);
    if (slack.before == slack.after) return; /* an object of no bytes has no pages */
    vmarena_pattern_fill(slack.before, slack.start);
    vmarena_pattern_fill(slack.end, slack.after);
}

static size_t length_of_damage(uintptr_t bad, uintptr_t end) {
    uintptr_t last = bad;
    for (uintptr_t at = bad; at < end; at++)
        if (vmarena_pattern_check(at, at + 1) == at) last = at;
    return last - bad + 1;
}

static int tell_damage(struct vmarena_heap *heap, struct vmarena_slot *slot, enum vmarena_heap_call call,
                       uint32_t stack, uintptr_t bad, uintptr_t end) {
    struct vmarena_heap_report report = {.kind = VMARENA_HEAP_SLACK_BEFORE, .call = call, .stack = stack};
    (void)vmarena_slot_object(heap, slot, &report.object);
    uintptr_t start = (uintptr_t)report.object.start;
    if (bad >= start) report.kind = VMARENA_HEAP_SLACK_AFTER;
    if (call != VMARENA_HEAP_IN_CHECK) report.pointer = report.object.start;
    report.bad = (unsigned char *)bad;
    report.found = *report.bad;
    report.expected = vmarena_pattern_byte(bad);
    report.bad_length = length_of_damage(bad, end);
    report.distance = vmarena_object_distance(start, report.object.size, bad);
    int error =
        vmarena_fail(-EILSEQ, "slack overwritten: byte %+td of the %zu-byte object at %p in \"%s\" holds 0x%02x",
                     report.distance, report.object.size, report.object.start, heap->region.name, report.found);
    vmarena_heap_tell(heap, &report);
    return error;
}

int vmarena_slack_check(struct vmarena_heap *heap, struct vmarena_slot *slot, enum vmarena_heap_call call,
                        uint32_t stack) {
    struct slack slack = slack_of(heap, slot);
    int error = 0;
    if (slack.before == slack.after) return 0;
    uintptr_t bad = vmarena_pattern_check(slack.before, slack.start);
    if (VMARENA_UNLIKELY(bad != slack.start)) error = tell_damage(heap, slot, call, stack, bad, slack.start);
    bad = vmarena_pattern_check(slack.end, slack.after);
    if (VMARENA_UNLIKELY(bad != slack.after)) error = tell_damage(heap, slot, call, stack, bad, slack.after);
    return error;
}

/* ---- slots seized ------------------------------------------------------------------------------------------------------------ */

bool vmarena_slot_claim(struct vmarena_slot *slot) {
    for (;;) {
        unsigned char state = VMARENA_SLOT_LIVE;
        if (atomic_compare_exchange_strong_explicit(&slot->state, &state, VMARENA_SLOT_CLAIMED, memory_order_acquire,
                                                    memory_order_acquire))
            return true;
        if (state != VMARENA_SLOT_HELD) return false;
        vmarena_prim_yield();
    }
}

/* The note is there before the slot is held, and until it no longer is: a fork may come at any moment. */
bool vmarena_slot_hold(struct vmarena_heap *heap, struct vmarena_slot *slot, unsigned char state) {
    atomic_store_explicit(&heap->held_state, state, memory_order_release);
    atomic_store_explicit(&heap->held, slot, memory_order_release);
    return atomic_compare_exchange_strong_explicit(&slot->state, &state, VMARENA_SLOT_HELD, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

void vmarena_slot_let_go(struct vmarena_heap *heap) {
    struct vmarena_slot *slot = vmarena_load_relaxed(heap->held);
    atomic_store_explicit(&slot->state, vmarena_load_relaxed(heap->held_state), memory_order_release);
    atomic_store_explicit(&heap->held, NULL, memory_order_release);
}

/* ---- many ----------------------------------------------------------------------------------------------------------------------- */

/* The heap that this thread checks: a report may check again, or fork. */
static _Thread_local const struct vmarena_heap *checked;

bool vmarena_checking(const struct vmarena_heap *heap) { return checked == heap; }

static int check_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack) {
    int error = vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_CHECK, stack);
    if (error != 0) vmarena_slack_fill(heap, slot);
    vmarena_slot_let_go(heap);
    return error;
}

struct round {
    uint32_t stack;
    bool bad;
    char first[256]; /* the sentence about the first damage */
};

static bool check_visited(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    struct round *round = arg;
    if (!vmarena_slot_hold(heap, slot, VMARENA_SLOT_LIVE)) return true;
    if (check_slot(heap, slot, round->stack) != 0 && !round->bad) {
        round->bad = true;
        strncpy(round->first, vmarena_explain(), sizeof round->first - 1);
    }
    return true;
}

/* With the heap's check lock held. */
static int check_all(struct vmarena_heap *heap, uint32_t stack) {
    const struct vmarena_heap *outer = checked;
    struct round round = {.stack = stack};
    checked = heap;
    (void)vmarena_slots_visit(heap, check_visited, &round);
    (void)vmarena_large_visit(heap, check_visited, &round);
    checked = outer;
    vmarena_add_relaxed(heap->check_count, 1);
    return round.bad ? vmarena_fail(-EILSEQ, "%s", round.first) : 0;
}

__attribute__((noinline)) int vmarena_heap_check(struct vmarena_heap *heap) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    int error = vmarena_heap_verify(heap);
    if (error != 0 || vmarena_checking(heap)) return error;
    uint32_t stack = vmarena_heap_capture(heap, &origin);
    (void)pthread_mutex_lock(&heap->check);
    error = check_all(heap, stack);
    (void)pthread_mutex_unlock(&heap->check);
    return error;
}

void vmarena_check_due(struct vmarena_heap *heap) {
    uint64_t call = vmarena_add_relaxed(heap->calls, 1) + 1;
    if (call % heap->options.check_interval != 0 || vmarena_checking(heap)) return;
    if (pthread_mutex_trylock(&heap->check) != 0) return; /* somebody is at it */
    (void)check_all(heap, 0);
    (void)pthread_mutex_unlock(&heap->check);
}

static int check_one(struct vmarena_heap *heap, const void *pointer, uint32_t stack) {
    struct vmarena_slot *slot = vmarena_slot_starting(heap, pointer);
    if (slot == NULL || !vmarena_slot_hold(heap, slot, VMARENA_SLOT_LIVE))
        return vmarena_fail(-EINVAL, "%p is not the start of a live object in \"%s\"", pointer, heap->region.name);
    return check_slot(heap, slot, stack);
}

__attribute__((noinline)) int vmarena_heap_check_object(struct vmarena_heap *heap, const void *pointer) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    int error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    if (vmarena_checking(heap)) return vmarena_fail(-EBUSY, "vmarena_heap_check_object: called from a check's report");
    uint32_t stack = vmarena_heap_capture(heap, &origin);
    const struct vmarena_heap *outer = checked;
    (void)pthread_mutex_lock(&heap->check);
    checked = heap;
    error = check_one(heap, pointer, stack);
    checked = outer;
    (void)pthread_mutex_unlock(&heap->check);
    return error;
}
