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
 *                         │        faults, holds no memory; its record says who allocated and freed it
 *                         └─ its slack is checked, its pages go back to the system
 *
 * An access to a guard or to a freed object faults at once, and fault.h names the object and the distance. A write into
 * the slack at the other side cannot fault; it is found when the object is freed, reallocated or checked.
 *
 * This holds for all functions here:
 * - Any thread may call any of them on the same heap at the same time, except vmarena_heap_destroy(). A thread may free
 *   an object that another one allocated. Threads work with separate parts of the heap and rarely wait for each other.
 * - None is a cancellation point. Those that are safe in a signal handler say so. In a handler that interrupted another of
 *   these functions in the same thread, an allocation may be refused (-EDEADLK, or the fallback serves it) and a check
 *   or rearm fails with -EBUSY or does nothing; frees and fork(2) work, and none waits for its own thread.
 * - None calls malloc, so that a heap can serve as malloc. None changes errno.
 * - A heap works on in the child of fork(2), whatever other threads did at that moment.
 * - Sizes and lengths are in bytes. An alignment is a power of two.
 * - Functions that return int return 0 or a negative errno; vmarena_explain() gives the reason in a sentence. Every
 *   function fails with -EBADF if the handle is NULL or the heap was destroyed.
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

/* Which side of an object lies against its guard (as closely as its alignment allows). */
enum vmarena_heap_side {
    VMARENA_HEAP_END,       /* its end: overruns fault, underwrites are found at free */
    VMARENA_HEAP_START,     /* its start: underruns fault, overwrites are found at free */
    VMARENA_HEAP_ALTERNATE, /* END and START in turn; threads may take turns of their own */
};

/* In which order the addresses of quarantined objects are used again. */
enum vmarena_heap_reuse {
    VMARENA_HEAP_FIFO,   /* the longest freed first, among those freed by threads of the same part of the heap */
    VMARENA_HEAP_RANDOM, /* any: a use after free hits a reused object less predictably, but possibly sooner */
};

/* What happens to a request that cannot be guarded because of the memory cap or because the system refuses. */
enum vmarena_heap_full {
    VMARENA_HEAP_FAIL,      /* it fails: NULL, explained */
    VMARENA_HEAP_UNGUARDED, /* options.fallback, which is then required, serves it; stats.unguarded counts it */
};

/* ---- objects and stacks --------------------------------------------------------------------------------------------- */

enum vmarena_heap_state {
    VMARENA_HEAP_NONE, /* no object: memory of the heap in which nothing is or was allocated */
    VMARENA_HEAP_LIVE,
    VMARENA_HEAP_FREED, /* until its address is used again */
};

/* What the heap knows about one object. A number that is 0 is unknown, or the event has not happened yet. */
struct vmarena_heap_object {
    void *start;
    size_t size;  /* as requested */
    size_t align; /* as requested, or the heap's default */
    enum vmarena_heap_state state;
    enum vmarena_heap_side side;        /* END or START */
    size_t slack_before;                /* bytes of pattern before it, in its pages */
    size_t slack_after;                 /* and after it; with side END: bytes between it and its guard */
    uint32_t alloc_stack, free_stack;   /* for vmarena_heap_stack(); 0: none */
    uint32_t alloc_thread, free_thread; /* the system's thread ids (gettid(2)) */
    uint64_t alloc_number;              /* the allocation's sequence number in the heap, from 1 */
    uint64_t free_number;               /* how many allocations there had been when it was freed */
    uint64_t spare[4];                  /* 0: room for later versions */
};

/*
 * Writes the return addresses of the calling thread into frames[0..depth), innermost first, and returns how many. They
 * may include frames of the library and of the hook itself: the heap drops those inside the call of its public function.
 * The hook is called for each alloc and free, without locks, and should be fast. It must not allocate from this heap,
 * unless such an allocation does not call the hook again.
 */
typedef size_t vmarena_heap_capture_fn(void **frames, size_t depth, void *arg);

/* ---- errors found without a fault ------------------------------------------------------------------------------------- */

enum vmarena_heap_error {
    VMARENA_HEAP_DOUBLE_FREE,    /* object: the freed one, with the first free's stack and thread */
    VMARENA_HEAP_INTERIOR_FREE,  /* pointer lies in an object or next to it, and is not its start */
    VMARENA_HEAP_INVALID_FREE,   /* pointer belongs to no object of this heap (stack, static, another allocator) */
    VMARENA_HEAP_SLACK_BEFORE,   /* the pattern before the object was overwritten */
    VMARENA_HEAP_SLACK_AFTER,    /* the pattern after the object was overwritten */
    VMARENA_HEAP_SIZE_MISMATCH,  /* vmarena_heap_free_sized(): not the size it was allocated with */
    VMARENA_HEAP_ALIGN_MISMATCH, /* the same for the alignment */
    VMARENA_HEAP_NEAR_LIMIT,     /* a warning: guards by mprotect have used most of the process's map entries */
};

