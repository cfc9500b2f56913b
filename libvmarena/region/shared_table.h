/* SPDX-License-Identifier: MIT */
/*
 * The regions of this process, written where another process finds them: in a mapping of a memory file, whose name shows
 * in /proc/PID/maps whatever the kernel was built with. It is a private mapping, so that after fork(2) each process goes
 * on with a table of its own. Where it cannot be made, other processes see the mappings without their owners.
 */
#ifndef VMARENA_SHARED_TABLE_H
#define VMARENA_SHARED_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmarena/inspect.h"

struct vmarena_region;

/* The caller holds no lock. Beyond some 26,000 regions the table is full, and further ones are left out. */
void vmarena_shared_table_add(struct vmarena_region *region);
void vmarena_shared_table_remove(struct vmarena_region *region);

/* A region in a table. */
struct vmarena_shared_entry {
    uint64_t start, end;    /* the reservation; end 0: the entry is free, and start the number of the next free one */
    uint64_t name, objects; /* addresses in that process: of VMARENA_NAME_SIZE bytes, and of a size_t or 0 */
    uint32_t kind, unused;
};

/* The regions of another process, in ascending order, as far as what it says of itself is to be believed. */
struct vmarena_shared_entries {
    struct vmarena_shared_entry *entries; /* `room` bytes of pages */
    size_t count, room;
};

/* Leaves *found empty where the process has no table or may not be looked at. At most some 26,000 entries, of 4 tables. */
void vmarena_shared_entries_read(struct vmarena_shared_entries *found, pid_t pid);
void vmarena_shared_entries_free(struct vmarena_shared_entries *found);

/* Fills in the owner of a mapping: the first entry with a part in it. name gets VMARENA_NAME_SIZE bytes. */
void vmarena_shared_entries_find(const struct vmarena_shared_entries *all, pid_t pid, struct vmarena_mapping *mapping,
                                 char *name);

#endif
