/* SPDX-License-Identifier: MIT */
/*
 * The regions of this process, written where another process finds them: in a mapping of a memory file, whose name shows
 * in /proc/PID/maps whatever the kernel was built with. It is a private mapping, so that after fork(2) each process goes
 * on with a directory of its own. Where it cannot be made there is none, and nothing else is the worse for it.
 */
#ifndef VMARENA_SHARED_TABLE_H
#define VMARENA_SHARED_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmarena/inspect.h"

struct vmarena_region;

/* Both under no lock of the caller's. Beyond some 26,000 regions the directory is full, and more are left out. */
void vmarena_shared_table_add(struct vmarena_region *region);
void vmarena_shared_table_remove(struct vmarena_region *region);

/* What stands in a directory. */
struct vmarena_shared_entry {
    uint64_t start, end;    /* the reservation; end 0: the entry is free, and start the number of the next free one */
    uint64_t name, objects; /* addresses in that process: of VMARENA_NAME_SIZE bytes, and of a size_t or 0 */
    uint32_t kind, unused;
};

/* The entries of another process, ascending. */
struct vmarena_shared_owners {
    struct vmarena_shared_entry *entries; /* `room` bytes of pages */
    size_t count, room;
};

/* Leaves *owners empty where the process has no directory or must not be looked at. */
void vmarena_shared_owners_read(struct vmarena_shared_owners *owners, pid_t pid);
void vmarena_shared_owners_free(struct vmarena_shared_owners *owners);

/* The first owner with a part in [start, end): fills in the mapping's; name gets VMARENA_NAME_SIZE bytes. */
void vmarena_shared_owners_find(const struct vmarena_shared_owners *owners, pid_t pid, struct vmarena_mapping *mapping,
                                char *name);

#endif
