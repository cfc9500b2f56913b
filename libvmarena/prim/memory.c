/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "prim/linux.h"
#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* See vmarena_alloc: constant sizes up to 64 KiB are added without an overflow check. */
#define TOP_MARGIN ((uintptr_t)128 * 1024)

size_t vmarena_prim_page_size(void) {
    static _Atomic size_t cached;
    size_t size = atomic_load_explicit(&cached, memory_order_relaxed);
    if (size == 0) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&cached, size, memory_order_relaxed);
    }
    return size;
}

static int system_prot(unsigned prot) {
    return (prot & VMARENA_READ ? PROT_READ : 0) | (prot & VMARENA_WRITE ? PROT_WRITE : 0) |
           (prot & VMARENA_EXEC ? PROT_EXEC : 0);
}

static int map_at(void *address, size_t size, int prot, int flags, int fd, uint64_t offset, void **out) {
    if (offset > (uint64_t)INT64_MAX) return -EOVERFLOW;
    void *got = mmap(address, size, prot, flags, fd, (off_t)offset);
    if (got == MAP_FAILED) return -errno;
    if (out != NULL) *out = got;
    return 0;
}

/* Cuts an over-long mapping down to the aligned part. */
static void *trim(char *start, size_t mapped, size_t size, size_t align) {
    uintptr_t first = ((uintptr_t)start + align - 1) & ~(uintptr_t)(align - 1);
    size_t before = first - (uintptr_t)start, after = mapped - size - before;
    if (before != 0) munmap(start, before);
    if (after != 0) munmap(start + before + size, after);
    return start + before;
}

int vmarena_prim_map(void **out, size_t size, size_t align, unsigned prot, bool account) {
    size_t page = vmarena_prim_page_size(), extra = align > page ? align - page : 0;
    if (size > SIZE_MAX - extra) return -ENOMEM;
    void *start = NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (account ? 0 : MAP_NORESERVE);
    int error = map_at(NULL, size + extra, system_prot(prot), flags, -1, 0, &start);
    if (error == -EINVAL) error = -ENOMEM; /* which Valgrind means by it: nothing else is invalid about this request */
    if (error != 0) return error;
    if ((uintptr_t)start > UINTPTR_MAX - TOP_MARGIN - size - extra) {
        munmap(start, size + extra);
        return -ENOMEM;
    }
    *out = extra != 0 ? trim(start, size + extra, size, align) : start;
    return 0;
}

int vmarena_prim_map_hugetlb(void *address, size_t size, unsigned shift) {
#ifdef MAP_HUGETLB
    /* Accounted (no MAP_NORESERVE): pages promised now are there later, instead of a SIGBUS at the first touch. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(shift << MAP_HUGE_SHIFT);
    /* With MAP_FIXED the kernel unmaps what is there before it looks into the pool, and leaves a hole where that is too
     * small: so it is asked elsewhere first. */
    void *trial = NULL;
    int error = map_at(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0, &trial);
    if (error != 0) return error;
    munmap(trial, size);
    error = map_at(address, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0, NULL);
    if (error == 0) return 0;
    /* Another process was faster. */
    int undone = map_at(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0, NULL);
    return undone != 0 ? -ENOTRECOVERABLE : error;
#else
    (void)address, (void)size, (void)shift;
    return -EOPNOTSUPP;
#endif
}

int vmarena_prim_map_file(void *address, size_t size, unsigned prot, bool shared, int fd, uint64_t offset) {
    /* As with arenas, the kernel keeps no memory back for pages that may never be written. */
    int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
    return map_at(address, size, system_prot(prot), flags, fd, offset, NULL);
}

int vmarena_prim_map_reserved(void *address, size_t size) {
    return map_at(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0, NULL);
}

int vmarena_prim_unmap(void *address, size_t size) { return munmap(address, size) == 0 ? 0 : -errno; }

VMARENA_TOGETHER int vmarena_prim_protect(void *address, size_t size, unsigned prot) {
    return mprotect(address, size, system_prot(prot)) == 0 ? 0 : -errno;
}

