/* SPDX-License-Identifier: MIT */
/*
 * The states of a slot. No other file writes `state`.
 *
 *                take                  publish                claim
 *      EMPTY ───────────────► TAKEN ───────────────► LIVE ◄─────────► CLAIMED
 *        ▲ ▲      cancel      │ ▲                          unclaim     │
 *        │ └──────────────────┘ │                                      │ free
 *        │                      │ take                                 │
 *        └────────────────────  FREED  ◄───────────────────────────────┘
 *           evict (large objects)
 *
 *      EMPTY, FREED   left by the thread that got the slot off a free list or, to evict it, off the quarantine
 *      TAKEN          left by that thread only
 *      LIVE           left by whichever thread wins the compare-and-exchange: a second free finds CLAIMED or FREED
 *      CLAIMED        left by that thread only
 *
 * One thread at a time, whose turn it is, may HOLD one slot that is EMPTY, LIVE or FREED: to look at its slack, or to
 * close its pages. That is a bit beside the state, so that everybody else still sees what the slot is. Nobody leaves a
 * state that is held; who wants to waits, unless it is its own thread that holds the slot (a signal handler that
 * interrupted a check, or a report that frees the object it is about).
 */
#include "prim/prim.h"

#include <errno.h>

#include "heap/heap.h"

#define HELD 0x80u

enum vmarena_slot_state vmarena_state_of(const struct vmarena_slot *slot) {
    return (enum vmarena_slot_state)(atomic_load(&slot->state) & ~HELD);
}

bool vmarena_slot_has_object(const struct vmarena_slot *slot) {
    enum vmarena_slot_state state = vmarena_state_of(slot);
    return state != VMARENA_SLOT_EMPTY && state != VMARENA_SLOT_TAKEN;
}

/* Leaves one state for another: 0; -EALREADY: it is in a third one; -EDEADLK: this thread holds the slot. */
static int leave(struct vmarena_heap *heap, struct vmarena_slot *slot, unsigned from, unsigned to) {
    for (;;) {
        unsigned char state = (unsigned char)from;
        if (atomic_compare_exchange_strong(&slot->state, &state, (unsigned char)to)) return 0;
        if ((state & ~HELD) != from) return -EALREADY;
        if (vmarena_turn_is_mine(heap) && vmarena_load_relaxed(heap->held) == slot) return -EDEADLK;
        vmarena_prim_yield();
    }
}

/* By the only thread that may. */
static void set(struct vmarena_slot *slot, enum vmarena_slot_state state) {
    atomic_store_explicit(&slot->state, (unsigned char)state, memory_order_release);
}

bool vmarena_state_take(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    return leave(heap, slot, vmarena_state_of(slot), VMARENA_SLOT_TAKEN) == 0;
}

void vmarena_state_cancel(struct vmarena_slot *slot) { set(slot, VMARENA_SLOT_EMPTY); }
void vmarena_state_publish(struct vmarena_slot *slot) { set(slot, VMARENA_SLOT_LIVE); }

int vmarena_state_claim(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    return leave(heap, slot, VMARENA_SLOT_LIVE, VMARENA_SLOT_CLAIMED);
}

void vmarena_state_unclaim(struct vmarena_slot *slot) { set(slot, VMARENA_SLOT_LIVE); }
void vmarena_state_free(struct vmarena_slot *slot) { set(slot, VMARENA_SLOT_FREED); }

bool vmarena_state_evict(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    return leave(heap, slot, VMARENA_SLOT_FREED, VMARENA_SLOT_EMPTY) == 0;
}

void vmarena_state_unevict(struct vmarena_slot *slot) { set(slot, VMARENA_SLOT_FREED); }

/* ---- holding ----------------------------------------------------------------------------------------------------------- */

/* The heaps whose turn this thread has: a report of one heap's check may check another heap. */
static _Thread_local struct vmarena_turn *turns;

bool vmarena_turn_is_mine(const struct vmarena_heap *heap) {
    const struct vmarena_turn *turn = turns;
    while (turn != NULL && turn->heap != heap) turn = turn->outer;
    return turn != NULL;
}

int vmarena_turn_begin(struct vmarena_heap *heap, struct vmarena_turn *turn, bool wait) {
    if (vmarena_turn_is_mine(heap) || vmarena_heap_interrupted()) return -EBUSY;
    vmarena_heap_enter(); /* until the turn is noted, a signal handler must not wait for it */
    int error = wait ? pthread_mutex_lock(&heap->check) : pthread_mutex_trylock(&heap->check);
    if (error == 0) {
        *turn = (struct vmarena_turn){heap, turns};
        turns = turn;
    }
    vmarena_heap_leave();
    return -error;
}

void vmarena_turn_end(struct vmarena_heap *heap, struct vmarena_turn *turn) {
    vmarena_heap_enter();
    turns = turn->outer;
    (void)pthread_mutex_unlock(&heap->check);
    vmarena_heap_leave();
}

/* A fork may come at any moment: the slot is noted before it is held, and until it no longer is. */
bool vmarena_state_hold(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    unsigned char state = (unsigned char)vmarena_state_of(slot);
    if (state == VMARENA_SLOT_TAKEN || state == VMARENA_SLOT_CLAIMED) return false;
    atomic_store_explicit(&heap->held, slot, memory_order_release);
    bool held = atomic_compare_exchange_strong(&slot->state, &state, (unsigned char)(state | HELD));
    if (!held) atomic_store_explicit(&heap->held, NULL, memory_order_release);
    return held;
}

void vmarena_state_release(struct vmarena_heap *heap) {
    struct vmarena_slot *slot = vmarena_load_relaxed(heap->held);
    (void)atomic_fetch_and_explicit(&slot->state, (unsigned char)~HELD, memory_order_release);
    atomic_store_explicit(&heap->held, NULL, memory_order_release);
}

void vmarena_turn_abandon(struct vmarena_heap *heap) {
    if (vmarena_turn_is_mine(heap)) return;
    if (vmarena_load_relaxed(heap->held) != NULL) vmarena_state_release(heap);
    (void)pthread_mutex_init(&heap->check, NULL);
}
