/* SPDX-License-Identifier: MIT */
/*
 * Arenas: one reservation of address space each, with guard pages at both edges.
 *
 *      guard │ used ......... cursor │ committed ... limit │ reserved ............ │ guard
 *     ───────┼───────────────────────┼─────────────────────┼───────────────────────┼───────
 *     faults │ objects, never moved  │ ready to hand out   │ committed when needed │ faults
 *
 * A fenced arena (options.fence) gives each object pages and a guard of its own instead:
 *
 *      FENCE_END     guard │ pattern ─ object │ guard │ pattern ─ object │ guard
 *      FENCE_START   guard │ object ─ pattern │ guard │ object ─ pattern │ guard
 *
 * Common to all functions here:
 * - An arena has one owner at a time: calls on one arena must not overlap. Different arenas are independent. fork(2) may be
 *   called by any thread at any time.
 * - None is safe in a signal handler (except vmarena_protect_range in a repair function: fault.h), and none is a
 *   cancellation point.
 * - Sizes and lengths are in bytes. An alignment is a power of two from 1 up to the reservation's size.
 * - Functions that return int return 0 or a negative errno. After an error nothing has changed, unless said otherwise, and
 *   vmarena_explain() gives the reason in a sentence. All of them return -EBADF if the handle is NULL or the arena was
 *   destroyed. (Only vmarena_alloc must not be called with NULL. A destroyed handle is recognised until a new arena has
 *   taken its place.)
 */
#ifndef VMARENA_ARENA_H
#define VMARENA_ARENA_H

#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/* Huge pages: what is asked for, and which step of the fallback was obtained. */
enum vmarena_huge {
    VMARENA_HUGE_SYSTEM,      /* the system's own policy */
    VMARENA_HUGE_NEVER,       /* MADV_NOHUGEPAGE */
    VMARENA_HUGE_TRANSPARENT, /* MADV_HUGEPAGE, aligned and committed in steps that let huge pages form */
    VMARENA_HUGE_COLLAPSE,    /* as TRANSPARENT, and committed pages are collapsed at once where the system can */
    VMARENA_HUGE_2M,          /* from the hugetlb pool of 2 MiB pages; falls back to TRANSPARENT */
    VMARENA_HUGE_1G,          /* from the hugetlb pool of 1 GiB pages; falls back to 2M, then TRANSPARENT */
};

/* options.flags */
#define VMARENA_LOCK 1u      /* mlock(2) at commit: resident, never swapped; allocation fails beyond RLIMIT_MEMLOCK */
#define VMARENA_DONT_DUMP 2u /* MADV_DONTDUMP: left out of core dumps */
#define VMARENA_DONT_FORK 4u /* MADV_DONTFORK: absent in a child of fork, which may destroy it but not use it */
#define VMARENA_WIPE_ON_FORK 8u /* MADV_WIPEONFORK: zero in the child of a fork, slack too; not with guard markers */
#define VMARENA_PREFAULT 16u    /* commit brings the pages in at once: no page faults later */
#define VMARENA_ALLOW_EXEC 32u  /* vmarena_protect accepts VMARENA_EXEC; it fails with -EACCES otherwise */
#define VMARENA_MEMFD 64u /* on a file in memory, for snapshot.h; excludes fences, LOCK, WIPE_ON_FORK and hugetlb */

/* All zero is a good default. */
struct vmarena_options {
    size_t reserve; /* address space, rounded up to (huge) pages, including a fenced arena's guards. 0: 64 GiB (256 MiB
                         where addresses have 32 bits), halved while the process may not have it, down to 1 MiB */
    size_t commit;  /* commit step, rounded up to (huge) pages; 0: 64 KiB, 2 MiB if fenced, or a huge page */
    size_t guard;   /* width of each guard, rounded up to pages; 0: one page. Wider catches wider strides */
    enum vmarena_huge huge;
    enum vmarena_fence fence;
    enum vmarena_guard_kind guard_kind;
    enum vmarena_commit_policy commit_policy;
    unsigned flags;
    const char
        *name; /* shown in fault descriptions, and in /proc/self/maps if the kernel allows; 31 bytes are copied */
};

/*
 * An arena. The two members are part of the ABI, so that every language can inline the same fast path; only the library
 * writes them. Both are inclusive ("the last byte"), which saves an instruction. If every allocation must be seen (fenced
 * arenas, and any arena in a process under ASan or Valgrind), limit stays at cursor, so that each call takes the slow path:
 * one fast path serves all modes.
 */
