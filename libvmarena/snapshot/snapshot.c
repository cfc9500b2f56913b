/* SPDX-License-Identifier: MIT */
/* Taking, cloning and freeing. */
#include "prim/prim.h"

#include "snapshot/snapshot.h"

#include <errno.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/pool.h"
#include "base/rounding.h"
#include "region/ranges.h"

static struct vmarena_pool snapshots = VMARENA_POOL(struct vmarena_snapshot);

/* ---- saving ------------------------------------------------------------------------------------------------------ */

struct saving {
    struct vmarena_snapshot *snapshot;
    int error; /* of copying, not of finding the pages */
};

static int save_run(const struct vmarena_pages *pages, void *arg) {
    struct saving *saving = arg;
    struct vmarena_snapshot *snapshot = saving->snapshot;
    const char *start = (const char *)(uintptr_t)pages->start;
    size_t size = (size_t)(pages->end - pages->start);
    snapshot->copied += size;
    saving->error = vmarena_snapshot_copy(snapshot->saved + (start - snapshot->arena->region.base), start, size);
    return saving->error;
}

/* Copies the pages that are there; the others are zero in the copy, too. */
static int save_resident(struct saving *saving) {
    uint64_t base = (uintptr_t)saving->snapshot->arena->region.base;
    struct vmarena_prim_page_walk walk = {
        .start = base, .end = base + saving->snapshot->size, .wanted = VMARENA_PAGE_DIRTY, .exact = true};
    return vmarena_prim_walk_pages(0, &walk, save_run, saving);
}

/* Where the system does not tell which pages are there, all are copied. Those of a memory file may be there and not mapped. */
static int save_pages(struct vmarena_snapshot *snapshot) {
    struct saving saving = {.snapshot = snapshot};
    bool anonymous = snapshot->arena->memfile.file == NULL;
    if (anonymous && save_resident(&saving) == 0) return 0;
    if (saving.error != 0) return saving.error;
    snapshot->copied = snapshot->size;
    return vmarena_snapshot_copy(snapshot->saved, snapshot->arena->region.base, snapshot->size);
}

static int save(struct vmarena_snapshot *snapshot) {
    void *saved;
    size_t page = vmarena_prim_page_size();
    if ((snapshot->arena->region.prot & VMARENA_READ) == 0)
        return vmarena_fail(-EACCES, "the arena is not readable now");
    if (snapshot->size == 0) return 0;
    int error = vmarena_prim_map(&saved, snapshot->size, page, VMARENA_READ | VMARENA_WRITE, true);
    if (error != 0) return vmarena_fail_call(error, "mmap", snapshot->size);
    snapshot->saved = saved;
    return save_pages(snapshot);
}

