/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share. A file calls only those below it in this list.
 *
 *      lifecycle.c   create, destroy               options.c     checking options and filling in defaults
 *      stats.c       statistics and visits         fork.c        keeping a heap usable across fork(2)
 *      realloc.c     resizing in place or moving
 *      free.c        what happens to a freed object, up to the quarantine
 *      alloc.c       what a request goes through
 *      fallback.c    which requests are guarded; the allocator for the others
 *      quarantine.c  freed objects until their addresses are used again
 *      accounting.c  live objects and their pages against the caps
 *      exposure.c    going on after a fault: opening pages and closing them again
 *      check.c       checking slack on demand
 *      slack.c       the pattern around one object
 *      report.c      errors found without a fault
 *      lookup.c      handle → heap, address → object; what a fault means
 *      large.c       objects in mappings of their own
 *      free_slots.c  the free lists: slots on their way to an object and back
 *      slot_state.c  the states of a slot and every transition between them
 *      slots.c       size classes; spans cut into slots; address → slot
 *      stacks.c      call stacks, each stored once
 *      lock.c        the locks, and which of them the calling thread holds
 *
 * The main reservation is cut into chunks of VMARENA_CHUNK_PAGES pages. A span, one or more chunks, holds slots of one
 * size class. A slot is pages for an object with the guard behind them:
 *
 *      edge │ slot: pages .. guard │ slot: pages .. guard │ ... │ next span ... │ not cut yet │ edge
 *
 * so that the guard of the slot before an object lies at the object's other side. Every page of a span is closed but
 * those of live objects (region/guard.h does that). Everything about a slot is in its record (struct vmarena_slot), which
 * is found from the address by arithmetic alone and stays mapped as long as the heap exists.
 *
 * Locks, in the order in which they are taken: a heap's check, the list of heaps, a shard, a class, grow or the stack
 * store's, the library's own. No system call that hands out pages or takes them back is made under one; only cutting a
 * new span is. All but `check`, under which reports are made, are held across a fork.
 */
#ifndef VMARENA_INTERNAL_HEAP_H
#define VMARENA_INTERNAL_HEAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rounding.h"
#include "base/table.h"
#include "base/text.h"
#include "region/guard.h"
#include "region/region.h"
#include "vmarena/heap.h"

#define vmarena_load_relaxed(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define vmarena_store_relaxed(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define vmarena_add_relaxed(field, value) atomic_fetch_add_explicit(&(field), (value), memory_order_relaxed)

/* ---- data -------------------------------------------------------------------------------------------------------------- */

/* Some pages of the slot, its guard included, may be accessible without belonging to a live object. */
#define VMARENA_SLOT_EXPOSED 1u

/* 64 bytes on 64-bit systems: one for each slot that was ever cut, whether live, quarantined or free. */
struct vmarena_slot {
    struct vmarena_slot *next; /* in the list that the slot is on; protected by that list's lock */
    _Atomic uintptr_t start;   /* of the object */
    _Atomic size_t size;       /* as requested */
    _Atomic uint64_t alloc_number, free_number;
    _Atomic uint32_t alloc_stack, free_stack, alloc_thread, free_thread;
    _Atomic unsigned char state, flags, side, shift; /* state: slot_state.c; shift: the alignment is 2^shift */
    unsigned char class;
};

struct vmarena_slot_list {
    struct vmarena_slot *first, *last; /* last: in quarantine queues only */
    size_t count;
};

#define VMARENA_CHUNK_PAGES ((size_t)512)
#define VMARENA_CLASSES 64
#define VMARENA_CLASS_LARGE 255 /* a mapping of its own */

struct vmarena_class {
    size_t pages;  /* of a slot, its guard included */
    size_t slots;  /* in a span */
    size_t chunks; /* of a span */
};

/* Where a shard that has no free slot of a class gets some. */
struct vmarena_central {
    struct vmarena_slot_list free;
    size_t chunk, cut, end; /* the span being cut: its first chunk, the next slot, their number */
};

/* Few: a fork takes the locks of all, and ThreadSanitizer tracks at most 64 locks per thread. */
#define VMARENA_SHARDS 16
#define VMARENA_CENTRAL_LOCKS 8 /* class n has lock n % 8 */
#define VMARENA_QUEUES 16       /* of a quarantine with random reuse; FIFO uses one */

