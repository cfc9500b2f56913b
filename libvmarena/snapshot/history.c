/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/pool.h"
#include "snapshot/snapshot.h"

static struct vmarena_pool histories = VMARENA_POOL(struct vmarena_history);

static void mark_written(struct vmarena_snapshot *snapshot, size_t start, size_t size) {
    size_t page = vmarena_prim_page_size(), end = start + size < snapshot->size ? start + size : snapshot->size;
    for (size_t i = start / page; i < end / page; i++) vmarena_bits_set(snapshot->written, i);
}

static void mark_all(void *arg, size_t start, size_t size) {
    const struct vmarena_history *history = arg;
    for (struct vmarena_snapshot *each = history->snapshots; each != NULL; each = each->next)
        if (vmarena_snapshot_is_tracked(each)) mark_written(each, start, size);
}

void vmarena_history_collect(struct vmarena_history *history, bool anew) {
    vmarena_dirty_collect(&history->tracker, anew, mark_all, history);
}

/* ---- what the arena tells ---------------------------------------------------------------------------------------- */

static struct vmarena_history *history_of(struct vmarena_arena_observer *observer) {
    return (struct vmarena_history *)(void *)observer;
}

static void on_discarded(struct vmarena_arena_observer *observer, size_t start, size_t size) {
    mark_all(history_of(observer), start, size);
}

static void on_protection_changes(struct vmarena_arena_observer *observer) {
    vmarena_dirty_give_up(&history_of(observer)->tracker);
}

/* To the kernel, pages that our handler would make writable are read-only. */
static void on_kernel_writes(struct vmarena_arena_observer *observer, size_t start, size_t size) {
    vmarena_dirty_open(&history_of(observer)->tracker, start, size);
}

/* The snapshots can be cloned still, and must be freed. */
static void on_destroyed(struct vmarena_arena_observer *observer) {
    struct vmarena_history *history = history_of(observer);
    vmarena_dirty_end(&history->tracker);
    for (struct vmarena_snapshot *each = history->snapshots; each != NULL; each = each->next) each->arena = NULL;
    vmarena_pool_give(&histories, history);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

struct vmarena_history *vmarena_history_of(struct vmarena_arena *arena) {
    if (arena->observer != NULL) return history_of(arena->observer);
    struct vmarena_history *history = vmarena_pool_take(&histories);
    if (history == NULL) {
        (void)vmarena_fail(-ENOMEM, "vmarena_snapshot: no memory for the arena's list of snapshots");
        return NULL;
    }
    history->observer =
        (struct vmarena_arena_observer){on_discarded, on_protection_changes, on_kernel_writes, on_destroyed};
    history->arena = arena;
    arena->observer = &history->observer;
    return history;
}

void vmarena_history_remove(struct vmarena_snapshot *snapshot) {
    if (snapshot->arena == NULL) return;
    struct vmarena_history *history = history_of(snapshot->arena->observer);
    bool tracked = false;
    for (struct vmarena_snapshot **link = &history->snapshots; *link != NULL;) {
        if (*link == snapshot) *link = snapshot->next;
        else {
            tracked = tracked || vmarena_snapshot_is_tracked(*link);
            link = &(*link)->next;
        }
    }
    if (!tracked) vmarena_dirty_end(&history->tracker);
}
