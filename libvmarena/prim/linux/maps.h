/* SPDX-License-Identifier: MIT */
/* Linux only: reading an open /proc/PID/maps. */
#ifndef VMARENA_PRIM_LINUX_MAPS_H
#define VMARENA_PRIM_LINUX_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prim/linux/proc.h"
#include "vmarena/types.h"

/*
 * Calls function for each line, ascending, and returns the first result of it that is not 0, or 0, or a negative errno.
 * Where lines is too small for a line, the mapping's name loses its end. Signal-safe if function is.
 */
int vmarena_prim_read_maps(struct vmarena_lines *lines, vmarena_maps_fn *function, void *arg);

/*
 * Asks for the mapping at address, or with or_next for the first that ends above it: PROCMAP_QUERY, Linux 6.11. Its
 * name goes into name, "" with size 0. -ENOENT: there is none; -ENOTTY: before Linux 6.11. Signal-safe.
 */
int vmarena_prim_query_maps(int fd, uint64_t address, bool or_next, struct vmarena_mapping *out, char *name,
                            size_t size);

#endif
