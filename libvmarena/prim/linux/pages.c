/* SPDX-License-Identifier: MIT */
/* The state of each page: by PAGEMAP_SCAN, by the words of /proc/PID/pagemap, and by mincore(2). */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/linux/pagemap_scan.h"
#include "prim/linux/proc.h"

/* ---- word by word: Documentation/admin-guide/mm/pagemap.rst ------------------------------------------------------ */

#define WORD_FRAME ((UINT64_C(1) << 55) - 1)
#define WORD_EXCLUSIVE (UINT64_C(1) << 56)
#define WORD_GUARD (UINT64_C(1) << 58)
#define WORD_FILE (UINT64_C(1) << 61)
#define WORD_SWAPPED (UINT64_C(1) << 62)
#define WORD_PRESENT (UINT64_C(1) << 63)
#define WORDS 512

static unsigned state_of_word(uint64_t word) {
    unsigned state = 0;
    if (word & WORD_GUARD) return 0; /* and not swapped; only a scan counts guards among what is known */
    if (word & WORD_PRESENT) state |= VMARENA_PAGE_RESIDENT;
    if (word & WORD_SWAPPED) state |= VMARENA_PAGE_SWAPPED;
    if (state == 0) return 0;
    if ((word & WORD_PRESENT) && (word & WORD_EXCLUSIVE) == 0) state |= VMARENA_PAGE_SHARED;
    return state | (word & WORD_FILE ? VMARENA_PAGE_FILE : VMARENA_PAGE_DIRTY);
}

/* How many were read, or a negative errno. */
static ssize_t read_words(int fd, uint64_t *words, uint64_t first, size_t count) {
    ssize_t bytes = pread(fd, words, count * sizeof words[0], (off_t)(first * sizeof words[0]));
    return bytes < 0 ? -errno : bytes / (ssize_t)sizeof words[0];
}

/* One walk over the pages of a process. */
struct walk {
    pid_t pid;
    int fd; /* of its pagemap */
    uint64_t start, end;
    uint64_t guard; /* VMARENA_SCAN_GUARD where the kernel knows it, otherwise 0 */
    bool scans, exact;
    struct vmarena_prim_page_runs *runs;
};

/* With base not 0 the state of each page is base, and SHARED where its word says so. */
static int walk_words(const struct walk *walk, uint64_t start, uint64_t end, unsigned base) {
    uint64_t words[WORDS], page = vmarena_prim_page_size();
    while (start < end) {
        uint64_t left = (end - start) / page;
        ssize_t got = read_words(walk->fd, words, start / page, left < WORDS ? (size_t)left : WORDS);
        if (got <= 0) return got == 0 && walk->exact ? -EIO : (int)got;
        for (ssize_t i = 0; i < got; i++, start += page) {
            unsigned state = state_of_word(words[i]);
            if (base != 0) state = base | (state & VMARENA_PAGE_SHARED);
            int result = vmarena_prim_page_runs_add(walk->runs, start, start + page, state);
            if (result != 0) return result;
        }
    }
    return 0;
}

static int walk_words_of_mapping(const struct vmarena_mapping *mapping, void *arg) {
    const struct walk *walk = arg;
    uint64_t start = mapping->start > walk->start ? mapping->start : walk->start;
    uint64_t end = mapping->end < walk->end ? mapping->end : walk->end;
    return start < end ? walk_words(walk, start, end, 0) : 0;
}

/* ---- by PAGEMAP_SCAN --------------------------------------------------------------------------------------------- */

static unsigned state_of_categories(uint64_t categories) {
    unsigned state = 0;
    if (categories & VMARENA_SCAN_GUARD) return VMARENA_PAGE_GUARD;
    if (categories & VMARENA_SCAN_PRESENT) state |= VMARENA_PAGE_RESIDENT;
    if (categories & VMARENA_SCAN_SWAPPED) state |= VMARENA_PAGE_SWAPPED;
    if (categories & VMARENA_SCAN_HUGE) state |= VMARENA_PAGE_HUGE;
    if (categories & VMARENA_SCAN_ZERO) return state | VMARENA_PAGE_ZERO;
    return state | (categories & VMARENA_SCAN_FILE ? VMARENA_PAGE_FILE : VMARENA_PAGE_DIRTY);
}

