/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "prim/linux/kernel_abi.h"

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

#endif
