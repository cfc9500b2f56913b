/* SPDX-License-Identifier: MIT */
/* What the system tells of a process's memory: on Linux /proc/PID and perf_event_open(2), elsewhere getrusage(2). */
#include "prim/prim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int usage(int who, uint64_t *minor, uint64_t *major) {
    struct rusage used;
    if (getrusage(who, &used) != 0) return -errno;
    *minor = (uint64_t)used.ru_minflt;
    *major = (uint64_t)used.ru_majflt;
    return 0;
}

bool vmarena_prim_is_self(pid_t pid) { return pid == 0 || pid == getpid(); }

#ifdef __linux__

#include <linux/perf_event.h>
#include <signal.h>
#include <sys/uio.h>

#include "prim/linux.h"

int vmarena_prim_fault_counts(bool thread, uint64_t *minor, uint64_t *major) {
    return usage(thread ? RUSAGE_THREAD : RUSAGE_SELF, minor, major);
}

/* ---- /proc/PID ---------------------------------------------------------------------------------------------------------- */

/* Also where /proc is mounted so that it hides the processes of others (hidepid=2). */
static bool exists(pid_t pid) { return kill(pid, 0) == 0 || errno == EPERM; }

/* A thread of the kernel's, or a process that ended and was not waited for: it is there, and has no memory. */
#define NO_MEMORY (-ENODATA)

