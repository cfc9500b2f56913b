/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

/* Pages for one call; their bytes fit in the smallest pipe (PIPE_BUF, 512). */
#define PAGES 64

static int write_bytes(int pipe_end, const char *start, size_t pages, size_t *done) {
    struct iovec bytes[PAGES];
    for (size_t i = 0; i < pages; i++)
        bytes[i] = (struct iovec){(void *)(uintptr_t)(start + i * vmarena_prim_page_size()), 1};
    ssize_t count = writev(pipe_end, bytes, (int)pages);
    *done = count > 0 ? (size_t)count : 0;
    return count >= 0 || errno == EINTR ? 0 : -errno;
}

static int empty(int pipe_end, size_t count) {
    char bytes[PAGES];
    while (count > 0) {
        ssize_t got = read(pipe_end, bytes, count);
        if (got > 0) count -= (size_t)got;
        else if (got == 0 || errno != EINTR) return got == 0 ? -EIO : -errno;
    }
    return 0;
}

/* The kernel reads a byte of each page on our behalf: it gets EFAULT where we would get a signal. */
static int touch_through(const int ends[2], const char *start, size_t size) {
    size_t page = vmarena_prim_page_size();
    for (size_t at = 0; at < size;) {
        size_t pages = (size - at + page - 1) / page, done;
        int error = write_bytes(ends[1], start + at, pages < PAGES ? pages : PAGES, &done);
        if (error == 0) error = empty(ends[0], done);
        if (error != 0) return error;
        at += done * page;
    }
    return 0;
}

int vmarena_prim_touch(const void *address, size_t size) {
    int ends[2];
    if (pipe(ends) != 0) return -errno;
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    int error = touch_through(ends, address, size);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return error;
}
