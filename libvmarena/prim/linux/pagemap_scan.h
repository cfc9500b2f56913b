/* SPDX-License-Identifier: MIT */
/* Linux only: PAGEMAP_SCAN on /proc/PID/pagemap, Linux 6.7 (Documentation/admin-guide/mm/pagemap.rst). */
#ifndef VMARENA_PRIM_LINUX_PAGEMAP_SCAN_H
#define VMARENA_PRIM_LINUX_PAGEMAP_SCAN_H

#include <stdint.h>

/* Categories of a page: PAGE_IS_... in linux/fs.h. */
#define VMARENA_SCAN_WRITTEN (UINT64_C(1) << 1)
#define VMARENA_SCAN_FILE (UINT64_C(1) << 2)
#define VMARENA_SCAN_PRESENT (UINT64_C(1) << 3)
#define VMARENA_SCAN_SWAPPED (UINT64_C(1) << 4)
#define VMARENA_SCAN_ZERO (UINT64_C(1) << 5)
#define VMARENA_SCAN_HUGE (UINT64_C(1) << 6)
#define VMARENA_SCAN_GUARD (UINT64_C(1) << 8) /* Linux 6.16 */

/* Flags: write-protect the pages reported; fail with EPERM where userfaultfd does not track the range. */
#define VMARENA_SCAN_PROTECT UINT64_C(1)
#define VMARENA_SCAN_CHECK_TRACKED UINT64_C(2)

struct vmarena_pagemap_scan {
    uint64_t start, end; /* start moves on: how far the scan came */
    uint64_t flags;
    uint64_t all_of, any_of; /* categories that a page needs to be reported */
    uint64_t reported;       /* categories that the function receives */
    /* May be NULL: then the flags alone act. Another result than 0 ends the scan. */
    int (*function)(uint64_t start, uint64_t end, uint64_t categories, void *arg);
    void *arg;
    int result; /* of the function */
};

/* Scans until start is end. 1: the function ended the scan, and result has its value. Or a negative errno of the
 * system's: -ENOTTY before Linux 6.7, -EINVAL: a category that this kernel lacks. */
int vmarena_prim_scan_pagemap(int fd, struct vmarena_pagemap_scan *scan);

#endif
