/* SPDX-License-Identifier: MIT */
#include "vmarena/view.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "fault/fault.h"
#include "region/guard_layout.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "region/region.h"
#include "vmarena/page.h"

#define ALL_FLAGS (VMARENA_LOCK | VMARENA_PREFAULT | VMARENA_DONT_DUMP | VMARENA_DONT_FORK)

/* A part of the file. */
struct window {
    uint64_t offset;
    size_t size;
};

/* Where a window lies in the region. */
struct place {
    char *pages; /* the first page that holds a byte of it */
    size_t length;
    char *data;
    bool copied;
};

struct record {
    struct vmarena_view head; /* first: the handle is its address */
    bool open;
    struct vmarena_region region;
    struct vmarena_view_options options; /* name not kept here */
    struct place place;
    int fd;
    size_t unit; /* data is congruent to its file offset modulo this: a page, or a huge page where asked for */
    size_t capacity;
    enum vmarena_huge huge; /* obtained */
};

static struct vmarena_pool records = VMARENA_POOL(struct record);

static struct record *record_of(const struct vmarena_view *view) {
    struct record *record = (struct record *)(uintptr_t)view;
    if (record != NULL && record->open) return record;
    (void)vmarena_fail(-EBADF, view == NULL ? "no view (NULL)" : "the view was closed");
    return NULL;
}

/* ---- showing a window ------------------------------------------------------------------------------------------------ */

/* Whether the end, or the beginning, falls on a page of the file, so that the file's own pages serve the fence. */
static bool is_flush(const struct record *record, const struct window *window) {
    size_t mask = vmarena_prim_page_size() - 1;
    if (record->options.fence == VMARENA_FENCE_END) return ((window->offset + window->size) & mask) == 0;
    return record->options.fence == VMARENA_FENCE_OFF || (window->offset & mask) == 0;
}

static struct place place_of(const struct record *record, const struct window *window, char *base) {
    size_t page = vmarena_prim_page_size(), shift = (size_t)(window->offset & (record->unit - 1));
    struct place place = {.copied = !is_flush(record, window)};
    if (place.copied)
        shift = record->options.fence == VMARENA_FENCE_END ? vmarena_page_round_up(window->size) - window->size : 0;
    place.data = base + shift;
    place.pages = base + (shift & ~(page - 1));
    place.length = vmarena_page_round_up((shift & (page - 1)) + window->size);
    return place;
}

static int shrank(const struct window *window, uint64_t size) {
    return vmarena_fail(-EAGAIN, "the file shrank to %llu bytes while %zu bytes from offset %llu on were being opened",
                        (unsigned long long)size, window->size, (unsigned long long)window->offset);
}

static unsigned prot_of(const struct record *record) {
    return record->options.mode == VMARENA_VIEW_READ ? VMARENA_READ : VMARENA_READ | VMARENA_WRITE;
}

static int read_in(struct record *record, const struct window *window, const struct place *place) {
    size_t got;
    int error = vmarena_prim_protect(place->pages, place->length, VMARENA_READ | VMARENA_WRITE);
    if (error != 0) return vmarena_fail_call(error, "mprotect", place->length);
    error = vmarena_prim_file_read(record->fd, place->data, window->size, window->offset, &got);
    if (error != 0) return vmarena_fail_call(error, "pread", window->size);
    if (got < window->size) return shrank(window, window->offset + got);
    error = vmarena_prim_protect(place->pages, place->length, prot_of(record));
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", place->length);
}

static int map_in(struct record *record, const struct window *window, const struct place *place) {
    bool shared = record->options.mode != VMARENA_VIEW_COPY_ON_WRITE;
    uint64_t offset = window->offset & ~((uint64_t)vmarena_prim_page_size() - 1);
    struct vmarena_prim_file file;
    int error = vmarena_prim_map_file(place->pages, place->length, prot_of(record), shared, record->fd, offset);
    /* Read only, a private mapping shows the same. Before Linux 6.7 nothing that is sealed against writing is mapped shared,
     * and some file systems in user space map nothing so. */
    if ((error == -EPERM || error == -ENODEV) && record->options.mode == VMARENA_VIEW_READ)
        error = vmarena_prim_map_file(place->pages, place->length, VMARENA_READ, false, record->fd, offset);
    if (error == -EPERM)
        return vmarena_fail(error, "mmap: the file is sealed against writing (fcntl(2), F_SEAL_WRITE)");
    if (error == -ENODEV) return vmarena_fail(error, "mmap: the file system cannot map files");
    if (error != 0) return vmarena_fail_call(error, "mmap", place->length);
    error = vmarena_prim_file_stat(record->fd, &file);
    if (error != 0) return vmarena_fail_call(error, "fstat", 0);
    return file.size < window->offset + window->size ? shrank(window, file.size) : 0;
}

