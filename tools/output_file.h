/* SPDX-License-Identifier: MIT */
/* Files that the commands write to, where the user says so. */
#ifndef VMARENA_TOOLS_OUTPUT_FILE_H
#define VMARENA_TOOLS_OUTPUT_FILE_H

#include <sys/types.h>

/*
 * Opens a file for writing, emptied; a new one gets mode, less the umask. Nobody else can have it point elsewhere: a
 * symbolic link is followed where it belongs to this user or to root, as /dev/stdout does, and a regular file has to belong
 * to this user. Returns a descriptor that execve(2) closes, or -1 with *why as words to put behind the path.
 */
int vmarena_output_file_open(const char *path, mode_t mode, const char **why);

#endif
