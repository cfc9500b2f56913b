/* SPDX-License-Identifier: MIT */
/* A memory file, for the files of this folder. */
#ifndef VMARENA_MEMFILE_FILE_H
#define VMARENA_MEMFILE_FILE_H

#include <stdatomic.h>

#include "memfile/memfile.h"

struct vmarena_memfile {
    int fd;
    _Atomic unsigned holders;
    unsigned born; /* the count of forks when it was made */
    size_t size;
    /* The page table that a mapping had when it was made private. Tearing it down takes time that grows with the memory,
     * so it stays until the file is released; NULL: none. */
    void *retired_mapping;
    size_t retired_size;
};

/* Makes a file of size bytes, all zero, with one holder. Explained. */
int vmarena_memfile_make(struct vmarena_memfile **out, const char *name, size_t size);

/*
 * Whether its one holder is in this process, and no other process has it, so that it may be written to. The answer holds as
 * long as the caller keeps fork(2) off by the lock of a mapping, and is the holder.
 */
bool vmarena_memfile_is_alone(const struct vmarena_memfile *file);

/* Files made before now may be mapped in another process. Called with the locks of all mappings held. */
void vmarena_memfile_count_fork(void);

#endif
