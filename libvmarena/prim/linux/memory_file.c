/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/internal.h"

static int resize(int fd, uint64_t size) {
    struct vmarena_prim_file_limit limit;
    if (size > (uint64_t)INT64_MAX) return -EFBIG;
    vmarena_prim_file_limit_begin(&limit);
    int error = ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
    vmarena_prim_file_limit_end(&limit);
    return error;
}

int vmarena_prim_memory_file(int *out, const char *name, uint64_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    int error = resize(fd, size);
    if (error == 0) *out = fd;
    else close(fd);
    return error;
}

int vmarena_prim_map_named(void **out, size_t size, const char *name) {
    int fd, error = vmarena_prim_memory_file(&fd, name, size);
    if (error != 0) return error;
    error = vmarena_prim_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0, out);
    close(fd);
    return error;
}

int vmarena_prim_punch_hole(void *address, size_t size) {
    return madvise(address, size, MADV_REMOVE) == 0 ? 0 : -errno;
}

#endif
