/* SPDX-License-Identifier: MIT */
/* The mapping of a memory file under a region, its fork handlers, and how it becomes private. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "memfile/file.h"
#include "memfile/mapping.h"

/* ---- mapping ranges ---------------------------------------------------------------------------------------------- */

/* Huge pages are best effort; without the other advice the memory would be less protected than asked for. */
static bool is_optional(enum vmarena_prim_advice advice) {
    return advice == VMARENA_PRIM_HUGE || advice == VMARENA_PRIM_NO_HUGE;
}

static int readvise(const struct vmarena_memfile_mapping *mapping, const struct vmarena_range *range) {
    size_t size = range->end - range->start;
    for (unsigned i = 0; i < mapping->advice_count; i++) {
        int error = vmarena_prim_advise(mapping->region->base + range->start, size, mapping->advice[i]);
        if (error != 0 && !is_optional(mapping->advice[i])) return vmarena_fail_call(error, "madvise", size);
    }
    return 0;
}

static int map_range(const struct vmarena_memfile_mapping *mapping, const struct vmarena_memfile *file,
                     const struct vmarena_range *range, bool shared) {
    size_t size = range->end - range->start;
    int error =
        vmarena_prim_map_file(mapping->region->base + range->start, size, range->prot, shared, file->fd, range->start);
    if (error == -EPERM) return vmarena_fail(error, "mmap: the memory is sealed");
    return error == 0 ? 0 : vmarena_fail_call(error, "mmap", size);
}

/* ---- live to private --------------------------------------------------------------------------------------------- */

/*
 * Moves the page table of a mapping of one range out of the way, which takes the same time whatever its size. It saves the
 * call that replaces the mapping from tearing the table down. Best effort.
 */
static void move_aside(const struct vmarena_memfile_mapping *mapping, const struct vmarena_ranges *ranges) {
    const struct vmarena_region *region = mapping->region;
    struct vmarena_memfile *file = mapping->file;
    size_t align = vmarena_memfile_align(region->size);
    if (mapping->private_end != 0 || ranges->count != 1) return;
    if (vmarena_prim_retire_pages(region->base, region->committed, align, &file->retired_mapping) == 0)
        file->retired_size = region->committed;
}

static void drop_aside(struct vmarena_memfile *file) {
    if (file->retired_mapping != NULL) (void)vmarena_prim_unmap(file->retired_mapping, file->retired_size);
    file->retired_mapping = NULL;
}

static int make_ranges_private(struct vmarena_memfile_mapping *mapping, const struct vmarena_ranges *ranges) {
    int error = 0;
    for (size_t i = 0; i < ranges->count && error == 0; i++) {
        const struct vmarena_range *range = &ranges->range[i];
        if (range->end <= mapping->private_end) continue;
        struct vmarena_range live = {range->start, range->end, range->prot};
        if (live.start < mapping->private_end) live.start = mapping->private_end;
        error = map_range(mapping, mapping->file, &live, false);
        if (error != 0) break;
        mapping->private_end = live.end;
        error = readvise(mapping, &live);
    }
    return error;
}

int vmarena_memfile_privatize(struct vmarena_memfile_mapping *mapping) {
    struct vmarena_ranges ranges;
    if (mapping->private_end == SIZE_MAX) return 0;
    int error = vmarena_ranges_read(&ranges, mapping->region);
    if (error != 0) return error;
    move_aside(mapping, &ranges);
    error = make_ranges_private(mapping, &ranges);
    if (error == 0) mapping->private_end = SIZE_MAX;
    else drop_aside(mapping->file);
    vmarena_ranges_free(&ranges);
    return error;
}

int vmarena_memfile_show(struct vmarena_memfile_mapping *mapping, struct vmarena_memfile *file) {
    struct vmarena_ranges ranges;
    int error = vmarena_ranges_read(&ranges, mapping->region);
    if (error != 0) return error;
    for (size_t i = 0; i < ranges.count && error == 0; i++) {
        error = map_range(mapping, file, &ranges.range[i], false);
        if (error != 0) break;
        mapping->torn = true;
        error = readvise(mapping, &ranges.range[i]);
    }
    vmarena_ranges_free(&ranges);
    if (error != 0) return error;
    struct vmarena_memfile *before = mapping->file;
    mapping->file = file;
    mapping->private_end = SIZE_MAX;
    mapping->torn = false;
    if (before != NULL) vmarena_memfile_release(before);
    return 0;
}

/* ---- fork(2) ----------------------------------------------------------------------------------------------------- */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmarena_memfile_mapping *list;
static bool watches_forks; /* under the lock */

static bool is_advised(const struct vmarena_memfile_mapping *mapping, enum vmarena_prim_advice advice) {
    for (unsigned i = 0; i < mapping->advice_count; i++)
        if (mapping->advice[i] == advice) return true;
    return false;
}

/* A mapping that is absent in the child need not be private. */
static void before_fork(void) {
    (void)pthread_mutex_lock(&list_lock);
    for (struct vmarena_memfile_mapping *mapping = list; mapping != NULL; mapping = mapping->next) {
        (void)pthread_mutex_lock(&mapping->lock);
        mapping->lost_in_child =
            !is_advised(mapping, VMARENA_PRIM_DONT_FORK) && vmarena_memfile_privatize(mapping) != 0;
    }
    vmarena_memfile_count_fork();
}

