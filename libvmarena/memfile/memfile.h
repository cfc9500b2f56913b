/* SPDX-License-Identifier: MIT */
/*
 * Memory files under the committed part of a region, for memory that can be shared page by page until it is written.
 *
 *      live:     mapped shared. What is written is in the file, and nobody else maps it
 *      private:  mapped privately. The file never changes again; the kernel copies each page that is written
 *
 * A mapping starts live. The first snapshot or fork(2) makes it private, range by range where ranges have protections of
 * their own; should that fail half-way, the rest is live still and the next attempt goes on from there.
 *
 * fork(2) and the owner of a mapping
 *
 * Shared memory would be common to parent and child. So the handler ahead of each fork makes every live mapping private,
 * although its owner may be running: at that moment the owner may read and write its memory, since each range is replaced
 * by one mmap(2), which keeps its contents and its protection and leaves no moment without a mapping. What must not happen
 * meanwhile is a change of what the handler replaces. Therefore:
 *
 * - Each mapping has a lock. Its owner holds it around every call that changes the mapping, a protection, or
 *   region->committed (vmarena_memfile_begin_change, _end_change; the functions here take it themselves). fork(2) takes all
 *   locks and holds them until it has returned in parent and child.
 * - vmarena_memfile_close unlists the mapping. Its owner unmaps the memory after that: fork never touches memory that is
 *   no longer in the list.
 * - A file that existed at a fork may be mapped in another process: it is never written to again.
 * - A mapping that cannot be made private is replaced in the child by inaccessible memory.
 *
 * The list has a lock of its own, which is taken before those of mappings. Functions return 0 or a negative errno, explained.
 */
#ifndef VMARENA_MEMFILE_H
#define VMARENA_MEMFILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/prim.h"
#include "region/region.h"

struct vmarena_memfile; /* a file; counted: each mapping and each snapshot holds it */

struct vmarena_memfile_mapping {
    struct vmarena_region *region;
    struct vmarena_memfile *file; /* NULL: the region is anonymous memory */
    struct vmarena_memfile_mapping *next;
    pthread_mutex_t lock;
    size_t private_end; /* bytes from the base on that are mapped privately; SIZE_MAX: all, and all that follows */
    bool lost_in_child; /* in a child: it could not be made private for the fork, and is inaccessible */
    bool torn;          /* not all of it is mapped from `file`: a call failed half-way */
    enum vmarena_prim_advice advice[4];
    unsigned advice_count;
};

/* The alignment at which a region of so many bytes can have its page table moved as a whole. */
size_t vmarena_memfile_align(size_t size);

/*
 * Puts a live file under what is committed of a region. name may be NULL. The mapping's memory is never unmapped.
 * -EOPNOTSUPP: no memory files here. -EFBIG: beyond RLIMIT_FSIZE. -ENOMEM, -EMFILE, -ENFILE: refused; -ENOMEM also where no
 * fork handler could be registered.
 */
int vmarena_memfile_open(struct vmarena_memfile_mapping *mapping, struct vmarena_region *region, const char *name);

/* Maps a private file under what is committed of a region, and holds it. */
int vmarena_memfile_adopt(struct vmarena_memfile_mapping *mapping, struct vmarena_region *region,
                          struct vmarena_memfile *file);

/* Unlists the mapping and releases its file; then the owner unmaps the region. Nothing is done where there is no file. */
void vmarena_memfile_close(struct vmarena_memfile_mapping *mapping);

/* Advises the mapping now, and whatever replaces it later. Not explained. */
int vmarena_memfile_advise(struct vmarena_memfile_mapping *mapping, enum vmarena_prim_advice advice);

/* Around every change of a mapping by its owner, see above. Nothing is done where there is no file. */
void vmarena_memfile_begin_change(struct vmarena_memfile_mapping *mapping);
void vmarena_memfile_end_change(struct vmarena_memfile_mapping *mapping);

/* vmarena_region_commit for a mapping. */
int vmarena_memfile_commit(struct vmarena_memfile_mapping *mapping, size_t bytes);

/* Makes all of it private: what is sealed afterwards need not change at a fork. */
int vmarena_memfile_make_private(struct vmarena_memfile_mapping *mapping);

/*
 * Makes the mapping private and its file hold what the first `used` bytes show; the rest is zero. *copied: bytes that it
 * took. -EACCES: something must be copied, and a part is not readable. A failure changes nothing that the memory shows.
 */
int vmarena_memfile_freeze(struct vmarena_memfile_mapping *mapping, size_t used, size_t *copied);

/* Makes the memory show a private file. *dropped: bytes of private pages given up; SIZE_MAX: all was mapped anew. */
int vmarena_memfile_restore(struct vmarena_memfile_mapping *mapping, struct vmarena_memfile *file, size_t *dropped);

/* Zeroes whole committed pages. -EACCES: some of them are private and not writable; nothing was changed. */
int vmarena_memfile_discard(struct vmarena_memfile_mapping *mapping, void *start, size_t size);

/*
 * Calls function for each run of pages in the first size bytes that were written since the mapping shows the file.
 * -EOPNOTSUPP: it shows another, or the system does not tell. Returns what function returned last.
 */
int vmarena_memfile_written(const struct vmarena_memfile_mapping *mapping, const struct vmarena_memfile *file,
                            size_t size, vmarena_pages_fn *function, void *arg);

/* Maps the first size bytes of a file readable at *out, to be unmapped by the caller. */
int vmarena_memfile_view(const struct vmarena_memfile *file, size_t size, void **out);

/* Takes a hold of a file, or gives one up. */
void vmarena_memfile_hold(struct vmarena_memfile *file);
void vmarena_memfile_release(struct vmarena_memfile *file);

#endif
