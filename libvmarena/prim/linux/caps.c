/* SPDX-License-Identifier: MIT */
/*
 * What this system can do, found by trying. A call's success alone proves little: emulators accept any madvise advice
 * and do nothing. So an attempt also looks for the effect where it can be seen, by means that raise no signal and start
 * no process, since the host may have threads, handlers and children of its own. Every attempt has fresh pages and
 * gives back all it took.
 */

#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/huge_pages.h"
#include "prim/linux/kernel_abi.h"
#include "prim/linux/proc.h"

#define DENY_ACCESS 1 /* PKEY_DISABLE_ACCESS, asm-generic/mman-common.h */

/* ---- attempts: each gets a few fresh pages, readable and writable, and never touched ---- */

#define PAGES 4

static bool tried(bool (*attempt)(char *pages, size_t page)) {
    void *pages;
    size_t page = vmarena_prim_page_size();
    if (vmarena_prim_map(&pages, PAGES * page, page, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    /* In a process that locks all it maps (mlockall(2)) they are there already, and nothing would fault. */
    (void)vmarena_prim_unlock(pages, PAGES * page);
    (void)vmarena_prim_discard(pages, PAGES * page);
    bool works = attempt(pages, page);
    (void)vmarena_prim_unmap(pages, PAGES * page);
    return works;
}

/* Whether the page faults: a system call that writes there says EFAULT, where an access of ours would raise SIGSEGV. */
static bool faults(void *page) { return uname(page) != 0 && errno == EFAULT; }

static bool resident(void *page, size_t size) {
    unsigned char state;
    return mincore(page, size, &state) == 0 && (state & 1) != 0;
}

static bool advise_vector(int process, char *pages, size_t page) {
    struct iovec ranges[] = {{pages, page}, {pages + 2 * page, page}};
    long got = syscall(SYS_process_madvise, process, ranges, 2, MADV_GUARD_INSTALL, 0);
    return got == (long)(2 * page) && faults(pages) && !faults(pages + page) && faults(pages + 2 * page);
}

static bool vectored_madvise(char *pages, size_t page) {
    if (advise_vector(PIDFD_SELF_THREAD_GROUP, pages, page)) return true; /* Linux 6.14 */
    int process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (process < 0) return false;
    bool works = advise_vector(process, pages, page);
    close(process);
    return works;
}

static bool populate(char *pages, size_t page) {
    return !resident(pages, page) && madvise(pages, page, MADV_POPULATE_WRITE) == 0 && resident(pages, page);
}

static bool wipe_on_fork(char *pages, size_t page) { return madvise(pages, page, MADV_WIPEONFORK) == 0; }

static bool procmap_query(char *pages, size_t page) {
    struct vmarena_procmap_query query = {.size = sizeof query, .address = (uint64_t)(uintptr_t)pages};
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool works = ioctl(fd, VMARENA_PROCMAP_QUERY_IOCTL, &query) == 0 && query.start <= query.address &&
                 query.address + PAGES * page <= query.end;
    close(fd);
    return works;
}

static bool pagemap_scan(char *pages, size_t page) {
    struct vmarena_scan_region region = {.start = 0};
    struct vmarena_scan scan = {.size = sizeof scan,
                                .start = (uint64_t)(uintptr_t)pages,
                                .end = (uint64_t)(uintptr_t)pages + PAGES * page,
                                .regions = (uint64_t)(uintptr_t)&region,
                                .region_count = 1,
                                .category_mask = VMARENA_SCAN_PRESENT,
                                .return_mask = VMARENA_SCAN_PRESENT};
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    pages[0] = 1; /* a huge page may bring more in */
    bool works = ioctl(fd, VMARENA_SCAN_IOCTL, &scan) == 1 && region.start == scan.start && region.end <= scan.end;
    close(fd);
    return works;
}

/* Sealing cannot be undone, and what is sealed stays mapped: a length of 0 is valid, and seals nothing. */
static bool seal(char *pages, size_t page) { return (void)page, syscall(SYS_mseal, pages, 0, 0) == 0; }

static bool vma_names(char *pages, size_t page) { return vmarena_prim_name(pages, page, "vmarena") == 0; }

/* Restricted to faults of user code first: that is what an unprivileged process may have (Linux 5.11). */
static int open_userfaultfd(void) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    return fd >= 0 ? fd : (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
}

static void find_userfaultfd(struct vmarena_caps *caps) {
    struct uffdio_api api = {.api = UFFD_API};
    int fd = open_userfaultfd();
    if (fd < 0) return;
    caps->userfaultfd = ioctl(fd, UFFDIO_API, &api) == 0;
    caps->userfaultfd_wp = caps->userfaultfd && (api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0;
    close(fd);
}

static int open_counter(uint32_t type, uint64_t config) {
    struct perf_event_attr event = {.type = type, .size = sizeof event, .config = config};
    event.exclude_kernel = event.exclude_hv = 1; /* all that perf_event_paranoid 2, the kernel's default, allows */
    return (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static bool perf_counters(char *pages, size_t page) {
    uint64_t before, after;
    int fd = open_counter(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS);
    (void)page;
    if (fd < 0) return false;
    bool works = read(fd, &before, sizeof before) == sizeof before;
    *(volatile char *)pages = 1;
    works = works && read(fd, &after, sizeof after) == sizeof after && after > before;
    close(fd);
    return works;
}

static bool perf_tlb(void) {
    int fd = open_counter(PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 |
                                                  PERF_COUNT_HW_CACHE_RESULT_MISS << 16);
    if (fd < 0) return false;
    close(fd);
    return true;
}

/* Collapsing for real brings a whole huge page in. That is fine for 2 MiB; where a huge page is 32 or 512 MiB (arm64
 * with large base pages) the kernel is only asked whether it knows the advice, by a length of 0. */
#define COLLAPSE_AT_MOST ((size_t)4 << 20)

static bool collapse(size_t huge) {
    void *block;
    size_t page = vmarena_prim_page_size();
    if (huge == 0 || vmarena_prim_map(&block, huge, huge, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    bool small = huge <= COLLAPSE_AT_MOST;
    if (small) *(volatile char *)block = 1;
    bool works = madvise(block, small ? huge : 0, MADV_COLLAPSE) == 0;
    /* No huge page is free at this moment: that says nothing about what the system can do. */
    bool later = !works && (errno == ENOMEM || errno == EAGAIN || errno == EBUSY);
    works = works && (!small || resident((char *)block + huge - page, page));
    (void)vmarena_prim_unmap(block, huge);
    return works || later;
}

/* There is no way to count protection keys but to take them all. Access denied is what the kernel gives a thread for
 * keys that it does not own: taking and freeing them with it leaves the thread's rights as they were. */
static size_t protection_keys(void) {
    size_t count = 0;
#ifdef SYS_pkey_alloc
    int keys[64];
    while (count < sizeof keys / sizeof keys[0]) {
        keys[count] = (int)syscall(SYS_pkey_alloc, 0, DENY_ACCESS);
        if (keys[count] < 0) break;
        count++;
    }
    for (size_t i = 0; i < count; i++) (void)syscall(SYS_pkey_free, keys[i]);
#endif
    return count;
}

static void find_pages(struct vmarena_caps *caps) {
    size_t used;
    caps->page_size = vmarena_prim_page_size();
    caps->huge_page_size = vmarena_prim_huge_page_size();
    caps->thp = vmarena_prim_thp_mode();
    caps->thp_sizes = vmarena_prim_thp_sizes(caps->huge_page_size, caps->thp);
    caps->hugetlb_2m_free = vmarena_prim_hugetlb_free(21);
    caps->hugetlb_1g_free = vmarena_prim_hugetlb_free(30);
    caps->strict_overcommit = vmarena_prim_read_number("/proc/sys/vm/overcommit_memory") == 2;
    vmarena_prim_map_entries(&used, &caps->map_entry_limit);
}

int vmarena_prim_caps(struct vmarena_caps *out) {
    void *page;
    size_t size = vmarena_prim_page_size();
    struct vmarena_caps caps = {.page_size = size};
    /* Without a page to try on, every attempt below would fail, and say nothing about the system. */
    int error = vmarena_prim_map(&page, PAGES * size, size, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return error;
    (void)vmarena_prim_unmap(page, PAGES * size);
    find_pages(&caps);
    caps.guard_markers = vmarena_prim_has_guard_markers();
    caps.vectored_madvise = caps.guard_markers && tried(vectored_madvise);
    caps.collapse = collapse(caps.huge_page_size);
    caps.populate = tried(populate);
    caps.wipe_on_fork = tried(wipe_on_fork);
    caps.procmap_query = tried(procmap_query);
    caps.pagemap_scan = tried(pagemap_scan);
    caps.seal = tried(seal);
    caps.vma_names = tried(vma_names);
    find_userfaultfd(&caps);
    caps.perf_counters = tried(perf_counters);
    caps.perf_tlb = caps.perf_counters && perf_tlb();
    caps.protection_keys = protection_keys();
    caps.fault_access = vmarena_prim_context_has_access();
    *out = caps;
    return 0;
}

#endif
