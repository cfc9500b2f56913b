/* SPDX-License-Identifier: MIT */
/*
 * What the files behind vmarena/heap.h share.
 *
 *      heap.c        the public calls: alloc, free, realloc, what goes to the fallback
 *      slots.c       address space: chunks, slots, size classes, shards; opening and closing pages
 *      quarantine.c  freed objects on their way to reuse
 *      large.c       objects in mappings of their own
 *      checks.c      the slack around objects, and the reports
 *      owner.c       address → object; what a fault means
 *      stacks.c      call stacks, each kept once
 *      heaps.c       life, options, numbers, fork
 *
 * The main reservation is cut into chunks of VMARENA_CHUNK_PAGES pages. A span, one or more chunks, holds slots of one
 * size class; a slot is pages for an object with the guard behind them:
 *
 *      edge │ slot: pages .. guard │ slot: pages .. guard │ ... │ next span ... │ not cut yet │ edge
 *
 * so that each object has the guard of the slot before it at its other side. With markers, a chunk is covered by them
 * before it becomes accessible, and a slot in use has holes where its pages are. Everything about a slot is in its record
 * (struct vmarena_slot), which is found from the address by arithmetic alone, and never unmapped before the heap is.
 *
 * Locks, in the order in which they are taken: a heap's check, all heaps, a shard, a class, grow, the library's own. No
 * system call that hands pages out or takes them back is made under one; only cutting a new span is. All but `check`,
 * under which reports are made, are held over a fork.
 */
#ifndef VMARENA_INTERNAL_HEAP_H
#define VMARENA_INTERNAL_HEAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region/region.h"
#include "base/rounding.h"
#include "base/table.h"
#include "vmarena/heap.h"

#define vmarena_load_relaxed(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define vmarena_store_relaxed(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define vmarena_add_relaxed(field, value) atomic_fetch_add_explicit(&(field), (value), memory_order_relaxed)

/* ---- slots ----------------------------------------------------------------------------------------------------------- */

/*
 * LIVE is left only by a compare-and-exchange: to HELD by who looks at the slack, to CLAIMED by who frees or moves the
 * object. Who meets HELD waits; who meets CLAIMED came second.
 * A slot without a live object is HELD while its pages are closed again (vmarena_heap_rearm).
 */
enum vmarena_slot_state {
    VMARENA_SLOT_EMPTY, /* no object, and no record of one */
    VMARENA_SLOT_LIVE,
    VMARENA_SLOT_HELD,
    VMARENA_SLOT_CLAIMED,
    VMARENA_SLOT_FREED,
};

#define VMARENA_SLOT_EXPOSED 1u /* some of its pages, the guard's among them, are open on purpose */

/* 64 bytes on 64-bit systems: one for each slot that was ever cut, live, quarantined or free. */
struct vmarena_slot {
    struct vmarena_slot *next; /* in the list that the slot is on; under that list's lock */
    _Atomic uintptr_t start;   /* of the object */
    _Atomic size_t size;       /* as asked for */
    _Atomic uint64_t alloc_number, free_number;
    _Atomic uint32_t alloc_stack, free_stack, alloc_thread, free_thread;
    _Atomic unsigned char state, flags, side, shift; /* shift: alignment 2^shift */
    unsigned char class;
};

struct vmarena_slot_list {
    struct vmarena_slot *first, *last;
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

/* Where slots of one class come from when a shard has none. */
struct vmarena_central {
    struct vmarena_slot_list free;
    size_t chunk, cut, end; /* the span being cut: its first chunk, the next slot, their number */
};

/* Few, as a fork takes all of a heap's, and ThreadSanitizer follows 64 a thread. */
#define VMARENA_SHARDS 16
#define VMARENA_CENTRAL_LOCKS 8 /* class n has lock n % 8 */
#define VMARENA_QUEUES 16       /* of a quarantine with random reuse; one is used with FIFO */

/* A thread works with one shard; several may share it. Padded, so that two shards share no cache line. */
struct vmarena_shard {
    pthread_mutex_t lock;
    struct vmarena_slot_list free[VMARENA_CLASSES];
    struct vmarena_slot_list queue[VMARENA_QUEUES];
    size_t queued;
    _Atomic uint64_t allocs, frees, bytes_in, bytes_out; /* bytes as asked for: of allocs, of frees */
    char pad[64];
};

/* ---- stacks ------------------------------------------------------------------------------------------------------------ */

struct vmarena_stacks {
    struct vmarena_table buckets, entries;
    _Atomic size_t used, count;
    pthread_mutex_t lock; /* to commit more */
};

int vmarena_stacks_open(struct vmarena_stacks *stacks, size_t bytes);
void vmarena_stacks_close(struct vmarena_stacks *stacks);
/* The id of these frames; 0 where there are none or memory is out. */
uint32_t vmarena_stacks_keep(struct vmarena_stacks *stacks, void *const *frames, size_t count);
size_t vmarena_stacks_frames(const struct vmarena_stacks *stacks, uint32_t id, void **frames, size_t count);

/* ---- the heap ------------------------------------------------------------------------------------------------------------ */

struct vmarena_heap {
    _Atomic bool alive;
    struct vmarena_heap *next;           /* all heaps ever made, under the heaps' lock */
    struct vmarena_heap_options options; /* as obtained; name and fallback are not kept here */
    struct vmarena_heap_fallback fallback;
    bool has_fallback, filters; /* filters: some requests are not to be guarded */
    bool markers, annotated;

