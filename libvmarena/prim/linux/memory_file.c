/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/internal.h"

int vmarena_prim_memory_file(int *out, const char *name, uint64_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return -errno;
    if (ftruncate(fd, (off_t)size) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *out = fd;
    return 0;
}

int vmarena_prim_map_named(void **out, size_t size, const char *name) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return -errno;
    int error = ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
    if (error == 0)
        error = vmarena_prim_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0, out);
    close(fd);
    return error;
}

int vmarena_prim_punch(void *address, size_t size) { return madvise(address, size, MADV_REMOVE) == 0 ? 0 : -errno; }

#endif