static void ask_for_huge(struct record *record, const struct place *place) {
    enum vmarena_huge asked = record->options.huge;
    record->huge = VMARENA_HUGE_SYSTEM;
    if (asked == VMARENA_HUGE_NEVER) {
        if (vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_NO_HUGE) == 0) record->huge = asked;
    } else if (asked != VMARENA_HUGE_SYSTEM &&
               vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_HUGE) == 0) {
        bool collapsed = asked == VMARENA_HUGE_COLLAPSE &&
                         vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_COLLAPSE) == 0;
        record->huge = collapsed ? VMARENA_HUGE_COLLAPSE : VMARENA_HUGE_TRANSPARENT;
    }
}

static int lock_pages(void *start, size_t length) {
    int error = vmarena_prim_lock(start, length);
    if (error == 0) return 0;
    return vmarena_fail(error, "mlock of %zu bytes: beyond RLIMIT_MEMLOCK, past the file's end, or memory is short",
                        length);
}

/* Linux before 5.14 has no advice for it. A byte a page, by an operation that survives a fault. */
static bool touch(const char *start, size_t length) {
    char byte;
    for (size_t at = 0; at < length; at += vmarena_prim_page_size())
        if (vmarena_copy(&byte, start + at, 1, NULL) != 1) return false;
    return true;
}

static int populate_pages(char *start, size_t length) {
    int error = vmarena_prim_advise(start, length, VMARENA_PRIM_POPULATE_READ);
    if (error == -EINVAL || error == -EOPNOTSUPP) error = touch(start, length) ? 0 : -EFAULT;
    if (error == 0) return 0;
    if (error == -EFAULT) return vmarena_fail(error, "the file no longer reaches to where it was to be populated");
    return vmarena_fail_call(error, "populate", length);
}

static int set_flags(const struct record *record, const struct place *place) {
    unsigned flags = record->options.flags;
    int error = 0;
    if (flags & VMARENA_DONT_DUMP) error = vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_DONT_DUMP);
    if (error == 0 && (flags & VMARENA_DONT_FORK))
        error = vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_DONT_FORK);
    if (error != 0) return vmarena_fail(-EOPNOTSUPP, "DONT_DUMP or DONT_FORK: this system refuses it for this memory");
    if (flags & VMARENA_LOCK) error = lock_pages(place->pages, place->length);
    if (error == 0 && (flags & VMARENA_PREFAULT)) error = populate_pages(place->pages, place->length);
    return error;
}

/* Puts the window's pages at base, which is reserved. On an error there may be some. */
static int put(struct record *record, const struct window *window, char *base) {
    struct place place = place_of(record, window, base);
    int error = place.copied ? read_in(record, window, &place) : map_in(record, window, &place);
    if (error != 0) return error;
    ask_for_huge(record, &place);
    return set_flags(record, &place);
}