    struct vmarena_region region;
    size_t page, guard_pages, chunk; /* bytes, pages, bytes */
    size_t slots_most;               /* records kept for each chunk */
    unsigned class_count;
    struct vmarena_class classes[VMARENA_CLASSES];
    unsigned char class_of[VMARENA_CHUNK_PAGES + 1]; /* by the pages a slot needs */
    struct vmarena_table chunks;                     /* _Atomic uint32_t each: see slots.c */
    struct vmarena_table records;
    pthread_mutex_t grow;
    _Atomic size_t cut;   /* chunks made slots of */
    _Atomic size_t pause; /* requests not to try the system for, after it refused */
    size_t guard_limit, map_entry_limit;

    struct vmarena_central central[VMARENA_CLASSES];
    pthread_mutex_t central_locks[VMARENA_CENTRAL_LOCKS];
    struct vmarena_shard shards[VMARENA_SHARDS];
    struct vmarena_stacks stacks;

    _Atomic uint64_t number; /* of allocations so far */
    _Atomic uint64_t calls;  /* allocs and frees, for check_interval */
    _Atomic size_t live, live_peak, page_bytes, page_peak;
    _Atomic size_t quarantined, quarantined_bytes;
    _Atomic uint64_t unguarded, unsampled, failed, errors, check_count, shortened;
    _Atomic bool unlocked, forked, warned, edge_exposed;
    pthread_mutex_t check;               /* one thread at a time holds slots */
    _Atomic(struct vmarena_slot *) held; /* the one, and what it was before, for the child of a fork */
    _Atomic unsigned char held_state;
};

/* Whether the handle is good; otherwise -EBADF, explained. */
int vmarena_heap_verify(const struct vmarena_heap *heap);

/* Where a public function was called from: its first frame for a stack. */
struct vmarena_origin {
    void *caller;
    const void *frame;
};
#define VMARENA_ORIGIN_HERE                                                                                            \
    (struct vmarena_origin) { __builtin_return_address(0), __builtin_frame_address(0) }

uint32_t vmarena_heap_capture(struct vmarena_heap *heap, const struct vmarena_origin *origin);

/* ---- slots.c ---- */

/* A request made concrete. */
struct vmarena_request {
    size_t size, align, pages, offset; /* pages: bytes, of the object; offset: in them */
    enum vmarena_heap_side side;
};

void vmarena_slots_plan(struct vmarena_heap *heap); /* size classes; needs page, guard_pages */
int vmarena_slots_open(struct vmarena_heap *heap, size_t reserve);
void vmarena_slots_close(struct vmarena_heap *heap);

/* The calling thread's shard. */
struct vmarena_shard *vmarena_shard_of(struct vmarena_heap *heap);

/* A slot for the request, closed; NULL: *error is a negative errno, not explained. Large: the request needs a mapping. */
struct vmarena_slot *vmarena_slot_take(struct vmarena_heap *heap, const struct vmarena_request *request, int *error);
bool vmarena_request_is_large(const struct vmarena_heap *heap, const struct vmarena_request *request);
void vmarena_slot_give(struct vmarena_heap *heap, struct vmarena_slot *slot);
/* The same with the shard's lock held. */
void vmarena_slot_give_locked(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot *slot);

uintptr_t vmarena_slot_base(const struct vmarena_heap *heap, const struct vmarena_slot *slot);
static inline bool vmarena_slot_is_large(const struct vmarena_slot *slot) { return slot->class == VMARENA_CLASS_LARGE; }

/* The pages of a slot's object. */
static inline uintptr_t vmarena_slot_pages(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return vmarena_align_down(vmarena_load_relaxed(slot->start), heap->page);
}
static inline size_t vmarena_slot_page_bytes(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    return vmarena_round_up(vmarena_load_relaxed(slot->size), heap->page);
}

/* Opens and closes pages. Negative errnos, not explained. Closing gives the memory back. */
int vmarena_pages_open(struct vmarena_heap *heap, uintptr_t start, size_t size);
int vmarena_pages_close(struct vmarena_heap *heap, uintptr_t start, size_t size);
/* All of an exposed slot; and all but the pages of its object. */
int vmarena_slot_rearm(struct vmarena_heap *heap, struct vmarena_slot *slot);
int vmarena_slot_rearm_around(struct vmarena_heap *heap, struct vmarena_slot *slot);

/* Calls visit for every slot that was cut, until it returns false, which is returned. */
typedef bool vmarena_slot_visit_fn(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg);
bool vmarena_slots_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg);

