/* SPDX-License-Identifier: MIT */
/*
 * Heaps: objects of any size, allocated and freed one by one, each on pages of its own against a guard.
 *
 *      side END      │ guard │ pattern ─ object │ guard │ pattern ─ object │ guard │     overruns fault
 *      side START    │ guard │ object ─ pattern │ guard │ object ─ pattern │ guard │     underruns fault
 *
 * What happens to an object:
 *
 *      alloc ──► live ──► free ──► quarantined ──► free for reuse ──► alloc ...
 *                         │        faults, holds no memory, its record tells who allocated and freed it
 *                         └─ slack checked, pages given back to the system
 *
 * A touch of a guard or of a freed object faults at once (fault.h tells which object, and how far off); what cannot
 * fault, a write into the slack at the other side, is found when the object is freed, reallocated or checked.
 *
 * Common to all functions here:
 * - Any thread may call any of them on the same heap at the same time, but for vmarena_heap_destroy(). An object may be
 *   freed by another thread than allocated it. Threads work with parts of the heap of their own and rarely meet.
 * - None is a cancellation point; none but those that say so is safe in a signal handler.
 * - None calls malloc: a heap can serve as malloc. None changes errno.
 * - A heap goes on working in the child of fork(2), whatever other threads did at that moment.
 * - Sizes and lengths are in bytes. An alignment is a power of two.
 * - Functions that return int give 0 or a negative errno; vmarena_explain() gives the reason in a sentence. -EBADF
 *   everywhere: the handle is NULL, or the heap was destroyed.
 */
#ifndef VMARENA_HEAP_H
#define VMARENA_HEAP_H

#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "fault.h"

VMARENA_BEGIN_DECLS

struct vmarena_heap;

/* Which side of an object lies against its guard (as nearly as its alignment allows). */
enum vmarena_heap_side {
    VMARENA_HEAP_END,       /* its end: overruns fault, underwrites are found at free */
    VMARENA_HEAP_START,     /* its start: underruns fault, overwrites are found at free */
    VMARENA_HEAP_ALTERNATE, /* END and START in turn, thread by thread */
};

/* In which order quarantined objects' addresses are used again. */
enum vmarena_heap_reuse {
    VMARENA_HEAP_FIFO,   /* the longest freed first, of those that threads of the same part of the heap freed */
    VMARENA_HEAP_RANDOM, /* any of them: a use after free hits a reused object less predictably, but may hit it sooner */
};

/* What happens to a request that cannot be guarded: over the memory cap, or where the system refuses. */
enum vmarena_heap_full {
    VMARENA_HEAP_FAIL,      /* NULL, explained */
    VMARENA_HEAP_UNGUARDED, /* from options.fallback, counted in stats.unguarded; -EINVAL where there is no fallback */
};

/* ---- objects and stacks --------------------------------------------------------------------------------------------- */

enum vmarena_heap_state {
    VMARENA_HEAP_NONE, /* no object: the heap's memory, but nothing was ever allocated there */
    VMARENA_HEAP_LIVE,
    VMARENA_HEAP_FREED, /* until its address is used again */
};

/* What the heap knows about one object. Numbers that are 0 are not known, or did not happen yet. */
struct vmarena_heap_object {
    void *start;
    size_t size;  /* as asked for */
    size_t align; /* as asked for, or the heap's */
    enum vmarena_heap_state state;
    enum vmarena_heap_side side;        /* END or START */
    size_t slack_before;                /* bytes of pattern before it, in its pages */
    size_t slack_after;                 /* and after it; with side END: what its alignment costs in exactness */
    uint32_t alloc_stack, free_stack;   /* for vmarena_heap_stack(); 0: none */
    uint32_t alloc_thread, free_thread; /* the system's thread ids (gettid(2)) */
    uint64_t alloc_number;              /* the how-manieth allocation of the heap it was */
    uint64_t free_number;               /* how many there were at its free */
    uint64_t spare[4];                  /* 0: room for later versions */
};