/* A thread works with one shard; several threads may share it. Padded, so that no two shards share a cache line. */
struct vmarena_shard {
    pthread_mutex_t lock;
    struct vmarena_slot_list free[VMARENA_CLASSES];
    struct vmarena_slot_list queue[VMARENA_QUEUES];
    size_t queued;
    _Atomic uint64_t allocs, frees, bytes_in, bytes_out; /* bytes as requested: allocated, freed */
    _Atomic uint64_t unsampled;
    _Atomic uint64_t gap;       /* requests until the next sampled one, itself included; 0: not chosen yet */
    _Atomic unsigned char turn; /* for side ALTERNATE: 0 or 1 */
    char pad[64];
};

struct vmarena_stacks {
    struct vmarena_table buckets, entries;
    _Atomic size_t used, count; /* bytes of entries; stacks */
    pthread_mutex_t lock;       /* to commit more */
};

struct vmarena_heap {
    _Atomic bool alive;
    struct vmarena_heap *next;           /* all heaps ever created, protected by the lock of the list */
    struct vmarena_heap_options options; /* as obtained; name and fallback are not kept here */
    struct vmarena_heap_fallback fallback;
    bool has_fallback, filters; /* filters: some requests are not to be guarded */
    bool annotated;

    struct vmarena_region region;
    struct vmarena_guards guards;
    size_t page, guard_pages, chunk; /* bytes, pages, bytes */
    size_t records_per_chunk;
    unsigned class_count;
    struct vmarena_class classes[VMARENA_CLASSES];
    unsigned char class_of[VMARENA_CHUNK_PAGES + 1]; /* by the pages a slot needs */
    struct vmarena_table chunks;                     /* _Atomic uint32_t each: see slots.c */
    struct vmarena_table records;
    pthread_mutex_t grow;
    _Atomic size_t cut;   /* chunks cut into slots */
    _Atomic size_t pause; /* requests that are not to try the system, after it refused */
    size_t guard_limit, map_entry_limit;

    struct vmarena_central central[VMARENA_CLASSES];
    pthread_mutex_t central_locks[VMARENA_CENTRAL_LOCKS];
    struct vmarena_shard shards[VMARENA_SHARDS];
    _Atomic(struct vmarena_slot *) deferred; /* freed by signal handlers, to be queued by the next free */
    struct vmarena_stacks stacks;

    _Atomic uint64_t number; /* allocations so far */
    _Atomic uint64_t calls;  /* allocs and frees, for check_interval */
    _Atomic size_t live, live_peak, page_bytes, page_peak;
    _Atomic size_t quarantined, quarantined_bytes;
    _Atomic uint64_t unguarded, failed, errors, check_count, shortened, unfenced;
    _Atomic bool forked, warned;
    pthread_mutex_t check;               /* held by the one thread that may hold slots (slot_state.c) */
    _Atomic(struct vmarena_slot *) held; /* the slot it holds or is about to hold, for the child of a fork */
    _Atomic unsigned exposing;           /* calls of vmarena_heap_expose() in progress for large objects */
};

/* A request, and how the object is to lie. */
struct vmarena_request {
    size_t size, align;
    bool zero;
    size_t pages;  /* bytes of the pages that hold the object */
    size_t offset; /* of the object in them */
    enum vmarena_heap_side side;
};

/* Where a public function was called from: the first frame of a stack. */
struct vmarena_origin {
    void *caller;
    const void *frame;
};
#define VMARENA_ORIGIN_HERE                                                                                            \
    (struct vmarena_origin) { __builtin_return_address(0), __builtin_frame_address(0) }

static inline bool vmarena_heap_is_alive(const struct vmarena_heap *heap) {
    return heap != NULL && atomic_load_explicit(&heap->alive, memory_order_acquire);
}

/* ---- lock.c -------------------------------------------------------------------------------------------------------------- */

/* Lock and unlock, noting which locks the calling thread holds or waits for. */
void vmarena_heap_lock(pthread_mutex_t *lock);
void vmarena_heap_unlock(pthread_mutex_t *lock);

/* Marks a section of the calling thread that may hold a lock of the library's lower layers. */
void vmarena_heap_enter(void);
void vmarena_heap_leave(void);

/*
 * Whether this is a signal handler (or a handler of pthread_atfork(3)) that interrupted the calling thread in a section
 * that holds a lock. Waiting for any lock then may be waiting for ever.
 */
bool vmarena_heap_interrupted(void);

/* The same for a fork: a lock that the interrupted thread itself holds is left alone by both. */
void vmarena_lock_for_fork(pthread_mutex_t *lock);
void vmarena_unlock_after_fork(pthread_mutex_t *lock);

/* ---- stacks.c ------------------------------------------------------------------------------------------------------------- */

/* Reserves room for `bytes` of stacks. A negative errno, not explained. */
int vmarena_stacks_open(struct vmarena_stacks *stacks, size_t bytes);
void vmarena_stacks_close(struct vmarena_stacks *stacks);

