/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the command, to force what may happen at a certain moment.
 *
 *      END_EARLY=1            the child of `vmarena stat` ends before it says anything
 *      TRUNCATE_MAPPED=FILE   the file is emptied as soon as it is mapped
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int getrusage(__rusage_who_t who, struct rusage *usage) {
    if (getenv("END_EARLY") != NULL) _exit(0);
    return (int)syscall(SYS_getrusage, who, usage);
}

static void truncate_if_wanted(int fd) {
    struct stat mapped, wanted;
    const char *path = getenv("TRUNCATE_MAPPED");
    if (fd < 0 || path == NULL || fstat(fd, &mapped) != 0 || stat(path, &wanted) != 0) return;
    if (mapped.st_ino == wanted.st_ino && mapped.st_dev == wanted.st_dev) (void)!truncate(path, 0);
}

void *mmap64(void *address, size_t size, int prot, int flags, int fd, off64_t offset) {
    void *mapped = (void *)syscall(SYS_mmap, address, size, prot, flags, fd, offset);
    truncate_if_wanted(fd);
    return mapped;
}
