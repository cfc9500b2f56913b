/* SPDX-License-Identifier: MIT */
/*
 * The memory file behind an arena made with VMARENA_MEMFD.
 *
 *      live:    the arena maps it shared: what is written is in the file, and nobody else has it
 *      frozen:  all that map it do so privately: it never changes again, and the kernel copies what they write
 *
 * A file is frozen by the first snapshot, or by fork(2), and then held by the arena, its clones and the snapshots.
 */
#ifndef VMARENA_MEMFILE_H
#define VMARENA_MEMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena/arena.h"

struct vmarena_memfile {
    int fd;
    unsigned holders; /* under the lock of memfile.c */
    bool frozen;
    bool foreign; /* another process may hold it, too */
    size_t size;
    void *aside; /* the page table that the arena had when it was frozen, mapped shared; NULL: none */
    size_t aside_size;
};

/* What a region of so many bytes should be aligned to, for its page table to be moved as a whole. */
size_t vmarena_memfile_align(size_t size);

/* Puts a live file under the arena's region, which is reserved. Explained, as all here. */
int vmarena_memfile_open(struct vmarena_arena *arena, const char *name);

/* Maps a frozen file under the arena's region, all of it committed, and holds it. */
int vmarena_memfile_adopt(struct vmarena_arena *arena, struct vmarena_memfile *memfile);

/* Gives up the arena's hold. The region may be mapped still. */
void vmarena_memfile_close(struct vmarena_arena *arena);

/* Gives up a hold of somebody else's; _hold takes one. */
void vmarena_memfile_release(struct vmarena_memfile *memfile);
void vmarena_memfile_hold(struct vmarena_memfile *memfile);

/* Sees to it that the arena's contents are those of its file, and that is frozen. *copied: bytes that it took. */
int vmarena_memfile_freeze(struct vmarena_arena *arena, size_t *copied);

/* Makes the arena's contents those of a frozen file. *restored: bytes that differed, at most. */
int vmarena_memfile_restore(struct vmarena_arena *arena, struct vmarena_memfile *memfile, size_t *restored);

/* Zeroes whole pages, giving them back where the file is live. */
int vmarena_memfile_discard(struct vmarena_arena *arena, void *start, size_t size);

#endif