/* Returns the id of these frames; 0 where there are none or memory is out. */
uint32_t vmarena_stacks_store(struct vmarena_stacks *stacks, void *const *frames, size_t count);

/* As vmarena_heap_stack(). Signal-safe. */
size_t vmarena_stacks_frames(const struct vmarena_stacks *stacks, uint32_t id, void **frames, size_t count);

/* Captures the stack of a public call and returns its id. */
uint32_t vmarena_heap_capture(struct vmarena_heap *heap, const struct vmarena_origin *origin);

/* ---- slots.c ---------------------------------------------------------------------------------------------------------------- */

void vmarena_slots_plan(struct vmarena_heap *heap); /* size classes; needs page and guard_pages */
int vmarena_slots_open(struct vmarena_heap *heap, size_t reserve);
void vmarena_slots_close(struct vmarena_heap *heap);

/* The size class for a request; class_count: it needs a mapping of its own. */
unsigned vmarena_class_for(const struct vmarena_heap *heap, const struct vmarena_request *request);

/* Cuts a new span for a class and stores its first chunk. -ENOSPC: the reservation is used up. Not explained. */
int vmarena_slots_cut(struct vmarena_heap *heap, unsigned class, size_t *chunk);

struct vmarena_slot *vmarena_slot_of(const struct vmarena_heap *heap, size_t chunk, size_t index);
uintptr_t vmarena_slot_base(const struct vmarena_heap *heap, const struct vmarena_slot *slot);
static inline size_t vmarena_slot_bytes(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return heap->classes[slot->class].pages * heap->page;
}
static inline bool vmarena_slot_is_large(const struct vmarena_slot *slot) { return slot->class == VMARENA_CLASS_LARGE; }

/* The pages of a slot's object. */
static inline uintptr_t vmarena_slot_pages(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return vmarena_align_down(vmarena_load_relaxed(slot->start), heap->page);
}
static inline size_t vmarena_slot_page_bytes(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return vmarena_round_up(vmarena_load_relaxed(slot->size), heap->page);
}

/* The slot whose pages or guard hold an address of the main reservation, or NULL: nothing was cut there. Signal-safe. */
struct vmarena_slot *vmarena_slot_at(const struct vmarena_heap *heap, uintptr_t address);

/* The slot before (-1) or after (+1) it in the order of addresses, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_slot_beside(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                                         int direction);

/* Calls visit for every slot that was cut until it returns false; returns what the last call returned. */
typedef bool vmarena_slot_visit_fn(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg);
bool vmarena_slots_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg);

/* ---- slot_state.c: drawn there ------------------------------------------------------------------------------------------------ */

enum vmarena_slot_state {
    VMARENA_SLOT_EMPTY,   /* no object, and no record of one */
    VMARENA_SLOT_TAKEN,   /* an allocation has it, which has not finished */
    VMARENA_SLOT_LIVE,    /* an object */
    VMARENA_SLOT_CLAIMED, /* an object that one thread is freeing or resizing */
    VMARENA_SLOT_FREED,   /* no object; its record tells what was here */
};

/* The slot's state; what a hold adds is left out. Signal-safe. */
enum vmarena_slot_state vmarena_state_of(const struct vmarena_slot *slot);

/* Whether its record describes an object, live or freed. Signal-safe. */
bool vmarena_slot_has_object(const struct vmarena_slot *slot);

/* Allocating. take: false where this thread holds the slot, in the call that a signal handler interrupted. */
bool vmarena_state_take(struct vmarena_heap *heap, struct vmarena_slot *slot);
void vmarena_state_cancel(struct vmarena_slot *slot);
void vmarena_state_publish(struct vmarena_slot *slot);

/* Freeing. claim: 0; -EALREADY: no live object; -EDEADLK: this thread holds it. evict: as take. */
int vmarena_state_claim(struct vmarena_heap *heap, struct vmarena_slot *slot);
void vmarena_state_unclaim(struct vmarena_slot *slot);
void vmarena_state_free(struct vmarena_slot *slot);
bool vmarena_state_evict(struct vmarena_heap *heap, struct vmarena_slot *slot);
void vmarena_state_unevict(struct vmarena_slot *slot);

/*
 * Begins and ends the calling thread's turn to hold slots of this heap, one at a time. -EBUSY: it is its turn already
 * (this is a report of a check), or a signal handler that interrupted a call on a heap. Without waiting: also if it is
 * another thread's turn. Not explained. *turn lives until the end.
 */
