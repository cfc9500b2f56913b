/* SPDX-License-Identifier: MIT */
/* What a view shows of its file: where the window lies in the region, how it is mapped, and how it moves. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "view/view.h"
#include "vmarena/page.h"

bool vmarena_view_is_flush(const struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    size_t mask = vmarena_prim_page_size() - 1;
    if (record->options.fence == VMARENA_FENCE_END) return ((window->offset + window->size) & mask) == 0;
    return record->options.fence == VMARENA_FENCE_OFF || (window->offset & mask) == 0;
}

static struct vmarena_view_place place_of(const struct vmarena_view_record *record,
                                          const struct vmarena_view_window *window, char *base) {
    size_t page = vmarena_prim_page_size(), shift = (size_t)(window->offset & (record->unit - 1));
    struct vmarena_view_place place = {.copied = !vmarena_view_is_flush(record, window)};
    if (place.copied)
        shift = record->options.fence == VMARENA_FENCE_END ? vmarena_page_round_up(window->size) - window->size : 0;
    place.data = base + shift;
    place.pages = base + (shift & ~(page - 1));
    place.length = vmarena_page_round_up((shift & (page - 1)) + window->size);
    return place;
}

static int shrank(const struct vmarena_view_window *window, uint64_t size) {
    return vmarena_fail(-EAGAIN, "the file shrank to %llu bytes while %zu bytes from offset %llu on were being opened",
                        (unsigned long long)size, window->size, (unsigned long long)window->offset);
}

static unsigned prot_of(const struct vmarena_view_record *record) {
    return record->options.mode == VMARENA_VIEW_READ ? VMARENA_READ : VMARENA_READ | VMARENA_WRITE;
}

static int read_in(struct vmarena_view_record *record, const struct vmarena_view_window *window,
                   const struct vmarena_view_place *place) {
    size_t got;
    int error = vmarena_prim_protect(place->pages, place->length, VMARENA_READ | VMARENA_WRITE);
    if (error != 0) return vmarena_fail_call(error, "mprotect", place->length);
    error = vmarena_prim_file_read(record->fd, place->data, window->size, window->offset, &got);
    if (error != 0) return vmarena_fail_call(error, "pread", window->size);
    if (got < window->size) return shrank(window, window->offset + got);
    error = vmarena_prim_protect(place->pages, place->length, prot_of(record));
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", place->length);
}

static int map_in(struct vmarena_view_record *record, const struct vmarena_view_window *window,
                  const struct vmarena_view_place *place) {
    bool shared = record->options.mode != VMARENA_VIEW_COPY_ON_WRITE;
    uint64_t offset = window->offset & ~((uint64_t)vmarena_prim_page_size() - 1);
    struct vmarena_prim_file file;
    int error = vmarena_prim_map_file(place->pages, place->length, prot_of(record), shared, record->fd, offset);
    /* A private mapping that is only read shows the same. Before Linux 6.7 a file that is sealed against writing cannot be
     * mapped shared, and some file systems in user space map no file shared. */
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

static void ask_for_huge(struct vmarena_view_record *record, const struct vmarena_view_place *place) {
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

static int set_flags(struct vmarena_view_record *record, const struct vmarena_view_place *place) {
    unsigned flags = record->options.flags;
    int error = 0;
    if (flags & VMARENA_DONT_DUMP) error = vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_DONT_DUMP);
    if (error == 0 && (flags & VMARENA_DONT_FORK))
        error = vmarena_prim_advise(place->pages, place->length, VMARENA_PRIM_DONT_FORK);
    if (error == 0 && (flags & VMARENA_DONT_FORK)) record->region.absent_in_child = true;
    if (error != 0) return vmarena_fail(-EOPNOTSUPP, "DONT_DUMP or DONT_FORK: this system refuses it for this memory");
    if (flags & VMARENA_LOCK) error = vmarena_view_lock_pages(place->pages, place->length);
    if (error == 0 && (flags & VMARENA_PREFAULT)) error = vmarena_view_populate_pages(place->pages, place->length);
    return error;
}

/* Maps the window's pages at base, which is reserved. After an error some may be mapped. */
static int put(struct vmarena_view_record *record, const struct vmarena_view_window *window, char *base) {
    struct vmarena_view_place place = place_of(record, window, base);
    int error = place.copied ? read_in(record, window, &place) : map_in(record, window, &place);
    if (error != 0) return error;
    ask_for_huge(record, &place);
    return set_flags(record, &place);
}

