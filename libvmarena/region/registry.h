/* SPDX-License-Identifier: MIT */
/*
 * Address → owner, for a signal handler: lock-free to read, whatever other threads do. It is a page table in software:
 * a radix tree with 9 bits a level down to single pages, in which an entry of a higher level stands for a whole block,
 * as a huge page does. A look-up costs the same with one region as with ten thousand.
 */
#ifndef VMARENA_REGISTRY_H
#define VMARENA_REGISTRY_H

#include <stdint.h>

struct vmarena_region;

/* Enters region for [start, end), page-aligned, which nothing else may hold. -ENOMEM: nothing was entered. */
int vmarena_registry_add(uintptr_t start, uintptr_t end, struct vmarena_region *region);

void vmarena_registry_remove(uintptr_t start, uintptr_t end);

/*
 * The region that holds address, or NULL. Signal-safe. What it points to must never be unmapped (see pool.h), since a
 * handler may look at a region that another thread takes away.
 */
struct vmarena_region *vmarena_registry_find(uintptr_t address);

/* The nearest region below address (direction -1) or above it (+1), or NULL. Signal-safe. */
struct vmarena_region *vmarena_registry_next(uintptr_t address, int direction);

#endif