static int add_scanned(uint64_t start, uint64_t end, uint64_t categories, void *arg) {
    const struct walk *walk = arg;
    unsigned state = state_of_categories(categories);
    /* The scan does not tell whether a page is shared. */
    if ((walk->runs->wanted & VMARENA_PAGE_SHARED) && (state & VMARENA_PAGE_RESIDENT))
        return walk_words(walk, start, end, state);
    return vmarena_prim_page_runs_add(walk->runs, start, end, state);
}

#define NOT_PRESENT (VMARENA_PAGE_SWAPPED | VMARENA_PAGE_GUARD)
#define WRITTEN_OR_NOT (VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_ZERO)

/* Pages without a wanted state are not even reported: the guards of an arena may outnumber its pages. */
static uint64_t needed_categories(unsigned wanted, uint64_t guard) {
    uint64_t categories = 0;
    if (wanted & ~NOT_PRESENT) categories |= VMARENA_SCAN_PRESENT;
    if (wanted & (VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE)) categories |= VMARENA_SCAN_SWAPPED;
    if (wanted & VMARENA_PAGE_GUARD) categories |= guard;
    return categories;
}

/* What else tells the wanted states apart. The kernel looks at each page for FILE, which trebles the time. */
static uint64_t distinguishing_categories(unsigned wanted, uint64_t guard) {
    uint64_t categories = needed_categories(wanted, guard);
    if (categories & VMARENA_SCAN_SWAPPED) categories |= guard; /* a guard counts as swapped, too */
    if (wanted & WRITTEN_OR_NOT) categories |= VMARENA_SCAN_FILE | VMARENA_SCAN_ZERO;
    if (wanted & VMARENA_PAGE_HUGE) categories |= VMARENA_SCAN_HUGE;
    return categories;
}

static struct vmarena_pagemap_scan scan_of(struct walk *walk) {
    unsigned wanted = walk->runs->wanted;
    return (struct vmarena_pagemap_scan){.start = walk->start,
                                         .end = walk->end,
                                         .any_of = needed_categories(wanted, walk->guard),
                                         .reported = distinguishing_categories(wanted, walk->guard),
                                         .function = add_scanned,
                                         .arg = walk};
}

/* Whether this kernel scans, and knows walk->guard: asked by scanning nothing. */
static bool can_scan(struct walk *walk) {
    uint64_t categories = VMARENA_SCAN_PRESENT | walk->guard;
    struct vmarena_pagemap_scan scan = {.any_of = categories, .reported = categories};
    return vmarena_prim_scan_pagemap(walk->fd, &scan) == 0;
}

/*
 * Where user space ends depends on the CPU; beyond it the kernel fails with EFAULT before it looks at a page. The end
 * is a page below a power of two, or a lower one for some processes. Sets *end to the next lower candidate; false: none
 * lies above start.
 */
static bool lower_end(uint64_t *end, uint64_t start) {
    uint64_t page = vmarena_prim_page_size(), power = UINT64_C(1) << 63;
    while (power - page >= *end) power >>= 1;
    *end = power - page;
    return *end > start;
}

static int walk_by_scan(struct walk *walk) {
    int result;
    struct vmarena_pagemap_scan scan = scan_of(walk);
    do result = vmarena_prim_scan_pagemap(walk->fd, &scan);
    while (result == -EFAULT && !walk->exact && lower_end(&scan.end, scan.start));
    if (result == 1) return scan.result;
    return result == -EFAULT && !walk->exact ? 0 : result;
}

/* The words cover every page that could be mapped: only those of pages that are mapped are read. */
static int walk_all(struct walk *walk) {
    int result = walk->scans ? walk_by_scan(walk) : vmarena_prim_walk_mappings(walk->pid, walk_words_of_mapping, walk);
    return result != 0 ? result : vmarena_prim_page_runs_flush(walk->runs);
}

/* ---- what is in the page cache alone ----------------------------------------------------------------------------- */

/* mincore(2), a byte a page. It fails with ENOMEM where a part of the range is not mapped: then page by page. */
static int walk_cached(struct vmarena_prim_page_runs *runs, uint64_t start, uint64_t end) {
    unsigned char states[1024];
    uint64_t page = vmarena_prim_page_size();
    while (start < end) {
        uint64_t left = (end - start) / page, count = left < sizeof states ? left : sizeof states;
        while (mincore((void *)(uintptr_t)start, (size_t)(count * page), states) != 0) {
            if (errno != ENOMEM) return -errno;
            states[0] = 0;
            if (count == 1) break;
            count = 1;
        }
        for (uint64_t i = 0; i < count; i++, start += page) {
            unsigned state = states[i] & 1 ? VMARENA_PAGE_CACHED : 0;
            int result = state != 0 ? vmarena_prim_page_runs_add(runs, start, start + page, state) : 0;
            if (result != 0) return result;
        }
    }
    return 0;
}

