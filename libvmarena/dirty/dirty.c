/* SPDX-License-Identifier: MIT */
#include "dirty/dirty.h"

#include <errno.h>

#include "arena/arena.h"
#include "base/error.h"
#include "fault/fault.h"
#include "base/rounding.h"
#include "prim/prim.h"

/* ---- bits -------------------------------------------------------------------------------------------------------- */

#define BITS 64

static uint64_t word_of(const _Atomic uint64_t *bits, size_t index) {
    return atomic_load_explicit(&bits[index / BITS], memory_order_relaxed);
}

static bool is_set(const _Atomic uint64_t *bits, size_t index) {
    return (word_of(bits, index) >> index % BITS & 1) != 0;
}

size_t vmarena_bits_bytes(size_t count) { return (count / BITS + 1) * sizeof(uint64_t); }

void vmarena_bits_set(_Atomic uint64_t *bits, size_t index) {
    (void)atomic_fetch_or_explicit(&bits[index / BITS], UINT64_C(1) << index % BITS, memory_order_relaxed);
}

static void clear_bit(_Atomic uint64_t *bits, size_t index) {
    (void)atomic_fetch_and_explicit(&bits[index / BITS], ~(UINT64_C(1) << index % BITS), memory_order_relaxed);
}

/* Pages of bits that were never set stay as they are. */
void vmarena_bits_clear(_Atomic uint64_t *bits, size_t count) {
    for (size_t i = 0; i < count; i += BITS)
        if (word_of(bits, i) != 0) atomic_store_explicit(&bits[i / BITS], 0, memory_order_relaxed);
}

bool vmarena_bits_next_run(const _Atomic uint64_t *bits, size_t count, size_t *at, size_t *end) {
    size_t i = *at;
    while (i < count && !is_set(bits, i)) i = word_of(bits, i) == 0 ? (i / BITS + 1) * BITS : i + 1;
    if (i >= count) return false;
    *at = i;
    while (i < count && is_set(bits, i)) i++;
    *end = i;
    return true;
}

/* ---- by mprotect ------------------------------------------------------------------------------------------------- */

static unsigned locked(const struct vmarena_arena *arena) { return arena->region.prot & ~VMARENA_WRITE; }

/* In the signal handler: the first write to a page. */
static bool lift(const struct vmarena_fault *fault, void *arg) {
    struct vmarena_arena *arena = arg;
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    size_t page = vmarena_prim_page_size(), offset = (size_t)((char *)fault->address - tracker->base);
    bool may_be_ours = fault->access == VMARENA_ACCESS_WRITE || fault->access == VMARENA_ACCESS_UNKNOWN;
    if (tracker->kind != VMARENA_TRACK_PROTECT || offset >= tracker->size || fault->signo != SIGSEGV || !may_be_ours)
        return false;
    if ((arena->region.prot & VMARENA_WRITE) == 0 || atomic_load(&tracker->lost)) return false;
    vmarena_bits_set(tracker->written, offset / page);
    if (vmarena_prim_protect(tracker->base + offset / page * page, page, arena->region.prot) == 0) return true;
    /* No map entry left for a page of its own: all of it, then. */
    atomic_store(&tracker->lost, true);
    return vmarena_prim_protect(tracker->base, tracker->size, arena->region.prot) == 0;
}

static int begin_protecting(struct vmarena_arena *arena) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    size_t page = vmarena_prim_page_size(), bytes = vmarena_bits_bytes(arena->region.size / page);
    void *written;
    int error = vmarena_fault_ready();
    if (error != 0) return error;
    tracker->written_size = vmarena_round_up(bytes, page);
    error = vmarena_prim_map(&written, tracker->written_size, page, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", tracker->written_size);
    tracker->written = written;
    arena->region.watch_arg = arena;
    atomic_store_explicit(&arena->region.watch, lift, memory_order_release);
    return 0;
}

static int protect_more(struct vmarena_arena *arena, size_t from, size_t to) {
    int error = vmarena_prim_protect(arena->tracker.base + from, to - from, locked(arena));
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", to - from);
}

static size_t pages_of(const struct vmarena_dirty_tracker *tracker) { return tracker->size / vmarena_prim_page_size(); }

struct report {
    void (*report)(void *arg, size_t start, size_t size);
    void *arg;
};

static size_t report_bits(const struct vmarena_dirty_tracker *tracker, const struct report *report) {
    size_t page = vmarena_prim_page_size(), runs = 0, at = 0, end;
    for (; vmarena_bits_next_run(tracker->written, pages_of(tracker), &at, &end); at = end, runs++)
        report->report(report->arg, at * page, (end - at) * page);
    return runs;
}

/* A call costs what looking at a thousand pages does. */
#define PAGES_A_CALL 1024

/* What was written is protected again, run by run or all at once. Where that fails, it goes on counting as written. */
static void protect_again(struct vmarena_arena *arena, size_t runs) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    size_t page = vmarena_prim_page_size(), at = 0, end;
    if (runs > pages_of(tracker) / PAGES_A_CALL) {
        if (vmarena_prim_protect(tracker->base, tracker->size, locked(arena)) == 0)
            vmarena_bits_clear(tracker->written, pages_of(tracker));
        return;
    }
    for (; vmarena_bits_next_run(tracker->written, pages_of(tracker), &at, &end); at = end)
        if (vmarena_prim_protect(tracker->base + at * page, (end - at) * page, locked(arena)) == 0)
            for (size_t i = at; i < end; i++) clear_bit(tracker->written, i);
}

/* ---- by the kernel ----------------------------------------------------------------------------------------------- */

