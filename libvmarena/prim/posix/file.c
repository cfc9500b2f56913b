/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prim/internal.h"

int vmarena_prim_file_open(int *out, const char *path, bool writable) {
    /* O_NONBLOCK: opening a FIFO that nobody has open for writing would block, only to be refused a moment later. */
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return -errno;
    *out = fd;
    return 0;
}

int vmarena_prim_file_duplicate(int *out, int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return -errno;
    *out = copy;
    return 0;
}

void vmarena_prim_file_close(int fd) { (void)close(fd); }

#ifndef O_PATH
#define O_PATH 0
#endif

void vmarena_prim_file_access(int fd, bool *reads, bool *writes) {
    int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;
    bool opened = flags != -1 && (flags & O_PATH) == 0;
    *reads = opened && mode != O_WRONLY;
    *writes = opened && mode != O_RDONLY;
}

static const char *special(mode_t mode) {
    if (S_ISDIR(mode)) return "a directory";
    if (S_ISFIFO(mode)) return "a pipe or FIFO";
    if (S_ISSOCK(mode)) return "a socket";
    if (S_ISCHR(mode)) return "a character device";
    if (S_ISBLK(mode)) return "a block device";
    return S_ISREG(mode) ? NULL : "no regular file";
}

int vmarena_prim_file_stat(int fd, struct vmarena_prim_file *out) {
    struct stat status;
    if (fstat(fd, &status) != 0) return -errno;
    out->special = special(status.st_mode);
    out->directory = S_ISDIR(status.st_mode);
    out->size = status.st_size > 0 ? (uint64_t)status.st_size : 0;
    return 0;
}

int vmarena_prim_file_read(int fd, void *to, size_t size, uint64_t offset, size_t *got) {
    for (*got = 0; *got < size;) {
        size_t piece = size - *got < INT_MAX ? size - *got : INT_MAX;
        ssize_t count = pread(fd, (char *)to + *got, piece, (off_t)(offset + *got));
        if (count == 0) return 0;
        if (count > 0) *got += (size_t)count;
        else if (errno != EINTR) return -errno;
    }
    return 0;
}

static int write_all(int fd, const char *from, size_t size, uint64_t offset) {
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < INT_MAX ? size - done : INT_MAX;
        ssize_t count = vmarena_prim_write_at(fd, from + done, piece, offset + done);
        if (count >= 0) done += (size_t)count;
        else if (errno != EINTR) return -errno;
    }
    return 0;
}

int vmarena_prim_file_write(int fd, const void *from, size_t size, uint64_t offset) {
    struct vmarena_prim_file_limit limit;
    vmarena_prim_file_limit_begin(&limit);
    int error = write_all(fd, from, size, offset);
    vmarena_prim_file_limit_end(&limit);
    return error;
}

void vmarena_prim_write(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t count = write(fd, text, size);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;
        text += count;
        size -= (size_t)count;
    }
}
