/* SPDX-License-Identifier: MIT */
/* What contents.c needs of mapping.c. Both functions are called with the mapping's lock held. */
#ifndef VMARENA_MEMFILE_MAPPING_H
#define VMARENA_MEMFILE_MAPPING_H

#include "memfile/memfile.h"
#include "region/ranges.h"

/* Makes what is live private. A failure may leave a first part private; the next call goes on from there. Explained. */
int vmarena_memfile_privatize(struct vmarena_memfile_mapping *mapping);

/*
 * Maps a private file instead, over everything that is committed, and takes over the caller's hold of it. A failure
 * half-way leaves the mapping torn; the hold is the caller's still. Explained.
 */
int vmarena_memfile_show(struct vmarena_memfile_mapping *mapping, struct vmarena_memfile *file);

#endif
