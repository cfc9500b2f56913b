/* SPDX-License-Identifier: MIT */
/* Memory files as such: made, held, released. */
#include "prim/prim.h"

#include "memfile/file.h"

#include <errno.h>

#include "base/error.h"
#include "base/pool.h"

static struct vmarena_pool files = VMARENA_POOL(struct vmarena_memfile);
static _Atomic unsigned forks; /* so far, in this process and those it descends from */

static int explain(int error, size_t size) {
    if (error == -EOPNOTSUPP) return vmarena_fail(-EOPNOTSUPP, "VMARENA_MEMFD: this system has no memory files");
    if (error == -EFBIG)
        return vmarena_fail(error, "VMARENA_MEMFD: a file of %zu bytes would exceed RLIMIT_FSIZE", size);
    return vmarena_fail_call(error, "memfd_create", size);
}

int vmarena_memfile_make(struct vmarena_memfile **out, const char *name, size_t size) {
    int fd, error = vmarena_prim_memory_file(&fd, name, size);
    if (error != 0) return explain(error, size);
    struct vmarena_memfile *file = vmarena_pool_take(&files);
    if (file == NULL) {
        vmarena_prim_file_close(fd);
        return vmarena_fail(-ENOMEM, "VMARENA_MEMFD: no memory for the file's record");
    }
    *file = (struct vmarena_memfile){.fd = fd, .born = atomic_load(&forks), .size = size};
    atomic_init(&file->holders, 1);
    *out = file;
    return 0;
}

void vmarena_memfile_hold(struct vmarena_memfile *file) { (void)atomic_fetch_add(&file->holders, 1); }

void vmarena_memfile_release(struct vmarena_memfile *file) {
    if (atomic_fetch_sub(&file->holders, 1) != 1) return;
    if (file->retired_mapping != NULL) (void)vmarena_prim_unmap(file->retired_mapping, file->retired_size);
    vmarena_prim_file_close(file->fd);
    vmarena_pool_give(&files, file);
}

bool vmarena_memfile_is_alone(const struct vmarena_memfile *file) {
    return atomic_load(&file->holders) == 1 && file->born == atomic_load(&forks);
}

void vmarena_memfile_count_fork(void) { (void)atomic_fetch_add(&forks, 1); }

int vmarena_memfile_view(const struct vmarena_memfile *file, size_t size, void **out) {
    int error = vmarena_prim_map(out, size, vmarena_prim_page_size(), VMARENA_NONE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", size);
    error = vmarena_prim_map_file(*out, size, VMARENA_READ, true, file->fd, 0);
    if (error == 0) return 0;
    (void)vmarena_prim_unmap(*out, size);
    return vmarena_fail_call(error, "mmap", size);
}
