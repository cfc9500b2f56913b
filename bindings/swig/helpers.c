/* SPDX-License-Identifier: MIT */
#include "helpers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local const char *failure;

const char *vmarena_swig_take_failure(void) {
    const char *taken = failure;
    failure = NULL;
    return taken;
}

/* Notes whether a call of the library succeeded, and returns it. error: 0, positive, or a negative errno. */
static bool succeeded(int error) {
    if (error < 0) failure = vmarena_explain();
    return error >= 0;
}

static void *new_result(size_t size) {
    void *result = calloc(1, size);
    if (result == NULL) failure = "there is no memory for the result";
    return result;
}

/* The result, or NULL where the call that was to fill it failed. */
static void *filled(void *result, int error) {
    if (succeeded(error)) return result;
    free(result);
    return NULL;
}

/* ---- addresses ---- */

void *vmarena_swig_offset(void *pointer, ptrdiff_t bytes) { return (void *)((uintptr_t)pointer + (uintptr_t)bytes); }
uint64_t vmarena_swig_address(const void *pointer) { return (uintptr_t)pointer; }
void *vmarena_swig_at(uint64_t address) { return (void *)(uintptr_t)address; }

/* ---- the system ---- */

size_t vmarena_swig_huge_page_size(size_t index) {
    size_t sizes[16];
    size_t count = vmarena_huge_page_sizes(sizes, sizeof sizes / sizeof *sizes);
    return index < count && index < sizeof sizes / sizeof *sizes ? sizes[index] : 0;
}

struct vmarena_caps *vmarena_swig_get_caps(void) {
    struct vmarena_caps *caps = new_result(sizeof *caps);
    return caps != NULL ? filled(caps, vmarena_caps(caps)) : NULL;
}

/* ---- arenas and snapshots ---- */

struct vmarena *vmarena_swig_create(const struct vmarena_options *options) {
    struct vmarena *arena = NULL;
    return succeeded(vmarena_create(&arena, options)) ? arena : NULL;
}

struct vmarena_stats *vmarena_swig_get_stats(const struct vmarena *arena) {
    struct vmarena_stats *stats = new_result(sizeof *stats);
    if (stats != NULL) vmarena_stats(arena, stats);
    return stats;
}

struct vmarena_stats *vmarena_swig_get_info(const struct vmarena *arena) {
    struct vmarena_stats *stats = new_result(sizeof *stats);
    if (stats != NULL) vmarena_info(arena, stats);
    return stats;
}

struct vmarena_mark *vmarena_swig_get_mark(const struct vmarena *arena) {
    struct vmarena_mark *mark = new_result(sizeof *mark);
    if (mark != NULL) *mark = vmarena_mark(arena);
    return mark;
}

struct vmarena_snapshot *vmarena_swig_snapshot(struct vmarena *arena, enum vmarena_tracking tracking) {
    struct vmarena_snapshot *snapshot = NULL;
    return succeeded(vmarena_snapshot(&snapshot, arena, tracking)) ? snapshot : NULL;
}

struct vmarena *vmarena_swig_clone(struct vmarena_snapshot *snapshot) {
    struct vmarena *arena = NULL;
    return succeeded(vmarena_clone(&arena, snapshot)) ? arena : NULL;
}

struct vmarena_snapshot_info *vmarena_swig_get_snapshot_info(const struct vmarena_snapshot *snapshot) {
    struct vmarena_snapshot_info *info = new_result(sizeof *info);
    return info != NULL ? filled(info, vmarena_snapshot_info(snapshot, info)) : NULL;
}

/* ---- faults ---- */

/* A number in the first bytes of memory, whatever the byte order. */
union number {
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
};

uint64_t vmarena_swig_read(const void *address, size_t size, struct vmarena_fault *fault) {
    union number number = {.eight = 0};
    if (!succeeded(vmarena_read(address, &number, size, fault))) return 0;
    return size == 1 ? number.one : size == 2 ? number.two : size == 4 ? number.four : number.eight;
}

void vmarena_swig_write(void *address, uint64_t value, size_t size, struct vmarena_fault *fault) {
    union number number = {.eight = value};
    if (size == 1) number.one = (uint8_t)value;
    if (size == 2) number.two = (uint16_t)value;
    if (size == 4) number.four = (uint32_t)value;
    succeeded(vmarena_write(address, &number, size, fault));
}