/* Where the error was found. */
enum vmarena_heap_call { VMARENA_HEAP_IN_ALLOC, VMARENA_HEAP_IN_FREE, VMARENA_HEAP_IN_REALLOC, VMARENA_HEAP_IN_CHECK };

struct vmarena_heap_report {
    enum vmarena_heap_error kind;
    enum vmarena_heap_call call;
    void *pointer;                     /* what the caller passed; NULL in a check */
    struct vmarena_heap_object object; /* state NONE: there is none */
    ptrdiff_t distance;            /* of pointer, or of the first bad byte, from the object's nearest edge (fault.h) */
    unsigned char *bad;            /* SLACK_*: the first byte overwritten; readable during the call. NULL otherwise */
    size_t bad_length;             /* from the first to the last byte overwritten on that side */
    unsigned char found, expected; /* what *bad holds, and the pattern there */
    size_t given;                  /* *_MISMATCH: what the caller stated */
    uint32_t stack;                /* of the call that found the error, for vmarena_heap_stack(); 0: none */
    uint32_t thread;
};

/*
 * Called in the thread that found the error, before the call goes on. It may use the heap, but not free the reported
 * object (-EDEADLK in a check), and it may fork or end the process. The record and what it points to are valid until it
 * returns.
 */
typedef void vmarena_heap_report_fn(const struct vmarena_heap_report *report, void *arg);

/* ---- options --------------------------------------------------------------------------------------------------------- */

/*
 * The allocator for what this heap does not guard (sampling, size limits, VMARENA_HEAP_UNGUARDED). Its functions receive
 * arg. All but `owns` are required. The heap passes pointers outside its memory on to it. `owns` says whether a pointer is
 * one of the fallback's; any other is then reported as VMARENA_HEAP_INVALID_FREE. Without `owns` all are passed on.
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

/* The default cap of the quarantine, which holds addresses and records, about 100 bytes per object, but no memory. */
#define VMARENA_HEAP_QUARANTINE_COUNT ((size_t)65536)
#define VMARENA_HEAP_STACK_DEPTH 16
#define VMARENA_HEAP_STACK_DEPTH_MAX 64

/* All zero is a good default: side END, alignment 16, markers, a quarantine, stacks by frame pointers. */
struct vmarena_heap_options {
    const char *name;                   /* shown in fault descriptions; copied, at most 31 bytes. NULL: "heap" */
    size_t reserve;                     /* address space for objects up to 64 MiB; 0: 1 TiB, or what there is. Larger
                                           objects have mappings of their own */
    size_t align;                       /* alignment of a request that states none; 0: 16. 1: byte-exact */
    size_t guard;                       /* width of each guard, rounded up to pages; 0: one page */
    enum vmarena_guard_kind guard_kind; /* as in types.h; a kind that is asked for fails where it is refused */
    enum vmarena_heap_side side;
    enum vmarena_heap_reuse reuse;
    size_t quarantine_bytes;     /* at most so many bytes of freed objects' pages; 0: a quarter of reserve */
    size_t quarantine_count;     /* at most so many freed objects; 0: VMARENA_HEAP_QUARANTINE_COUNT. A request that
                                           finds no other room is served from the quarantine */
    size_t check_interval;       /* check the slack of all live objects every so many allocs and frees; 0: never */
    size_t sample;               /* guard 1 request in so many, on average, at most SIZE_MAX / 2; 0 or 1: all.
                                           Requires a fallback */
    size_t guard_min, guard_max; /* sizes to guard, both inclusive; 0, 0: all. Requires a fallback */
    size_t memory_cap;           /* at most so many bytes of live guarded objects' pages; 0: no cap */
    enum vmarena_heap_full full;
    unsigned flags;
    unsigned stack_depth;             /* frames stored of a stack; 0: VMARENA_HEAP_STACK_DEPTH, at most _MAX */
    vmarena_heap_capture_fn *capture; /* NULL: vmarena_heap_capture_frames() */
    void *capture_arg;
    vmarena_heap_report_fn *report; /* NULL: errors are only returned and counted */
    void *report_arg;
    const struct vmarena_heap_fallback *fallback; /* copied; NULL: none */
};

