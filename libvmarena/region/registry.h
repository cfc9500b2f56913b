/* SPDX-License-Identifier: MIT */
/*
 * Address → region, for signal handlers: lookups take no lock, whatever other threads do. It is a page table in software:
 * a radix tree with 9 bits per level down to single pages, in which an entry of a higher level may stand for a whole block,
 * as a huge page does. A lookup costs the same with one region as with ten thousand.
 */
#ifndef VMARENA_REGISTRY_H
#define VMARENA_REGISTRY_H

#include <stdint.h>

struct vmarena_region;

/* Adds region for [start, end), which is page-aligned and overlaps no other. -ENOMEM: nothing was added. */
int vmarena_registry_add(uintptr_t start, uintptr_t end, struct vmarena_region *region);

void vmarena_registry_remove(uintptr_t start, uintptr_t end);

/*
 * Returns the region that holds address, or NULL. Signal-safe. Regions must lie in memory that is never unmapped (see
 * pool.h), since a handler may read one that another thread removes.
 */
struct vmarena_region *vmarena_registry_find(uintptr_t address);

/* Returns the nearest region below address (direction -1) or above it (+1), or NULL. Signal-safe. */
struct vmarena_region *vmarena_registry_next(uintptr_t address, int direction);

#endif
