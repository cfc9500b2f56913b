/* SPDX-License-Identifier: MIT */
#include "snapshot/snapshot.h"

#include <errno.h>

#include "arena/arena.h"
#include "memfile/memfile.h"
#include "base/error.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "dirty/dirty.h"
#include "vmarena/fault.h"
#include "vmarena/page.h"

struct vmarena_snapshot {
    struct vmarena_snapshot *next; /* of the arena's */
    bool open;
    struct vmarena_arena *arena; /* NULL: destroyed */
    enum vmarena_tracking tracking;
    struct vmarena_arena_form form;
    uint64_t generation;             /* of the arena's rewinds */
    struct vmarena_memfile *memfile; /* FILE */
    char *saved;                     /* the others: the first `size` bytes of the arena; NULL: none were allocated */
    size_t size;                     /* whole pages */
    _Atomic uint64_t *dirty;         /* SCAN, PROTECT: a bit for each of them, written since */
    size_t dirty_size;               /* its bytes */
    size_t copied, restored;
    uint64_t restores;
};

static struct vmarena_pool snapshots = VMARENA_POOL(struct vmarena_snapshot);

static bool is_tracked(const struct vmarena_snapshot *snapshot) { return snapshot->dirty != NULL; }

static int check_handle(const struct vmarena_snapshot *snapshot) {
    if (snapshot != NULL && snapshot->open) return 0;
    return vmarena_fail(-EBADF, snapshot == NULL ? "no snapshot (NULL)" : "the snapshot was freed");
}

/* ---- written pages ----------------------------------------------------------------------------------------------- */

static void mark_dirty(struct vmarena_snapshot *snapshot, size_t start, size_t size) {
    size_t page = vmarena_prim_page_size(), end = start + size < snapshot->size ? start + size : snapshot->size;
    for (size_t i = start / page; i < end / page; i++) vmarena_bits_set(snapshot->dirty, i);
}

static void mark_all(void *arg, size_t start, size_t size) {
    const struct vmarena_arena *arena = arg;
    for (struct vmarena_snapshot *each = arena->snapshots; each != NULL; each = each->next)
        if (is_tracked(each)) mark_dirty(each, start, size);
}

/* What was written since the last time is so for each snapshot of the arena. */
static void collect(struct vmarena_arena *arena, bool anew) {
    if (arena->tracker.kind != VMARENA_TRACK_AUTO) vmarena_dirty_collect(arena, anew, mark_all, arena);
}

void vmarena_snapshots_discarded(struct vmarena_arena *arena, const void *start, size_t size) {
    mark_all(arena, (size_t)((const char *)start - arena->region.base), size);
}