/* The slot whose pages or guard hold an address of the main reservation, or NULL: nothing was cut there. Signal-safe. */
struct vmarena_slot *vmarena_slot_at(const struct vmarena_heap *heap, uintptr_t address);
/* The slot before or after it in the order of addresses, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_slot_beside(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                                         int direction);

/* ---- large.c ---- */

struct vmarena_slot *vmarena_large_take(struct vmarena_heap *heap, const struct vmarena_request *request, int *error);
void vmarena_large_give(struct vmarena_slot *slot);
int vmarena_large_close(struct vmarena_slot *slot);
int vmarena_large_expose(struct vmarena_slot *slot, uintptr_t page, size_t size);
/* The guards of a live one. */
int vmarena_large_rearm(struct vmarena_slot *slot);
/* The large object whose mapping holds address, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_large_at(const struct vmarena_heap *heap, uintptr_t address);
bool vmarena_large_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg);

/* ---- quarantine.c ---- */

/* A number that nobody can foresee without trying; not for secrets. */
uint32_t vmarena_heap_chance(void);

/* Takes a freed slot in, and gives up what is over the caps. */
void vmarena_quarantine(struct vmarena_heap *heap, struct vmarena_slot *slot);

/* Gives up some slots before their time, because there is no room for new ones; false: there are none. */
bool vmarena_quarantine_shorten(struct vmarena_heap *heap);

/* ---- checks.c ---- */

void vmarena_slack_fill(const struct vmarena_heap *heap, const struct vmarena_slot *slot);

/* The slack of an object that the caller holds or claimed: 0, or -EILSEQ, explained and reported. */
int vmarena_slack_check(struct vmarena_heap *heap, struct vmarena_slot *slot, enum vmarena_heap_call call,
                        uint32_t stack);

/* Claims a live object's slot, waiting where it is held; false: it is none. */
bool vmarena_slot_claim(struct vmarena_slot *slot);

/* Holds a slot in this state, and lets it go; false: it is in another. With the heap's check lock. */
bool vmarena_slot_hold(struct vmarena_heap *heap, struct vmarena_slot *slot, unsigned char state);
void vmarena_slot_let_go(struct vmarena_heap *heap);

/* Counts and reports; fills stack and thread, distance from pointer where there is an object. */
void vmarena_heap_tell(struct vmarena_heap *heap, struct vmarena_heap_report *report);

/* The check that is due each check_interval calls. */
void vmarena_check_due(struct vmarena_heap *heap);

/* Whether the calling thread is inside a check of everything. */
bool vmarena_checking(const struct vmarena_heap *heap);

/* ---- owner.c ---- */

/* The slot that address belongs to, by object, slack or guard, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_owner_of(const struct vmarena_heap *heap, uintptr_t address);

/* The slot of the object, live or freed, that starts at pointer, or NULL. Signal-safe. */
struct vmarena_slot *vmarena_slot_starting(const struct vmarena_heap *heap, const void *pointer);

/* Fills *object from a slot; false where the slot has none. Signal-safe. */
bool vmarena_slot_object(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                         struct vmarena_heap_object *object);

void vmarena_heap_attribute(const struct vmarena_region *region, struct vmarena_fault *fault);

/* Where the object of a fault was allocated and freed. Signal-safe. */
void vmarena_heap_history(const void *owner, const struct vmarena_fault *fault, struct vmarena_text *text);

#endif
