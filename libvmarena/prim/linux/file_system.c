/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "prim/internal.h"

bool vmarena_prim_file_is_huge(int fd) {
    struct statfs system;
    return fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC;
}

void vmarena_prim_file_name(int fd, char *name, size_t size) {
    name[0] = '\0';
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 1);
    if (length >= 0) name[length] = '\0';
}

/* AddressSanitizer intercepts pwrite and would report the red zones between an arena's objects, which belong to what is
 * written. */
ssize_t vmarena_prim_write_at(int fd, const void *from, size_t size, uint64_t offset) {
#ifdef __LP64__ /* elsewhere the offset takes two registers, whose order depends on the CPU */
    return syscall(SYS_pwrite64, fd, from, size, offset);
#else
    return pwrite(fd, from, size, (off_t)offset);
#endif
}

#endif
