/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/kernel_abi.h"

int vmarena_prim_map_hugetlb(void *address, size_t size, unsigned shift) {
    /* Without MAP_NORESERVE, so that the pages are set retired now: otherwise the first touch could raise SIGBUS. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(shift << MAP_HUGE_SHIFT);
    /* With MAP_FIXED the kernel unmaps what lies at the address before it looks into the pool, and leaves a hole where the pool is
     * too small. So the first attempt is made elsewhere. */
    void *trial = NULL;
    int error = vmarena_prim_mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0, &trial);
    if (error != 0) return error;
    munmap(trial, size);
    error = vmarena_prim_mmap(address, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0, NULL);
    if (error == 0) return 0;
    /* Another process took the pages meanwhile. */
    int undone = vmarena_prim_mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                                   -1, 0, NULL);
    return undone != 0 ? -ENOTRECOVERABLE : error;
}

int vmarena_prim_seal(void *address, size_t size) {
    if (syscall(SYS_mseal, address, size, 0) == 0) return 0;
    return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int vmarena_prim_name(void *address, size_t size, const char *name) {
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, (unsigned long)address, size, name) == 0) return 0;
    return errno == EINVAL ? -EOPNOTSUPP : -errno; /* EINVAL: compiled out (CONFIG_ANON_VMA_NAME) */
}

int vmarena_prim_move_mapping(void *from, size_t size, void *to) {
    return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? -errno : 0;
}

int vmarena_prim_retire_pages(void *address, size_t size, size_t align, void **retired) {
    void *place;
    int error = vmarena_prim_map(&place, size, align, VMARENA_NONE, false);
    if (error != 0) return error;
    /* DONTUNMAP: there is no moment in which nothing is mapped at address. */
    if (mremap(address, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place) == MAP_FAILED) {
        error = -errno;
        munmap(place, size);
        return error;
    }
    *retired = place;
    return 0;
}

#endif
