/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/kernel_abi.h"

int vmarena_prim_discard(void *address, size_t size) { return madvise(address, size, MADV_DONTNEED) == 0 ? 0 : -errno; }

/* Guard advice fails with EAGAIN when it races with an unmap, and EINTR is allowed for a signal: it is given again. */
static int guard_advice(void *address, size_t size, int advice) {
    while (madvise(address, size, advice) != 0)
        if (errno != EINTR && errno != EAGAIN) return -errno;
    return 0;
}

int vmarena_prim_guard_install(void *address, size_t size) { return guard_advice(address, size, MADV_GUARD_INSTALL); }
int vmarena_prim_guard_remove(void *address, size_t size) { return guard_advice(address, size, MADV_GUARD_REMOVE); }

bool vmarena_prim_write_faults(void *page) { return uname(page) != 0 && errno == EFAULT; }

/* Emulators accept any advice and do nothing. So the page must really fault. */
static bool try_markers(void) {
    void *page;
    size_t size = vmarena_prim_page_size();
    if (vmarena_prim_map(&page, size, size, VMARENA_READ | VMARENA_WRITE, false) != 0) return false;
    bool works = vmarena_prim_guard_install(page, size) == 0 && vmarena_prim_write_faults(page);
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

/* The advice used here is idempotent, so that a vector that was applied in part can be applied again range by range. */
static int advise_many(const struct vmarena_prim_range *ranges, size_t count, int advice) {
    if (count == 1) return guard_advice(ranges->address, ranges->size, advice);
    for (size_t done = 0; done < count; done += VECTOR) {
        struct iovec vector[VECTOR];
        size_t part = count - done < VECTOR ? count - done : VECTOR, bytes = 0;
        for (size_t i = 0; i < part; i++) {
            vector[i] = (struct iovec){ranges[done + i].address, ranges[done + i].size};
            bytes += ranges[done + i].size;
        }
        /* Before Linux 6.14 this descriptor gives EBADF: then range by range. */
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
    /* Before Linux 5.14 the kernel does not know the advice and refuses it for an empty range, too. */
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

#endif