struct vmarena_heap_stats {
    size_t live, live_peak;       /* guarded objects */
    size_t live_bytes;            /* of them, as requested */
    size_t page_bytes, page_peak; /* the pages that hold them */
    size_t quarantined;           /* freed objects kept from reuse */
    size_t quarantined_bytes;     /* the pages they had; address space only */
    uint64_t shortened;           /* freed objects given up before a cap demanded it, to make room */
    uint64_t allocs, frees;       /* of guarded objects so far; a realloc that moves counts as one of each */
    uint64_t unguarded;           /* requests that the fallback served because of the cap or a refusal */
    uint64_t unsampled;           /* requests that the fallback served because of sample, guard_min and guard_max */
    uint64_t failed;              /* requests answered with NULL */
    uint64_t errors;              /* errors found so far, NEAR_LIMIT excepted */
    uint64_t checks;              /* checks of the whole heap */
    size_t reserved;              /* bytes of address space in the main reservation */
    size_t committed;             /* of them used so far: objects, guards, free slots */
    size_t record_bytes;          /* memory of the heap's own records, without stacks */
    size_t stacks, stack_bytes;   /* different stacks stored, and their memory */
    size_t guard;                 /* bytes of each guard */
    enum vmarena_guard_kind guard_kind; /* obtained */
    size_t guard_limit;     /* how many live objects guards by mprotect allow, which leave an eighth of the map
                                        entries to the program; 0: no limit, with any other back end */
    size_t map_entry_limit; /* vm.max_map_count as read for this; 0: not needed or not known */
    bool unlocked;          /* the program locked its memory (mlockall(2)), and the heap unlocked its own, because
                                        a locked page takes no marker */
    bool forked;            /* this is the child of a fork */
    uint64_t unfenced;      /* frees whose pages the system refused to close: see vmarena_heap_free() */
    uint64_t spare[3];      /* 0: room for later versions */
};

/* ---- life ------------------------------------------------------------------------------------------------------------ */

/*
 * Creates a heap. options may be NULL: all defaults. *out is written only on success; vmarena_heap_destroy() frees it.
 * -EINVAL: an option is out of its range, or requires a fallback that is missing. -ENOMEM: no address space or memory, or
 * the fork handlers could not be registered (pthread_atfork(3)); the next call tries again. -EOPNOTSUPP: the system
 * refuses options.guard_kind. The first call registers the fork handlers: make it early in a process whose malloc the heap
 * is to serve.
 */
VMARENA_API int vmarena_heap_create(struct vmarena_heap **out, const struct vmarena_heap_options *options);

/*
 * Unmaps the heap with all its objects, without checking them (call vmarena_heap_check() first). No other call on the
 * heap may be in progress. NULL is allowed; a second call on the same handle is ignored. Objects of the fallback stay.
 */
VMARENA_API void vmarena_heap_destroy(struct vmarena_heap *heap);

/* ---- objects ----------------------------------------------------------------------------------------------------------- */

/*
 * Allocates size bytes (0 is allowed: the pointer is unique and every access to it faults), aligned to align (0: the
 * heap's default). With side END the object ends at its guard if size is a multiple of align; otherwise the slack between
 * them holds the pattern. The contents are unspecified. Returns NULL with a sentence in vmarena_explain() and an error in
 * vmarena_last_error(): -EINVAL, align is no power of two; -EOVERFLOW, too large; -ENOMEM, over the cap or refused by the
 * system; -ENOSPC, the reservation is full, and neither the quarantine nor other threads have a free slot; -EDEADLK, in
 * a signal handler that interrupted a call on a heap.
 */
VMARENA_API void *vmarena_heap_alloc(struct vmarena_heap *heap, size_t size, size_t align);

/* The same for count × size bytes, all zero. -EOVERFLOW also if the product overflows. */
VMARENA_API void *vmarena_heap_calloc(struct vmarena_heap *heap, size_t count, size_t size, size_t align);

/*
 * Changes an object's size. The object stays where a new one of that size would lie at the same address in the same pages
 * (side START: within its pages; side END: within its alignment). Otherwise it moves and the old object is freed: every
 * access to it faults. The alignment stays as it was. A NULL pointer: as vmarena_heap_alloc(heap, size, 0). Size 0 makes
 * an object of size 0. Returns NULL on failure, as vmarena_heap_alloc(), and the object is untouched; a pointer that no
 * live object starts at is reported as by vmarena_heap_free().
 */
VMARENA_API void *vmarena_heap_realloc(struct vmarena_heap *heap, void *pointer, size_t size);

/*
 * Frees an object: every access to it faults from now on. NULL is ignored. Errors are also reported to options.report.
 * -EALREADY: it was freed before. -EINVAL: pointer is not an object's start, or not this heap's. -EILSEQ: the slack around
 * the object was overwritten; it is freed all the same. -EDEADLK, not reported: this thread is checking the object, in
 * whose report or in a signal handler this is; it stays live.
 * If the system refuses to close its pages (map entries, memory), the object is freed all the same: it counts in
 * stats.unfenced, its contents are dropped, and accesses do not fault until vmarena_heap_rearm() closes the pages. They
 * are closed in any case before the address is used again.
 */
VMARENA_API int vmarena_heap_free(struct vmarena_heap *heap, void *pointer);

