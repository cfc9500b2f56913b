/* SPDX-License-Identifier: MIT */
#ifndef PROBES_H
#define PROBES_H

#include <vmarena.h>

#include "bump.h"

void *probe_any_layout(struct vmarena *arena, size_t size, size_t align);
void *probe_any_size(struct vmarena *arena, size_t size);
void *probe_constant(struct vmarena *arena);
void *probe_bytes(struct vmarena *arena);
void *probe_bump_any_layout(struct bump *bump, size_t size, size_t align);
void *probe_bump_constant(struct bump *bump);

#endif