static int begin_scanning(struct vmarena_arena *arena, size_t size) {
    int error = vmarena_prim_track_open(arena->region.base, size, &arena->tracker.track);
    if (error == 0) return 0;
    if (error == -EMFILE || error == -ENFILE || error == -ENOMEM) return vmarena_fail_call(error, "userfaultfd", size);
    return vmarena_fail(-EOPNOTSUPP, "the kernel cannot track writes here: no userfaultfd(2) with asynchronous write "
                                     "protection, or no PAGEMAP_SCAN (both Linux 6.7)");
}

static void close_track(struct vmarena_dirty_tracker *tracker) {
    if (tracker->track.fd >= 0) vmarena_prim_track_close(&tracker->track);
    tracker->track.fd = -1;
}

struct scan {
    const struct report *report;
    const char *base;
};

static int pass_on(const struct vmarena_pages *pages, void *arg) {
    const struct scan *scan = arg;
    scan->report->report(scan->report->arg, (size_t)((const char *)(uintptr_t)pages->start - scan->base),
                         (size_t)(pages->end - pages->start));
    return 0;
}

/* In the child of a fork(2), among others, the kernel has stopped: it begins again. */
static void collect_scan(struct vmarena_arena *arena, const struct report *report, bool anew) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    struct scan scan = {report, tracker->base};
    struct vmarena_prim_track track;
    if (!tracker->lost && vmarena_prim_track_collect(tracker->base, tracker->size, anew, pass_on, &scan) == 0) return;
    report->report(report->arg, 0, tracker->size);
    tracker->lost = vmarena_prim_track_open(tracker->base, tracker->size, &track) != 0;
    if (tracker->lost) return;
    close_track(tracker);
    tracker->track = track;
}

/* ---- either ------------------------------------------------------------------------------------------------------ */

static int begin(struct vmarena_arena *arena, enum vmarena_tracking kind, size_t size) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    *tracker = (struct vmarena_dirty_tracker){.kind = kind, .base = arena->region.base, .track.fd = -1};
    int error = kind == VMARENA_TRACK_SCAN ? begin_scanning(arena, size) : begin_protecting(arena);
    if (error == 0 && kind == VMARENA_TRACK_PROTECT) error = protect_more(arena, 0, size);
    if (error == 0) tracker->size = size;
    else vmarena_dirty_end(arena);
    return error;
}

/* More pages than before: the kernel's area is made anew, since it cannot grow; what it knew is reported first. */
static int extend(struct vmarena_arena *arena, size_t size) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    if (tracker->kind == VMARENA_TRACK_PROTECT) {
        int error = protect_more(arena, tracker->size, size);
        if (error == 0) tracker->size = size;
        return error;
    }
    close_track(tracker);
    tracker->lost = true;
    tracker->size = size;
    int error = begin_scanning(arena, size);
    if (error == 0) tracker->lost = false;
    return error;
}

int vmarena_dirty_begin(struct vmarena_arena *arena, enum vmarena_tracking kind, size_t size) {
    const struct vmarena_dirty_tracker *tracker = &arena->tracker;
    if (tracker->kind == VMARENA_TRACK_AUTO) return begin(arena, kind, size);
    if (tracker->kind != kind) return vmarena_fail(-EBUSY, "another snapshot tracks the arena's pages in another way");
    return size > tracker->size ? extend(arena, size) : 0;
}

void vmarena_dirty_end(struct vmarena_arena *arena) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    if (tracker->kind == VMARENA_TRACK_PROTECT) {
        atomic_store_explicit(&arena->region.watch, NULL, memory_order_release);
        if (tracker->size != 0 && !tracker->lost)
            (void)vmarena_prim_protect(tracker->base, tracker->size, arena->region.prot);
        if (tracker->written != NULL) (void)vmarena_prim_unmap((void *)tracker->written, tracker->written_size);
    } else if (tracker->kind == VMARENA_TRACK_SCAN) close_track(tracker);
    *tracker = (struct vmarena_dirty_tracker){.kind = VMARENA_TRACK_AUTO};
}

void vmarena_dirty_collect(struct vmarena_arena *arena, bool anew, void (*report)(void *arg, size_t start, size_t size),
                           void *arg) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    struct report how = {report, arg};
    if (tracker->kind == VMARENA_TRACK_SCAN) collect_scan(arena, &how, anew);
    else if (!tracker->lost) {
        size_t runs = report_bits(tracker, &how);
        if (anew) protect_again(arena, runs);
    } else {
        report(arg, 0, tracker->size);
        vmarena_bits_clear(tracker->written, pages_of(tracker));
        bool writable = (arena->region.prot & VMARENA_WRITE) != 0 && !arena->parted;
        tracker->lost = !writable || vmarena_prim_protect(tracker->base, tracker->size, locked(arena)) != 0;
    }
}

VMARENA_TOGETHER void vmarena_dirty_lose(struct vmarena_arena *arena) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    if (tracker->kind != VMARENA_TRACK_PROTECT || tracker->lost) return;
    tracker->lost = true;
    (void)vmarena_prim_protect(tracker->base, tracker->size, arena->region.prot);
}

void vmarena_dirty_open(struct vmarena_arena *arena, size_t start, size_t size) {
    struct vmarena_dirty_tracker *tracker = &arena->tracker;
    size_t page = vmarena_prim_page_size();
    if (tracker->kind != VMARENA_TRACK_PROTECT || tracker->lost || start >= tracker->size) return;
    if (size > tracker->size - start) size = tracker->size - start;
    bool open = true;
    for (size_t i = start / page; i < (start + size) / page && open; i++) open = is_set(tracker->written, i);
    if (open) return;
    if (vmarena_prim_protect(tracker->base + start, size, arena->region.prot) != 0) vmarena_dirty_lose(arena);
    else
        for (size_t i = start / page; i < (start + size) / page; i++) vmarena_bits_set(tracker->written, i);
}