static void set_window(struct record *record, const struct window *window) {
    record->place = place_of(record, window, record->region.base);
    record->head.data = record->place.data;
    record->head.size = window->size;
    record->head.offset = window->offset;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

/* What a fault in the view means. In the signal handler. */
static void explain(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct record *record = region->owner;
    uintptr_t address = (uintptr_t)fault->address, data = (uintptr_t)record->head.data;
    uint64_t offset = record->head.offset;
    fault->object = record->head.data;
    fault->object_size = record->head.size;
    fault->distance = vmarena_object_distance(data, record->head.size, address);
    fault->file_offset = address >= data           ? offset + (address - data)
                         : offset > data - address ? offset - (data - address)
                                                   : 0;
    if (fault->signo != SIGSEGV) return; /* its code tells of a truncated file or of broken memory */
    if (address < (uintptr_t)record->place.pages) fault->kind = VMARENA_FAULT_UNDERRUN;
    else if (address - (uintptr_t)record->place.pages < record->place.length) fault->kind = VMARENA_FAULT_PROTECTED;
    else fault->kind = VMARENA_FAULT_OVERRUN;
}

static int check_options(const struct vmarena_view_options *options) {
    if ((unsigned)options->mode > VMARENA_VIEW_SHARED || (unsigned)options->fence > VMARENA_FENCE_START ||
        (unsigned)options->huge > VMARENA_HUGE_1G)
        return vmarena_fail(-EINVAL, "vmarena_view_open: mode, fence or huge has no such value");
    if ((options->flags & ~ALL_FLAGS) != 0)
        return vmarena_fail(-EINVAL, "vmarena_view_open: bits 0x%x in flags mean nothing to a view",
                            options->flags & ~ALL_FLAGS);
    return 0;
}

static int check_file(int fd, struct vmarena_prim_file *file) {
    int error = vmarena_prim_file_stat(fd, file);
    if (error != 0) return vmarena_fail_call(error, "fstat", 0);
    const char *special = file->special;
    if (special == NULL && vmarena_prim_file_is_huge(fd)) special = "a file on hugetlbfs";
    if (special != NULL)
        return vmarena_fail(file->directory ? -EISDIR : -ENODEV, "this is %s, and only a regular file has a view",
                            special);
    if (file->size == 0)
        return vmarena_fail(-ENODATA,
                            "the file is empty (or, as in /proc, made up as it is read): there is nothing to map");
    return 0;
}

/* The window asked for, within the file as it is now. */
static int choose_window(struct window *window, const struct vmarena_prim_file *file, uint64_t offset, size_t length) {
    if (offset >= file->size || length > file->size - offset)
        return vmarena_fail(-ERANGE, "%zu bytes from offset %llu on leave the file of %llu bytes", length,
                            (unsigned long long)offset, (unsigned long long)file->size);
    uint64_t size = length != 0 ? length : file->size - offset;
    if (size > SIZE_MAX / 4)
        return vmarena_fail(-EOVERFLOW, "%llu bytes of the file exceed the address space: open a window of them",
                            (unsigned long long)size);
    *window = (struct window){offset, (size_t)size};
    return 0;
}

static int reserve(struct record *record, size_t capacity) {
    size_t page = vmarena_prim_page_size(), huge = vmarena_prim_huge_page_size(), guard = record->options.guard;
    bool wants_huge = record->options.huge >= VMARENA_HUGE_TRANSPARENT && huge != 0;
    if (guard > SIZE_MAX / 4) return vmarena_fail(-ENOMEM, "vmarena_view_open: the guards exceed the address space");
    record->unit = wants_huge ? huge : page;
    record->capacity = capacity;
    record->options.guard = guard == 0 ? page : vmarena_page_round_up(guard);
    struct vmarena_region_plan plan = {.size = vmarena_page_round_up(capacity + record->unit - 1),
                                       .align = record->unit,
                                       .guard = record->options.guard,
                                       .policy = VMARENA_COMMIT_PROTECT};
    record->region.owner = record;
    record->region.kind = VMARENA_OWNER_VIEW;
    record->region.attribute = explain;
    return vmarena_region_reserve(&record->region, &plan);
}

static int build(struct record *record, const struct window *window) {
    if (record->options.mode == VMARENA_VIEW_SHARED && !is_flush(record, window))
        return vmarena_fail(-EOPNOTSUPP, "this fence needs a private copy of the window, since it lies across a page; "
                                         "a SHARED view cannot be one");
    int error = reserve(record, window->size);
    if (error != 0) return error;
    error = put(record, window, record->region.base);
    if (error != 0) vmarena_region_release(&record->region);
    else set_window(record, window);
    return error;
}

static struct record *take_record(void) {
    struct record *record = vmarena_pool_take(&records);
    if (record == NULL) (void)vmarena_fail(-ENOMEM, "vmarena_view_open: no memory for the view's record");
    return record;
}

static void give_record(struct record *record) {
    record->open = false;
    vmarena_pool_give(&records, record);
}

/* Long paths are told by their last part, and that by its beginning. */
static void set_name(struct record *record, const char *name) {
    const char *slash = strrchr(name, '/');
    if (strlen(name) >= VMARENA_NAME_SIZE && slash != NULL && slash[1] != '\0') name = slash + 1;
    strncpy(record->region.name, name, VMARENA_NAME_SIZE - 1);
}

/* Takes fd over on success. */
static int open_descriptor(struct vmarena_view **out, int fd, const struct vmarena_view_options *options,
                           const char *name) {
    struct vmarena_prim_file file;
    struct window window;
    int error = check_file(fd, &file);
    if (error == 0) error = choose_window(&window, &file, options->offset, options->length);
    if (error != 0) return error;
    struct record *record = take_record();
    if (record == NULL) return -ENOMEM;
    record->fd = fd;
    record->options = *options;
    record->options.name = NULL;
    set_name(record, name);
    error = build(record, &window);
    if (error != 0) {
        give_record(record);
        return error;
    }
    record->open = true;
    *out = &record->head;
    return 0;
}

static int check_arguments(struct vmarena_view **out, const struct vmarena_view_options *options) {
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_view_open: nowhere to put the view");
    return check_options(options);
}

int vmarena_view_open_with(struct vmarena_view **out, const char *path, const struct vmarena_view_options *options) {
    static const struct vmarena_view_options defaults;
    int fd;
    if (options == NULL) options = &defaults;
    int error = check_arguments(out, options);
    if (error != 0) return error;
    if (path == NULL) return vmarena_fail(-EINVAL, "vmarena_view_open: no path (NULL)");
    error = vmarena_prim_file_open(&fd, path, options->mode == VMARENA_VIEW_SHARED);
    if (error == -EISDIR) return vmarena_fail(error, "this is a directory, and only a regular file has a view");
    if (error != 0) return vmarena_fail(error, "open: %s", strerror(-error));
    error = open_descriptor(out, fd, options, options->name != NULL ? options->name : path);
    if (error != 0) vmarena_prim_file_close(fd);
    return error;
}

int vmarena_view_open(struct vmarena_view **out, const char *path, enum vmarena_view_mode mode) {
    struct vmarena_view_options options = {.mode = mode};
    return vmarena_view_open_with(out, path, &options);
}

static int check_access(int fd, enum vmarena_view_mode mode) {
    bool reads, writes;
    vmarena_prim_file_access(fd, &reads, &writes);
    if (!reads) return vmarena_fail(-EACCES, "the descriptor is not open for reading");
    if (mode == VMARENA_VIEW_SHARED && !writes)
        return vmarena_fail(-EACCES, "the descriptor is not open for writing, as a SHARED view must be");
    return 0;
}

int vmarena_view_open_fd(struct vmarena_view **out, int fd, const struct vmarena_view_options *options) {
    static const struct vmarena_view_options defaults;
    char name[512];
    int own;
    if (options == NULL) options = &defaults;
    int error = check_arguments(out, options);
    if (error != 0) return error;
    error = vmarena_prim_file_duplicate(&own, fd);
    if (error != 0) return vmarena_fail(error, "the descriptor %d: %s", fd, strerror(-error));
    error = check_access(own, options->mode);
    if (error != 0) {
        vmarena_prim_file_close(own);
        return error;
    }
    vmarena_prim_file_name(own, name, sizeof name);
    error = open_descriptor(out, own, options, options->name != NULL ? options->name : name);
    if (error != 0) vmarena_prim_file_close(own);
    return error;
}

void vmarena_view_close(struct vmarena_view *view) {
    struct record *record = (struct record *)(void *)view;
    if (record == NULL || !record->open) return;
    vmarena_region_release(&record->region);
    vmarena_prim_file_close(record->fd);
    give_record(record);
}

/* ---- moving ------------------------------------------------------------------------------------------------------------ */

static int check_move(const struct record *record, uint64_t offset, size_t length, struct window *window) {
    struct vmarena_prim_file file;
    if (length > record->capacity)
        return vmarena_fail(-ERANGE, "vmarena_view_move: the view has room for %zu bytes, not %zu", record->capacity,
                            length);
    int error = vmarena_prim_file_stat(record->fd, &file);
    if (error != 0) return vmarena_fail_call(error, "fstat", 0);
    if (offset >= file.size)
        return vmarena_fail(-ERANGE, "vmarena_view_move: offset %llu is at or past the end of the file of %llu bytes",
                            (unsigned long long)offset, (unsigned long long)file.size);
    size_t wanted = length != 0 ? length : record->capacity;
    *window = (struct window){offset, file.size - offset < wanted ? (size_t)(file.size - offset) : wanted};
    if (record->options.mode == VMARENA_VIEW_SHARED && !is_flush(record, window))
        return vmarena_fail(-EOPNOTSUPP,
                            "vmarena_view_move: a SHARED view cannot be copied to lie flush against a guard");
    return 0;
}

/*
 * Made elsewhere first, so that on an error nothing has changed; then it replaces what is there. -EOPNOTSUPP: there is no
 * address space for it elsewhere, or this system moves no mappings.
 */
static int put_by_moving(struct record *record, const struct window *window) {
    void *stage;
    size_t size = record->region.size;
    int error = vmarena_prim_map(&stage, size, record->unit, VMARENA_NONE, false);
    if (error != 0) return -EOPNOTSUPP;
    struct place from = place_of(record, window, stage), to = place_of(record, window, record->region.base);
    size_t before = (size_t)(from.pages - (char *)stage), after = size - before - from.length;
    error = put(record, window, stage);
    if (error == 0 && (error = vmarena_prim_move_mapping(from.pages, from.length, to.pages)) != 0)
        (void)vmarena_fail_call(error, "mremap", from.length);
    if (error != 0) {
        (void)vmarena_prim_unmap(stage, size);
        return error;
    }
    /* Where the window was made, others may have mapped something by now. */
    if (before != 0) (void)vmarena_prim_unmap(stage, before);
    if (after != 0) (void)vmarena_prim_unmap(from.pages + from.length, after);
    return 0;
}

/* On an error the old window is made again, as far as that goes: what was changed in it is lost. */
static int put_in_place(struct record *record, const struct window *window) {
    struct window before = {record->head.offset, record->head.size};
    int error = vmarena_prim_map_reserved(record->region.base, record->region.size);
    if (error != 0) return vmarena_fail_call(error, "mmap", record->region.size);
    error = put(record, window, record->region.base);
    if (error == 0) return 0;
    (void)vmarena_prim_map_reserved(record->region.base, record->region.size);
    (void)put(record, &before, record->region.base);
    return error;
}

/* A mapping by itself, so that neither way takes an entry more. */
static void close_piece(char *from, const char *to) {
    if (from < to && vmarena_prim_map_reserved(from, (size_t)(to - from)) != 0)
        (void)vmarena_prim_protect(from, (size_t)(to - from), VMARENA_NONE);
}

/* What the old window has left of its place is reserved again. */
static void close_rest(const struct place *old, const struct place *now) {
    char *old_end = old->pages + old->length, *now_end = now->pages + now->length;
    close_piece(old->pages, now->pages < old_end ? now->pages : old_end);
    close_piece(now_end > old->pages ? now_end : old->pages, old_end);
}

int vmarena_view_move(struct vmarena_view *view, uint64_t offset, size_t length) {
    struct record *record = record_of(view);
    struct window window;
    if (record == NULL) return -EBADF;
    int error = check_move(record, offset, length, &window);
    if (error != 0) return error;
    struct place old = record->place;
    bool locks = (record->options.flags & VMARENA_LOCK) != 0; /* for both at once RLIMIT_MEMLOCK may not be enough */
    if (locks) (void)vmarena_prim_unlock(old.pages, old.length);
    error = put_by_moving(record, &window);
    if (error == -EOPNOTSUPP) error = put_in_place(record, &window);
    if (error != 0) {
        if (locks) (void)vmarena_prim_lock(old.pages, old.length);
        return error;
    }
    set_window(record, &window);
    close_rest(&old, &record->place);
    return 0;
}

/* ---- ranges ------------------------------------------------------------------------------------------------------------ */

/* A range of an open view's window, and the pages that hold it; 0 bytes of them where it is empty. */
struct range {
    const struct record *record;
    size_t from, length;
    char *pages;
    size_t bytes;
};

static int find_range(struct range *range, const struct vmarena_view *view, size_t from, size_t length) {
    const struct record *record = record_of(view);
    if (record == NULL) return -EBADF;
    size_t size = record->head.size, mask = vmarena_prim_page_size() - 1;
    if (from > size || length > size - from)
        return vmarena_fail(-ERANGE, "%zu bytes from %zu on leave the window of %zu bytes", length, from, size);
    if (length == 0) length = size - from;
    uintptr_t start = (uintptr_t)record->head.data + from, first = start & ~(uintptr_t)mask;
    size_t bytes = length == 0 ? 0 : vmarena_page_round_up(start + length - first);
    *range = (struct range){record, from, length, (char *)first, bytes};
    return 0;
}

int vmarena_view_sync(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    if (error != 0 || range.bytes == 0 || range.record->options.mode != VMARENA_VIEW_SHARED) return error;
    error = vmarena_prim_sync(range.pages, range.bytes);
    return error == 0 ? 0 : vmarena_fail_call(error, "msync", range.bytes);
}

/* Only pages that lie in the range as a whole; what the first and the last page hold beyond the window does not count. */
static void shrink_to_whole_pages(struct range *range) {
    const struct vmarena_view *view = &range->record->head;
    size_t page = vmarena_prim_page_size();
    uintptr_t start = (uintptr_t)view->data + range->from, end = start + range->length;
    uintptr_t first = (uintptr_t)range->pages, last = first + range->bytes;
    if (range->from != 0 && first != start) first += page;
    if (range->from + range->length != view->size && last != end) last -= page;
    range->pages = (char *)first;
    range->bytes = last > first ? last - first : 0;
}

int vmarena_view_advise(struct vmarena_view *view, size_t from, size_t length, enum vmarena_view_advice advice) {
    static const enum vmarena_prim_advice advices[] = {
        [VMARENA_VIEW_NORMAL] = VMARENA_PRIM_NORMAL,       [VMARENA_VIEW_SEQUENTIAL] = VMARENA_PRIM_SEQUENTIAL,
        [VMARENA_VIEW_RANDOM] = VMARENA_PRIM_RANDOM,       [VMARENA_VIEW_WILL_NEED] = VMARENA_PRIM_WILL_NEED,
        [VMARENA_VIEW_DONT_NEED] = VMARENA_PRIM_DONT_NEED,
    };
    struct range range;
    int error = find_range(&range, view, from, length);
    if (error != 0) return error;
    if ((size_t)advice >= sizeof advices / sizeof advices[0])
        return vmarena_fail(-EINVAL, "vmarena_view_advise: no such advice, %d", (int)advice);
    if (advice == VMARENA_VIEW_DONT_NEED) shrink_to_whole_pages(&range);
    if (range.bytes == 0 || range.record->place.copied) return 0;
    error = vmarena_prim_advise(range.pages, range.bytes, advices[advice]);
    return error == 0 ? 0 : vmarena_fail_call(error, "madvise", range.bytes);
}

int vmarena_view_populate(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    return error != 0 || range.bytes == 0 ? error : populate_pages(range.pages, range.bytes);
}

int vmarena_view_lock(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    return error != 0 || range.bytes == 0 ? error : lock_pages(range.pages, range.bytes);
}

int vmarena_view_unlock(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    if (error != 0 || range.bytes == 0) return error;
    error = vmarena_prim_unlock(range.pages, range.bytes);
    return error == 0 ? 0 : vmarena_fail_call(error, "munlock", range.bytes);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------ */

int vmarena_view_on_fault(struct vmarena_view *view, vmarena_fault_fn *function, void *arg) {
    struct record *record = record_of(view);
    if (record == NULL) return -EBADF;
    return vmarena_fault_set_repair(&record->region, function, arg);
}

int vmarena_view_info(const struct vmarena_view *view, struct vmarena_view_info *out) {
    const struct record *record = record_of(view);
    struct vmarena_prim_file file;
    if (record == NULL) return -EBADF;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_view_info: the pointer to the result is NULL");
    int error = vmarena_prim_file_stat(record->fd, &file);
    if (error != 0) return vmarena_fail_call(error, "fstat", 0);
    const struct place *place = &record->place;
    *out = (struct vmarena_view_info){.mode = record->options.mode,
                                      .huge_asked = record->options.huge,
                                      .huge_obtained = record->huge,
                                      .file_size = file.size,
                                      .capacity = record->capacity,
                                      .guard = record->options.guard,
                                      .tail = (size_t)(place->pages + place->length - place->data) - record->head.size,
                                      .copied = place->copied};
    (void)vmarena_prim_residency(place->pages, place->length, &out->resident, &out->huge);
    return 0;
}
