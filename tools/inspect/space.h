/* SPDX-License-Identifier: MIT */
/* A snapshot of a process's address space: its mappings and, on request, their pages. */
#ifndef VMARENA_TOOLS_INSPECT_SPACE_H
#define VMARENA_TOOLS_INSPECT_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "vmarena/inspect.h"

/* Sums of bytes by state; a page may count in several. */
struct vmarena_tool_sums {
    uint64_t resident, dirty, swapped, shared, huge, guard;
};

struct vmarena_tool_mapping {
    struct vmarena_mapping mapping; /* its strings belong to the space */
    struct vmarena_tool_sums pages;
    size_t first_run, run_count; /* its part of the space's runs */
};

struct vmarena_space {
    pid_t pid;
    char title[256]; /* the command line */
    uint64_t page;   /* bytes */
    struct vmarena_tool_mapping *mappings;
    size_t count, room;
    struct vmarena_pages *runs; /* each within one mapping */
    size_t run_count, run_room;
    char *strings;
    size_t string_bytes, string_room;
    bool has_pages; /* pages were requested and read */
    unsigned known; /* the states that the system reports */
    struct vmarena_tool_sums total;
};

/* Returns 0, or a negative errno, after which there is nothing to free. pages: read their states, too. */
int vmarena_space_read(struct vmarena_space *space, pid_t pid, bool pages);
/* Prints what such an error means and returns the exit code. */
int vmarena_space_complain(const char *command, int error);
/* "64.1 GiB in 43 mappings: 19.5 MiB resident, 17.5 MiB dirty, ..." */
void vmarena_print_sums(FILE *out, const struct vmarena_space *space);
void vmarena_space_free(struct vmarena_space *space);

#endif
