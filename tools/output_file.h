/* SPDX-License-Identifier: MIT */
/* Output files that the user names. */
#ifndef VMARENA_TOOLS_OUTPUT_FILE_H
#define VMARENA_TOOLS_OUTPUT_FILE_H

#include <sys/types.h>

/*
 * Opens a file for writing and truncates it; a new file gets mode, less the umask. Another user cannot redirect the output:
 * a symbolic link is followed only if it belongs to this user or to root, as /dev/stdout does, and a regular file must
 * belong to this user. Returns a close-on-exec descriptor, or -1 with the reason in *why.
 */
int vmarena_output_file_open(const char *path, mode_t mode, const char **why);

#endif