struct vmarena {
    uintptr_t cursor; /* the last byte handed out, or the one before the arena's first */
    uintptr_t limit;  /* the last byte that the fast path may hand out */
};

/* A point in an arena's life to rewind to. Opaque; may be copied. */
struct vmarena_mark {
    uint64_t arena;
    uint64_t generation;
    uintptr_t cursor;
    size_t objects;
};

struct vmarena_stats {
    size_t reserved;  /* bytes of address space, the guards at the edges not counted */
    size_t committed; /* bytes ready to be handed out or handed out */
    size_t used;      /* bytes from the start to the cursor: objects, alignment and, in a fenced arena, guards */
    size_t peak;      /* the largest "used" so far */
    size_t objects;   /* live objects of a fenced arena; 0 in a bump arena, which does not count them */
    size_t resident;  /* bytes in memory now, as the kernel says; 0 if it does not */
    size_t huge;      /* of these, bytes on huge pages; 0 if the kernel does not say */
    size_t guard;     /* bytes of each guard */
    size_t page_size; /* bytes of the pages asked for: the system's, or the hugetlb page obtained */
    unsigned prot;    /* the arena's protection now (not that of ranges) */
    unsigned flags;   /* options.flags as obtained */
    enum vmarena_huge huge_asked;
    enum vmarena_huge huge_obtained; /* what the kernel accepted; `huge` says what it gave */
    enum vmarena_guard_kind guard_kind;
    enum vmarena_commit_policy commit_policy;
    bool named; /* the kernel took the name */
    bool sealed;
    bool annotated;    /* ASan or Valgrind learns of every allocation */
    uint64_t spare[4]; /* 0: room for later versions */
};

/*
 * Creates an arena. options may be NULL: all defaults. *out is written only on success; vmarena_destroy() frees it.
 * -EINVAL: an option out of its range, or options that contradict. -ENOMEM: no address space, memory, or map entries
 * left (vmarena_explain() tells which). -EAGAIN: mlockall(2) is on, and RLIMIT_MEMLOCK too low for the reservation.
 * -EOPNOTSUPP: a guard kind or flag that this system refuses (an option with a fallback, such as huge pages, never fails:
 * see vmarena_stats). With VMARENA_MEMFD also -EFBIG: larger than RLIMIT_FSIZE; -EMFILE, -ENFILE: no descriptor.
 */
VMARENA_API int vmarena_create(struct vmarena **out, const struct vmarena_options *options);

/* Unmaps the arena and everything in it. NULL is allowed. A second call is ignored unless a new arena has the handle. */
VMARENA_API void vmarena_destroy(struct vmarena *arena);

/* vmarena_alloc's slow path, and the whole of it for languages that cannot inline it. Same contract. */
VMARENA_API void *vmarena_alloc_slow(struct vmarena *arena, size_t size, size_t align);

/* The fast path alone: NULL if only the slow path can decide. */
static inline void *vmarena_alloc_fast_(struct vmarena *arena, size_t size, size_t align) {
    /* One compare serves every check, for one branch: whatever is wrong drives `tested` to the top of the address
     * space. No power of two: align & (align - 1) is not 0, and its negation is huge (user addresses leave the top bit
     * of a 64-bit pointer free; on narrower ones every bit is set). Align 0: the mask is all ones. Size 0, or one that
     * wraps: size - 1 has its top bit set. The lower bits of what is added here may raise `tested` too, which takes the
     * slow path once in a while before it is needed. Small constants are good by themselves. */
    uintptr_t mask = (uintptr_t)align - 1, uneven = (uintptr_t)align & mask;
    uintptr_t wrong = sizeof(uintptr_t) > 4 ? (uintptr_t)0 - uneven : (uintptr_t)0 - (uintptr_t)(uneven != 0);
    uintptr_t before = arena->cursor | mask | wrong;
    uintptr_t last, tested; /* the object's last byte; what is compared */
    bool carry = __builtin_add_overflow(before, (uintptr_t)size, &last);
    bool good_size = __builtin_constant_p(size) && size - 1 < 65536;
    bool good_align = __builtin_constant_p(align) && align - 1 < 4096 && uneven == 0;
    if (sizeof(uintptr_t) > 4) tested = last | (good_size ? 0 : (uintptr_t)size - 1);
    else tested = last | ((uintptr_t)0 - (uintptr_t)(carry || size == 0));
    tested |= good_align ? 0 : before; /* past the end also where align is larger than the arena */
    if (VMARENA_UNLIKELY(tested > arena->limit)) return NULL;
    arena->cursor = last;
    if (before == UINTPTR_MAX) __builtin_unreachable(); /* what is returned here is not NULL */
    return (void *)(before + 1);
}

