/* SPDX-License-Identifier: MIT */
/* What the memory over a file shows: frozen, restored, discarded, and which of its pages were written. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "memfile/file.h"
#include "memfile/mapping.h"
#include "vmarena/fault.h"
#include "vmarena/inspect.h"

/* ---- private pages ----------------------------------------------------------------------------------------------- */

int vmarena_memfile_written(const struct vmarena_memfile_mapping *mapping, const struct vmarena_memfile *file,
                            size_t size, vmarena_pages_fn *function, void *arg) {
    uint64_t start = (uintptr_t)mapping->region->base;
    struct vmarena_prim_page_walk walk = {
        .start = start, .end = start + size, .wanted = VMARENA_PAGE_DIRTY, .exact = true};
    if (mapping->file != file || mapping->torn) return -EOPNOTSUPP;
    if (size == 0) return 0;
    return vmarena_prim_walk_pages(0, &walk, function, arg);
}

/* The private pages, a batch of runs at a time. */
#define BATCH 256
struct batch {
    const struct vmarena_memfile_mapping *mapping;
    int (*treat)(const struct vmarena_memfile_mapping *mapping, const struct vmarena_prim_range *runs, size_t count);
    int error; /* of treat() */
    size_t count, bytes;
    struct vmarena_prim_range runs[BATCH];
};

static int treat(struct batch *batch) {
    if (batch->count != 0) batch->error = batch->treat(batch->mapping, batch->runs, batch->count);
    batch->count = 0;
    return batch->error;
}

static int add_private(const struct vmarena_pages *pages, void *arg) {
    struct batch *batch = arg;
    size_t size = (size_t)(pages->end - pages->start);
    batch->runs[batch->count++] = (struct vmarena_prim_range){(void *)(uintptr_t)pages->start, size};
    batch->bytes += size;
    return batch->count == BATCH ? treat(batch) : 0;
}

/* batch->error tells an error of treat() from one of finding the pages. */
static int each_private(struct batch *batch) {
    const struct vmarena_memfile_mapping *mapping = batch->mapping;
    int error = vmarena_memfile_written(mapping, mapping->file, mapping->region->committed, add_private, batch);
    return error == 0 ? treat(batch) : error;
}

static int drop(const struct vmarena_memfile_mapping *mapping, const struct vmarena_prim_range *runs, size_t count) {
    (void)mapping;
    return vmarena_prim_discard_many(runs, count);
}

/* Writes the runs to the file and drops the pages, which shows the same. */
static int fold(const struct vmarena_memfile_mapping *mapping, const struct vmarena_prim_range *runs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)((char *)runs[i].address - mapping->region->base);
        int error = vmarena_prim_file_write(mapping->file->fd, runs[i].address, runs[i].size, offset);
        if (error != 0) return error;
    }
    return vmarena_prim_discard_many(runs, count);
}

static int count_only(const struct vmarena_memfile_mapping *mapping, const struct vmarena_prim_range *runs,
                      size_t count) {
    return (void)mapping, (void)runs, (void)count, 0;
}

/* ---- freezing ---------------------------------------------------------------------------------------------------- */

static bool is_readable(struct vmarena_region *region) {
    struct vmarena_ranges ranges;
    bool readable = true;
    if (vmarena_ranges_read(&ranges, region) != 0) return false;
    for (size_t i = 0; i < ranges.count; i++) readable = readable && (ranges.range[i].prot & VMARENA_READ);
    vmarena_ranges_free(&ranges);
    return readable;
}

/* Writes to the file what was written to memory since. -EAGAIN: all of it must be copied to another file instead. */
static int fold_written(struct vmarena_memfile_mapping *mapping, size_t *copied) {
    bool readable = is_readable(mapping->region), folds = readable && vmarena_memfile_is_alone(mapping->file);
    struct batch batch = {.mapping = mapping, .treat = folds ? fold : count_only};
    int error = each_private(&batch);
    if (error == 0 && (folds || batch.bytes == 0)) {
        *copied = batch.bytes;
        return 0;
    }
    if (!readable)
        return vmarena_fail(-EACCES,
                            "a second snapshot copies what was written, and a part of the arena is not readable");
    return batch.error != 0 ? vmarena_fail_call(batch.error, "write", batch.bytes) : -EAGAIN;
}

/* vmarena_compare and not memcmp: ASan would report the red zones between objects. */
static bool is_zero(const char *page, size_t size) {
    static const char zeroes[4096];
    for (size_t at = 0; at < size; at += sizeof zeroes) {
        size_t piece = size - at < sizeof zeroes ? size - at : sizeof zeroes;
        if (vmarena_compare(page + at, zeroes, piece, NULL) != piece) return false;
    }
    return true;
}