/*
 * Writes the return addresses of the calling thread into frames[0..depth), the innermost first, and returns how many.
 * The frames of the library and of the hook itself may be among them: the heap drops what lies inside the call of its
 * public function. Called without locks, for each alloc and free, so that it should be fast; it must not allocate from
 * this heap, unless such calls do not come back to it.
 */
typedef size_t vmarena_heap_capture_fn(void **frames, size_t depth, void *arg);

/* ---- errors found without a fault ------------------------------------------------------------------------------------- */

enum vmarena_heap_error {
    VMARENA_HEAP_DOUBLE_FREE,    /* object: the freed one, with the first free's stack and thread */
    VMARENA_HEAP_INTERIOR_FREE,  /* pointer lies in or right around an object, and is not its start */
    VMARENA_HEAP_INVALID_FREE,   /* pointer is of no object of this heap (stack, static, another allocator) */
    VMARENA_HEAP_SLACK_BEFORE,   /* the pattern before the object was overwritten */
    VMARENA_HEAP_SLACK_AFTER,    /* the pattern after the object was overwritten */
    VMARENA_HEAP_SIZE_MISMATCH,  /* vmarena_heap_free_sized(): not the size it was allocated with */
    VMARENA_HEAP_ALIGN_MISMATCH, /* the same for the alignment */
    VMARENA_HEAP_NEAR_LIMIT,     /* no error: guards by mprotect have used most of the process's map entries */
};

/* Where the error was found. */
enum vmarena_heap_call { VMARENA_HEAP_IN_ALLOC, VMARENA_HEAP_IN_FREE, VMARENA_HEAP_IN_REALLOC, VMARENA_HEAP_IN_CHECK };

struct vmarena_heap_report {
    enum vmarena_heap_error kind;
    enum vmarena_heap_call call;
    void *pointer;                     /* what the caller gave; NULL in a check */
    struct vmarena_heap_object object; /* state NONE: there is none */
    ptrdiff_t distance;            /* of pointer, or of the first bad byte, from the object's nearest edge (fault.h) */
    unsigned char *bad;            /* SLACK_*: the first byte overwritten; readable during the call. NULL otherwise */
    size_t bad_length;             /* from the first to the last byte overwritten on that side */
    unsigned char found, expected; /* what *bad holds, and the pattern there */
    size_t given;                  /* *_MISMATCH: what the caller stated */
    uint32_t stack;                /* of the call that found it, for vmarena_heap_stack(); 0: none */
    uint32_t thread;
};

/*
 * Called in the thread that found the error, before the call goes on. It may use the heap, but not free the object that
 * is reported, and it may fork or end the process. The record and what it points to are good until it returns.
 */
typedef void vmarena_heap_report_fn(const struct vmarena_heap_report *report, void *arg);

/* ---- options --------------------------------------------------------------------------------------------------------- */

/*
 * The allocator for what this heap does not guard (sampling, size limits, VMARENA_HEAP_UNGUARDED). arg is passed through.
 * All but `owns` are needed. Pointers outside the heap's memory are handed to it: where it can tell, `owns` says whether
 * a pointer is one of its own, and one that is not becomes VMARENA_HEAP_INVALID_FREE.
 */
struct vmarena_heap_fallback {
    void *(*alloc)(size_t size, size_t align, void *arg);  /* contents unspecified */
    void *(*calloc)(size_t size, size_t align, void *arg); /* contents zero */
    void *(*realloc)(void *pointer, size_t size, void *arg);
    void (*free)(void *pointer, void *arg);
    size_t (*usable_size)(const void *pointer, void *arg);
    bool (*owns)(const void *pointer, void *arg); /* may be NULL */
    void *arg;
};

/* options.flags */
#define VMARENA_HEAP_NO_QUARANTINE 1u /* addresses may be used again at once */
#define VMARENA_HEAP_NO_STACKS 2u     /* no stacks are captured */

