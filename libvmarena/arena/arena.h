/* SPDX-License-Identifier: MIT */
/*
 * An arena's record and what the files of this folder, and snapshot/, use of each other. Functions that fail return a
 * negative errno, or NULL, explained.
 */
#ifndef VMARENA_INTERNAL_ARENA_H
#define VMARENA_INTERNAL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "memfile/memfile.h"
#include "region/guard.h"
#include "region/region.h"
#include "vmarena/arena.h"

/* A rewind, the generation-th change of the arena that can make marks stale: everything from floor on was taken back. */
struct vmarena_rewound {
    uint64_t generation;
    uintptr_t floor;
};
#define VMARENA_REWINDS 64
#define VMARENA_SCOPES 16

/* An object of a fenced arena. Its pages are those that it touches. */
struct vmarena_object {
    uintptr_t start;
    size_t size;         /* as asked for */
    unsigned char align; /* as asked for: the power of two */
    bool retired;        /* freed, or moved by vmarena_resize; objects after it live on */
    bool unreadable;     /* vmarena_protect_range has taken that away, at least in part */
    bool unwritable;
};

/* The side tables of a fenced arena. */
struct vmarena_objects {
    struct vmarena_table by_page; /* uint32_t a page of the arena: its object's index + 1, guards and gaps included */
    struct vmarena_table all;     /* struct vmarena_object, in the order of addresses */
    size_t count;                 /* in use; entries above describe objects that were rewound */
    size_t live;                  /* of these, not retired */
    bool has_range_protection;    /* vmarena_protect_range was used since the last vmarena_protect */
};

struct vmarena_arena;

/*
 * Who follows an arena's changes that no page shows: its snapshots. Called by the arena's owner. start and size are bytes
 * from the arena's base, whole pages.
 */
struct vmarena_arena_observer {
    void (*discarded)(struct vmarena_arena_observer *observer, size_t start, size_t size); /* they read as zero now */
    void (*protection_changes)(struct vmarena_arena_observer *observer); /* in a moment, or never again (sealed) */
    void (*kernel_writes)(struct vmarena_arena_observer *observer, size_t start, size_t size); /* in a moment */
    void (*destroyed)(struct vmarena_arena_observer *observer); /* the arena is still mapped, for the last time */
};

struct vmarena_arena {
    struct vmarena head; /* first: the handle is its address */
    uint64_t id;         /* 0: destroyed */
    struct vmarena_region region;
    struct vmarena_options options; /* as obtained, but for huge (asked) and name (not kept here) */
    enum vmarena_huge huge;         /* obtained */
    size_t page;                    /* of the memory: the system's, or a hugetlb page */
    size_t step;                    /* of committing; 0: everything is committed at creation */
    uintptr_t ready;                /* end of what the fast path may use: committed, populated, locked as asked */
    uintptr_t dirty;                /* end of what may differ from zero, together with the cursor */
    uintptr_t populated;            /* end of what was brought in before it was used */
    uintptr_t peak;                 /* largest end of the used part */
    uint64_t generation;            /* of rewinds */
    struct vmarena_rewound rewound[VMARENA_REWINDS]; /* the newest last */
    unsigned rewound_count;
    unsigned char prots[VMARENA_SCOPES];
    unsigned prot_depth;
    bool named, sealed, annotated;
    struct vmarena_objects objects;
    struct vmarena_guards guards;            /* of a fenced arena */
    struct vmarena_memfile_mapping memfile;  /* memfile.file NULL: anonymous memory */
    struct vmarena_arena_observer *observer; /* NULL: none */
};

/* ---- record.c ---------------------------------------------------------------------------------------------------- */

/* The arena behind a handle, or NULL where there is none. */
struct vmarena_arena *vmarena_arena_of(const struct vmarena *handle);

/* A record with an id of its own, or NULL. */
struct vmarena_arena *vmarena_arena_take_record(void);
void vmarena_arena_give_record(struct vmarena_arena *arena);

static inline uintptr_t vmarena_arena_end(const struct vmarena_arena *arena) { return arena->head.cursor + 1; }

static inline uintptr_t vmarena_arena_limit(const struct vmarena_arena *arena) {
    return (uintptr_t)arena->region.base + arena->region.size;
}

static inline bool vmarena_arena_is_fenced(const struct vmarena_arena *arena) {
    return arena->options.fence != VMARENA_FENCE_OFF;
}

/* ---- options.c --------------------------------------------------------------------------------------------------- */

/* -EINVAL: out of range, or contradicting each other. */
int vmarena_options_check(const struct vmarena_options *options);

/* Settles the commit policy where it was left to the library. */
void vmarena_options_choose_commit(struct vmarena_options *options);

/* The alignment that the pages asked for need; huge pages must not meet the guards in one block. */
size_t vmarena_options_align(const struct vmarena_options *options);

/* ---- ready.c ----------------------------------------------------------------------------------------------------- */

/* Makes the arena ready up to end: commits, locks, populates. */
int vmarena_arena_make_ready(struct vmarena_arena *arena, uintptr_t end);

