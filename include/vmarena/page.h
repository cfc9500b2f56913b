/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_PAGE_H
#define VMARENA_PAGE_H

#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/*
 * Bytes in a page of this system, a power of two: 4096 on x86-64, 4096 to 65536 on arm64. Asked of the system once
 * (sysconf(3), _SC_PAGESIZE) and remembered. Any thread; safe in a signal handler after the first call.
 */
VMARENA_API size_t vmarena_page_size(void);

/* size, in bytes, rounded up to whole pages; 0 for 0, and 0 where the result would not fit. Thread safety: as above. */
VMARENA_API size_t vmarena_page_round_up(size_t size);

/*
 * Writes the huge-page sizes the system knows, in bytes, ascending, into sizes[0..count), and returns how many there
 * are, which may be more than count; 0 where there are none. sizes may be NULL when count is 0.
 * Source: /sys/kernel/mm/hugepages (Linux, Documentation/admin-guide/mm/hugetlbpage.rst). Any thread.
 */
VMARENA_API size_t vmarena_huge_page_sizes(size_t *sizes, size_t count);

/*
 * Fills *out. The first call tries everything, on a few pages of its own that it returns; later calls copy the result.
 * 0; -EINVAL: out is NULL; -ENOMEM: not even pages to try on, and the next call tries again. Any thread; not in a signal
 * handler.
 */
VMARENA_API int vmarena_caps(struct vmarena_caps *out);

VMARENA_END_DECLS

#endif
