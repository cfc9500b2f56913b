/* SPDX-License-Identifier: MIT */
/*
 * The records behind vmarena/snapshot.h. An arena's history lists its snapshots and tracks its pages for all of them; it
 * follows the arena as its observer (arena/arena.h) until the arena is destroyed. Functions that fail return a negative
 * errno, explained.
 */
#ifndef VMARENA_INTERNAL_SNAPSHOT_H
#define VMARENA_INTERNAL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena/arena.h"
#include "dirty/dirty.h"
#include "vmarena/snapshot.h"

struct vmarena_snapshot {
    struct vmarena_snapshot *next; /* of the arena's */
    bool open;
    struct vmarena_arena *arena; /* NULL: destroyed */
    enum vmarena_tracking tracking;
    struct vmarena_arena_form form;
    uint64_t generation;          /* of the arena's rewinds */
    struct vmarena_memfile *file; /* FILE */
    char *saved;                  /* the others: the first `size` bytes of the arena; NULL: none were allocated */
    size_t size;                  /* whole pages */
    _Atomic uint64_t *written;    /* SCAN, PROTECT: a bit for each of them, written since */
    size_t written_size;          /* its bytes */
    size_t copied, restored;
    uint64_t restores;
};

struct vmarena_history {
    struct vmarena_arena_observer observer; /* first: the arena knows no more of it */
    struct vmarena_arena *arena;
    struct vmarena_snapshot *snapshots;
    struct vmarena_dirty_tracker tracker;
};

/* ---- history.c --------------------------------------------------------------------------------------------------- */

/* The arena's history, made when it has none. NULL: no memory. */
struct vmarena_history *vmarena_history_of(struct vmarena_arena *arena);

/* Passes on to each snapshot of the arena which pages were written since the last call that began anew. */
void vmarena_history_collect(struct vmarena_history *history, bool anew);

/* Takes a snapshot out of the list; the last one that is tracked ends the tracking. */
void vmarena_history_remove(struct vmarena_snapshot *snapshot);

/* ---- record.c ---------------------------------------------------------------------------------------------------- */

static inline bool vmarena_snapshot_is_tracked(const struct vmarena_snapshot *snapshot) {
    return snapshot->written != NULL;
}

/* -EBADF. */
int vmarena_snapshot_check(const struct vmarena_snapshot *snapshot);

/* The same, and -EINVAL: the snapshot cannot bring this arena back. */
int vmarena_snapshot_check_pair(const struct vmarena_arena *arena, const struct vmarena_snapshot *snapshot);

/* Copies to or from an arena, also where its pages may not be accessible (-EACCES), and the red zones between its objects. */
int vmarena_snapshot_copy(void *to, const void *from, size_t size);

/* The next run of pages written since at or after page *from: [*from, *end). */
bool vmarena_snapshot_next_run(const struct vmarena_snapshot *snapshot, size_t *from, size_t *end);

/* The next page at or after byte `at` that differs from its saved copy, as an offset; size: there is none. */
size_t vmarena_snapshot_next_difference(const struct vmarena_arena *arena, const char *saved, size_t at, size_t size);

#endif
