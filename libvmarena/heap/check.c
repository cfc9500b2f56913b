/* SPDX-License-Identifier: MIT */
/* Checking the slack of live objects on demand, and every so many calls. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "heap/heap.h"

/* Holds a live object of this heap. */
static bool hold_live(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    if (!vmarena_state_hold(heap, slot)) return false;
    bool live = vmarena_state_of(slot) == VMARENA_SLOT_LIVE &&
                (!vmarena_slot_is_large(slot) || vmarena_large_belongs(heap, slot));
    if (!live) vmarena_state_release(heap);
    return live;
}

static int check_held(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack) {
    int error = vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_CHECK, stack);
    if (error != 0) vmarena_slack_fill(heap, slot);
    vmarena_state_release(heap);
    return error;
}

struct round {
    uint32_t stack;
    bool bad;
    char first[256]; /* the sentence about the first damage */
};

static bool check_visited(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    struct round *round = arg;
    if (!hold_live(heap, slot)) return true;
    if (check_held(heap, slot, round->stack) != 0 && !round->bad) {
        round->bad = true;
        strncpy(round->first, vmarena_explain(), sizeof round->first - 1);
    }
    return true;
}

/* In this thread's turn. */
static int check_all(struct vmarena_heap *heap, uint32_t stack) {
    struct round round = {.stack = stack};
    vmarena_lookup_visit(heap, check_visited, &round);
    vmarena_add_relaxed(heap->check_count, 1);
    return round.bad ? vmarena_fail(-EILSEQ, "%s", round.first) : 0;
}

__attribute__((noinline)) int vmarena_heap_check(struct vmarena_heap *heap) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    struct vmarena_turn turn;
    int error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    uint32_t stack = vmarena_heap_capture(heap, &origin);
    if (vmarena_turn_begin(heap, &turn, true) != 0) return 0;
    error = check_all(heap, stack);
    vmarena_turn_end(heap, &turn);
    return error;
}

void vmarena_check_if_due(struct vmarena_heap *heap) {
    struct vmarena_turn turn;
    if (heap->options.check_interval == 0) return;
    uint64_t call = vmarena_add_relaxed(heap->calls, 1) + 1;
    if (call % heap->options.check_interval != 0 || vmarena_turn_begin(heap, &turn, false) != 0) return;
    (void)check_all(heap, 0);
    vmarena_turn_end(heap, &turn);
}

static int check_one(struct vmarena_heap *heap, const void *pointer, uint32_t stack) {
    struct vmarena_slot *slot = vmarena_lookup_start(heap, pointer);
    if (slot == NULL || !hold_live(heap, slot))
        return vmarena_fail(-EINVAL, "%p is not the start of a live object in \"%s\"", pointer, heap->region.name);
    return check_held(heap, slot, stack);
}

__attribute__((noinline)) int vmarena_heap_check_object(struct vmarena_heap *heap, const void *pointer) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    struct vmarena_turn turn;
    int error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    uint32_t stack = vmarena_heap_capture(heap, &origin);
    error = vmarena_turn_begin(heap, &turn, true);
    if (error != 0) return vmarena_fail(error, "vmarena_heap_check_object: called from a check's report");
    error = check_one(heap, pointer, stack);
    vmarena_turn_end(heap, &turn);
    return error;
}