static int open_file(pid_t pid, const char *file) {
    char path[64];
    if (pid == 0) (void)snprintf(path, sizeof path, "/proc/self/%s", file);
    else (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* /proc/PID/stat from its third field on, behind the name in brackets, which may hold anything. NULL: *error. */
#define STAT_SIZE 1024
static const char *read_stat(int fd, char text[STAT_SIZE], int *error) {
    ssize_t got = read(fd, text, STAT_SIZE - 1);
    *error = got < 0 ? -errno : -EOPNOTSUPP;
    text[got > 0 ? got : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' ? name_end + 2 : NULL;
}

/* It looks as if it were not allowed, since there is no memory that would say whose it is. */
static bool has_ended(pid_t pid) {
    char text[STAT_SIZE];
    int error, fd = open_file(pid, "stat");
    if (fd < 0) return false;
    const char *state = read_stat(fd, text, &error);
    close(fd);
    return state != NULL && (*state == 'Z' || *state == 'X');
}

static int proc_open(pid_t pid, const char *file) {
    char path[64];
    if (pid < 0) return -ESRCH;
    int fd = open_file(pid, file);
    if (fd >= 0) return fd;
    if (errno == EACCES) return has_ended(pid) ? NO_MEMORY : -EPERM;
    if (errno == ESRCH) return exists(pid) ? NO_MEMORY : -ESRCH;
    if (errno != ENOENT) return -errno;
    if (access("/proc/self/maps", F_OK) != 0) return -EOPNOTSUPP; /* no /proc is mounted */
    (void)snprintf(path, sizeof path, "/proc/%ld", (long)pid);
    if (pid == 0 || access(path, F_OK) == 0) return -EOPNOTSUPP;
    return exists(pid) ? -EPERM : -ESRCH;
}

/* Whether a file of /proc has anything to read: not once the process's memory is gone. */
static bool has_memory(int fd) {
    uint64_t word;
    return pread(fd, &word, sizeof word, 0) > 0;
}

/* A file line by line. A line that exceeds the buffer (no path of PATH_MAX does) loses its end. */
struct lines {
    int fd;
    size_t start, end;
    bool cut; /* the rest of the line is to be left out */
    char text[16 * 1024];
};

static int fill(struct lines *lines) {
    ssize_t got;
    memmove(lines->text, lines->text + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    do got = read(lines->fd, lines->text + lines->end, sizeof lines->text - 1 - lines->end);
    while (got < 0 && errno == EINTR);
    if (got < 0) return -errno;
    lines->end += (size_t)got;
    return got > 0;
}

static int leave_out_the_rest(struct lines *lines) {
    while (lines->cut) {
        char *newline = memchr(lines->text + lines->start, '\n', lines->end - lines->start);
        lines->start = newline != NULL ? (size_t)(newline + 1 - lines->text) : lines->end;
        lines->cut = newline == NULL;
        int more = lines->cut ? fill(lines) : 1;
        if (more <= 0) return more;
    }
    return 1;
}

/* 1: *line is the next, terminated without its newline. 0: there is none. */
static int next_line(struct lines *lines, char **line) {
    int left = leave_out_the_rest(lines);
    if (left <= 0) return left;
    for (;;) {
        char *begin = lines->text + lines->start, *newline = memchr(begin, '\n', lines->end - lines->start);
        if (newline != NULL || lines->end - lines->start == sizeof lines->text - 1) {
            char *last = newline != NULL ? newline : lines->text + lines->end - 1;
            lines->cut = newline == NULL;
            *last = '\0';
            *line = begin;
            lines->start = (size_t)(last + 1 - lines->text);
            return 1;
        }
        int more = fill(lines);
        if (more <= 0) return more;
    }
}

static uint64_t number(char **text, unsigned radix) {
    uint64_t value = 0;
    for (;; ++*text) {
        char c = **text;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 99;
        if (digit >= radix) return value;
        value = value * radix + digit;
    }
}

static void skip_spaces(char **text) {
    while (**text == ' ') ++*text;
}

/* "7f0000000000-7f0000001000 r-xp 00002000 fe:00 1234    /usr/lib/a.so" */
static bool parse_mapping(char *line, struct vmarena_mapping *out) {
    *out = (struct vmarena_mapping){.owner_name = ""};
    out->start = number(&line, 16);
    if (*line++ != '-') return false;
    out->end = number(&line, 16);
    if (*line++ != ' ' || strnlen(line, 5) < 5) return false;
    out->prot = (line[0] == 'r' ? VMARENA_READ : 0) | (line[1] == 'w' ? VMARENA_WRITE : 0) |
                (line[2] == 'x' ? VMARENA_EXEC : 0);
    out->shared = line[3] == 's';
    line += 5;
    out->offset = number(&line, 16);
    skip_spaces(&line);
    out->device_major = (uint32_t)number(&line, 16);
    if (*line++ != ':') return false;
    out->device_minor = (uint32_t)number(&line, 16);
    skip_spaces(&line);
    out->inode = number(&line, 10);
    skip_spaces(&line);
    out->name = line;
    return true;
}

int vmarena_prim_maps(pid_t pid, vmarena_maps_fn *function, void *arg) {
    struct lines lines = {.fd = proc_open(pid, "maps")};
    struct vmarena_mapping mapping;
    char *line;
    bool any = false;
    int result = lines.fd;
    if (result < 0) return result == NO_MEMORY ? 0 : result;
    for (; (result = next_line(&lines, &line)) == 1; any = true) {
        result = parse_mapping(line, &mapping) ? function(&mapping, arg) : -EOPNOTSUPP;
        if (result != 0) break;
    }
    if (result == 0 && any && !has_memory(lines.fd)) result = -ESRCH; /* the list ended because the process did */
    close(lines.fd);
    return result;
}

/* PROCMAP_QUERY: flags as in linux/fs.h. */
#define QUERY_READ 1u
#define QUERY_WRITE 2u
#define QUERY_EXEC 4u
#define QUERY_SHARED 8u
#define QUERY_OR_NEXT 16u
#define NAME_SIZE 4352 /* PATH_MAX and what is written after a path, as " (deleted)" */

static int query(int fd, uint64_t address, bool or_next, struct vmarena_mapping *out, char name[NAME_SIZE]) {
    struct vmarena_procmap_query query = {.size = sizeof query,
                                          .flags = or_next ? QUERY_OR_NEXT : 0,
                                          .address = address,
                                          .name = (uint64_t)(uintptr_t)name,
                                          .name_size = NAME_SIZE};
    name[0] = '\0';
    if (ioctl(fd, VMARENA_PROCMAP_QUERY_IOCTL, &query) != 0) return -errno;
    if (query.name_size == 0) name[0] = '\0';
    *out = (struct vmarena_mapping){.start = query.start,
                                    .end = query.end,
                                    .offset = query.offset,
                                    .inode = query.inode,
                                    .device_major = query.device_major,
                                    .device_minor = query.device_minor,
                                    .prot = (query.vma_flags & QUERY_READ ? VMARENA_READ : 0) |
                                            (query.vma_flags & QUERY_WRITE ? VMARENA_WRITE : 0) |
                                            (query.vma_flags & QUERY_EXEC ? VMARENA_EXEC : 0),
                                    .shared = (query.vma_flags & QUERY_SHARED) != 0,
                                    .name = name,
                                    .owner_name = ""};
    return 0;
}

static bool is_unknown(int error) { return error == -ENOTTY || error == -EINVAL || error == -EOPNOTSUPP; }

int vmarena_prim_maps_by_query(pid_t pid, vmarena_maps_fn *function, void *arg) {
    char name[NAME_SIZE];
    struct vmarena_mapping mapping = {.end = 0};
    int fd = proc_open(pid, "maps"), result;
    if (fd < 0) return fd;
    do {
        result = query(fd, mapping.end, true, &mapping, name);
        if (result == 0) result = function(&mapping, arg);
        else if (result == -ENOENT) result = 1; /* past the last */
        else if (is_unknown(result)) result = -EOPNOTSUPP;
    } while (result == 0);
    close(fd);
    return result == 1 ? 0 : result;
}

struct wanted_mapping {
    uint64_t address;
    struct vmarena_mapping *out;
    char *name;
    size_t size;
};

static void copy_name(struct wanted_mapping *wanted, const struct vmarena_mapping *mapping) {
    *wanted->out = *mapping;
    wanted->out->name = "";
    if (wanted->size == 0) return;
    size_t length = strnlen(mapping->name, wanted->size - 1);
    memcpy(wanted->name, mapping->name, length);
    wanted->name[length] = '\0';
    wanted->out->name = wanted->name;
}

static int take_wanted(const struct vmarena_mapping *mapping, void *arg) {
    struct wanted_mapping *wanted = arg;
    if (mapping->end <= wanted->address) return 0;
    if (mapping->start > wanted->address) return -ENOENT;
    copy_name(wanted, mapping);
    return 1;
}

int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    struct wanted_mapping wanted = {address, out, name, size};
    struct vmarena_mapping mapping;
    char found[NAME_SIZE];
    int fd = proc_open(pid, "maps");
    if (fd < 0) return fd == NO_MEMORY ? -ENOENT : fd;
    int error = query(fd, address, false, &mapping, found);
    close(fd);
    if (error == 0) copy_name(&wanted, &mapping);
    if (error == -ESRCH && exists(pid)) error = -ENOENT; /* it has no memory */
    /* The page of old system calls, which x86-64 has at the top, is in the list, but no answer. */
    bool listed = is_unknown(error) || error == -ENAMETOOLONG || (error == -ENOENT && address >> 63 != 0);
    if (!listed) return error;
    int result = vmarena_prim_maps(pid, take_wanted, &wanted);
    return result == 1 ? 0 : result == 0 ? -ENOENT : result;
}

/* ---- pages -------------------------------------------------------------------------------------------------------------- */

/* Joins runs that are alike, whatever pieces they come in. */
struct runs {
    struct vmarena_pages pending;
    vmarena_pages_fn *function;
    void *arg;
    unsigned wanted;
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
        if (got <= 0) return (int)got;
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
        if (count == -EFAULT && lower(&end, start)) continue;
        if (count < 0) return count == -EFAULT ? 0 : count;
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
    struct runs runs = {.function = function, .arg = arg, .wanted = wish->wanted};
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
    int fd = proc_open(pid, "pagemap"), result = 0;
    *wish->known = 0;
    if (fd < 0) return fd == NO_MEMORY ? 0 : fd;
    if (has_memory(fd)) {
        result = look(pid, fd, wish, function, arg);
        if (result == 0 && !has_memory(fd)) result = -ESRCH; /* it ended meanwhile */
    }
    close(fd);
    return result;
}

int vmarena_prim_frame(const void *address, uint64_t *frame) {
    uint64_t word = 0;
    int fd = proc_open(0, "pagemap");
    if (fd < 0) return fd;
    ssize_t got = read_words(fd, &word, (uintptr_t)address / vmarena_prim_page_size(), 1);
    close(fd);
    if (got < 0) return (int)got;
    if ((word & WORD_PRESENT) == 0) word = 0;
    else if ((word & WORD_FRAME) == 0) return -EPERM; /* hidden: no frame in use by a process has number 0 */
    *frame = word & WORD_FRAME;
    return 0;
}

int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size) {
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};
    if (from > UINTPTR_MAX) return -EFAULT;
    ssize_t got = process_vm_readv(pid == 0 ? getpid() : pid, &here, 1, &there, 1, 0);
    if (got < 0) return -errno;
    return (size_t)got == size ? 0 : -EFAULT;
}

/* ---- totals ------------------------------------------------------------------------------------------------------------- */

static void add_total(struct vmarena_totals *totals, char *line) {
    static const struct {
        const char *key;
        size_t offset;
    } keys[] = {{"Rss", offsetof(struct vmarena_totals, rss)},
                {"Pss", offsetof(struct vmarena_totals, pss)},
                {"Shared_Clean", offsetof(struct vmarena_totals, shared_clean)},
                {"Shared_Dirty", offsetof(struct vmarena_totals, shared_dirty)},
                {"Private_Clean", offsetof(struct vmarena_totals, private_clean)},
                {"Private_Dirty", offsetof(struct vmarena_totals, private_dirty)},
                {"Anonymous", offsetof(struct vmarena_totals, anonymous)},
                {"AnonHugePages", offsetof(struct vmarena_totals, huge)},
                {"ShmemPmdMapped", offsetof(struct vmarena_totals, huge)},
                {"FilePmdMapped", offsetof(struct vmarena_totals, huge)},
                {"Shared_Hugetlb", offsetof(struct vmarena_totals, hugetlb)},
                {"Private_Hugetlb", offsetof(struct vmarena_totals, hugetlb)},
                {"Swap", offsetof(struct vmarena_totals, swap)},
                {"Locked", offsetof(struct vmarena_totals, locked)}};
    char *colon = strchr(line, ':');
    if (colon == NULL) return;
    *colon++ = '\0';
    skip_spaces(&colon);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(line, keys[i].key) == 0)
            *(uint64_t *)(void *)((char *)totals + keys[i].offset) += number(&colon, 10) * 1024;
}

