/* SPDX-License-Identifier: MIT */
/*
 * What this system can do, found by trying. That a call succeeds proves little: emulators accept any advice and do
 * nothing. So an attempt checks the effect, too, where it can be seen. It raises no signal and starts no process, since
 * the host may have handlers and children of its own. Every attempt gets fresh pages and releases what it took.
 */

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/huge_pages.h"
#include "prim/linux/kernel_abi.h"
#include "prim/linux/maps.h"
#include "prim/linux/pagemap_scan.h"
#include "prim/linux/proc.h"

#define DENY_ACCESS 1 /* PKEY_DISABLE_ACCESS, asm-generic/mman-common.h */

/* ---- attempts: each gets a few fresh pages, readable and writable, never accessed before ------------------------- */

#define PAGES 4

static bool tried(bool (*attempt)(char *pages, size_t page)) {
    void *pages;
    size_t page = vmarena_prim_page_size();
    if (vmarena_prim_map(&pages, PAGES * page, page, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    /* After mlockall(2) for future mappings they are resident already, and no access would fault. */
    (void)vmarena_prim_unlock(pages, PAGES * page);
    (void)vmarena_prim_discard(pages, PAGES * page);
    bool works = attempt(pages, page);
    (void)vmarena_prim_unmap(pages, PAGES * page);
    return works;
}

static bool resident(void *page, size_t size) {
    unsigned char state;
    return mincore(page, size, &state) == 0 && (state & 1) != 0;
}

static bool advise_vector(int process, char *pages, size_t page) {
    struct iovec ranges[] = {{pages, page}, {pages + 2 * page, page}};
    long got = syscall(SYS_process_madvise, process, ranges, 2, MADV_GUARD_INSTALL, 0);
    return got == (long)(2 * page) && vmarena_prim_write_faults(pages) && !vmarena_prim_write_faults(pages + page) &&
           vmarena_prim_write_faults(pages + 2 * page);
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
    struct vmarena_mapping found;
    uint64_t start = (uintptr_t)pages;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool works = vmarena_prim_query_maps(fd, start, false, &found, NULL, 0) == 0 && found.start <= start &&
                 start + PAGES * page <= found.end;
    close(fd);
    return works;
}

static int note_region(uint64_t start, uint64_t end, uint64_t categories, void *arg) {
    uint64_t *region = arg;
    (void)categories;
    region[0] = start;
    region[1] = end;
    return 1;
}

static bool pagemap_scan(char *pages, size_t page) {
    uint64_t start = (uintptr_t)pages, end = start + PAGES * page, region[2] = {0, 0};
    struct vmarena_pagemap_scan scan = {.start = start,
                                        .end = end,
                                        .all_of = VMARENA_SCAN_PRESENT,
                                        .reported = VMARENA_SCAN_PRESENT,
                                        .function = note_region,
                                        .arg = region};
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    pages[0] = 1; /* a huge page may make more of them resident */
    bool works = vmarena_prim_scan_pagemap(fd, &scan) == 1 && region[0] == start && region[1] <= end;
    close(fd);
    return works;
}

/* What is sealed stays mapped for ever, so the attempt seals nothing: a length of 0 is valid. */
static bool seal(char *pages, size_t page) { return (void)page, syscall(SYS_mseal, pages, 0, 0) == 0; }

static bool vma_names(char *pages, size_t page) { return vmarena_prim_name(pages, page, "vmarena") == 0; }

static void find_userfaultfd(struct vmarena_caps *caps) {
    uint64_t features = 0;
    int fd = vmarena_prim_open_userfaultfd(&features);
    if (fd < 0) return;
    caps->userfaultfd = true;
    caps->userfaultfd_wp = (features & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0;
    close(fd);
}

static bool perf_counters(char *pages, size_t page) {
    uint64_t before, after;
    bool user_only;
    int fd = vmarena_prim_counter_open(VMARENA_COUNT_PAGE_FAULTS, 0, 0, &user_only);
    (void)page;
    if (fd < 0) return false;
    bool works = vmarena_prim_counter_read(fd, &before) == 0;
    *(volatile char *)pages = 1;
    works = works && vmarena_prim_counter_read(fd, &after) == 0 && after > before;
    close(fd);
    return works;
}

static bool perf_tlb(void) {
    bool user_only;
    int fd = vmarena_prim_counter_open(VMARENA_COUNT_DTLB_LOAD_MISSES, 0, 0, &user_only);
    if (fd < 0) return false;
    close(fd);
    return true;
}

/* Collapsing allocates a whole huge page. That is acceptable for 2 MiB; where a huge page has 32 or 512 MiB (arm64 with
 * large base pages), a length of 0 only asks whether the kernel knows the advice. */
#define COLLAPSE_AT_MOST ((size_t)4 << 20)

static bool collapse(size_t huge) {
    void *block;
    size_t page = vmarena_prim_page_size();
    if (huge == 0 || vmarena_prim_map(&block, huge, huge, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    bool small = huge <= COLLAPSE_AT_MOST;
    if (small) *(volatile char *)block = 1;
    bool works = madvise(block, small ? huge : 0, MADV_COLLAPSE) == 0;
    /* No huge page is free at the moment, which says nothing about what the system can do. */
    bool later = !works && (errno == ENOMEM || errno == EAGAIN || errno == EBUSY);
    works = works && (!small || resident((char *)block + huge - page, page));
    (void)vmarena_prim_unmap(block, huge);
    return works || later;
}

/* The only way to count protection keys is to take them all. The kernel denies a thread access by keys that it does not
 * own, so that taking them with that right, and freeing them, leaves the thread's rights as they were. */
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
    /* Without pages every attempt below would fail, which would say nothing about the system. */
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
