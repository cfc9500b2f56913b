/* SPDX-License-Identifier: MIT */
/* Whether a program can be guarded, checked before it runs. */
#ifndef VMARENA_TOOLS_PRELOAD_CHECK_H
#define VMARENA_TOOLS_PRELOAD_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Finds a program as execvp(3) does and writes its path. Returns false with the reason in *why.
 */
bool vmarena_program_find(const char *name, char *path, size_t size, const char **why);

/*
 * Whether the program, or the interpreter of a script, would use a malloc preloaded from the file `preload`. Returns false
 * with a sentence in why.
 */
bool vmarena_preload_check(const char *path, const char *preload, char *why, size_t size);

#endif
