/* SPDX-License-Identifier: MIT */
#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: opening a FIFO without a reader fails with ENXIO instead of waiting. O_TRUNC is absent because the owner is
 * checked first. */
#define FLAGS (O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static bool is_own_link(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode) && (status.st_uid == geteuid() || status.st_uid == 0);
}

static int open_checked(const char *path, mode_t mode, const char **why) {
    int fd = open(path, FLAGS | O_NOFOLLOW, mode);
    if (fd < 0 && errno == ELOOP) {
        if (!is_own_link(path)) return *why = "is a symbolic link of another user", -1;
        fd = open(path, FLAGS, mode);
    }
    if (fd < 0) *why = strerror(errno);
    return fd;
}

static bool is_acceptable(int fd, const char **why) {
    struct stat status;
    if (fstat(fd, &status) != 0) return *why = strerror(errno), false;
    if (!S_ISREG(status.st_mode)) return true;
    if (status.st_uid != geteuid()) return *why = "belongs to another user", false;
    if (ftruncate(fd, 0) != 0) return *why = strerror(errno), false;
    return true;
}

int vmarena_output_file_open(const char *path, mode_t mode, const char **why) {
    int fd = open_checked(path, mode, why);
    if (fd < 0) return -1;
    if (is_acceptable(fd, why) && fcntl(fd, F_SETFL, O_APPEND) == 0) return fd;
    close(fd);
    return -1;
}
