/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/linux/kernel_abi.h"
#include "prim/linux/proc.h"

/* Joins runs that are alike, whatever pieces they come in. */
struct runs {
    struct vmarena_pages pending;
    vmarena_pages_fn *function;
    void *arg;
    unsigned wanted;
    bool exact;
};

static int flush(struct runs *runs) {
    struct vmarena_pages pages = runs->pending;
    runs->pending.state = 0;
    return pages.state != 0 ? runs->function(&pages, runs->arg) : 0;
}

static int add_run(struct runs *runs, uint64_t start, uint64_t end, unsigned state) {
    state &= runs->wanted;
    if (runs->pending.state != 0 && runs->pending.state == state && runs->pending.end == start) {
        runs->pending.end = end;
        return 0;
    }
    int result = flush(runs);
    runs->pending = (struct vmarena_pages){start, end, state};
    return result;
}

/* /proc/PID/pagemap, a word a page: Documentation/admin-guide/mm/pagemap.rst. */
#define WORD_FRAME ((UINT64_C(1) << 55) - 1)
#define WORD_EXCLUSIVE (UINT64_C(1) << 56)
#define WORD_GUARD (UINT64_C(1) << 58)
#define WORD_FILE (UINT64_C(1) << 61)
#define WORD_SWAPPED (UINT64_C(1) << 62)
#define WORD_PRESENT (UINT64_C(1) << 63)
#define WORDS 512

static unsigned state_of_word(uint64_t word) {
    unsigned state = 0;
    if (word & WORD_GUARD) return VMARENA_PAGE_GUARD;
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

/* Word by word; where base is given, its bits are added to those of SHARED. */
static int walk_words(int fd, struct runs *runs, uint64_t start, uint64_t end, unsigned base) {
    uint64_t words[WORDS], page = vmarena_prim_page_size();
    while (start < end) {
        uint64_t left = (end - start) / page;
        ssize_t got = read_words(fd, words, start / page, left < WORDS ? (size_t)left : WORDS);
        if (got <= 0) return got == 0 && runs->exact ? -EIO : (int)got;
        for (ssize_t i = 0; i < got; i++, start += page) {
            unsigned state = state_of_word(words[i]);
            if (base != 0) state = base | (state & VMARENA_PAGE_SHARED);
            int result = add_run(runs, start, start + page, state);
            if (result != 0) return result;
        }
    }
    return 0;
}

#define SCAN_FILE (UINT64_C(1) << 2)
#define SCAN_SWAPPED (UINT64_C(1) << 4)
#define SCAN_ZERO (UINT64_C(1) << 5)
#define SCAN_GUARD (UINT64_C(1) << 8)

static unsigned state_of_categories(uint64_t categories) {
    unsigned state = 0;
    if (categories & SCAN_GUARD) return VMARENA_PAGE_GUARD;
    if (categories & VMARENA_SCAN_PRESENT) state |= VMARENA_PAGE_RESIDENT;
    if (categories & SCAN_SWAPPED) state |= VMARENA_PAGE_SWAPPED;
    if (categories & VMARENA_SCAN_HUGE) state |= VMARENA_PAGE_HUGE;
    if (categories & SCAN_ZERO) return state | VMARENA_PAGE_ZERO;
    return state | (categories & SCAN_FILE ? VMARENA_PAGE_FILE : VMARENA_PAGE_DIRTY);
}

/* One call: some regions, and how far it came. */
static int scan_some(int fd, struct vmarena_scan *scan, uint64_t guard, struct vmarena_scan_region *regions,
                     size_t room) {
    uint64_t shown = VMARENA_SCAN_PRESENT | SCAN_SWAPPED | guard;
    scan->size = sizeof *scan;
    scan->regions = (uint64_t)(uintptr_t)regions;
    scan->region_count = room;
    scan->category_any_of = shown;
    scan->return_mask = shown | SCAN_FILE | SCAN_ZERO | VMARENA_SCAN_HUGE;
    int count = ioctl(fd, VMARENA_SCAN_IOCTL, scan);
    return count < 0 ? -errno : count;
}

static int add_region(int fd, struct runs *runs, const struct vmarena_scan_region *region) {
    unsigned state = state_of_categories(region->categories);
    bool asks = (runs->wanted & VMARENA_PAGE_SHARED) && (state & VMARENA_PAGE_RESIDENT);
    return asks ? walk_words(fd, runs, region->start, region->end, state)
                : add_run(runs, region->start, region->end, state);
}

/*
 * Where user space ends depends on the CPU; beyond it the kernel says EFAULT and looks at nothing. It is a page below a
 * power of two, or a lower one for some processes: the next lower candidate. False: there is none above start.
 */
static bool lower(uint64_t *end, uint64_t start) {
    uint64_t page = vmarena_prim_page_size(), power = UINT64_C(1) << 63;
    while (power - page >= *end) power >>= 1;
    *end = power - page;
    return *end > start;
}

static int walk_scan(int fd, struct runs *runs, uint64_t start, uint64_t end, uint64_t guard) {
    struct vmarena_scan_region regions[128] = {{.start = 0}};
    while (start < end) {
        struct vmarena_scan scan = {.start = start, .end = end};
        int count = scan_some(fd, &scan, guard, regions, sizeof regions / sizeof regions[0]), result = 0;
        bool beyond = count == -EFAULT && !runs->exact; /* the end of user space */
        if (beyond && lower(&end, start)) continue;
        if (count < 0) return beyond ? 0 : count;
        for (int i = 0; i < count && result == 0; i++) result = add_region(fd, runs, &regions[i]);
        if (result != 0) return result;
        start = scan.walk_end;
    }
    return 0;
}

/* Which of the scan's categories this kernel knows: asked by scanning nothing. */
static bool scan_knows(int fd, uint64_t guard) {
    struct vmarena_scan_region region;
    struct vmarena_scan scan = {.start = 0, .end = 0};
    return scan_some(fd, &scan, guard, &region, 1) >= 0;
}

#define BY_WORDS                                                                                                       \
    (VMARENA_PAGE_RESIDENT | VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_SHARED)
#define BY_SCAN (BY_WORDS | VMARENA_PAGE_HUGE | VMARENA_PAGE_ZERO)

/* Cached and not mapped, a byte a page. Holes in the range (ENOMEM) are passed over page by page. */
static int walk_cached(struct runs *runs, uint64_t start, uint64_t end) {
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
            int result = states[i] & 1 ? add_run(runs, start, start + page, VMARENA_PAGE_CACHED) : 0;
            if (result != 0) return result;
        }
    }
    return 0;
}