static bool next_run(const struct vmarena_snapshot *snapshot, size_t *at, size_t *end) {
    return vmarena_bits_next_run(snapshot->dirty, snapshot->size / vmarena_prim_page_size(), at, end);
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

/* By an operation that no sanitizer looks into, as the arena's red zones are copied too, and that no fault gets out of. */
static int copy(void *to, const void *from, size_t size) {
    if (vmarena_copy(to, from, size, NULL) == size) return 0;
    return vmarena_fail(-EACCES, "a part of the arena is protected against reading or writing");
}

static int save_run(const struct vmarena_pages *pages, void *arg) {
    struct vmarena_snapshot *snapshot = arg;
    const char *start = (const char *)(uintptr_t)pages->start;
    size_t size = (size_t)(pages->end - pages->start);
    snapshot->copied += size;
    return copy(snapshot->saved + (start - snapshot->arena->region.base), start, size);
}

/* Pages that are not there are zero in the copy, too; those of a memory file may be there and not mapped. */
static int save_pages(struct vmarena_snapshot *snapshot) {
    unsigned known;
    uint64_t base = (uintptr_t)snapshot->arena->region.base;
    struct vmarena_prim_pages_query wish = {base, base + snapshot->size, VMARENA_PAGE_DIRTY, &known, false};
    bool tells = snapshot->arena->memfile == NULL;
    int error = tells ? vmarena_prim_pages(0, &wish, save_run, snapshot) : -EOPNOTSUPP;
    if (error == 0 || error == -EACCES) return error;
    snapshot->copied = snapshot->size;
    return copy(snapshot->saved, snapshot->arena->region.base, snapshot->size);
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
    snapshot->dirty_size = vmarena_page_round_up(vmarena_bits_bytes(snapshot->size / page));
    int error = vmarena_prim_map(&bits, snapshot->dirty_size, page, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", snapshot->dirty_size);
    snapshot->dirty = bits;
    return 0;
}

static void drop_memory(struct vmarena_snapshot *snapshot) {
    if (snapshot->saved != NULL) (void)vmarena_prim_unmap(snapshot->saved, snapshot->size);
    if (snapshot->dirty != NULL) (void)vmarena_prim_unmap(snapshot->dirty, snapshot->dirty_size);
    snapshot->saved = NULL;
    snapshot->dirty = NULL;
}

/* Saves first, and tracks from then on: nobody writes meanwhile. */
static int take_by_tracking(struct vmarena_snapshot *snapshot, enum vmarena_tracking tracking) {
    struct vmarena_arena *arena = snapshot->arena;
    if (arena->memfile != NULL)
        return vmarena_fail(-EOPNOTSUPP, "an arena made with VMARENA_MEMFD is tracked by its file or not at all");
    if (arena->page != vmarena_prim_page_size())
        return vmarena_fail(-EOPNOTSUPP, "writes to hugetlb pages are not tracked");
    if ((arena->region.prot & VMARENA_WRITE) == 0) return vmarena_fail(-EACCES, "the arena is not writable now");
    if (tracking == VMARENA_TRACK_PROTECT && arena->parted)
        return vmarena_fail(-EACCES, "parts of the arena have a protection of their own, which tracking would lift");
    int error = save(snapshot);
    if (error == 0) error = make_bits(snapshot);
    if (error == 0) collect(arena, true);
    if (error == 0 && snapshot->size != 0) error = vmarena_dirty_begin(arena, tracking, snapshot->size);
    if (error != 0) drop_memory(snapshot);
    return error;
}

static int take_by_file(struct vmarena_snapshot *snapshot) {
    struct vmarena_arena *arena = snapshot->arena;
    if (arena->memfile == NULL)
        return vmarena_fail(-EOPNOTSUPP, "VMARENA_TRACK_FILE is for arenas made with VMARENA_MEMFD");
    int error = vmarena_memfile_freeze(arena, &snapshot->copied);
    if (error != 0) return error;
    snapshot->memfile = arena->memfile;
    vmarena_memfile_hold(snapshot->memfile);
    return 0;
}

static int take(struct vmarena_snapshot *snapshot, enum vmarena_tracking tracking) {
    snapshot->tracking = tracking;
    snapshot->copied = 0;
    if (tracking == VMARENA_TRACK_FILE) return take_by_file(snapshot);
    if (tracking != VMARENA_TRACK_COMPARE) return take_by_tracking(snapshot, tracking);
    int error = save(snapshot);
    if (error != 0) drop_memory(snapshot);
    return error;
}

static int take_somehow(struct vmarena_snapshot *snapshot) {
    static const enum vmarena_tracking order[] = {VMARENA_TRACK_SCAN, VMARENA_TRACK_PROTECT, VMARENA_TRACK_COMPARE};
    if (snapshot->arena->memfile != NULL) return take(snapshot, VMARENA_TRACK_FILE);
    int error = 0;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        error = take(snapshot, order[i]);
        if (error == 0 || error == -ENOMEM) break;
    }
    return error;
}

static struct vmarena_snapshot *take_record(void) {
    struct vmarena_snapshot *snapshot = vmarena_pool_take(&snapshots);
    if (snapshot == NULL) (void)vmarena_fail(-ENOMEM, "vmarena_snapshot: no memory for its record");
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
    struct vmarena_snapshot *snapshot = take_record();
    if (snapshot == NULL) return -ENOMEM;
    snapshot->arena = arena;
    snapshot->form = vmarena_arena_form(arena);
    snapshot->generation = arena->generation;
    snapshot->size = vmarena_page_round_up(snapshot->form.used);
    int error = tracking == VMARENA_TRACK_AUTO ? take_somehow(snapshot) : take(snapshot, tracking);
    if (error != 0) {
        give_record(snapshot);
        return error;
    }
    snapshot->open = true;
    snapshot->next = arena->snapshots;
    arena->snapshots = snapshot;
    *out = snapshot;
    return 0;
}

/* ---- restoring --------------------------------------------------------------------------------------------------- */

static int check_pair(const struct vmarena_arena *arena, const struct vmarena_snapshot *snapshot) {
    int error = check_handle(snapshot);
    if (error != 0) return error;
    bool cousin = snapshot->memfile != NULL && arena->memfile == snapshot->memfile; /* a clone */
    if (snapshot->arena == arena || cousin) return 0;
    return vmarena_fail(-EINVAL, "the snapshot is of another arena");
}

/* Writes that bring the arena back are writes to every other snapshot of it. */
static int restore_tracked(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    size_t page = vmarena_prim_page_size(), end, at = 0;
    int error = 0;
    collect(arena, false);
    for (; error == 0 && next_run(snapshot, &at, &end); at = end) {
        size_t start = at * page, size = (end - at) * page;
        vmarena_dirty_open(arena, start, size);
        error = copy(arena->region.base + start, snapshot->saved + start, size);
        snapshot->restored += size;
    }
    collect(arena, true);
    if (error == 0) vmarena_bits_clear(snapshot->dirty, snapshot->size / page);
    return error;
}

/* The next page from `at` on that differs from its copy; size: there is none. */
static size_t next_difference(const struct vmarena_arena *arena, const char *saved, size_t at, size_t size) {
    size_t same = at < size ? vmarena_compare(arena->region.base + at, saved + at, size - at, NULL) : 0;
    return at + same >= size ? size : (at + same) & ~(vmarena_prim_page_size() - 1);
}

static int restore_compared(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot) {
    size_t page = vmarena_prim_page_size(), size = snapshot->size;
    for (size_t at = 0; (at = next_difference(arena, snapshot->saved, at, size)) < size; at += page) {
        int error = copy(arena->region.base + at, snapshot->saved + at, page);
        if (error != 0) return error;
        snapshot->restored += page;
    }
    return 0;
}

int vmarena_restore(struct vmarena *handle, struct vmarena_snapshot *snapshot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = check_pair(arena, snapshot);
    if (error != 0) return error;
    bool writes = snapshot->tracking != VMARENA_TRACK_FILE;
    if (writes && (arena->region.prot & (VMARENA_READ | VMARENA_WRITE)) != (VMARENA_READ | VMARENA_WRITE))
        return vmarena_fail(-EACCES, "vmarena_restore: the arena is not readable and writable now");
    snapshot->restored = 0;
    if (!writes) error = vmarena_memfile_restore(arena, snapshot->memfile, &snapshot->restored);
    else if (is_tracked(snapshot)) error = restore_tracked(arena, snapshot);
    else error = restore_compared(arena, snapshot);
    if (error != 0) return error;
    snapshot->restores++;
    vmarena_arena_return(arena, snapshot->form.used, snapshot->arena == arena ? snapshot->generation : 0);
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
    if (used != 0) error = bytes == NULL ? -ENOMEM : copy(bytes, snapshot->saved, used);
    if (error == 0) error = vmarena_protect(clone, snapshot->form.prot);
    if (error != 0) vmarena_destroy(clone);
    else *out = clone;
    return error;
}

int vmarena_clone(struct vmarena **out, struct vmarena_snapshot *snapshot) {
    int error = check_handle(snapshot);
    if (error != 0) return error;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_clone: nowhere to put the arena");
    if (snapshot->memfile == NULL) return clone_by_copy(out, snapshot);
    return vmarena_arena_clone(out, &snapshot->form, snapshot->memfile);
}

/* ---- which pages ------------------------------------------------------------------------------------------------- */

/* Joins what lies side by side. */
struct runs {
    struct vmarena_pages pending;
    vmarena_pages_fn *function;
    void *arg;
};

static int flush(struct runs *runs) {
    struct vmarena_pages pages = runs->pending;
    runs->pending.end = 0;
    return pages.end != 0 ? runs->function(&pages, runs->arg) : 0;
}

static int add(struct runs *runs, const char *start, size_t size) {
    uint64_t from = (uintptr_t)start;
    if (runs->pending.end == from && from != 0) {
        runs->pending.end += size;
        return 0;
    }
    int result = flush(runs);
    runs->pending = (struct vmarena_pages){from, from + size, VMARENA_PAGE_DIRTY};
    return result;
}

static int add_pages(const struct vmarena_pages *pages, void *arg) {
    return add(arg, (const char *)(uintptr_t)pages->start, (size_t)(pages->end - pages->start));
}

static int list_tracked(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot, size_t size,
                        struct runs *runs) {
    size_t page = vmarena_prim_page_size(), at = 0, end;
    int result = 0;
    collect(arena, false);
    for (; result == 0 && next_run(snapshot, &at, &end) && at * page < size; at = end)
        result = add(runs, arena->region.base + at * page, ((end * page < size ? end * page : size) - at * page));
    return result;
}

static int list_compared(const struct vmarena_arena *arena, const char *saved, size_t size, struct runs *runs) {
    size_t page = vmarena_prim_page_size();
    int result = 0;
    for (size_t at = 0; result == 0 && (at = next_difference(arena, saved, at, size)) < size; at += page)
        result = add(runs, arena->region.base + at, page);
    return result;
}

/* The arena shows another file by now, by a second snapshot: the two are compared. */
static int list_file(const struct vmarena_arena *arena, const struct vmarena_snapshot *snapshot, size_t size,
                     struct runs *runs) {
    void *saved;
    unsigned known;
    uint64_t base = (uintptr_t)arena->region.base;
    struct vmarena_prim_pages_query wish = {base, base + size, VMARENA_PAGE_DIRTY, &known, false};
    if (arena->memfile == snapshot->memfile) {
        int result = vmarena_prim_pages(0, &wish, add_pages, runs);
        if (result != -EOPNOTSUPP) return result;
    }
    int error = vmarena_prim_map(&saved, size, vmarena_prim_page_size(), VMARENA_NONE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", size);
    error = vmarena_prim_map_file(saved, size, VMARENA_READ, true, snapshot->memfile->fd, 0);
    if (error == 0) error = list_compared(arena, saved, size, runs);
    (void)vmarena_prim_unmap(saved, size);
    return error;
}

static int list(struct vmarena_arena *arena, struct vmarena_snapshot *snapshot, size_t size, struct runs *runs) {
    if (size == 0) return 0;
    if (snapshot->tracking == VMARENA_TRACK_FILE) return list_file(arena, snapshot, size, runs);
    if (is_tracked(snapshot)) return list_tracked(arena, snapshot, size, runs);
    return list_compared(arena, snapshot->saved, size, runs);
}

int vmarena_dirty_pages(struct vmarena *handle, struct vmarena_snapshot *snapshot, vmarena_pages_fn *function,
                        void *arg) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = check_pair(arena, snapshot);
    if (error != 0) return error;
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_dirty_pages: no function (NULL)");
    struct runs runs = {.function = function, .arg = arg};
    size_t used = vmarena_page_round_up(vmarena_arena_end(arena) - (uintptr_t)arena->region.base);
    size_t common = used < snapshot->size ? used : snapshot->size;
    int result = list(arena, snapshot, common, &runs);
    if (result == 0 && used > common) result = add(&runs, arena->region.base + common, used - common);
    return result == 0 ? flush(&runs) : result;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void leave_arena(struct vmarena_snapshot *snapshot) {
    struct vmarena_arena *arena = snapshot->arena;
    bool tracked = false;
    if (arena == NULL) return;
    for (struct vmarena_snapshot **link = &arena->snapshots; *link != NULL;) {
        if (*link == snapshot) *link = snapshot->next;
        else {
            tracked = tracked || is_tracked(*link);
            link = &(*link)->next;
        }
    }
    if (!tracked) vmarena_dirty_end(arena);
}

void vmarena_snapshot_free(struct vmarena_snapshot *snapshot) {
    if (snapshot == NULL || !snapshot->open) return;
    leave_arena(snapshot);
    drop_memory(snapshot);
    if (snapshot->memfile != NULL) vmarena_memfile_release(snapshot->memfile);
    give_record(snapshot);
}

void vmarena_snapshots_detach(struct vmarena_arena *arena) {
    for (struct vmarena_snapshot *each = arena->snapshots; each != NULL; each = each->next) each->arena = NULL;
    arena->snapshots = NULL;
    vmarena_dirty_end(arena);
}

int vmarena_snapshot_info(const struct vmarena_snapshot *snapshot, struct vmarena_snapshot_info *out) {
    int error = check_handle(snapshot);
    if (error != 0) return error;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_snapshot_info: the pointer to the result is NULL");
    *out = (struct vmarena_snapshot_info){.tracking = snapshot->tracking,
                                          .used = snapshot->form.used,
                                          .copied = snapshot->copied,
                                          .restored = snapshot->restored,
                                          .restores = snapshot->restores};
    return 0;
}
