/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* The name is removed at once: the program opens the file through our descriptor. */
static int open_in(const char *folder) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/vmarena-guard-XXXXXX", folder);
    int fd = length < 0 || (size_t)length >= sizeof path ? -1 : mkostemp(path, O_CLOEXEC);
    if (fd >= 0) (void)unlink(path);
    return fd;
}

static int open_memory(void) {
    int fd = memfd_create("vmarena-guard", MFD_CLOEXEC);
    if (fd >= 0) return fd;
    const char *folder = secure_getenv("TMPDIR");
    if (folder != NULL && *folder == '/') fd = open_in(folder);
    return fd >= 0 ? fd : open_in("/tmp");
}

/*
 * RLIMIT_FSIZE applies to memory files, too, although it is meant for the program's own files: the soft limit is raised to
 * the hard one meanwhile. SIGXFSZ is ignored, so that the hard limit causes an error (EFBIG) and not the end.
 */
static bool set_size(int fd) {
    struct rlimit limit, lifted;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    bool limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != limit.rlim_max;
    lifted = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (limited) (void)setrlimit(RLIMIT_FSIZE, &lifted);
    bool set = ftruncate(fd, sizeof(struct vmarena_channel)) == 0;
    int error = errno;
    if (limited) (void)setrlimit(RLIMIT_FSIZE, &limit);
    (void)signal(SIGXFSZ, handler);
    errno = error;
    return set;
}

struct vmarena_channel *vmarena_channel_open(int *fd, char *path, size_t size) {
    *fd = open_memory();
    if (*fd < 0 || !set_size(*fd)) return NULL;
    void *mapped = mmap(NULL, sizeof(struct vmarena_channel), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (mapped == MAP_FAILED) return NULL;
    struct vmarena_channel *channel = mapped;
    channel->magic = VMARENA_CHANNEL_MAGIC;
    channel->size = sizeof *channel;
    (void)snprintf(path, size, "/proc/%d/fd/%d", (int)getpid(), *fd);
    return channel;
}

void vmarena_channel_close(struct vmarena_channel *channel, int fd) {
    if (channel != NULL) munmap(channel, sizeof *channel);
    if (fd >= 0) close(fd);
}