size_t vmarena_swig_write_bytes(void *to, const char *bytes, size_t length, struct vmarena_fault *fault) {
    return vmarena_copy(to, bytes, length, fault);
}

const char *vmarena_swig_fault_describe(const struct vmarena_fault *fault) {
    static _Thread_local char text[512];
    vmarena_fault_describe(fault, text, sizeof text);
    return text;
}

const char *vmarena_swig_fault_explain(const struct vmarena_fault *fault) {
    static _Thread_local char text[2048];
    vmarena_fault_explain(fault, text, sizeof text);
    return text;
}

/* ---- heaps ---- */

struct vmarena_heap *vmarena_swig_heap_create(const struct vmarena_heap_options *options) {
    struct vmarena_heap *heap = NULL;
    return succeeded(vmarena_heap_create(&heap, options)) ? heap : NULL;
}

struct vmarena_heap_stats *vmarena_swig_get_heap_stats(const struct vmarena_heap *heap) {
    struct vmarena_heap_stats *stats = new_result(sizeof *stats);
    if (stats != NULL) vmarena_heap_stats(heap, stats);
    return stats;
}

struct vmarena_heap_object *vmarena_swig_get_heap_object(const struct vmarena_heap *heap, const void *address) {
    struct vmarena_heap_object *object = new_result(sizeof *object);
    if (object == NULL || vmarena_heap_find(heap, address, object) == 0) return object;
    free(object);
    return NULL;
}

void *vmarena_swig_heap_frame(const struct vmarena_heap *heap, uint32_t stack, size_t index) {
    void *frames[VMARENA_HEAP_STACK_DEPTH_MAX];
    size_t count = vmarena_heap_stack(heap, stack, frames, VMARENA_HEAP_STACK_DEPTH_MAX);
    return index < count ? frames[index] : NULL;
}

/* ---- views ---- */

struct vmarena_view *vmarena_swig_view_open(const char *path, const struct vmarena_view_options *options) {
    const struct vmarena_view_options defaults = {.offset = 0};
    struct vmarena_view *view = NULL;
    return succeeded(vmarena_view_open_with(&view, path, options != NULL ? options : &defaults)) ? view : NULL;
}

struct vmarena_view *vmarena_swig_view_open_fd(int fd, const struct vmarena_view_options *options) {
    struct vmarena_view *view = NULL;
    return succeeded(vmarena_view_open_fd(&view, fd, options)) ? view : NULL;
}

struct vmarena_view_info *vmarena_swig_get_view_info(const struct vmarena_view *view) {
    struct vmarena_view_info *info = new_result(sizeof *info);
    return info != NULL ? filled(info, vmarena_view_info(view, info)) : NULL;
}

/* ---- inspection ---- */

struct vmarena_mapping *vmarena_swig_get_mapping(int pid, uint64_t address) {
    struct named_mapping {
        struct vmarena_mapping mapping;
        char owner_name[32], name[4096];
    } *result = new_result(sizeof *result);
    if (result == NULL) return NULL;
    int error = vmarena_mapping_at(pid, address, &result->mapping, result->name, sizeof result->name);
    if (error == 0) {
        strncpy(result->owner_name, result->mapping.owner_name, sizeof result->owner_name - 1);
        result->mapping.owner_name = result->owner_name;
    }
    return filled(result, error);
}

struct vmarena_totals *vmarena_swig_get_totals(int pid) {
    struct vmarena_totals *totals = new_result(sizeof *totals);
    return totals != NULL ? filled(totals, vmarena_totals(pid, totals)) : NULL;
}

uint64_t vmarena_swig_frame(const void *address) {
    uint64_t number = 0;
    succeeded(vmarena_frame(address, &number));
    return number;
}

uint64_t vmarena_swig_minor_faults(int pid) {
    uint64_t minor = 0;
    succeeded(vmarena_process_fault_counts(pid, &minor, NULL));
    return minor;
}

uint64_t vmarena_swig_major_faults(int pid) {
    uint64_t major = 0;
    succeeded(vmarena_process_fault_counts(pid, NULL, &major));
    return major;
}