static void set_window(struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    record->place = place_of(record, window, record->region.base);
    record->head.data = record->place.data;
    record->head.size = window->size;
    record->head.offset = window->offset;
}

int vmarena_view_show(struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    int error = put(record, window, record->region.base);
    if (error == 0) set_window(record, window);
    return error;
}

/* ---- moving ------------------------------------------------------------------------------------------------------------ */

static int check_move(const struct vmarena_view_record *record, uint64_t offset, size_t length,
                      struct vmarena_view_window *window) {
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
    *window = (struct vmarena_view_window){offset, file.size - offset < wanted ? (size_t)(file.size - offset) : wanted};
    if (record->options.mode == VMARENA_VIEW_SHARED && !vmarena_view_is_flush(record, window))
        return vmarena_fail(-EOPNOTSUPP,
                            "vmarena_view_move: a SHARED view cannot be copied to lie flush against a guard");
    return 0;
}

/* Moves pages to a place in the reservation, where they replace what is mapped. 1: this system moves no mappings. */
static int move_pages(const struct vmarena_view_place *from, const struct vmarena_view_place *to) {
    int error = vmarena_prim_move_mapping(from->pages, from->length, to->pages);
    if (error == -EOPNOTSUPP) return 1;
    return error == 0 ? 0 : vmarena_fail_call(error, "mremap", from->length);
}

/*
 * The window is made in a stage elsewhere first, so that on an error nothing has changed; then it replaces the current one.
 * 1: there is no address space for a stage, or this system moves no mappings.
 */
static int put_by_moving(struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    void *stage;
    size_t size = record->region.size;
    if (vmarena_prim_map(&stage, size, record->unit, VMARENA_NONE, false) != 0) return 1;
    struct vmarena_view_place from = place_of(record, window, stage),
                              to = place_of(record, window, record->region.base);
    size_t before = (size_t)(from.pages - (char *)stage), after = size - before - from.length;
    int error = put(record, window, stage);
    if (error == 0) error = move_pages(&from, &to);
    if (error != 0) {
        (void)vmarena_prim_unmap(stage, size);
        return error;
    }
    /* The stage's middle has moved away: another thread may have mapped something there by now. */
    if (before != 0) (void)vmarena_prim_unmap(stage, before);
    if (after != 0) (void)vmarena_prim_unmap(from.pages + from.length, after);
    return 0;
}

/* On an error the old window is mapped again, as far as possible, without the changes that were made in it. */
static int put_in_place(struct vmarena_view_record *record, const struct vmarena_view_window *window) {
    struct vmarena_view_window before = {record->head.offset, record->head.size};
    int error = vmarena_prim_map_reserved(record->region.base, record->region.size);
    if (error != 0) return vmarena_fail_call(error, "mmap", record->region.size);
    error = put(record, window, record->region.base);
    if (error == 0) return 0;
    (void)vmarena_prim_map_reserved(record->region.base, record->region.size);
    (void)put(record, &before, record->region.base);
    return error;
}

/* The piece is a mapping of its own: neither call takes another map entry. */
static void close_piece(char *from, const char *to) {
    if (from < to && vmarena_prim_map_reserved(from, (size_t)(to - from)) != 0)
        (void)vmarena_prim_protect(from, (size_t)(to - from), VMARENA_NONE);
}

/* Reserves again what the old window took and the new one does not. */
static void close_rest(const struct vmarena_view_place *old, const struct vmarena_view_place *now) {
    char *old_end = old->pages + old->length, *now_end = now->pages + now->length;
    close_piece(old->pages, now->pages < old_end ? now->pages : old_end);
    close_piece(now_end > old->pages ? now_end : old->pages, old_end);
}

int vmarena_view_move(struct vmarena_view *view, uint64_t offset, size_t length) {
    struct vmarena_view_record *record = vmarena_view_record_of(view);
    struct vmarena_view_window window;
    if (record == NULL) return -EBADF;
    int error = check_move(record, offset, length, &window);
    if (error != 0) return error;
    struct vmarena_view_place old = record->place;
    bool locks =
        (record->options.flags & VMARENA_LOCK) != 0; /* RLIMIT_MEMLOCK may not suffice for both windows at once */
    if (locks) (void)vmarena_prim_unlock(old.pages, old.length);
    error = put_by_moving(record, &window);
    if (error == 1) error = put_in_place(record, &window);
    if (error != 0) {
        if (locks) (void)vmarena_prim_lock(old.pages, old.length);
        return error;
    }
    set_window(record, &window);
    close_rest(&old, &record->place);
    return 0;
}
