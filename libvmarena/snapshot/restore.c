/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>

#include "base/bits.h"
#include "base/error.h"
#include "snapshot/snapshot.h"

/* Brings back [start, start + size) of what was saved. */
static int bring_back(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot, size_t start, size_t size) {
    int error = vmarena_snapshot_copy(arena->region.base + start, snapshot->saved + start, size);
    if (error == 0) snapshot->restored += size;
    return error;
}

/* Writes that bring the arena back are writes to every other snapshot of it. */
static int restore_tracked(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    struct vmarena_history *history = vmarena_history_of(arena);
    size_t page = vmarena_prim_page_size(), end, at = 0;
    int error = 0;
    vmarena_history_collect(history, false);
    for (; error == 0 && vmarena_snapshot_next_run(snapshot, &at, &end); at = end) {
        vmarena_dirty_open(&history->tracker, at * page, (end - at) * page);
        error = bring_back(arena, snapshot, at * page, (end - at) * page);
    }
    vmarena_history_collect(history, true);
    if (error == 0) vmarena_bits_clear(snapshot->written, 0, snapshot->size / page);
    return error;
}

static int restore_compared(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    size_t page = vmarena_prim_page_size(), size = snapshot->size, at = 0;
    for (; (at = vmarena_snapshot_next_difference(arena, snapshot->saved, at, size)) < size; at += page) {
        int error = bring_back(arena, snapshot, at, page);
        if (error != 0) return error;
    }
    return 0;
}

static int restore_file(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    if (arena->sealed) return vmarena_fail(-EPERM, "the arena is sealed and cannot be restored");
    size_t touched = vmarena_arena_touched(arena);
    int error = vmarena_memfile_restore(&arena->memfile, snapshot->file, &snapshot->restored);
    if (snapshot->restored > touched) snapshot->restored = touched; /* all of it was mapped anew */
    return error;
}

static int restore(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    const unsigned both = VMARENA_READ | VMARENA_WRITE;
    if (snapshot->tracking == VMARENA_TRACK_FILE) return restore_file(arena, snapshot);
    if ((arena->region.prot & both) != both)
        return vmarena_fail(-EACCES, "vmarena_restore: the arena is not readable and writable now");
    return vmarena_snapshot_is_tracked(snapshot) ? restore_tracked(arena, snapshot) : restore_compared(arena, snapshot);
}

/* Bytes from the base on that may differ from zero once the snapshot is restored: a file brings back what was rewound. */
static size_t dirty_of(const struct vmarena_snapshot *snapshot) {
    size_t dirty = snapshot->form.dirty;
    return snapshot->file != NULL || dirty < snapshot->size ? dirty : snapshot->size;
}

int vmarena_restore(struct vmarena *handle, struct vmarena_snapshot *snapshot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = vmarena_snapshot_check_pair(arena, snapshot);
    if (error != 0) return error;
    snapshot->restored = 0;
    vmarena_arena_expect_dirty(arena, dirty_of(snapshot)); /* also where it fails half-way */
    error = restore(arena, snapshot);
    if (error != 0) return error;
    snapshot->restores++;
    vmarena_arena_return(arena, snapshot->form.used, snapshot->arena == arena ? snapshot->generation : 0);
    return 0;
}