/*
 * Returns size bytes aligned to align, owned by the arena until it is rewound past them, reset or destroyed. Returns NULL
 * if size is 0, align is not a power of two or is larger than the reservation, the arena is full, the system refused
 * memory or its locking, or the arena is not writable although it is fenced or must be prefaulted; vmarena_last_error() and
 * vmarena_explain() say which. The contents of memory that was used before are unspecified: see vmarena_alloc_zeroed.
 */
static inline void *vmarena_alloc(struct vmarena *arena, size_t size, size_t align) {
    void *object = vmarena_alloc_fast_(arena, size, align);
    return VMARENA_UNLIKELY(object == NULL) ? vmarena_alloc_slow(arena, size, align) : object;
}

/* The same for count objects of size bytes each, as one; returns NULL also if count × size overflows. */
VMARENA_API void *vmarena_alloc_array(struct vmarena *arena, size_t count, size_t size, size_t align);

/*
 * vmarena_alloc with all bytes zero. Pages fresh from the system are known to be zero and are not written. Returns NULL also
 * if used memory must be cleared and the arena is not writable.
 */
VMARENA_API void *vmarena_alloc_zeroed(struct vmarena *arena, size_t size, size_t align);

/*
 * Resizes an object. The last object grows and shrinks in place, and any other shrinks in place. Otherwise a new object is
 * made with the alignment of the old address up to 16, the contents are copied, and the old one is left to the arena.
 * When the last object shrinks, marks taken inside what it gave up become stale.
 * In a fenced arena an object stays in place only if that keeps it against its guard (VMARENA_FENCE_START, the same pages);
 * the new object has the alignment that the old one was allocated with, and the old one faults from now on. Its slack is
 * checked first.
 * old_size must be the size it was allocated with; a fenced arena knows it, and refuses another. Returns NULL, the object
 * untouched, for vmarena_alloc's reasons, if there is no such object, if its slack was overwritten, or if it must move and
 * cannot be read or written. object NULL: as vmarena_alloc with alignment 16.
 */
VMARENA_API void *vmarena_resize(struct vmarena *arena, void *object, size_t old_size, size_t new_size);

/*
 * Takes one object back. In a bump arena the last object's memory is handed out again, and marks taken after it are
 * stale; any other object's memory waits for a rewind. In a fenced arena the object faults from now on, whichever it is;
 * its slack is checked first. size must be the size it was allocated with. NULL: nothing to do, 0.
 * -EINVAL: no such object (in a bump arena: not within the used part). -EILSEQ: its slack was overwritten,
 * vmarena_explain() tells where; it is taken back all the same. -EACCES: a fenced object that was protected, or an arena
 * that is not readable. -ENOMEM: the system could not fence it off.
 */
VMARENA_API int vmarena_free(struct vmarena *arena, void *object, size_t size);

/* Returns a mark of the arena's present state. No rewind accepts a mark of a NULL or destroyed arena. */
VMARENA_API struct vmarena_mark vmarena_mark(const struct vmarena *arena);

/*
 * Takes back everything allocated since the mark. In a fenced arena the objects taken back fault from now on, and their
 * slack is checked first. -EINVAL: the mark is of another arena. -ESTALE: the arena was rewound past the mark since it was
 * taken (rewinds must be last in, first out; the last 64 rewinds that matter are remembered). -EILSEQ: the slack of an
 * object taken back was overwritten, vmarena_explain() says whose and where; the arena is rewound all the same. -ENOMEM: the
 * system could not make the memory fault.
 */
VMARENA_API int vmarena_rewind(struct vmarena *arena, struct vmarena_mark mark);

/*
 * Takes back everything. keep_bytes of the memory stay resident for reuse, the rest goes back to the system (SIZE_MAX:
 * keep all; 0: keep none; with VMARENA_LOCK all is kept, in a fenced arena nothing). Marks taken before become stale, except
 * those of the empty arena. -EPERM: the arena is sealed, and something would go back. -EACCES: as vmarena_discard. -EILSEQ,
 * -ENOMEM: as vmarena_rewind.
 */
VMARENA_API int vmarena_reset(struct vmarena *arena, size_t keep_bytes);

