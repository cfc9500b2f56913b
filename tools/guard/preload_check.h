/* SPDX-License-Identifier: MIT */
/* Whether a program can be guarded at all, found out before it runs. */
#ifndef VMARENA_TOOLS_PRELOAD_CHECK_H
#define VMARENA_TOOLS_PRELOAD_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Looks name up as execvp(3) does, into path. false: *why, in words to put behind the name.
 */
bool vmarena_program_find(const char *name, char *path, size_t size, const char **why);

/*
 * Whether a malloc preloaded from the file `preload` would serve the program; of a script, its interpreter is looked at.
 * false: a sentence about it in why.
 */
bool vmarena_preload_check(const char *path, const char *preload, char *why, size_t size);

#endif