int vmarena_prim_lock(void *address, size_t size) { return mlock(address, size) == 0 ? 0 : -errno; }
int vmarena_prim_unlock(void *address, size_t size) { return munlock(address, size) == 0 ? 0 : -errno; }
int vmarena_prim_sync(void *address, size_t size) { return msync(address, size, MS_SYNC) == 0 ? 0 : -errno; }

#ifdef __linux__

int vmarena_prim_discard(void *address, size_t size) { return madvise(address, size, MADV_DONTNEED) == 0 ? 0 : -errno; }

/* The kernel restarts guard advice on a pending signal by itself, but gives EAGAIN when it meets a racing unmap. */
static int guard_advice(void *address, size_t size, int advice) {
    while (madvise(address, size, advice) != 0)
        if (errno != EINTR && errno != EAGAIN) return -errno;
    return 0;
}

int vmarena_prim_guard_install(void *address, size_t size) { return guard_advice(address, size, MADV_GUARD_INSTALL); }
int vmarena_prim_guard_remove(void *address, size_t size) { return guard_advice(address, size, MADV_GUARD_REMOVE); }

/* Emulators accept any advice and do nothing. So the page must really fault: a system call that writes there says
 * EFAULT, where an access of ours would raise SIGSEGV. */
static bool try_markers(void) {
    void *page;
    size_t size = vmarena_prim_page_size();
    if (vmarena_prim_map(&page, size, size, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    bool works = vmarena_prim_guard_install(page, size) == 0 && uname(page) != 0 && errno == EFAULT;
    munmap(page, size);
    return works;
}

bool vmarena_prim_has_guard_markers(void) {
    static _Atomic int cached; /* 0: not tried; 1: no; 2: yes */
    int known = atomic_load_explicit(&cached, memory_order_relaxed);
    if (known == 0) {
        known = try_markers() ? 2 : 1;
        atomic_store_explicit(&cached, known, memory_order_relaxed);
    }
    return known == 2;
}

#define VECTOR 64

static int advise_one_by_one(const struct vmarena_prim_range *ranges, size_t count, int advice) {
    for (size_t i = 0; i < count; i++) {
        int error = guard_advice(ranges[i].address, ranges[i].size, advice);
        if (error != 0) return error;
    }
    return 0;
}

/* Guard advice is idempotent, so that a vector that stopped half-way is simply gone through again one by one. */
static int advise_many(const struct vmarena_prim_range *ranges, size_t count, int advice) {
    if (count == 1) return guard_advice(ranges->address, ranges->size, advice);
    for (size_t done = 0; done < count; done += VECTOR) {
        struct iovec vector[VECTOR];
        size_t part = count - done < VECTOR ? count - done : VECTOR, bytes = 0;
        for (size_t i = 0; i < part; i++) {
            vector[i] = (struct iovec){ranges[done + i].address, ranges[done + i].size};
            bytes += ranges[done + i].size;
        }
        /* Before Linux 6.14 this descriptor is an EBADF, and we go range by range. */
        long got = syscall(SYS_process_madvise, PIDFD_SELF_THREAD_GROUP, vector, part, advice, 0);
        if (got >= 0 && (size_t)got == bytes) continue;
        int error = advise_one_by_one(ranges + done, part, advice);
        if (error != 0) return error;
    }
    return 0;
}

int vmarena_prim_discard_many(const struct vmarena_prim_range *ranges, size_t count) {
    return advise_many(ranges, count, MADV_DONTNEED);
}
int vmarena_prim_guard_install_many(const struct vmarena_prim_range *ranges, size_t count) {
    return advise_many(ranges, count, MADV_GUARD_INSTALL);
}
int vmarena_prim_guard_remove_many(const struct vmarena_prim_range *ranges, size_t count) {
    return advise_many(ranges, count, MADV_GUARD_REMOVE);
}

static int populate(char *start, size_t size) {
    if (madvise(start, size, MADV_POPULATE_WRITE) == 0) return 0;
    int error = -errno;
    /* An advice that the kernel does not know (Linux < 5.14) is refused for no bytes, too. */
    if (error != -EINVAL || madvise(start, 0, MADV_POPULATE_WRITE) == 0) return error;
    for (size_t at = 0; at < size; at += vmarena_prim_page_size()) {
        volatile char *byte = start + at;
        *byte = *byte;
    }
    return 0;
}

int vmarena_prim_advise(void *address, size_t size, enum vmarena_prim_advice advice) {
    static const int system_advice[] = {
        [VMARENA_PRIM_HUGE] = MADV_HUGEPAGE,         [VMARENA_PRIM_NO_HUGE] = MADV_NOHUGEPAGE,
        [VMARENA_PRIM_COLLAPSE] = MADV_COLLAPSE,     [VMARENA_PRIM_DONT_DUMP] = MADV_DONTDUMP,
        [VMARENA_PRIM_DONT_FORK] = MADV_DONTFORK,    [VMARENA_PRIM_WIPE_ON_FORK] = MADV_WIPEONFORK,
        [VMARENA_PRIM_SEQUENTIAL] = MADV_SEQUENTIAL, [VMARENA_PRIM_RANDOM] = MADV_RANDOM,
        [VMARENA_PRIM_WILL_NEED] = MADV_WILLNEED,    [VMARENA_PRIM_DONT_NEED] = MADV_DONTNEED,
        [VMARENA_PRIM_NORMAL] = MADV_NORMAL,         [VMARENA_PRIM_POPULATE_READ] = MADV_POPULATE_READ,
    };
    if (advice == VMARENA_PRIM_POPULATE_WRITE) return populate(address, size);
    return madvise(address, size, system_advice[advice]) == 0 ? 0 : -errno;
}

int vmarena_prim_map_named(void **out, size_t size, const char *name) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return -errno;
    int error = ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
    if (error == 0) error = map_at(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0, out);
    close(fd);
    return error;
}

int vmarena_prim_seal(void *address, size_t size) {
    if (syscall(SYS_mseal, address, size, 0) == 0) return 0;
    return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int vmarena_prim_name(void *address, size_t size, const char *name) {
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, (unsigned long)address, size, name) == 0) return 0;
    return errno == EINVAL ? -EOPNOTSUPP : -errno; /* EINVAL: compiled out (CONFIG_ANON_VMA_NAME) */
}

