/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/ioctl.h>

#include "prim/linux/pagemap_scan.h"

/* The layout of the ioctl's argument: struct page_region and struct pm_scan_arg in linux/fs.h. */
struct region {
    uint64_t start, end, categories;
};
struct argument {
    uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
    uint64_t category_inverted, category_mask, category_any_of, return_mask;
};
#define SCAN _IOWR('f', 16, struct argument)
#define REGIONS 128

static int report(struct vmarena_pagemap_scan *scan, const struct region *regions, int count) {
    for (int i = 0; i < count && scan->result == 0; i++)
        scan->result = scan->function(regions[i].start, regions[i].end, regions[i].categories, scan->arg);
    return scan->result != 0;
}

int vmarena_prim_scan_pagemap(int fd, struct vmarena_pagemap_scan *scan) {
    struct region regions[REGIONS] = {{.start = 0}}; /* Valgrind does not know that the ioctl fills it */
    do {
        struct argument argument = {.size = sizeof argument,
                                    .flags = scan->flags,
                                    .start = scan->start,
                                    .end = scan->end,
                                    .category_mask = scan->all_of,
                                    .category_any_of = scan->any_of,
                                    .return_mask = scan->reported};
        if (scan->function != NULL) {
            argument.regions = (uint64_t)(uintptr_t)regions;
            argument.region_count = REGIONS;
        }
        int count = ioctl(fd, SCAN, &argument);
        if (count < 0) return -errno;
        if (scan->function != NULL && report(scan, regions, count)) return 1;
        scan->start = argument.walk_end;
    } while (scan->start < scan->end);
    return 0;
}

#endif
