/* SPDX-License-Identifier: MIT */
/* What arena.c tells snapshot.c of changes that no page shows. */
#ifndef VMARENA_INTERNAL_SNAPSHOT_H
#define VMARENA_INTERNAL_SNAPSHOT_H

#include <stddef.h>

#include "vmarena/snapshot.h"

struct vmarena_arena;

/* The arena ends: its snapshots can be cloned still, and must be freed still. */
void vmarena_snapshots_detach(struct vmarena_arena *arena);

/* Whole pages were given back to the system, and read as zero now. */
void vmarena_snapshots_discarded(struct vmarena_arena *arena, const void *start, size_t size);

#endif