int vmarena_prim_move(void *from, size_t size, void *to) {
    return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

/* ---- what /proc tells ---- */

bool vmarena_prim_read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got < 0) return false;
    text[got] = '\0';
    return true;
}

size_t vmarena_prim_read_number(const char *path) {
    char text[32];
    size_t value = 0;
    if (!vmarena_prim_read_text(path, text, sizeof text)) return 0;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++) value = value * 10 + (size_t)(*c - '0');
    return value;
}

size_t vmarena_prim_huge_page_size(void) {
    static _Atomic size_t cached = SIZE_MAX;
    size_t size = atomic_load_explicit(&cached, memory_order_relaxed);
    if (size == SIZE_MAX) {
        size = vmarena_prim_read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
        atomic_store_explicit(&cached, size, memory_order_relaxed);
    }
    return size;
}

/* mlockall(2) with MCL_FUTURE: mapped writable, all of a reservation would be brought in at once. Locked memory tells
 * itself by refusing to be given back. */
static bool locks_future(void) {
    void *page = NULL;
    size_t size = vmarena_prim_page_size();
    if (vmarena_prim_map(&page, size, size, VMARENA_NONE, false) != 0) return false;
    bool locked = madvise(page, size, MADV_DONTNEED) != 0 && errno == EINVAL;
    munmap(page, size);
    return locked;
}

bool vmarena_prim_strict_commit(size_t size) {
    struct rlimit data = {.rlim_cur = RLIM_INFINITY}, space = data;
    (void)size;
    /* RLIMIT_AS counts a reservation either way; committing by steps at least keeps RLIMIT_DATA from counting it. */
    if (vmarena_prim_read_number("/proc/sys/vm/overcommit_memory") == 2) return true;
    (void)getrlimit(RLIMIT_DATA, &data);
    (void)getrlimit(RLIMIT_AS, &space);
    return data.rlim_cur != RLIM_INFINITY || space.rlim_cur != RLIM_INFINITY || locks_future();
}

void vmarena_prim_map_entries(size_t *used, size_t *limit) {
    char text[4096];
    *used = 0;
    *limit = vmarena_prim_read_number("/proc/sys/vm/max_map_count");
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++) *used += text[i] == '\n';
    close(fd);
}