/* Reports the runs of a walk, and in the gaps between them what is merely in the page cache. */
struct gaps {
    struct vmarena_prim_page_runs *outer;
    uint64_t from;
};

static int fill_gap(const struct vmarena_pages *pages, void *arg) {
    struct gaps *gaps = arg;
    int result = walk_cached(gaps->outer, gaps->from, pages->start);
    gaps->from = pages->end;
    return result != 0 ? result : vmarena_prim_page_runs_add(gaps->outer, pages->start, pages->end, pages->state);
}

static int walk_with_cached(struct walk *walk) {
    struct gaps gaps = {walk->runs, walk->start};
    struct vmarena_prim_page_runs inner = {
        .function = fill_gap, .arg = &gaps, .wanted = walk->runs->wanted | VMARENA_PAGE_RESIDENT};
    walk->runs = &inner;
    int result = walk_all(walk);
    if (result == 0) result = walk_cached(gaps.outer, gaps.from, walk->end);
    return result != 0 ? result : vmarena_prim_page_runs_flush(gaps.outer);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

#define BY_WORDS                                                                                                       \
    (VMARENA_PAGE_RESIDENT | VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_SHARED)
#define BY_SCAN (BY_WORDS | VMARENA_PAGE_HUGE | VMARENA_PAGE_ZERO)

static int walk_open(pid_t pid, int fd, struct vmarena_prim_page_walk *asked, vmarena_pages_fn *function, void *arg) {
    struct vmarena_prim_page_runs runs = {.function = function, .arg = arg, .wanted = asked->wanted};
    struct walk walk = {
        .pid = pid, .fd = fd, .start = asked->start, .end = asked->end, .exact = asked->exact, .runs = &runs};
    if (!asked->by_words) {
        walk.guard = VMARENA_SCAN_GUARD;
        walk.scans = can_scan(&walk);
        if (!walk.scans) walk.guard = 0;
        walk.scans = walk.scans || can_scan(&walk);
    }
    bool cached = (asked->wanted & VMARENA_PAGE_CACHED) != 0 && vmarena_prim_is_self(pid);
    unsigned told = walk.scans ? BY_SCAN : BY_WORDS;
    if (walk.guard != 0) told |= VMARENA_PAGE_GUARD;
    if (cached) told |= VMARENA_PAGE_CACHED;
    asked->known = told & asked->wanted;
    return cached ? walk_with_cached(&walk) : walk_all(&walk);
}

int vmarena_prim_walk_pages(pid_t pid, struct vmarena_prim_page_walk *walk, vmarena_pages_fn *function, void *arg) {
    int fd = vmarena_prim_proc_open(pid, "pagemap");
    walk->known = 0;
    if (fd == VMARENA_NO_MEMORY) return walk->exact ? -ESRCH : 0;
    if (fd < 0) return fd;
    int memory = vmarena_prim_check_memory(fd), result = 0;
    if (memory == 0) {
        result = walk_open(pid, fd, walk, function, arg);
        memory = result == 0 ? vmarena_prim_check_memory(fd) : 0;
        if (memory == VMARENA_NO_MEMORY) result = -ESRCH; /* the process ended meanwhile */
    }
    close(fd);
    if (memory == VMARENA_NO_MEMORY && walk->exact) return -ESRCH;
    return memory < 0 && memory != VMARENA_NO_MEMORY ? memory : result;
}

int vmarena_prim_page_frame(const void *address, uint64_t *frame) {
    uint64_t word = 0;
    int fd = vmarena_prim_proc_open(0, "pagemap");
    if (fd < 0) return fd;
    ssize_t got = read_words(fd, &word, (uintptr_t)address / vmarena_prim_page_size(), 1);
    close(fd);
    if (got < 0) return (int)got;
    if ((word & WORD_PRESENT) == 0) word = 0;
    else if ((word & WORD_FRAME) == 0) return -EPERM; /* hidden: no frame in use by a process has number 0 */
    *frame = word & WORD_FRAME;
    return 0;
}

#endif
