/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifndef __linux__

#include <errno.h>
#include <sys/mman.h>

#include "prim/internal.h"

int vmarena_prim_discard(void *address, size_t size) {
    /* No advice of POSIX makes pages read as zero; a fresh mapping in their place does. */
    return vmarena_prim_mmap(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
                             NULL);
}

int vmarena_prim_discard_many(const struct vmarena_prim_range *ranges, size_t count) {
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) error = vmarena_prim_discard(ranges[i].address, ranges[i].size);
    return error;
}

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

#endif