/* The quarantine's default caps. It holds addresses and records, no memory: about 100 bytes an object. */
#define VMARENA_HEAP_QUARANTINE_COUNT ((size_t)65536)
#define VMARENA_HEAP_STACK_DEPTH 16
#define VMARENA_HEAP_STACK_DEPTH_MAX 64

/* All zero is a good default: byte side END, alignment 16, markers, a quarantine, stacks by frame pointers. */
struct vmarena_heap_options {
    const char *name;                   /* shown in fault descriptions; copied, 31 bytes. NULL: "heap" */
    size_t reserve;                     /* address space for objects up to 64 MiB; 0: 1 TiB or as much less as there is.
                                           Larger ones are mapped apart */
    size_t align;                       /* alignment of a request that states none; 0: 16. 1: byte-exact */
    size_t guard;                       /* width of each guard, rounded up to pages; 0: one page */
    enum vmarena_guard_kind guard_kind; /* as in types.h; a kind that is asked for fails where it is refused */
    enum vmarena_heap_side side;
    enum vmarena_heap_reuse reuse;
    size_t quarantine_bytes;     /* most bytes of pages of freed objects kept; 0: a quarter of reserve */
    size_t quarantine_count;     /* most freed objects kept; 0: VMARENA_HEAP_QUARANTINE_COUNT. A request that
                                           finds no other room is served from the quarantine */
    size_t check_interval;       /* check the slack of every live object each so many allocs and frees; 0: never */
    size_t sample;               /* guard 1 request in so many, on average; 0 or 1: all. Needs a fallback */
    size_t guard_min, guard_max; /* sizes to guard, both inclusive; 0, 0: all. Needs a fallback */
    size_t memory_cap;           /* most bytes of pages of live guarded objects; 0: none */
    enum vmarena_heap_full full;
    unsigned flags;
    unsigned stack_depth;             /* frames kept of a stack; 0: VMARENA_HEAP_STACK_DEPTH, at most _MAX */
    vmarena_heap_capture_fn *capture; /* NULL: vmarena_heap_capture_frames() */
    void *capture_arg;
    vmarena_heap_report_fn *report; /* NULL: errors are only returned and counted */
    void *report_arg;
    const struct vmarena_heap_fallback *fallback; /* copied; NULL: none */
};

struct vmarena_heap_stats {
    size_t live, live_peak;       /* guarded objects */
    size_t live_bytes;            /* of them, as asked for */
    size_t page_bytes, page_peak; /* the pages that hold them */
    size_t quarantined;           /* freed objects kept from reuse */
    size_t quarantined_bytes;     /* the pages they had; address space only */
    uint64_t shortened;           /* of these, given up before a cap demanded it, because there was no room else */
    uint64_t allocs, frees;       /* of guarded objects so far; a realloc that moves is one of each */
    uint64_t unguarded;           /* requests passed to the fallback that should have been guarded: cap or refusal */
    uint64_t unsampled;           /* requests passed to the fallback by sample, guard_min and guard_max */
    uint64_t failed;              /* requests answered with NULL */
    uint64_t errors;              /* of enum vmarena_heap_error found so far (NEAR_LIMIT apart) */
    uint64_t checks;              /* of the whole heap */
    size_t reserved;              /* bytes of address space in the main reservation */
    size_t committed;             /* of them made usable so far: objects, guards, free slots */
    size_t record_bytes;          /* memory of the heap's own records, stacks apart */
    size_t stacks, stack_bytes;   /* different stacks kept, and their memory */
    size_t guard;                 /* bytes of each guard */
    enum vmarena_guard_kind guard_kind; /* obtained */
    size_t guard_limit;     /* live objects possible with guards by mprotect, an eighth of the map entries being
                                        left to the program; 0: no limit */
    size_t map_entry_limit; /* vm.max_map_count as read for this; 0: not needed or not known */
    bool unlocked;          /* the program locked its memory (mlockall(2)), and the heap had to unlock its own:
                                        a locked page takes no marker */
    bool forked;            /* this is the child of a fork */
    uint64_t unfenced;      /* frees of objects whose pages the system refused to close: see vmarena_heap_free() */
    uint64_t spare[3];      /* 0: room for later versions */
};

