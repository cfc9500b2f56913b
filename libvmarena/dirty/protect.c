/* SPDX-License-Identifier: MIT */
/*
 * Tracking by protection. Other threads may write while the tracking ends, and a write that faults then must be tried again
 * and not be reported:
 *
 * 1. The owner sets the state to ENDING. Handlers that come now have the access tried again, for as long as that lasts.
 * 2. It waits for the handlers that are at work on a page, so that none of them makes a page writable later on, when the
 *    owner has given the memory less protection than it had.
 * 3. It makes all pages writable and counts the end, then leaves ENDING.
 * 4. A thread may have faulted before step 3 and come to its handler after it. It learns from the count that a tracking has
 *    ended since it last looked, and tries the access again, once for each end: a fault that is not ours comes back.
 *
 * ENDING lasts no longer than its owner, who has no counterpart in a child: a lock keeps fork(2) off during it.
 */
#include "prim/prim.h"

#include "dirty/back_ends.h"

#include <pthread.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rounding.h"
#include "fault/fault.h"
#include "region/ranges.h"

static pthread_mutex_t ending_lock = PTHREAD_MUTEX_INITIALIZER;
static bool watches_forks;                 /* under the lock */
static _Atomic unsigned lifting;           /* handlers at work on a page */
static _Thread_local unsigned own_lifting; /* of these, the calling thread's */
static _Atomic uint64_t ends;
static _Thread_local uint64_t ends_seen;

static size_t pages_of(const struct vmarena_dirty_tracker *tracker) { return tracker->size / vmarena_prim_page_size(); }

static int set_protection(const struct vmarena_dirty_tracker *tracker, size_t start, size_t end, unsigned prot) {
    return vmarena_prim_protect(tracker->region->base + start, end - start, prot);
}

static unsigned read_only(const struct vmarena_dirty_tracker *tracker) {
    return tracker->region->prot & ~VMARENA_WRITE;
}

static void set_state(struct vmarena_dirty_tracker *tracker, enum vmarena_dirty_state state) {
    atomic_store(&tracker->state, (int)state);
}

/* ---- fork(2) ----------------------------------------------------------------------------------------------------- */

static void before_fork(void) { (void)pthread_mutex_lock(&ending_lock); }
static void in_parent(void) { (void)pthread_mutex_unlock(&ending_lock); }

/* The handlers of other threads do not exist in the child. */
static void in_child(void) {
    atomic_store(&lifting, own_lifting);
    (void)pthread_mutex_unlock(&ending_lock);
}

static int watch_forks(void) {
    int error = 0;
    (void)pthread_mutex_lock(&ending_lock);
    if (!watches_forks) error = vmarena_prim_at_fork(before_fork, in_parent, in_child);
    watches_forks = error == 0;
    (void)pthread_mutex_unlock(&ending_lock);
    return error == 0 ? 0 : vmarena_fail(error, "no memory to register a fork handler");
}

/* ---- in the fault handler: no lock, no allocation ---------------------------------------------------------------- */

/* All of it, where no map entry is left for a page of its own: everything counts as written then. */
static bool lift_everything(struct vmarena_dirty_tracker *tracker) {
    int on = VMARENA_DIRTY_ON;
    if (set_protection(tracker, 0, tracker->size, tracker->region->prot) != 0) return false;
    (void)atomic_fetch_add(&ends, 1);
    (void)atomic_compare_exchange_strong(&tracker->state, &on, VMARENA_DIRTY_LOST);
    return true;
}

static bool lift_page(struct vmarena_dirty_tracker *tracker, const void *address) {
    size_t page = vmarena_prim_page_size(), offset = (size_t)((const char *)address - tracker->region->base);
    if (offset >= tracker->size) return false;
    size_t start = offset / page * page;
    vmarena_bits_set(tracker->written, offset / page);
    return set_protection(tracker, start, start + page, tracker->region->prot) == 0 || lift_everything(tracker);
}

static bool has_ended_meanwhile(void) {
    uint64_t now = atomic_load(&ends);
    if (ends_seen == now) return false;
    ends_seen = now;
    return true;
}

/* The first write to a page. True: it is to be tried again. */
static bool lift(const struct vmarena_fault *fault, void *arg) {
    struct vmarena_dirty_tracker *tracker = arg;
    bool writes = fault->access == VMARENA_ACCESS_WRITE || fault->access == VMARENA_ACCESS_UNKNOWN;
    if (fault->signo != SIGSEGV || !writes) return false;
    own_lifting++;
    (void)atomic_fetch_add(&lifting, 1); /* before the state is read: the owner does both the other way round */
    int state = atomic_load(&tracker->state);
    bool lifted = state == VMARENA_DIRTY_ENDING || (state == VMARENA_DIRTY_ON && lift_page(tracker, fault->address));
    (void)atomic_fetch_sub(&lifting, 1);
    own_lifting--;
    return lifted || has_ended_meanwhile();
}

/* ---- the owner --------------------------------------------------------------------------------------------------- */

static void wait_for_handlers(void) {
    while (atomic_load(&lifting) != own_lifting) vmarena_prim_yield();
}

