/* SPDX-License-Identifier: MIT */
/* Linux only: what /sys/kernel/mm says about huge pages. */
#ifndef VMARENA_PRIM_LINUX_HUGE_PAGES_H
#define VMARENA_PRIM_LINUX_HUGE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "vmarena/types.h"

/* Free pages of 2^shift bytes in the hugetlb pool. */
size_t vmarena_prim_hugetlb_free(unsigned shift);

enum vmarena_thp vmarena_prim_thp_mode(void);

/* As thp_sizes in struct vmarena_caps; huge: the size of a transparent huge page, 0 where there are none. */
uint64_t vmarena_prim_thp_sizes(size_t huge, enum vmarena_thp mode);

#endif