/* ---- life ------------------------------------------------------------------------------------------------------------ */

/*
 * Makes a heap. options may be NULL: all defaults. *out is written only on success; vmarena_heap_destroy() frees it.
 * -EINVAL: an option out of its range, or one that needs a fallback without it. -ENOMEM: no address space or memory.
 * -EOPNOTSUPP: the guard_kind asked for is refused here. Registers a fork handler the first time: early in a
 * process whose malloc this is to be.
 */
VMARENA_API int vmarena_heap_create(struct vmarena_heap **out, const struct vmarena_heap_options *options);

/*
 * Unmaps the heap with all its objects, without checking them (vmarena_heap_check() first). No other call on the heap
 * may be in progress. NULL is allowed; a second call on the same handle is ignored. Objects of the fallback stay.
 */
VMARENA_API void vmarena_heap_destroy(struct vmarena_heap *heap);

/* ---- objects ----------------------------------------------------------------------------------------------------------- */

/*
 * size bytes (0 is allowed: the pointer is unique and every access to it faults), aligned to align (0: the heap's
 * default), contents zero where guarded. With side END the object ends at its guard if size is a multiple of align;
 * otherwise the slack between holds the pattern. NULL: no power of two (-EINVAL), too big (-EOVERFLOW), over the cap or
 * refused by the system (-ENOMEM), no address space left in the reservation (-ENOSPC); vmarena_explain() tells.
 */
VMARENA_API void *vmarena_heap_alloc(struct vmarena_heap *heap, size_t size, size_t align);

/* count × size bytes, all zero; NULL also where the product overflows (-EOVERFLOW). */
VMARENA_API void *vmarena_heap_calloc(struct vmarena_heap *heap, size_t count, size_t size, size_t align);

/*
 * Changes an object's size. Where its place allows it stays: at the same address with its end (side START: within its
 * pages; side END: within its alignment) still as near to the guard as a new object's would be. Otherwise it moves, and
 * the old object is freed: every access to it faults. The alignment stays what it was. NULL pointer: as
 * vmarena_heap_alloc(heap, size, 0). Size 0 gives an object of size 0. NULL: failed, and the object is untouched; for a
 * pointer that is no live object's start an error is reported as by vmarena_heap_free().
 */
VMARENA_API void *vmarena_heap_realloc(struct vmarena_heap *heap, void *pointer, size_t size);

/*
 * Frees an object: from now on it faults. NULL: nothing to do, 0. Errors are reported to options.report, too:
 * -EALREADY: it was freed before. -EINVAL: not an object's start, or not of this heap. -EILSEQ: the slack around it was
 * overwritten; it is freed all the same.
 */
VMARENA_API int vmarena_heap_free(struct vmarena_heap *heap, void *pointer);

/*
 * The same with what the caller believes of the object: its size (SIZE_MAX: not stated) and its alignment (0: not
 * stated; otherwise it must be what was asked for, or be the heap's default where none was). -ERANGE: a mismatch; the
 * object is freed all the same.
 */
VMARENA_API int vmarena_heap_free_sized(struct vmarena_heap *heap, void *pointer, size_t size, size_t align);

/* The bytes that may be used of a live object: exactly the size asked for. 0 for any other pointer, NULL among them. */
VMARENA_API size_t vmarena_heap_usable_size(const struct vmarena_heap *heap, const void *pointer);

/* Whether any byte of address lies in the heap's memory, its guards included. Signal-safe. */
VMARENA_API bool vmarena_heap_owns(const struct vmarena_heap *heap, const void *address);