/*
 * Gives the memory of whole pages in [start, start + length) back to the system: they read as zero from now on. start
 * and length must be multiples of the page size, within the used part, and not locked (-EINVAL). -EPERM: sealed. -EACCES: a
 * snapshot or fork(2) has frozen a VMARENA_MEMFD arena, so that the pages are zeroed by writing, and some are not writable;
 * nothing was changed. Not in a fenced arena (-EOPNOTSUPP).
 */
VMARENA_API int vmarena_discard(struct vmarena *arena, void *start, size_t length);

/*
 * Checks the slack around every live object of a fenced arena: 0, or -EILSEQ as vmarena_rewind. -EACCES: some of it cannot
 * be read, and the rest is intact. 0 in a bump arena.
 */
VMARENA_API int vmarena_check(const struct vmarena *arena);

/*
 * Changes the protection of the whole arena: VMARENA_NONE, or _READ, _WRITE and _EXEC combined. Guards stay guards; ranges
 * lose the protection of their own that vmarena_protect_range gave them. -EINVAL: unknown bits. -EACCES: _EXEC without
 * VMARENA_ALLOW_EXEC. -EPERM: the arena is sealed. -ENOMEM: no map entry or memory left; the protection of ranges may have
 * changed in that case.
 * One mprotect(2) in a bump arena and with guards that cost no map entries; with VMARENA_GUARD_PROTECT one for each fenced
 * object.
 */
VMARENA_API int vmarena_protect(struct vmarena *arena, unsigned prot);

/*
 * The same for a range of whole pages: start and length must be multiples of the page size, length not 0, within the
 * reservation (-EINVAL). In a fenced arena the range must lie in the pages of one object (-EINVAL). With VMARENA_MEMFD it
 * waits while another thread is in fork(2).
 */
VMARENA_API int vmarena_protect_range(struct vmarena *arena, void *start, size_t length, unsigned prot);

/*
 * Opens a protection scope: sets prot and remembers the arena's protection (not that of ranges), which vmarena_protect_pop()
 * restores. Scopes nest, 16 deep (-EOVERFLOW). Pop without push: -EINVAL. Other errors as vmarena_protect.
 */
VMARENA_API int vmarena_protect_push(struct vmarena *arena, unsigned prot);
VMARENA_API int vmarena_protect_pop(struct vmarena *arena);

/* Brings in the pages of the next `bytes` of the arena now. -ENOSPC: more than is left. -ENOMEM: the system refused.
 * -EACCES: the arena is not writable. Not in a fenced arena (-EOPNOTSUPP). */
VMARENA_API int vmarena_prefault(struct vmarena *arena, size_t bytes);

/*
 * Forbids every later change of the mapping and its protection, by anyone in the process, until it ends: mseal(2),
 * Linux 6.10. The arena can still allocate what is committed already, and vmarena_destroy() only forgets the handle: the
 * memory stays mapped. A VMARENA_MEMFD arena is frozen first, as by a snapshot, with the errors of that; otherwise a child of
 * fork(2) would share its memory for ever. -EOPNOTSUPP: a fenced arena, or a kernel without mseal.
 */
VMARENA_API int vmarena_seal(struct vmarena *arena);

/*
 * Fills *out, with zeroes for a NULL or destroyed arena. Finding resident and huge takes a walk through /proc/self, whose
 * time grows with the resident memory.
 */
VMARENA_API void vmarena_stats(const struct vmarena *arena, struct vmarena_stats *out);

/* The same without a system call: resident and huge are 0. */
VMARENA_API void vmarena_info(const struct vmarena *arena, struct vmarena_stats *out);

/* Returns whether address lies in the arena's reservation, guards included. */
VMARENA_API bool vmarena_owns(const struct vmarena *arena, const void *address);

/*
 * A thread's scratch memory: two arenas a thread, created at the first use and destroyed at the thread's end. Each reserves
 * 8 GiB (32 MiB where addresses have 32 bits), halved while that is refused, down to 1 MiB.
 * _begin returns one that is not `conflict` (the arena in which the caller returns its result, or NULL) and a mark of it;
 * _end rewinds it. arena is NULL if none could be created. A scope belongs to the thread that began it.
 */
struct vmarena_scratch {
    struct vmarena *arena;
    struct vmarena_mark mark;
};
VMARENA_API struct vmarena_scratch vmarena_scratch_begin(const struct vmarena *conflict);
VMARENA_API int vmarena_scratch_end(struct vmarena_scratch scratch);

VMARENA_END_DECLS

#endif