int vmarena_prim_totals(pid_t pid, struct vmarena_totals *out) {
    char *line;
    int result;
    struct lines lines = {.fd = proc_open(pid, "smaps_rollup")};
    if (lines.fd == -EOPNOTSUPP) lines.fd = proc_open(pid, "smaps");
    if (lines.fd < 0) return lines.fd == NO_MEMORY ? 0 : lines.fd;
    while ((result = next_line(&lines, &line)) == 1) add_total(out, line);
    close(lines.fd);
    return result == -ESRCH && exists(pid) ? 0 : result; /* it has no memory */
}

/* Fields 10 and 12 of /proc/PID/stat. */
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major) {
    char text[STAT_SIZE];
    unsigned long long fresh, read_in;
    int error, fd = proc_open(pid, "stat");
    if (fd < 0) return fd;
    const char *fields = read_stat(fd, text, &error);
    close(fd);
    if (fields == NULL) return error;
    if (sscanf(fields, "%*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &fresh, &read_in) != 2) return -EOPNOTSUPP;
    *minor = fresh;
    *major = read_in;
    return 0;
}

/* ---- counters ------------------------------------------------------------------------------------------------------------- */

#define CACHE_EVENT(cache, operation, result) ((cache) | (operation) << 8 | (result) << 16)

static const struct {
    uint32_t type;
    uint64_t config;
} events[VMARENA_COUNTERS] = {
    [VMARENA_COUNT_PAGE_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    [VMARENA_COUNT_MINOR_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    [VMARENA_COUNT_MAJOR_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    [VMARENA_COUNT_TASK_NANOSECONDS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK},
    [VMARENA_COUNT_DTLB_LOAD_MISSES] = {PERF_TYPE_HW_CACHE,
                                        CACHE_EVENT(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_READ,
                                                    PERF_COUNT_HW_CACHE_RESULT_MISS)},
    [VMARENA_COUNT_DTLB_STORE_MISSES] = {PERF_TYPE_HW_CACHE,
                                         CACHE_EVENT(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_WRITE,
                                                     PERF_COUNT_HW_CACHE_RESULT_MISS)},
    [VMARENA_COUNT_INSTRUCTIONS] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    [VMARENA_COUNT_CYCLES] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
};

int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only) {
    struct perf_event_attr event = {.type = events[counter].type,
                                    .size = sizeof event,
                                    .config = events[counter].config,
                                    .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING};
    event.inherit = (flags & VMARENA_COUNT_CHILDREN) != 0;
    event.disabled = event.enable_on_exec = (flags & VMARENA_COUNT_AT_EXEC) != 0;
    event.exclude_hv = 1;
    /* The CPU's own counters count the program alone. Faults that the kernel takes for it (read(2) into fresh memory)
     * belong to it, but unprivileged it may see its own only (kernel.perf_event_paranoid 2). */
    event.exclude_kernel = event.type != PERF_TYPE_SOFTWARE;
    long fd = syscall(SYS_perf_event_open, &event, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM) && !event.exclude_kernel) {
        event.exclude_kernel = 1;
        fd = syscall(SYS_perf_event_open, &event, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
    *user_only = event.exclude_kernel;
    return fd < 0 ? -errno : (int)fd;
}

int vmarena_prim_counter_read(int fd, uint64_t *value) {
    uint64_t got[3] = {0}; /* the count; nanoseconds enabled, and of these, counting */
    ssize_t bytes = read(fd, got, sizeof got);
    if (bytes != sizeof got) return bytes < 0 ? -errno : -EIO;
    *value = got[0];
    if (got[2] != 0 && got[2] < got[1]) *value = (uint64_t)((double)got[0] * (double)got[1] / (double)got[2]);
    return 0;
}

#else /* not Linux */

int vmarena_prim_fault_counts(bool thread, uint64_t *minor, uint64_t *major) {
    return thread ? -EOPNOTSUPP : usage(RUSAGE_SELF, minor, major);
}
int vmarena_prim_maps(pid_t pid, vmarena_maps_fn *function, void *arg) {
    return (void)pid, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_maps_by_query(pid_t pid, vmarena_maps_fn *function, void *arg) {
    return (void)pid, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    return (void)pid, (void)address, (void)out, (void)name, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_pages(pid_t pid, const struct vmarena_prim_pages_query *wish, vmarena_pages_fn *function, void *arg) {
    return (void)pid, (void)wish, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_frame(const void *address, uint64_t *frame) { return (void)address, (void)frame, -EOPNOTSUPP; }
int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size) {
    return (void)pid, (void)to, (void)from, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_totals(pid_t pid, struct vmarena_totals *out) { return (void)pid, (void)out, -EOPNOTSUPP; }
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major) {
    return (void)pid, (void)minor, (void)major, -EOPNOTSUPP;
}
int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only) {
    return (void)counter, (void)pid, (void)flags, (void)user_only, -EOPNOTSUPP;
}
int vmarena_prim_counter_read(int fd, uint64_t *value) { return (void)fd, (void)value, -EOPNOTSUPP; }

#endif