/*
 * The object that address belongs to, by its bytes, slack or guard: *object is filled. 0; -ENOENT: the address is the
 * heap's, but no object lies or lay there (or it is not the heap's). In a guard between two objects the answer is that
 * of the fault handler. Lock-free and signal-safe (then vmarena_explain() is not set): another thread's work at the same
 * moment may make the answer old.
 */
VMARENA_API int vmarena_heap_find(const struct vmarena_heap *heap, const void *address,
                                  struct vmarena_heap_object *object);

/*
 * Calls function for each live object, and for each freed one whose record is still there where freed is true, in the
 * order of addresses, objects larger than 64 MiB last; stops when it returns false. Others may allocate and free
 * meanwhile, and function may, too: what comes and goes may be missed.
 */
typedef bool vmarena_heap_visit_fn(const struct vmarena_heap_object *object, void *arg);
VMARENA_API int vmarena_heap_for_each(struct vmarena_heap *heap, bool freed, vmarena_heap_visit_fn *function,
                                      void *arg);

/* ---- checks -------------------------------------------------------------------------------------------------------------- */

/*
 * Checks the slack around every live object and reports each that was overwritten; the pattern is written anew there, so
 * that one damage is told once. 0, or -EILSEQ: at least one was; vmarena_explain() tells of the first. Called from a
 * check's report it does nothing.
 */
VMARENA_API int vmarena_heap_check(struct vmarena_heap *heap);

/* The same for one object. -EINVAL: not a live object's start. -EBUSY: called from a check's report. */
VMARENA_API int vmarena_heap_check_object(struct vmarena_heap *heap, const void *pointer);

/* ---- numbers and stacks ------------------------------------------------------------------------------------------------------ */

/* Fills *out; all zero for a NULL or destroyed heap. Signal-safe. */
VMARENA_API void vmarena_heap_stats(const struct vmarena_heap *heap, struct vmarena_heap_stats *out);

/*
 * The return addresses of a stack: writes up to count of them into frames and returns how many it has; 0 for stack 0.
 * A stack's id stays good as long as the heap. Lock-free and signal-safe.
 */
VMARENA_API size_t vmarena_heap_stack(const struct vmarena_heap *heap, uint32_t stack, void **frames, size_t count);

/*
 * The capture function that options.capture stands for where it is NULL: follows frame pointers through the calling
 * thread's stack, never outside of it. It sees what was compiled with -fno-omit-frame-pointer, and at least the caller.
 * Signal-safe after the thread's first call; on an alternate signal stack it gives what lies on that stack only.
 */
VMARENA_API size_t vmarena_heap_capture_frames(void **frames, size_t depth, void *arg);

/* ---- faults: going on after an error --------------------------------------------------------------------------------------------- */

/*
 * As vmarena_on_fault(), for all of the heap's memory: function is called in the signal handler for a fault in it.
 * NULL takes it away. Installs the handlers (errors as vmarena_fault_install).
 */
VMARENA_API int vmarena_heap_on_fault(struct vmarena_heap *heap, vmarena_fault_fn *function, void *arg);

/*
 * Makes the page that holds address accessible, zero-filled where it held nothing, so that an access that faulted can be
 * tried again (return true from the function above). It stays open until its object is freed, its address is used
 * again, or vmarena_heap_rearm() closes it. -EINVAL: not this heap's, or an edge of its reservation, which stays closed.
 * Signal-safe (then vmarena_explain() is not set).
 */
VMARENA_API int vmarena_heap_expose(struct vmarena_heap *heap, const void *address);

/*
 * Closes every page that vmarena_heap_expose() opened: the same errors fault again. Their contents are lost.
 * -EBUSY: called from a check's report. -ENOMEM: not all could be closed.
 */
VMARENA_API int vmarena_heap_rearm(struct vmarena_heap *heap);

VMARENA_END_DECLS

#endif
