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

/* The number a file begins with; 0 where it cannot be read or has none. */
size_t vmarena_prim_read_number(const char *path);

/* Also where /proc is mounted so that it hides the processes of others (hidepid=2). */
bool vmarena_prim_exists(pid_t pid);

/* A thread of the kernel's, or a process that ended and was not waited for: it is there, and has no memory. */
#define VMARENA_NO_MEMORY (-ENODATA)

/* A descriptor of /proc/PID/file, or VMARENA_NO_MEMORY, -ESRCH, -EPERM, -EOPNOTSUPP or what open(2) gave. */
int vmarena_prim_proc_open(pid_t pid, const char *file);

/* Whether a file of /proc has anything to read: not once the process's memory is gone. */
bool vmarena_prim_has_memory(int fd);

/* /proc/PID/stat from its third field on, behind the name in brackets, which may hold anything. NULL: *error. */
#define VMARENA_STAT_SIZE 1024
const char *vmarena_prim_read_stat(int fd, char text[VMARENA_STAT_SIZE], int *error);

/* A file line by line. A line that exceeds the buffer (no path of PATH_MAX does) loses its end. */
struct vmarena_lines {
    int fd;
    size_t start, end;
    bool cut; /* the rest of the line is to be left out */
    char text[16 * 1024];
};

/* 1: *line is the next, terminated without its newline. 0: there is none. */
int vmarena_prim_next_line(struct vmarena_lines *lines, char **line);

/* Reads an unsigned number (lower-case digits) and moves *text behind it. */
uint64_t vmarena_prim_parse_number(char **text, unsigned radix);
void vmarena_prim_skip_spaces(char **text);

#endif
