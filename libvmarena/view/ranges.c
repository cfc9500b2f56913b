/* SPDX-License-Identifier: MIT */
/* Calls about a range of a view's window. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "view/view.h"
#include "vmarena/page.h"

int vmarena_view_lock_pages(void *start, size_t length) {
    int error = vmarena_prim_lock(start, length);
    if (error == 0) return 0;
    return vmarena_fail(error, "mlock of %zu bytes: beyond RLIMIT_MEMLOCK, past the file's end, or memory is short",
                        length);
}

int vmarena_view_populate_pages(char *start, size_t length) {
    int error = vmarena_prim_advise(start, length, VMARENA_PRIM_POPULATE_READ);
    /* Linux before 5.14 has no such advice. An access of our own might raise a signal, and the handlers may be displaced. */
    if (error == -EINVAL || error == -EOPNOTSUPP) error = vmarena_prim_touch(start, length);
    if (error == 0) return 0;
    if (error == -EFAULT) return vmarena_fail(error, "the file no longer reaches to where it was to be populated");
    return vmarena_fail_call(error, "populate", length);
}

/* A range of an open view's window, and the pages that hold it: 0 bytes of them if the range is empty. */
struct range {
    const struct vmarena_view_record *record;
    size_t from, length;
    char *pages;
    size_t bytes;
};

static int find_range(struct range *range, const struct vmarena_view *view, size_t from, size_t length) {
    const struct vmarena_view_record *record = vmarena_view_record_of(view);
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

/* Leaves out pages that lie only partly in the range. Beyond the window there is nothing to spare: there, parts count as
 * whole pages. */
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
    return error != 0 || range.bytes == 0 ? error : vmarena_view_populate_pages(range.pages, range.bytes);
}

int vmarena_view_lock(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    return error != 0 || range.bytes == 0 ? error : vmarena_view_lock_pages(range.pages, range.bytes);
}

int vmarena_view_unlock(struct vmarena_view *view, size_t from, size_t length) {
    struct range range;
    int error = find_range(&range, view, from, length);
    if (error != 0 || range.bytes == 0) return error;
    error = vmarena_prim_unlock(range.pages, range.bytes);
    return error == 0 ? 0 : vmarena_fail_call(error, "munlock", range.bytes);
}
