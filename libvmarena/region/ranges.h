/* SPDX-License-Identifier: MIT */
/* The committed part of a region, cut where its protection changes (vmarena_protect_range). */
#ifndef VMARENA_RANGES_H
#define VMARENA_RANGES_H

#include <stddef.h>

#include "region/region.h"

struct vmarena_range {
    size_t start, end; /* bytes from the region's base; whole pages */
    unsigned prot;
};

struct vmarena_ranges {
    const struct vmarena_range *range; /* ascending, without gaps, neighbours of unlike protection */
    size_t count;                      /* 0: nothing is committed */
    struct vmarena_range whole;        /* where one range is enough */
    size_t bytes;                      /* of the table's own mapping; 0: none */
};

/*
 * Reads the ranges from the system, but only if region->has_range_protection; clears that where all protections are the
 * region's again. The caller ensures that nothing changes them meanwhile. Frees with _free. Errors are explained.
 */
int vmarena_ranges_read(struct vmarena_ranges *ranges, struct vmarena_region *region);
void vmarena_ranges_free(const struct vmarena_ranges *ranges);

/* Whether a part of the committed memory has a protection of its own now. An error counts as yes. */
bool vmarena_ranges_differ(struct vmarena_region *region);

#endif
