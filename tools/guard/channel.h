/* SPDX-License-Identifier: MIT */
/* Creates the report channel's memory (see record.h). */
#ifndef VMARENA_TOOLS_CHANNEL_H
#define VMARENA_TOOLS_CHANNEL_H

#include <stddef.h>

#include "record.h"

/*
 * Creates a channel, whose descriptor stays open in *fd, and writes the path by which the program opens it. It is a memory
 * file or, where the system has none, an unlinked file in $TMPDIR or /tmp. Returns NULL with errno set on failure.
 */
struct vmarena_channel *vmarena_channel_open(int *fd, char *path, size_t size);
void vmarena_channel_close(struct vmarena_channel *channel, int fd);

#endif
