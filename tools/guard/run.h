/* SPDX-License-Identifier: MIT */
/* A program run under guard: started, waited for, its reports read, named and written. */
#ifndef VMARENA_TOOLS_RUN_H
#define VMARENA_TOOLS_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "options.h"

#define VMARENA_PRELOAD_NAME "libvmarena-malloc.so"
#define VMARENA_RUN_PATTERNS 256

struct vmarena_run {
    struct vmarena_guard_options options;
    char **arguments; /* the program's, from its name on */
    char path[PATH_MAX], preload[PATH_MAX];
    const char *report_path, *symbolizer; /* NULL: standard error; the first found */
    const char *patterns[VMARENA_RUN_PATTERNS];
    size_t pattern_count;
    int json, colour; /* colour 0: on a terminal, 1: always, 2: never */
    bool quiet;
};

/* The exit code; it does not return where the program died of a signal and no error was found, but dies of that, too. */
int vmarena_run(struct vmarena_run *run);

#endif