static int make_bits(struct vmarena_snapshot *snapshot) {
    void *bits;
    size_t page = vmarena_prim_page_size();
    size_t bytes = vmarena_round_up(vmarena_bits_bytes(snapshot->size / page), page);
    int error = vmarena_prim_map(&bits, bytes, page, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", bytes);
    snapshot->written = bits;
    snapshot->written_size = bytes;
    return 0;
}

static void drop_memory(struct vmarena_snapshot *snapshot) {
    if (snapshot->saved != NULL) (void)vmarena_prim_unmap(snapshot->saved, snapshot->size);
    if (snapshot->written != NULL) (void)vmarena_prim_unmap((void *)snapshot->written, snapshot->written_size);
    snapshot->saved = NULL;
    snapshot->written = NULL;
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

static int check_trackable(struct vmarena_arena *arena, enum vmarena_tracking tracking) {
    if (arena->memfile.file != NULL)
        return vmarena_fail(-EOPNOTSUPP, "an arena made with VMARENA_MEMFD is tracked by its file or not at all");
    if (arena->page != vmarena_prim_page_size())
        return vmarena_fail(-EOPNOTSUPP, "writes to hugetlb pages are not tracked");
    if ((arena->region.prot & VMARENA_WRITE) == 0) return vmarena_fail(-EACCES, "the arena is not writable now");
    if (tracking == VMARENA_TRACK_PROTECT && vmarena_ranges_differ(&arena->region))
        return vmarena_fail(-EACCES, "parts of the arena have a protection of their own, which tracking would lift");
    return 0;
}

/* Saves first, and tracks from then on: nobody writes meanwhile. */
static int take_by_tracking(struct vmarena_snapshot *snapshot, struct vmarena_history *history,
                            enum vmarena_tracking tracking) {
    struct vmarena_arena *arena = snapshot->arena;
    int error = check_trackable(arena, tracking);
    if (error == 0) error = save(snapshot);
    if (error == 0) error = make_bits(snapshot);
    if (error == 0) vmarena_history_collect(history, true);
    if (error == 0 && snapshot->size != 0)
        error = vmarena_dirty_begin(&history->tracker, &arena->region, tracking, snapshot->size);
    if (error != 0) drop_memory(snapshot);
    return error;
}

static int take_by_file(struct vmarena_snapshot *snapshot) {
    struct vmarena_arena *arena = snapshot->arena;
    if (arena->memfile.file == NULL)
        return vmarena_fail(-EOPNOTSUPP, "VMARENA_TRACK_FILE is for arenas made with VMARENA_MEMFD");
    int error = vmarena_memfile_freeze(&arena->memfile, vmarena_arena_touched(arena), &snapshot->copied);
    if (error != 0) return error;
    snapshot->file = arena->memfile.file;
    vmarena_memfile_hold(snapshot->file);
    return 0;
}

static int take(struct vmarena_snapshot *snapshot, struct vmarena_history *history, enum vmarena_tracking tracking) {
    snapshot->tracking = tracking;
    snapshot->copied = 0;
    if (tracking == VMARENA_TRACK_FILE) return take_by_file(snapshot);
    if (tracking != VMARENA_TRACK_COMPARE) return take_by_tracking(snapshot, history, tracking);
    int error = save(snapshot);
    if (error != 0) drop_memory(snapshot);
    return error;
}

static int take_somehow(struct vmarena_snapshot *snapshot, struct vmarena_history *history) {
    static const enum vmarena_tracking order[] = {VMARENA_TRACK_SCAN, VMARENA_TRACK_PROTECT, VMARENA_TRACK_COMPARE};
    if (snapshot->arena->memfile.file != NULL) return take(snapshot, history, VMARENA_TRACK_FILE);
    int error = 0;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        error = take(snapshot, history, order[i]);
        if (error == 0 || error == -ENOMEM) break;
    }
    return error;
}

static struct vmarena_snapshot *take_record(struct vmarena_arena *arena) {
    struct vmarena_snapshot *snapshot = vmarena_pool_take(&snapshots);
    if (snapshot == NULL) {
        (void)vmarena_fail(-ENOMEM, "vmarena_snapshot: no memory for its record");
        return NULL;
    }
    snapshot->arena = arena;
    snapshot->form = vmarena_arena_form(arena);
    snapshot->generation = arena->generation;
    snapshot->size = vmarena_round_up(snapshot->form.used, vmarena_prim_page_size());
    return snapshot;
}

static void give_record(struct vmarena_snapshot *snapshot) {
    snapshot->open = false;
    vmarena_pool_give(&snapshots, snapshot);
}

int vmarena_snapshot(struct vmarena_snapshot **out, struct vmarena *handle, enum vmarena_tracking tracking) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (out == NULL || (unsigned)tracking > VMARENA_TRACK_COMPARE)
        return vmarena_fail(-EINVAL, "vmarena_snapshot: no such tracking, or nowhere to put the snapshot");
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_snapshot: not of a fenced arena, whose guards are part of its state");
    struct vmarena_history *history = vmarena_history_of(arena);
    struct vmarena_snapshot *snapshot = history != NULL ? take_record(arena) : NULL;
    if (snapshot == NULL) return -ENOMEM;
    int error = tracking == VMARENA_TRACK_AUTO ? take_somehow(snapshot, history) : take(snapshot, history, tracking);
    if (error != 0) {
        give_record(snapshot);
        return error;
    }
    snapshot->open = true;
    snapshot->next = history->snapshots;
    history->snapshots = snapshot;
    *out = snapshot;
    return 0;
}

/* ---- clones ------------------------------------------------------------------------------------------------------ */

static int clone_by_copy(struct vmarena **out, const struct vmarena_snapshot *snapshot) {
    struct vmarena_options options = snapshot->form.options;
    struct vmarena *clone;
    options.name = snapshot->form.name;
    int error = vmarena_create(&clone, &options);
    if (error != 0) return error;
    size_t used = snapshot->form.used;
    void *bytes = used != 0 ? vmarena_alloc_slow(clone, used, 1) : NULL;
    if (used != 0) error = bytes == NULL ? vmarena_last_error() : vmarena_snapshot_copy(bytes, snapshot->saved, used);
    if (error == 0) error = vmarena_protect(clone, snapshot->form.prot);
    if (error != 0) vmarena_destroy(clone);
    else *out = clone;
    return error;
}

int vmarena_clone(struct vmarena **out, struct vmarena_snapshot *snapshot) {
    int error = vmarena_snapshot_check(snapshot);
    if (error != 0) return error;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_clone: nowhere to put the arena");
    if (snapshot->file == NULL) return clone_by_copy(out, snapshot);
    return vmarena_arena_clone(out, &snapshot->form, snapshot->file);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void vmarena_snapshot_free(struct vmarena_snapshot *snapshot) {
    if (snapshot == NULL || !snapshot->open) return;
    vmarena_history_remove(snapshot);
    drop_memory(snapshot);
    if (snapshot->file != NULL) vmarena_memfile_release(snapshot->file);
    give_record(snapshot);
}

int vmarena_snapshot_info(const struct vmarena_snapshot *snapshot, struct vmarena_snapshot_info *out) {
    int error = vmarena_snapshot_check(snapshot);
    if (error != 0) return error;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_snapshot_info: the pointer to the result is NULL");
    *out = (struct vmarena_snapshot_info){.tracking = snapshot->tracking,
                                          .used = snapshot->form.used,
                                          .copied = snapshot->copied,
                                          .restored = snapshot->restored,
                                          .restores = snapshot->restores};
    return 0;
}
