/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prim/linux/proc.h"

bool vmarena_prim_read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got < 0) return false;
    text[got] = '\0';
    return true;
}

size_t vmarena_prim_read_number(const char *path) {
    char text[32];
    size_t value = 0;
    if (!vmarena_prim_read_text(path, text, sizeof text)) return 0;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++) value = value * 10 + (size_t)(*c - '0');
    return value;
}

bool vmarena_prim_exists(pid_t pid) { return kill(pid, 0) == 0 || errno == EPERM; }

static int open_file(pid_t pid, const char *file) {
    char path[64];
    if (pid == 0) (void)snprintf(path, sizeof path, "/proc/self/%s", file);
    else (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

const char *vmarena_prim_read_stat(int fd, char text[VMARENA_STAT_SIZE], int *error) {
    ssize_t got = read(fd, text, VMARENA_STAT_SIZE - 1);
    *error = got < 0 ? -errno : -EOPNOTSUPP;
    text[got > 0 ? got : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' ? name_end + 2 : NULL;
}

/* Opening the files of a process that has ended fails with EACCES: whose it is depends on its memory, which is gone. */
static bool has_ended(pid_t pid) {
    char text[VMARENA_STAT_SIZE];
    int error, fd = open_file(pid, "stat");
    if (fd < 0) return false;
    const char *state = vmarena_prim_read_stat(fd, text, &error);
    close(fd);
    return state != NULL && (*state == 'Z' || *state == 'X');
}

int vmarena_prim_proc_open(pid_t pid, const char *file) {
    char path[64];
    if (pid < 0) return -ESRCH;
    int fd = open_file(pid, file);
    if (fd >= 0) return fd;
    if (errno == EACCES) return has_ended(pid) ? VMARENA_NO_MEMORY : -EPERM;
    if (errno == ESRCH) return vmarena_prim_exists(pid) ? VMARENA_NO_MEMORY : -ESRCH;
    if (errno != ENOENT) return -errno;
    if (access("/proc/self/maps", F_OK) != 0) return -EOPNOTSUPP; /* no /proc is mounted */
    (void)snprintf(path, sizeof path, "/proc/%ld", (long)pid);
    if (pid == 0 || access(path, F_OK) == 0) return -EOPNOTSUPP;
    return vmarena_prim_exists(pid) ? -EPERM : -ESRCH;
}

int vmarena_prim_check_memory(int fd) {
    uint64_t word;
    ssize_t got = pread(fd, &word, sizeof word, 0);
    if (got < 0) return -errno;
    return got > 0 ? 0 : VMARENA_NO_MEMORY;
}

static int fill(struct vmarena_lines *lines) {
    ssize_t got;
    memmove(lines->text, lines->text + lines->start, lines->end - lines->start);
    lines->end -= lines->start;
    lines->start = 0;
    do got = read(lines->fd, lines->text + lines->end, lines->size - 1 - lines->end);
    while (got < 0 && errno == EINTR);
    if (got < 0) return -errno;
    lines->end += (size_t)got;
    return got > 0;
}

/* Skips the end of a line that did not fit. */
static int skip_rest(struct vmarena_lines *lines) {
    while (lines->cut) {
        char *newline = memchr(lines->text + lines->start, '\n', lines->end - lines->start);
        lines->start = newline != NULL ? (size_t)(newline + 1 - lines->text) : lines->end;
        lines->cut = newline == NULL;
        int more = lines->cut ? fill(lines) : 1;
        if (more <= 0) return more;
    }
    return 1;
}

int vmarena_prim_next_line(struct vmarena_lines *lines, char **line) {
    int left = skip_rest(lines);
    if (left <= 0) return left;
    for (;;) {
        char *begin = lines->text + lines->start, *newline = memchr(begin, '\n', lines->end - lines->start);
        if (newline != NULL || lines->end - lines->start == lines->size - 1) {
            char *last = newline != NULL ? newline : lines->text + lines->end - 1;
            lines->cut = newline == NULL;
            *last = '\0';
            *line = begin;
            lines->start = (size_t)(last + 1 - lines->text);
            lines->count++;
            return 1;
        }
        int more = fill(lines);
        if (more <= 0) return more;
    }
}

uint64_t vmarena_prim_parse_number(char **text, unsigned radix) {
    uint64_t value = 0;
    for (;; ++*text) {
        char c = **text;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 99;
        if (digit >= radix) return value;
        value = value * radix + digit;
    }
}

void vmarena_prim_skip_spaces(char **text) {
    while (**text == ' ') ++*text;
}

#endif