struct vmarena_turn {
    const struct vmarena_heap *heap;
    struct vmarena_turn *outer;
};
int vmarena_turn_begin(struct vmarena_heap *heap, struct vmarena_turn *turn, bool wait);
void vmarena_turn_end(struct vmarena_heap *heap, struct vmarena_turn *turn);

/* Whether it is the calling thread's turn. */
bool vmarena_turn_is_mine(const struct vmarena_heap *heap);

/* Holds a slot: its state stays until the release. false: an allocation, a free or a realloc has it. In a turn only. */
bool vmarena_state_hold(struct vmarena_heap *heap, struct vmarena_slot *slot);
void vmarena_state_release(struct vmarena_heap *heap);

/* In the child of a fork, where the thread whose turn it was does not exist. */
void vmarena_turn_abandon(struct vmarena_heap *heap);

/* ---- free_slots.c --------------------------------------------------------------------------------------------------------------- */

/* The calling thread's shard. */
struct vmarena_shard *vmarena_shard_of(struct vmarena_heap *heap);

/* Why a request is refused, beside errors of the system. They do not leave the heap: alloc.c explains them. */
#define VMARENA_OVER_CAP (-EDQUOT)         /* the memory cap */
#define VMARENA_OVER_GUARD_LIMIT (-EMLINK) /* guards by mprotect need too many map entries */
#define VMARENA_PAUSING (-EBUSY)           /* the system refused a moment ago */

/* Takes a closed slot for the request, in state TAKEN. NULL: *error is set, not explained. */
struct vmarena_slot *vmarena_free_slots_take(struct vmarena_heap *heap, const struct vmarena_request *request,
                                             int *error);

/* Gives a slot back. _locked: to a shard whose lock the caller holds. */
void vmarena_free_slots_give(struct vmarena_heap *heap, struct vmarena_slot *slot);
void vmarena_free_slots_give_locked(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot *slot);

/* Makes the slots of the request's class that are free in any shard available to all. false: there were none. */
bool vmarena_free_slots_collect(struct vmarena_heap *heap, const struct vmarena_request *request);

/* Has later requests not try the system for a while, if the fallback serves them. */
void vmarena_free_slots_pause(struct vmarena_heap *heap);

/* ---- large.c ---------------------------------------------------------------------------------------------------------------------- */

/* Maps a large object, in state TAKEN. NULL: *error is set, and explained. */
struct vmarena_slot *vmarena_large_map(struct vmarena_heap *heap, const struct vmarena_request *request, int *error);

/* Unmaps it; the object must have been evicted, or be known to nobody else. */
void vmarena_large_unmap(struct vmarena_slot *slot);

/* Unmaps a freed object. false: somebody is looking at it, and it stays quarantined. */
bool vmarena_large_evict(struct vmarena_heap *heap, struct vmarena_slot *slot);

/* Close all of it, or the guards of a live one. Negative errnos, not explained. */
int vmarena_large_close(struct vmarena_slot *slot);
int vmarena_large_close_guards(struct vmarena_slot *slot);

/* Opens a page of the heap's large objects. -EINVAL: it is in none. Signal-safe. */
int vmarena_large_expose(struct vmarena_heap *heap, uintptr_t page);

/* The large object whose mapping holds address, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_large_at(const struct vmarena_heap *heap, uintptr_t address);

/* Whether the record is this heap's; it may have been given back and taken by another one. */
bool vmarena_large_belongs(const struct vmarena_heap *heap, const struct vmarena_slot *slot);
bool vmarena_large_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg);

/* ---- lookup.c ---------------------------------------------------------------------------------------------------------------------- */

/* Whether the handle is good: 0, or -EBADF, explained. */
int vmarena_heap_verify(const struct vmarena_heap *heap);

/* The slot that address belongs to, by object, slack or guard, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_lookup(const struct vmarena_heap *heap, uintptr_t address);

/* The slot of the object, live or freed, that starts at pointer, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_lookup_start(const struct vmarena_heap *heap, const void *pointer);

/* Fills *object from a slot. false: it has none. Signal-safe. */
bool vmarena_slot_describe(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                           struct vmarena_heap_object *object);

/* Calls visit for every slot and every large object; see vmarena_slots_visit(). */
void vmarena_lookup_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg);

/* The regions' functions: what a fault means, and where its object was allocated and freed. Signal-safe. */
void vmarena_heap_attribute(const struct vmarena_region *region, struct vmarena_fault *fault);
void vmarena_heap_history(const void *owner, const struct vmarena_fault *fault, struct vmarena_text *text);

/* ---- report.c ----------------------------------------------------------------------------------------------------------------------- */

