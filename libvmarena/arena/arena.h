/* SPDX-License-Identifier: MIT */
/* What the files behind vmarena/arena.h share: arena.c (life, memory), fenced.c (objects with guards of their own). */
#ifndef VMARENA_INTERNAL_ARENA_H
#define VMARENA_INTERNAL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region/region.h"
#include "dirty/dirty.h"
#include "base/table.h"
#include "vmarena/arena.h"

/* A rewind: what was taken back lay from floor on, in the arena's generation. */
struct vmarena_rewound {
    uint64_t generation;
    uintptr_t floor;
};
#define VMARENA_REWINDS 64
#define VMARENA_SCOPES 16

/* An object of a fenced arena. Its pages are those that it touches, as fence.h draws them. */
struct vmarena_object {
    uintptr_t start;
    size_t size;         /* as asked for */
    unsigned char align; /* as asked for: the power of two */
    bool retired;        /* fenced off while objects after it live on (vmarena_resize) */
    bool unreadable;     /* vmarena_protect_range has taken that away, in part at least */
    bool unwritable;
};

/* The side tables of a fenced arena. */
struct vmarena_objects {
    struct vmarena_table by_page; /* uint32_t a page of the arena: its object's index + 1, guards and gaps included */
    struct vmarena_table all;     /* struct vmarena_object, in the order of addresses */
    size_t count;                 /* in use; entries above tell of objects taken back */
    size_t live;                  /* of these, not retired */
    bool ranges;                  /* vmarena_protect_range was used since the last vmarena_protect */
    bool keeps;                   /* memory that was taken back could not be given to the system: it is not zero */
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
    struct vmarena_rewound rewound[VMARENA_REWINDS];
    unsigned rewound_count;
    unsigned char prots[VMARENA_SCOPES];
    unsigned prot_depth;
    bool named, sealed, annotated;
    struct vmarena_objects objects;
    bool parted;                        /* vmarena_protect_range was used */
    struct vmarena_memfile *memfile;    /* the memory file; NULL: anonymous memory */
    struct vmarena_arena *next_memfile; /* in memfile.c's list */
    struct vmarena_snapshot *snapshots; /* of this arena */
    struct vmarena_dirty_tracker tracker;
};

/* What a clone has of its arena. */
struct vmarena_arena_form {
    struct vmarena_options options; /* as obtained, without the name */
    char name[VMARENA_NAME_SIZE];
    size_t used, dirty; /* bytes from base on: allocated, and ever written */
    unsigned prot;
};

/* The arena behind a handle, or NULL (explained) where there is none. */
struct vmarena_arena *vmarena_arena_of(const struct vmarena *handle);

static inline uintptr_t vmarena_arena_end(const struct vmarena_arena *arena) { return arena->head.cursor + 1; }

static inline bool vmarena_arena_is_fenced(const struct vmarena_arena *arena) {
    return arena->options.fence != VMARENA_FENCE_OFF;
}

/* Makes the arena ready up to end: commits, locks, populates. Errors are explained. */
int vmarena_arena_make_ready(struct vmarena_arena *arena, uintptr_t end);

/* Moves the cursor; the limit follows as the arena's mode wants. */
void vmarena_arena_set_end(struct vmarena_arena *arena, uintptr_t end);

/* Bytes from base on, in whole pages, that may differ from zero. */
size_t vmarena_arena_touched(const struct vmarena_arena *arena);

/* Gives a fresh mapping of the region the advice that the options ask for. Explained. */
int vmarena_arena_readvise(struct vmarena_arena *arena);

/* For snapshot.c: what there is; the same again on a frozen file; and the end of a restore, which brings the cursor to
 * base + used. Marks older than generation stay good as far as the arena was not rewound below them. */
struct vmarena_arena_form vmarena_arena_form(const struct vmarena_arena *arena);
int vmarena_arena_clone(struct vmarena **out, const struct vmarena_arena_form *form, struct vmarena_memfile *memfile);
void vmarena_arena_return(struct vmarena_arena *arena, size_t used, uint64_t generation);

/* ---- fenced.c ---- */

int vmarena_fenced_open(struct vmarena_arena *arena);
void vmarena_fenced_close(struct vmarena_arena *arena);

/* align and size are valid. NULL: explained. */
void *vmarena_fenced_alloc(struct vmarena_arena *arena, size_t size, size_t align);
void *vmarena_fenced_resize(struct vmarena_arena *arena, void *object, size_t old_size, size_t new_size);
int vmarena_fenced_free(struct vmarena_arena *arena, void *object, size_t size);

/* Fences off all from the end-th object and byte on. 0, an error with nothing changed, or -EILSEQ with all done. */
int vmarena_fenced_rewind(struct vmarena_arena *arena, uintptr_t end, size_t objects);

/* The slack of all objects: 0, -EILSEQ or -EACCES, explained. */
int vmarena_fenced_check(const struct vmarena_arena *arena);

/* One call with markers; with guards by mprotect one for each object's pages. */
int vmarena_fenced_protect(struct vmarena_arena *arena, unsigned prot);

/* start and length are whole pages in the arena. */
int vmarena_fenced_protect_range(struct vmarena_arena *arena, uintptr_t start, size_t length, unsigned prot);

/* Signal-safe. */
void vmarena_fenced_attribute(const struct vmarena_region *region, struct vmarena_fault *fault);

#endif
