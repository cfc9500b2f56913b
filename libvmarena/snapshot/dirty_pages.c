/* SPDX-License-Identifier: MIT */
/* Which pages were written since a snapshot. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "base/rounding.h"
#include "snapshot/snapshot.h"

static int add(struct vmarena_prim_page_runs *runs, const char *start, size_t size) {
    uint64_t from = (uintptr_t)start;
    return vmarena_prim_page_runs_add(runs, from, from + size, VMARENA_PAGE_DIRTY);
}

static int add_pages(const struct vmarena_pages *pages, void *arg) {
    return vmarena_prim_page_runs_add(arg, pages->start, pages->end, VMARENA_PAGE_DIRTY);
}

static int list_tracked(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot, size_t size,
                        struct vmarena_prim_page_runs *runs) {
    size_t page = vmarena_prim_page_size(), at = 0, end;
    int result = 0;
    vmarena_history_collect(vmarena_history_of(arena), false);
    for (; result == 0 && vmarena_snapshot_next_run(snapshot, &at, &end) && at * page < size; at = end) {
        size_t to = end * page < size ? end * page : size;
        result = add(runs, arena->region.base + at * page, to - at * page);
    }
    return result;
}

static int list_compared(const struct vmarena_arena *arena, const char *saved, size_t size,
                         struct vmarena_prim_page_runs *runs) {
    size_t page = vmarena_prim_page_size(), at = 0;
    int result = 0;
    for (; result == 0 && (at = vmarena_snapshot_next_difference(arena, saved, at, size)) < size; at += page)
        result = add(runs, arena->region.base + at, page);
    return result;
}

/* Where the arena shows another file by now, after a second snapshot, the two are compared. */
static int list_file(const struct vmarena_arena *arena, const struct vmarena_snapshot *snapshot, size_t size,
                     struct vmarena_prim_page_runs *runs) {
    void *saved;
    int result = vmarena_memfile_written(&arena->memfile, snapshot->file, size, add_pages, runs);
    if (result != -EOPNOTSUPP) return result;
    int error = vmarena_memfile_view(snapshot->file, size, &saved);
    if (error != 0) return error;
    result = list_compared(arena, saved, size, runs);
    (void)vmarena_prim_unmap(saved, size);
    return result;
}

static int list(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot, size_t size,
                struct vmarena_prim_page_runs *runs) {
    if (size == 0) return 0;
    if (snapshot->tracking == VMARENA_TRACK_FILE) return list_file(arena, snapshot, size, runs);
    if (vmarena_snapshot_is_tracked(snapshot)) return list_tracked(arena, snapshot, size, runs);
    return list_compared(arena, snapshot->saved, size, runs);
}

int vmarena_dirty_pages(struct vmarena *handle, struct vmarena_snapshot *snapshot, vmarena_pages_fn *function,
                        void *arg) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = vmarena_snapshot_check_pair(arena, snapshot);
    if (error != 0) return error;
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_dirty_pages: no function (NULL)");
    struct vmarena_prim_page_runs runs = {.function = function, .arg = arg, .wanted = VMARENA_PAGE_DIRTY};
    size_t used = vmarena_round_up(vmarena_arena_form(arena).used, vmarena_prim_page_size());
    size_t common = used < snapshot->size ? used : snapshot->size;
    int result = list(arena, snapshot, common, &runs);
    if (result == 0 && used > common) result = add(&runs, arena->region.base + common, used - common);
    return result == 0 ? vmarena_prim_page_runs_flush(&runs) : result;
}
