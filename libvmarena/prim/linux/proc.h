/* SPDX-License-Identifier: MIT */
/* Linux only: reading files of /proc and /sys. */
#ifndef VMARENA_PRIM_LINUX_PROC_H
#define VMARENA_PRIM_LINUX_PROC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a small file, or its beginning, into text, terminated; false where it cannot be read. */
bool vmarena_prim_read_text(const char *path, char *text, size_t size);

/* The number that a file begins with; 0 where it cannot be read or has none. */
size_t vmarena_prim_read_number(const char *path);

/* Whether there is such a process, even where /proc hides the processes of other users (hidepid=2). */
bool vmarena_prim_exists(pid_t pid);

/* The result for a thread of the kernel's, and for a process that has ended and was not waited for: it exists, and has
 * no memory. */
#define VMARENA_NO_MEMORY (-ENODATA)

/* Returns a descriptor of /proc/PID/file, or VMARENA_NO_MEMORY, -ESRCH, -EPERM, -EOPNOTSUPP (there is no such file, or
 * no /proc) or another negative errno of open(2). */
int vmarena_prim_proc_open(pid_t pid, const char *file);

/* Whether a file of /proc/PID still has something to read: 0, or VMARENA_NO_MEMORY once the process's memory is gone,
 * or a negative errno where that cannot be found out. */
int vmarena_prim_check_memory(int fd);

/* Reads /proc/PID/stat and returns its third field, behind the name in brackets, which may hold anything. NULL:
 * *error. */
#define VMARENA_STAT_SIZE 1024
const char *vmarena_prim_read_stat(int fd, char text[VMARENA_STAT_SIZE], int *error);

/* A file read line by line into the caller's buffer. A line that exceeds the buffer loses its end. */
struct vmarena_lines {
    int fd;
    char *text;
    size_t size;
    size_t start, end;
    size_t count; /* lines returned */
    bool cut;     /* the rest of the line that did not fit is still to be skipped */
};

/* Room for a line with a path of PATH_MAX bytes, and enough to read many lines at once. */
#define VMARENA_LINES_SIZE ((size_t)16 * 1024)

/* 1: *line is the next line, terminated, without its newline. 0: there is none. Signal-safe. */
int vmarena_prim_next_line(struct vmarena_lines *lines, char **line);

/* Reads an unsigned number (in lower-case digits) and moves *text behind it. */
uint64_t vmarena_prim_parse_number(char **text, unsigned radix);
void vmarena_prim_skip_spaces(char **text);

#endif
