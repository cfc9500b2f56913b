/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/internal.h"

/* vmarena_alloc adds constant sizes up to 64 KiB without an overflow check. */
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

int vmarena_prim_mmap(void *address, size_t size, int prot, int flags, int fd, uint64_t offset, void **out) {
    if (offset > (uint64_t)INT64_MAX) return -EOVERFLOW;
    void *got = mmap(address, size, prot, flags, fd, (off_t)offset);
    if (got == MAP_FAILED) return -errno;
    if (out != NULL) *out = got;
    return 0;
}

/* Unmaps what a mapping has before and behind its aligned part. */
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
    int error = vmarena_prim_mmap(NULL, size + extra, system_prot(prot), flags, -1, 0, &start);
    if (error == -EINVAL) error = -ENOMEM; /* Valgrind says EINVAL when it has no room: the request itself is valid */
    if (error != 0) return error;
    if ((uintptr_t)start > UINTPTR_MAX - TOP_MARGIN - size - extra) {
        munmap(start, size + extra);
        return -ENOMEM;
    }
    *out = extra != 0 ? trim(start, size + extra, size, align) : start;
    return 0;
}

int vmarena_prim_map_file(void *address, size_t size, unsigned prot, bool shared, int fd, uint64_t offset) {
    /* NORESERVE, as for arenas: pages that may never be written do not count against the commit limit. */
    int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
    return vmarena_prim_mmap(address, size, system_prot(prot), flags, fd, offset, NULL);
}

int vmarena_prim_map_reserved(void *address, size_t size) {
    return vmarena_prim_mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0,
                             NULL);
}

int vmarena_prim_unmap(void *address, size_t size) { return munmap(address, size) == 0 ? 0 : -errno; }

VMARENA_HOT int vmarena_prim_protect(void *address, size_t size, unsigned prot) {
    return mprotect(address, size, system_prot(prot)) == 0 ? 0 : -errno;
}

int vmarena_prim_lock(void *address, size_t size) { return mlock(address, size) == 0 ? 0 : -errno; }
int vmarena_prim_unlock(void *address, size_t size) { return munlock(address, size) == 0 ? 0 : -errno; }
int vmarena_prim_sync(void *address, size_t size) { return msync(address, size, MS_SYNC) == 0 ? 0 : -errno; }
