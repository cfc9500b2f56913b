/* SPDX-License-Identifier: MIT */
/* Runs a program under guard: starts it, waits for it, and reads and writes its reports. */
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
    char **arguments; /* of the program, its name first */
    char path[PATH_MAX], preload[PATH_MAX];
    const char *report_path, *symbolizer; /* NULL: standard error; the first symbolizer found */
    const char *patterns[VMARENA_RUN_PATTERNS];
    size_t pattern_count;
    int json, colour; /* colour 0: on a terminal, 1: always, 2: never */
    bool quiet;
};

/* Returns the exit code; if the program died of a signal and no error was found, it dies of the same signal instead. */
int vmarena_run(struct vmarena_run *run);

#endif