static int scan(int fd, uint64_t start, uint64_t end, size_t *resident, size_t *huge) {
    struct vmarena_scan_region regions[64] = {{.start = 0}}; /* Valgrind does not know that the ioctl fills it */
    while (start < end) {
        struct vmarena_scan argument = {.size = sizeof argument,
                                        .start = start,
                                        .end = end,
                                        .regions = (uint64_t)(uintptr_t)regions,
                                        .region_count = sizeof regions / sizeof regions[0],
                                        .category_mask = VMARENA_SCAN_PRESENT,
                                        .return_mask = VMARENA_SCAN_PRESENT | VMARENA_SCAN_HUGE};
        int count = ioctl(fd, VMARENA_SCAN_IOCTL, &argument);
        if (count < 0) return -EOPNOTSUPP;
        for (int i = 0; i < count; i++) {
            size_t bytes = (size_t)(regions[i].end - regions[i].start);
            *resident += bytes;
            if (regions[i].categories & VMARENA_SCAN_HUGE) *huge += bytes;
        }
        start = argument.walk_end;
    }
    return 0;
}

int vmarena_prim_residency(const void *address, size_t size, size_t *resident, size_t *huge) {
    *resident = *huge = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -EOPNOTSUPP;
    uint64_t start = (uint64_t)(uintptr_t)address;
    int error = scan(fd, start, start + size, resident, huge);
    close(fd);
    return error;
}

#else /* not Linux: what POSIX alone gives */

int vmarena_prim_discard(void *address, size_t size) {
    /* POSIX has no advice that promises zeroes; a fresh mapping in the same place does. */
    return map_at(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, NULL);
}
int vmarena_prim_guard_install(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_guard_remove(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_discard_many(const struct vmarena_prim_range *ranges, size_t count) {
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) error = vmarena_prim_discard(ranges[i].address, ranges[i].size);
    return error;
}
int vmarena_prim_guard_install_many(const struct vmarena_prim_range *ranges, size_t count) {
    return (void)ranges, (void)count, -EOPNOTSUPP;
}
int vmarena_prim_guard_remove_many(const struct vmarena_prim_range *ranges, size_t count) {
    return (void)ranges, (void)count, -EOPNOTSUPP;
}
bool vmarena_prim_has_guard_markers(void) { return false; }

int vmarena_prim_advise(void *address, size_t size, enum vmarena_prim_advice advice) {
    static const int system_advice[] = {[VMARENA_PRIM_SEQUENTIAL] = POSIX_MADV_SEQUENTIAL,
                                        [VMARENA_PRIM_RANDOM] = POSIX_MADV_RANDOM,
                                        [VMARENA_PRIM_WILL_NEED] = POSIX_MADV_WILLNEED,
                                        [VMARENA_PRIM_DONT_NEED] = POSIX_MADV_DONTNEED,
                                        [VMARENA_PRIM_NORMAL] = POSIX_MADV_NORMAL};
    if (advice == VMARENA_PRIM_POPULATE_WRITE) {
        for (size_t at = 0; at < size; at += vmarena_prim_page_size()) {
            volatile char *byte = (char *)address + at;
            *byte = *byte;
        }
        return 0;
    }
    if (advice < VMARENA_PRIM_SEQUENTIAL) return -EOPNOTSUPP;
    return -posix_madvise(address, size, system_advice[advice]);
}
int vmarena_prim_map_named(void **out, size_t size, const char *name) {
    return (void)out, (void)size, (void)name, -EOPNOTSUPP;
}
int vmarena_prim_move(void *from, size_t size, void *to) { return (void)from, (void)size, (void)to, -ENOSYS; }
int vmarena_prim_seal(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_name(void *address, size_t size, const char *name) {
    return (void)address, (void)size, (void)name, -EOPNOTSUPP;
}
size_t vmarena_prim_huge_page_size(void) { return 0; }
bool vmarena_prim_strict_commit(size_t size) { return (void)size, true; }
void vmarena_prim_map_entries(size_t *used, size_t *limit) { *used = *limit = 0; }
int vmarena_prim_residency(const void *address, size_t size, size_t *resident, size_t *huge) {
    (void)address, (void)size;
    *resident = *huge = 0;
    return -EOPNOTSUPP;
}

#endif
