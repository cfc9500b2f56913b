/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_PAGE_H
#define VMARENA_PAGE_H

#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/*
 * Returns the page size of this system in bytes, a power of two: 4096 on x86-64, 4096 to 65536 on arm64. Asks the
 * system once (sysconf(3), _SC_PAGESIZE) and remembers the answer. Any thread; signal-safe after the first call.
 */
VMARENA_API size_t vmarena_page_size(void);

/* Returns size, in bytes, rounded up to whole pages; 0 for 0, and 0 where the result would overflow. Thread and signal
 * safety: as above. */
VMARENA_API size_t vmarena_page_round_up(size_t size);

/*
 * Writes the sizes of the system's hugetlb pages, in bytes and ascending, to sizes[0..count), and returns how many
 * there are, which may be more than count; 0 where there are none. sizes may be NULL if count is 0. Any thread; not
 * signal-safe.
 * Source: /sys/kernel/mm/hugepages (Linux, Documentation/admin-guide/mm/hugetlbpage.rst).
 */
VMARENA_API size_t vmarena_huge_page_sizes(size_t *sizes, size_t count);

/*
 * Fills *out. The first call tries everything on a few pages that it maps and unmaps; later calls copy the result.
 * Returns 0, or -EINVAL: out is NULL; -ENOMEM: there was no memory to try with, and the next call tries again. Any
 * thread; not signal-safe.
 */
VMARENA_API int vmarena_caps(struct vmarena_caps *out);

VMARENA_END_DECLS

#endif