/* Each counts the error, calls the heap's report function and returns the error, explained. */

/* A pointer that no live object starts at. */
int vmarena_report_pointer(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call, uint32_t stack);

/* A free that states another size or alignment than the allocation did. */
int vmarena_report_mismatch(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_error kind,
                            size_t given, uint32_t stack);

/* Slack overwritten: the first bad byte, and how many from there to the last. */
int vmarena_report_slack(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_call call,
                         uint32_t stack, uintptr_t bad, size_t length);

/* Map entries are nearly used up: told once, and not counted as an error. */
void vmarena_report_near_limit(struct vmarena_heap *heap);

/* ---- slack.c -------------------------------------------------------------------------------------------------------------------------- */

void vmarena_slack_fill(const struct vmarena_heap *heap, const struct vmarena_slot *slot);

/* Checks the slack of an object that the caller holds or claimed: 0, or -EILSEQ, explained and reported. */
int vmarena_slack_check(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_call call,
                        uint32_t stack);

/* ---- check.c -------------------------------------------------------------------------------------------------------------------------- */

/* Counts an alloc or free and makes the check that is due every check_interval of them. */
void vmarena_check_if_due(struct vmarena_heap *heap);

/* ---- exposure.c ----------------------------------------------------------------------------------------------------------------------- */

/*
 * Close the pages of an object that was just freed; and all pages of a slot without a live object, whatever is open in
 * it. Where that fails the slot is noted as exposed, and closed before it is used again.
 */
bool vmarena_slot_close(struct vmarena_heap *heap, struct vmarena_slot *slot);
int vmarena_slot_close_exposed(struct vmarena_heap *heap, struct vmarena_slot *slot);

/* ---- accounting.c --------------------------------------------------------------------------------------------------------------------- */

/* Counts an object of so many bytes of pages before it exists, so that no two threads exceed a cap together. */
int vmarena_charge(struct vmarena_heap *heap, size_t pages);
void vmarena_discharge(struct vmarena_heap *heap, size_t pages);

/* Notes the peaks once an object exists: a request that the system refuses is none. */
void vmarena_note_peaks(struct vmarena_heap *heap);

/* ---- fallback.c ----------------------------------------------------------------------------------------------------------------------- */

/* Whether the request is one to guard, by its size and by sampling. */
bool vmarena_is_sampled(struct vmarena_heap *heap, size_t size);

/* Allocates from the fallback and counts it in *served, or as failed, which is explained. */
void *vmarena_fallback_alloc(struct vmarena_heap *heap, size_t size, size_t align, bool zero, _Atomic uint64_t *served);

/* Whether the pointer is one for the fallback to free or resize. */
bool vmarena_fallback_owns(const struct vmarena_heap *heap, const void *pointer);

/* ---- quarantine.c --------------------------------------------------------------------------------------------------------------------- */

/* A number that is hard to foresee; not for secrets. */
uint64_t vmarena_random(void);

/* Takes a freed slot in, and gives up what exceeds the caps. */
void vmarena_quarantine_add(struct vmarena_heap *heap, struct vmarena_slot *slot);

/* Gives up some slots early because there is no room for new ones. false: there are none. */
bool vmarena_quarantine_shorten(struct vmarena_heap *heap);

/* ---- alloc.c, free.c -------------------------------------------------------------------------------------------------------------------- */

/* Allocates, guarded or from the fallback. NULL: explained. */
void *vmarena_alloc_object(struct vmarena_heap *heap, size_t size, size_t align, const struct vmarena_origin *origin,
                           bool zero);

/* Lays the object out in its pages. */
int vmarena_request_place(const struct vmarena_heap *heap, struct vmarena_request *request);

/* Claims the live object that starts at pointer. NULL: *error is set, explained and reported. */
struct vmarena_slot *vmarena_free_claim(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call,
                                        uint32_t stack, int *error);

/* Frees an object that the caller claimed and checked. */
void vmarena_free_claimed(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack);

/* ---- options.c, fork.c ------------------------------------------------------------------------------------------------------------------- */

/* Checks the options: 0, or -EINVAL, explained. And stores them, with their defaults, in a new heap. */
int vmarena_heap_check_options(const struct vmarena_heap_options *options);
void vmarena_heap_apply_options(struct vmarena_heap *heap, const struct vmarena_heap_options *options);

/* Registers the fork handlers unless they are: 0, or -ENOMEM, explained; the next call tries again. */
int vmarena_fork_watch(void);

/* The list of all heaps, which these lock and unlock. */
struct vmarena_heap **vmarena_heaps_lock(void);
void vmarena_heaps_unlock(void);

#endif