/* Pages that are zero stay holes. */
static int copy_to(const struct vmarena_memfile *file, const char *from, size_t size, size_t *copied) {
    size_t page = vmarena_prim_page_size();
    for (size_t at = 0; at < size; at += page) {
        if (is_zero(from + at, page)) continue;
        int error = vmarena_prim_file_write(file->fd, from + at, page, at);
        if (error != 0) return vmarena_fail_call(error, "write", size);
        *copied += page;
    }
    return 0;
}

/* Gives the mapping a file of its own with what it shows now. */
static int renew(struct vmarena_memfile_mapping *mapping, size_t used, size_t *copied) {
    struct vmarena_memfile *file;
    int error = vmarena_memfile_make(&file, "vmarena arena", mapping->region->size);
    if (error != 0) return error;
    error = copy_to(file, mapping->region->base, used, copied);
    if (error == 0) {
        vmarena_memfile_begin_change(mapping);
        error = vmarena_memfile_show(mapping, file);
        vmarena_memfile_end_change(mapping);
    }
    if (error != 0) vmarena_memfile_release(file);
    return error;
}

int vmarena_memfile_freeze(struct vmarena_memfile_mapping *mapping, size_t used, size_t *copied) {
    *copied = 0;
    vmarena_memfile_begin_change(mapping);
    bool all_in_file = mapping->private_end == 0;
    int error = vmarena_memfile_privatize(mapping);
    if (error == 0 && !all_in_file) error = fold_written(mapping, copied);
    vmarena_memfile_end_change(mapping);
    return error == -EAGAIN ? renew(mapping, used, copied) : error;
}

/* ---- restoring and discarding ------------------------------------------------------------------------------------ */

int vmarena_memfile_restore(struct vmarena_memfile_mapping *mapping, struct vmarena_memfile *file, size_t *dropped) {
    struct batch batch = {.mapping = mapping, .treat = drop};
    int error = mapping->file == file ? each_private(&batch) : -EOPNOTSUPP;
    *dropped = batch.bytes;
    if (error == 0) return 0;
    /* Mapped anew, it shows nothing but the file. */
    *dropped = SIZE_MAX;
    vmarena_memfile_hold(file);
    vmarena_memfile_begin_change(mapping);
    error = vmarena_memfile_show(mapping, file);
    vmarena_memfile_end_change(mapping);
    if (error != 0) vmarena_memfile_release(file);
    return error;
}

/* Whether all ranges below `end` that [start, end) touches are writable. */
static bool is_writable(struct vmarena_region *region, size_t start, size_t end) {
    struct vmarena_ranges ranges;
    bool writable = true;
    if (vmarena_ranges_read(&ranges, region) != 0) return false;
    for (size_t i = 0; i < ranges.count; i++) {
        const struct vmarena_range *range = &ranges.range[i];
        if (range->start < end && range->end > start) writable = writable && (range->prot & VMARENA_WRITE);
    }
    vmarena_ranges_free(&ranges);
    return writable;
}

/* Punches holes in what is live, which needs no write access. *end: the first byte of [start, size) that is live. */
static int discard_live(const struct vmarena_memfile_mapping *mapping, size_t start, size_t size, size_t *end) {
    size_t live = mapping->private_end > start ? mapping->private_end : start;
    *end = live < start + size ? live : start + size;
    if (*end != start && !is_writable(mapping->region, start, *end))
        return vmarena_fail(-EACCES,
                            "memory frozen by a snapshot or fork(2) is zeroed by writing, and is not writable");
    if (*end == start + size) return 0;
    int error = vmarena_prim_punch_hole(mapping->region->base + *end, start + size - *end);
    return error == 0 ? 0 : vmarena_fail_call(error, "madvise(MADV_REMOVE)", start + size - *end);
}

int vmarena_memfile_discard(struct vmarena_memfile_mapping *mapping, void *address, size_t size) {
    size_t start = (size_t)((char *)address - mapping->region->base), end;
    vmarena_memfile_begin_change(mapping);
    int error = discard_live(mapping, start, size, &end);
    vmarena_memfile_end_change(mapping);
    /* Given back, private pages would show the file. vmarena_fill and not memset: see is_zero. */
    if (error == 0 && end != start && vmarena_fill(address, 0, end - start, NULL) != end - start)
        error = vmarena_fail(-EACCES, "memory frozen by a snapshot or fork(2) could not be written to");
    return error;
}