/*
 * The same, with the object's size (SIZE_MAX: not stated) and alignment (0: not stated; otherwise what was requested, or
 * the heap's default if none was). -ERANGE: one of them does not match; the object is freed all the same.
 */
VMARENA_API int vmarena_heap_free_sized(struct vmarena_heap *heap, void *pointer, size_t size, size_t align);

/* Returns the usable bytes of a live object, which is exactly the requested size; 0 for any other pointer, NULL included. */
VMARENA_API size_t vmarena_heap_usable_size(const struct vmarena_heap *heap, const void *pointer);

/* Returns whether address lies in the heap's memory, its guards included. Signal-safe. */
VMARENA_API bool vmarena_heap_owns(const struct vmarena_heap *heap, const void *address);

/*
 * Fills *object with the object that address belongs to, by its bytes, slack or guard. In a guard between two objects the
 * answer is that of the fault handler. -ENOENT: no object lies or lay there, or the address is not the heap's. Lock-free
 * and signal-safe; does not set vmarena_explain(). Another thread's work at the same moment may make the answer outdated.
 */
VMARENA_API int vmarena_heap_find(const struct vmarena_heap *heap, const void *address,
                                  struct vmarena_heap_object *object);

/*
 * Calls function for each live object and, if freed is true, for each freed one that still has its record, in the order
 * of addresses, objects larger than 64 MiB last; stops when it returns false. Other threads and function itself may
 * allocate and free meanwhile: objects that come and go may be missed. -EINVAL: no function.
 */
typedef bool vmarena_heap_visit_fn(const struct vmarena_heap_object *object, void *arg);
VMARENA_API int vmarena_heap_for_each(struct vmarena_heap *heap, bool freed, vmarena_heap_visit_fn *function,
                                      void *arg);

/* ---- checks -------------------------------------------------------------------------------------------------------------- */

/*
 * Checks the slack around every live object, reports each damage, and restores the pattern, so that each is reported once.
 * -EILSEQ: there was damage; vmarena_explain() describes the first. Does nothing and returns 0 when called from a check's
 * report, or from a signal handler that interrupted a call on a heap.
 */
VMARENA_API int vmarena_heap_check(struct vmarena_heap *heap);

/* The same for one object. -EINVAL: not a live object's start. -EBUSY: called from such a report or handler. */
VMARENA_API int vmarena_heap_check_object(struct vmarena_heap *heap, const void *pointer);

/* ---- numbers and stacks ------------------------------------------------------------------------------------------------------ */

/* Fills *out; all zero for a NULL or destroyed heap. Signal-safe. */
VMARENA_API void vmarena_heap_stats(const struct vmarena_heap *heap, struct vmarena_heap_stats *out);

/*
 * Writes up to count return addresses of a stack into frames, and returns how many the stack has; 0 for stack 0. A stack's
 * id is valid as long as the heap exists. Lock-free and signal-safe.
 */
VMARENA_API size_t vmarena_heap_stack(const struct vmarena_heap *heap, uint32_t stack, void **frames, size_t count);

/*
 * The capture function that options.capture NULL stands for. It follows frame pointers on the calling thread's stack and
 * never leaves that stack: it sees code compiled with -fno-omit-frame-pointer, and at least the caller. Signal-safe after
 * the thread's first call; on an alternate signal stack it sees that stack only.
 */
VMARENA_API size_t vmarena_heap_capture_frames(void **frames, size_t depth, void *arg);

/* ---- faults: going on after an error --------------------------------------------------------------------------------------------- */

/*
 * As vmarena_on_fault(), for all of the heap's memory: function is called in the signal handler for each fault in it.
 * NULL removes it. Installs the handlers (errors as vmarena_fault_install()).
 */
VMARENA_API int vmarena_heap_on_fault(struct vmarena_heap *heap, vmarena_fault_fn *function, void *arg);

/*
 * Makes the page that holds address accessible, zero-filled if it held nothing, so that an access that faulted can be
 * tried again (return true from the function above). It stays open until its object is freed, its address is used
 * again, or vmarena_heap_rearm() closes it. -EINVAL: not this heap's; or at the edges of its reservation or in the part
 * that has held no objects yet, which stay closed. -ENOMEM: the system refused. Signal-safe.
 */
VMARENA_API int vmarena_heap_expose(struct vmarena_heap *heap, const void *address);

/*
 * Closes every page that vmarena_heap_expose() opened or a free could not close, so that the same errors fault again. The
 * contents of the pages are lost. Pages of an object that another thread is allocating, freeing or resizing at this
 * moment are left to that thread or to the next call.
 * -EBUSY: called from a check's report, or from a signal handler that interrupted a call on a heap. -ENOMEM: the system
 * refused to close some, which the next call tries again.
 */
VMARENA_API int vmarena_heap_rearm(struct vmarena_heap *heap);

VMARENA_END_DECLS

#endif
