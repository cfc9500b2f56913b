/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "vmarena/view.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/pool.h"
#include "fault/fault.h"
#include "region/guard_layout.h"
#include "view/view.h"
#include "vmarena/page.h"

#define ALL_FLAGS (VMARENA_LOCK | VMARENA_PREFAULT | VMARENA_DONT_DUMP | VMARENA_DONT_FORK)

static struct vmarena_pool records = VMARENA_POOL(struct vmarena_view_record);

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

/* Says what a fault in the view means; signal-safe. */
static void attribute(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct vmarena_view_record *record = region->owner;
    uintptr_t address = (uintptr_t)fault->address, data = (uintptr_t)record->head.data;
    uint64_t offset = record->head.offset;
    fault->object = record->head.data;
    fault->object_size = record->head.size;
    fault->distance = vmarena_object_distance(data, record->head.size, address);
    fault->file_offset = address >= data           ? offset + (address - data)
                         : offset > data - address ? offset - (data - address)
                                                   : 0;
    if (fault->signo != SIGSEGV) return; /* the signal code says whether the file was cut or the memory is broken */
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

/* Chooses the window that was asked for, within the file as it is now. */
static int choose_window(struct vmarena_view_window *window, const struct vmarena_prim_file *file, uint64_t offset,
                         size_t length) {
    if (offset >= file->size || length > file->size - offset)
        return vmarena_fail(-ERANGE, "%zu bytes from offset %llu on leave the file of %llu bytes", length,
                            (unsigned long long)offset, (unsigned long long)file->size);
    uint64_t size = length != 0 ? length : file->size - offset;
    if (size > SIZE_MAX / 4)
        return vmarena_fail(-EOVERFLOW, "%llu bytes of the file exceed the address space: open a window of them",
                            (unsigned long long)size);
    *window = (struct vmarena_view_window){offset, (size_t)size};
    return 0;
}

static int reserve(struct vmarena_view_record *record, size_t capacity) {
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
    record->region.attribute = attribute;
    return vmarena_region_reserve(&record->region, &plan);
}

static int build(struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    if (record->options.mode == VMARENA_VIEW_SHARED && !vmarena_view_is_flush(record, window))
        return vmarena_fail(-EOPNOTSUPP, "this fence needs a private copy of the window, since it lies across a page; "
                                         "a SHARED view cannot be one");
    int error = reserve(record, window->size);
    if (error != 0) return error;
    error = vmarena_view_show(record, window);
    if (error != 0) vmarena_region_release(&record->region);
    return error;
}

static struct vmarena_view_record *take_record(void) {
    struct vmarena_view_record *record = vmarena_pool_take(&records);
    if (record == NULL) (void)vmarena_fail(-ENOMEM, "vmarena_view_open: no memory for the view's record");
    return record;
}

static void give_record(struct vmarena_view_record *record) {
    record->open = false;
    vmarena_pool_give(&records, record);
}

/* Of a path that is too long the last part is kept, and of that the beginning. */
static void set_name(struct vmarena_view_record *record, const char *name) {
    const char *slash = strrchr(name, '/');
    if (strlen(name) >= VMARENA_NAME_SIZE && slash != NULL && slash[1] != '\0') name = slash + 1;
    strncpy(record->region.name, name, VMARENA_NAME_SIZE - 1);
}

/* On success the view owns fd. */
static int open_descriptor(struct vmarena_view **out, int fd, const struct vmarena_view_options *options,
                           const char *name) {
    struct vmarena_prim_file file;
    struct vmarena_view_window window;
    int error = check_file(fd, &file);
    if (error == 0) error = choose_window(&window, &file, options->offset, options->length);
    if (error != 0) return error;
    struct vmarena_view_record *record = take_record();
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
    struct vmarena_view_record *record = (struct vmarena_view_record *)(void *)view;
    if (record == NULL || !record->open) return;
    vmarena_region_release(&record->region);
    vmarena_prim_file_close(record->fd);
    give_record(record);
}

/* ---- faults and figures ------------------------------------------------------------------------------------------------------------ */

int vmarena_view_on_fault(struct vmarena_view *view, vmarena_fault_fn *function, void *arg) {
    struct vmarena_view_record *record = vmarena_view_record_of(view);
    if (record == NULL) return -EBADF;
    return vmarena_fault_set_repair(&record->region, function, arg);
}

int vmarena_view_info(const struct vmarena_view *view, struct vmarena_view_info *out) {
    const struct vmarena_view_record *record = vmarena_view_record_of(view);
    struct vmarena_prim_file file;
    if (record == NULL) return -EBADF;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_view_info: the pointer to the result is NULL");
    int error = vmarena_prim_file_stat(record->fd, &file);
    if (error != 0) return vmarena_fail_call(error, "fstat", 0);
    const struct vmarena_view_place *place = &record->place;
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