/* Moves the cursor; the limit follows as the arena's mode wants. */
void vmarena_arena_set_end(struct vmarena_arena *arena, uintptr_t end);

/* Bytes from base on, in whole steps, that hold `end`. */
size_t vmarena_arena_step_end(const struct vmarena_arena *arena, uintptr_t end);

/* Sets arena->step by its options. align is that of the reservation. */
void vmarena_arena_choose_step(struct vmarena_arena *arena, size_t align);

/* Before the cursor goes back: what lies below it has been used. */
void vmarena_arena_remember_use(struct vmarena_arena *arena);

/* Memory that was returned and, by PREFAULT or COLLAPSE, must be brought in at once when it is used again. */
void vmarena_arena_make_unready(struct vmarena_arena *arena, uintptr_t floor);

/* For ASan and Valgrind: [start, end) is not to be touched until it is handed out. Not in a fenced arena, where the guards
 * see to that, and their fault is wanted. */
void vmarena_arena_poison(const struct vmarena_arena *arena, uintptr_t start, uintptr_t end);

/* -EACCES: not writable now. Before the library itself writes to the arena, as its own fault would be nobody's. */
int vmarena_arena_check_writable(const struct vmarena_arena *arena);

/* ---- huge.c ------------------------------------------------------------------------------------------------------ */

/* Goes down the ladder of huge pages from the rung asked for; sets arena->huge and, for hugetlb pages, arena->page. */
int vmarena_arena_choose_huge(struct vmarena_arena *arena);

/* Advises all of the arena's memory, now and when a memory file is mapped anew. Not explained. */
int vmarena_arena_advise(struct vmarena_arena *arena, enum vmarena_prim_advice advice);

/* ---- marks.c ----------------------------------------------------------------------------------------------------- */

/* Marks above floor become stale. */
void vmarena_arena_remember_rewind(struct vmarena_arena *arena, uintptr_t floor);

/* ---- protect.c --------------------------------------------------------------------------------------------------- */

/* Whether [start, start + length) is a range of whole pages in the arena. call: the public function, for the sentence. */
int vmarena_arena_check_pages(const struct vmarena_arena *arena, const void *start, size_t length, const char *call);

/* ---- bump.c ------------------------------------------------------------------------------------------------------ */

/* Signal-safe: what an address in a bump arena means. Its one object is the used part. */
void vmarena_bump_attribute(const struct vmarena_region *region, struct vmarena_fault *fault);

/* ---- state.c: for snapshot/ -------------------------------------------------------------------------------------- */

/* What a clone has of its arena. */
struct vmarena_arena_form {
    struct vmarena_options options; /* as obtained, without the name */
    char name[VMARENA_NAME_SIZE];
    size_t used, dirty; /* bytes from base on: allocated, and ever written */
    unsigned prot;
};

struct vmarena_arena_form vmarena_arena_form(const struct vmarena_arena *arena);

/* Bytes from base on, in whole pages, that may differ from zero. */
size_t vmarena_arena_touched(const struct vmarena_arena *arena);

/* The first `bytes` may differ from zero from now on, as somebody else writes to them. */
void vmarena_arena_expect_dirty(struct vmarena_arena *arena, size_t bytes);

/* Brings the cursor to base + used. Marks of a generation up to this one stay good unless the arena was rewound below
 * them since. */
void vmarena_arena_return(struct vmarena_arena *arena, size_t used, uint64_t generation);

/* ---- lifecycle.c ------------------------------------------------------------------------------------------------- */

/* A new arena of that form on a private memory file. */
int vmarena_arena_clone(struct vmarena **out, const struct vmarena_arena_form *form, struct vmarena_memfile *file);

/* ---- fenced.c ---------------------------------------------------------------------------------------------------- */

/* Chooses the kind of guards and makes the side tables. -EOPNOTSUPP: the kind asked for does not work here. */
int vmarena_fenced_open(struct vmarena_arena *arena);
void vmarena_fenced_close(struct vmarena_arena *arena);

/* align and size are valid. */
void *vmarena_fenced_alloc(struct vmarena_arena *arena, size_t size, size_t align);
void *vmarena_fenced_resize(struct vmarena_arena *arena, void *object, size_t old_size, size_t new_size);
int vmarena_fenced_free(struct vmarena_arena *arena, void *object, size_t size);

/* Takes back everything from the end-th byte and the count-th object on. 0, an error with nothing changed, or -EILSEQ (slack
 * was overwritten) with all done. */
int vmarena_fenced_rewind(struct vmarena_arena *arena, uintptr_t end, size_t count);

/* Checks the slack of all objects: 0, -EILSEQ or -EACCES. */
int vmarena_fenced_check(const struct vmarena_arena *arena);

/* One call with markers; with guards by mprotect one for each object's pages. */
int vmarena_fenced_protect(struct vmarena_arena *arena, unsigned prot);

/* start and length are whole pages in the arena. */
int vmarena_fenced_protect_range(struct vmarena_arena *arena, uintptr_t start, size_t length, unsigned prot);

/* Signal-safe. */
void vmarena_fenced_attribute(const struct vmarena_region *region, struct vmarena_fault *fault);

#endif