static void in_parent(void) {
    for (struct vmarena_memfile_mapping *mapping = list; mapping != NULL; mapping = mapping->next) {
        mapping->lost_in_child = false;
        (void)pthread_mutex_unlock(&mapping->lock);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

/* Nothing of it may be shared with the parent. Where it cannot be replaced, it goes. */
static void lose(const struct vmarena_memfile_mapping *mapping) {
    struct vmarena_region *region = mapping->region;
    if (vmarena_prim_map_reserved(region->base, region->size) != 0)
        (void)vmarena_prim_unmap(region->base, region->size);
    region->committed = 0;
}

static void in_child(void) {
    for (struct vmarena_memfile_mapping *mapping = list; mapping != NULL; mapping = mapping->next) {
        if (mapping->lost_in_child) lose(mapping);
        (void)pthread_mutex_unlock(&mapping->lock);
    }
    (void)pthread_mutex_unlock(&list_lock);
}

/* A registration that fails is tried again by the next call. */
static int watch_forks(void) {
    int error = 0;
    if (!watches_forks) error = vmarena_prim_at_fork(before_fork, in_parent, in_child);
    watches_forks = error == 0;
    return error == 0 ? 0 : vmarena_fail(error, "VMARENA_MEMFD: no memory to register a fork handler");
}

static int enter(struct vmarena_memfile_mapping *mapping) {
    (void)pthread_mutex_lock(&list_lock);
    int error = watch_forks();
    if (error == 0) {
        mapping->next = list;
        list = mapping;
    }
    (void)pthread_mutex_unlock(&list_lock);
    return error;
}

static void leave(struct vmarena_memfile_mapping *mapping) {
    (void)pthread_mutex_lock(&list_lock);
    struct vmarena_memfile_mapping **link = &list;
    while (*link != mapping) link = &(*link)->next;
    *link = mapping->next;
    (void)pthread_mutex_unlock(&list_lock);
}

/* ---- the life of a mapping --------------------------------------------------------------------------------------- */

size_t vmarena_memfile_align(size_t size) {
    size_t huge = vmarena_prim_huge_page_size(), gib = (size_t)1 << 30;
    if (size >= gib) return gib;
    return huge != 0 && size >= huge ? huge : vmarena_prim_page_size();
}

/* Maps what is committed, and enters the mapping, whose hold of the file is the caller's until this has succeeded. */
static int begin(struct vmarena_memfile_mapping *mapping, struct vmarena_region *region, struct vmarena_memfile *file,
                 bool shared) {
    struct vmarena_range committed = {0, region->committed, region->prot};
    *mapping = (struct vmarena_memfile_mapping){.region = region, .private_end = shared ? 0 : SIZE_MAX};
    int error = region->committed != 0 ? map_range(mapping, file, &committed, shared) : 0;
    if (error != 0) return error;
    (void)pthread_mutex_init(&mapping->lock, NULL); /* cannot fail without attributes on any system that has fork(2) */
    mapping->file = file;
    error = enter(mapping);
    if (error != 0) mapping->file = NULL;
    return error;
}

int vmarena_memfile_open(struct vmarena_memfile_mapping *mapping, struct vmarena_region *region, const char *name) {
    struct vmarena_memfile *file;
    int error = vmarena_memfile_make(&file, name != NULL ? name : "vmarena arena", region->size);
    if (error != 0) return error;
    error = begin(mapping, region, file, true);
    if (error != 0) vmarena_memfile_release(file);
    return error;
}

int vmarena_memfile_adopt(struct vmarena_memfile_mapping *mapping, struct vmarena_region *region,
                          struct vmarena_memfile *file) {
    vmarena_memfile_hold(file);
    int error = begin(mapping, region, file, false);
    if (error != 0) vmarena_memfile_release(file);
    return error;
}

void vmarena_memfile_close(struct vmarena_memfile_mapping *mapping) {
    if (mapping->file == NULL) return;
    leave(mapping);
    (void)pthread_mutex_destroy(&mapping->lock);
    vmarena_memfile_release(mapping->file);
    mapping->file = NULL;
}

/* ---- changes by the owner ---------------------------------------------------------------------------------------- */

void vmarena_memfile_begin_change(struct vmarena_memfile_mapping *mapping) {
    if (mapping->file != NULL) (void)pthread_mutex_lock(&mapping->lock);
}

void vmarena_memfile_end_change(struct vmarena_memfile_mapping *mapping) {
    if (mapping->file != NULL) (void)pthread_mutex_unlock(&mapping->lock);
}

int vmarena_memfile_advise(struct vmarena_memfile_mapping *mapping, enum vmarena_prim_advice advice) {
    vmarena_memfile_begin_change(mapping);
    int error = vmarena_prim_advise(mapping->region->base, mapping->region->size, advice);
    if (error == 0) mapping->advice[mapping->advice_count++] = advice;
    vmarena_memfile_end_change(mapping);
    return error;
}

static int commit(struct vmarena_memfile_mapping *mapping, size_t bytes) {
    struct vmarena_region *region = mapping->region;
    struct vmarena_range fresh = {region->committed, bytes, region->prot};
    if (mapping->lost_in_child)
        return vmarena_fail(-ENOMEM, "the arena's memory could not be made private when this process was forked");
    int error = map_range(mapping, mapping->file, &fresh, mapping->private_end <= region->committed);
    if (error == 0) error = readvise(mapping, &fresh);
    if (error == 0) region->committed = bytes;
    return error;
}

int vmarena_memfile_commit(struct vmarena_memfile_mapping *mapping, size_t bytes) {
    vmarena_memfile_begin_change(mapping);
    int error = commit(mapping, bytes);
    vmarena_memfile_end_change(mapping);
    return error;
}

int vmarena_memfile_make_private(struct vmarena_memfile_mapping *mapping) {
    if (mapping->file == NULL) return 0;
    vmarena_memfile_begin_change(mapping);
    int error = vmarena_memfile_privatize(mapping);
    vmarena_memfile_end_change(mapping);
    return error;
}