/* Leaves ON for another state, see above. */
static void end(struct vmarena_dirty_tracker *tracker, enum vmarena_dirty_state state) {
    (void)pthread_mutex_lock(&ending_lock);
    set_state(tracker, VMARENA_DIRTY_ENDING);
    wait_for_handlers();
    (void)set_protection(tracker, 0, tracker->size, tracker->region->prot);
    (void)atomic_fetch_add(&ends, 1);
    set_state(tracker, state);
    (void)pthread_mutex_unlock(&ending_lock);
}

void vmarena_dirty_protect_give_up(struct vmarena_dirty_tracker *tracker) {
    if (atomic_load(&tracker->state) == VMARENA_DIRTY_ON) end(tracker, VMARENA_DIRTY_LOST);
}

int vmarena_dirty_protect_begin(struct vmarena_dirty_tracker *tracker) {
    struct vmarena_region *region = tracker->region;
    size_t page = vmarena_prim_page_size();
    void *written;
    int error = vmarena_fault_ready();
    if (error == 0) error = watch_forks();
    if (error != 0) return error;
    size_t bytes = vmarena_round_up(vmarena_bits_bytes(region->size / page), page);
    error = vmarena_prim_map(&written, bytes, page, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", bytes);
    tracker->written = written;
    tracker->written_size = bytes;
    set_state(tracker, VMARENA_DIRTY_ON);
    /* They stay when the tracking ends: a thread may come to its handler later, see step 4. */
    region->watch_arg = tracker;
    atomic_store_explicit(&region->watch, lift, memory_order_release);
    return 0;
}

int vmarena_dirty_protect_extend(struct vmarena_dirty_tracker *tracker, size_t size) {
    size_t before = tracker->size;
    tracker->size = size;
    if (atomic_load(&tracker->state) == VMARENA_DIRTY_LOST) return 0;
    int error = set_protection(tracker, before, size, read_only(tracker));
    if (error == 0) return 0;
    tracker->size = before;
    return vmarena_fail_call(error, "mprotect", size - before);
}

void vmarena_dirty_protect_end(struct vmarena_dirty_tracker *tracker) {
    if (atomic_load(&tracker->state) == VMARENA_DIRTY_ON) end(tracker, VMARENA_DIRTY_OFF);
    set_state(tracker, VMARENA_DIRTY_OFF);
    wait_for_handlers(); /* who look at the bits */
    if (tracker->written != NULL) (void)vmarena_prim_unmap((void *)tracker->written, tracker->written_size);
    tracker->written = NULL;
}

static size_t report_written(const struct vmarena_dirty_tracker *tracker, const struct vmarena_dirty_report *report) {
    size_t page = vmarena_prim_page_size(), runs = 0, at = 0, end;
    for (; vmarena_bits_next_run(tracker->written, pages_of(tracker), &at, &end); at = end, runs++)
        report->function(report->arg, at * page, (end - at) * page);
    return runs;
}

static void protect_run(struct vmarena_dirty_tracker *tracker, size_t from, size_t end) {
    size_t page = vmarena_prim_page_size();
    if (set_protection(tracker, from * page, end * page, read_only(tracker)) == 0)
        vmarena_bits_clear(tracker->written, from, end);
}

/* A system call costs what looking at a thousand pages does. */
#define PAGES_PER_CALL 1024

/* Run by run, or all at once. What cannot be protected goes on counting as written. */
static void protect_again(struct vmarena_dirty_tracker *tracker, size_t runs) {
    size_t at = 0, end;
    if (runs > pages_of(tracker) / PAGES_PER_CALL) {
        protect_run(tracker, 0, pages_of(tracker));
        return;
    }
    for (; vmarena_bits_next_run(tracker->written, pages_of(tracker), &at, &end); at = end)
        protect_run(tracker, at, end);
}

/* Protects everything again, if all of it may be written to now. */
static void begin_again(struct vmarena_dirty_tracker *tracker) {
    struct vmarena_region *region = tracker->region;
    vmarena_bits_clear(tracker->written, 0, pages_of(tracker));
    if ((region->prot & VMARENA_WRITE) == 0 || vmarena_ranges_differ(region)) return;
    set_state(tracker, VMARENA_DIRTY_ON);
    if (set_protection(tracker, 0, tracker->size, read_only(tracker)) != 0) end(tracker, VMARENA_DIRTY_LOST);
}

void vmarena_dirty_protect_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                                   const struct vmarena_dirty_report *report) {
    if (atomic_load(&tracker->state) == VMARENA_DIRTY_LOST) {
        report->function(report->arg, 0, tracker->size);
        if (anew) begin_again(tracker);
        return;
    }
    size_t runs = report_written(tracker, report);
    if (anew) protect_again(tracker, runs);
}

static bool is_open(const struct vmarena_dirty_tracker *tracker, size_t from, size_t end) {
    while (from < end && vmarena_bits_is_set(tracker->written, from)) from++;
    return from >= end;
}

void vmarena_dirty_protect_open(struct vmarena_dirty_tracker *tracker, size_t start, size_t size) {
    size_t page = vmarena_prim_page_size();
    if (atomic_load(&tracker->state) != VMARENA_DIRTY_ON || start >= tracker->size) return;
    size_t end = size < tracker->size - start ? start + size : tracker->size;
    if (is_open(tracker, start / page, end / page)) return;
    if (set_protection(tracker, start, end, tracker->region->prot) != 0) vmarena_dirty_protect_give_up(tracker);
    else
        for (size_t i = start / page; i < end / page; i++) vmarena_bits_set(tracker->written, i);
}