/* Between what is reported, what is merely in the cache. */
struct filler {
    struct runs *outer;
    uint64_t from;
};

static int fill_gap(const struct vmarena_pages *pages, void *arg) {
    struct filler *filler = arg;
    int result = walk_cached(filler->outer, filler->from, pages->start);
    filler->from = pages->end;
    return result != 0 ? result : add_run(filler->outer, pages->start, pages->end, pages->state);
}

struct words_walk {
    int fd;
    struct runs *runs;
    uint64_t start, end;
};

static int walk_mapping(const struct vmarena_mapping *mapping, void *arg) {
    const struct words_walk *walk = arg;
    uint64_t start = mapping->start > walk->start ? mapping->start : walk->start;
    uint64_t end = mapping->end < walk->end ? mapping->end : walk->end;
    return start < end ? walk_words(walk->fd, walk->runs, start, end, 0) : 0;
}

/* Words there are for every page that could be mapped: only those are read that are. */
static int walk_mapped(pid_t pid, int fd, struct runs *runs, uint64_t start, uint64_t end) {
    struct words_walk walk = {fd, runs, start, end};
    return vmarena_prim_maps(pid, walk_mapping, &walk);
}

static int walk(pid_t pid, int fd, struct runs *runs, uint64_t start, uint64_t end, bool scans, uint64_t guard) {
    int result = scans ? walk_scan(fd, runs, start, end, guard) : walk_mapped(pid, fd, runs, start, end);
    return result != 0 ? result : flush(runs);
}

static int look(pid_t pid, int fd, const struct vmarena_prim_pages_query *wish, vmarena_pages_fn *function, void *arg) {
    struct runs runs = {.function = function, .arg = arg, .wanted = wish->wanted, .exact = wish->exact};
    struct filler filler = {&runs, wish->start};
    uint64_t guard = !wish->by_words && scan_knows(fd, SCAN_GUARD) ? SCAN_GUARD : 0;
    bool scans = !wish->by_words && (guard != 0 || scan_knows(fd, 0));
    bool fills = (wish->wanted & VMARENA_PAGE_CACHED) != 0 && vmarena_prim_is_self(pid);
    *wish->known =
        ((scans ? BY_SCAN : BY_WORDS) | (guard != 0 ? VMARENA_PAGE_GUARD : 0) | (fills ? VMARENA_PAGE_CACHED : 0)) &
        wish->wanted;
    if (!fills) return walk(pid, fd, &runs, wish->start, wish->end, scans, guard);
    struct runs inner = {.function = fill_gap, .arg = &filler, .wanted = wish->wanted | VMARENA_PAGE_RESIDENT};
    int result = walk(pid, fd, &inner, wish->start, wish->end, scans, guard);
    if (result == 0) result = walk_cached(&runs, filler.from, wish->end);
    return result != 0 ? result : flush(&runs);
}

int vmarena_prim_pages(pid_t pid, const struct vmarena_prim_pages_query *wish, vmarena_pages_fn *function, void *arg) {
    int fd = vmarena_prim_proc_open(pid, "pagemap"), result = 0;
    *wish->known = 0;
    if (fd == VMARENA_NO_MEMORY) return wish->exact ? -ESRCH : 0;
    if (fd < 0) return fd;
    if (wish->exact || vmarena_prim_has_memory(fd)) {
        result = look(pid, fd, wish, function, arg);
        if (result == 0 && !vmarena_prim_has_memory(fd)) result = -ESRCH; /* it ended meanwhile */
    }
    close(fd);
    return result;
}

int vmarena_prim_frame(const void *address, uint64_t *frame) {
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
