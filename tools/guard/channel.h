/* SPDX-License-Identifier: MIT */
/* The report channel's memory (see record.h), as the command makes it. */
#ifndef VMARENA_TOOLS_CHANNEL_H
#define VMARENA_TOOLS_CHANNEL_H

#include <stddef.h>

#include "record.h"

/*
 * Makes a channel, whose descriptor stays open in *fd, and writes the path by which the program opens it. It is a memory
 * file; where the system has none, a file without a name in $TMPDIR or /tmp. Returns NULL with errno set.
 */
struct vmarena_channel *vmarena_channel_open(int *fd, char *path, size_t size);
void vmarena_channel_close(struct vmarena_channel *channel, int fd);

#endif
