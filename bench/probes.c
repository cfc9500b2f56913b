/* SPDX-License-Identifier: MIT */
/* vmarena_alloc as it is inlined into a caller, for instructions.c to count. */
#include "probes.h"

void *probe_any_layout(struct vmarena *arena, size_t size, size_t align) { return vmarena_alloc(arena, size, align); }
void *probe_any_size(struct vmarena *arena, size_t size) { return vmarena_alloc(arena, size, 16); }
void *probe_constant(struct vmarena *arena) { return vmarena_alloc(arena, 24, 8); }
void *probe_bytes(struct vmarena *arena) { return vmarena_alloc(arena, 31, 1); }
void *probe_bump_any_layout(struct bump *bump, size_t size, size_t align) { return bump_alloc(bump, size, align); }
void *probe_bump_constant(struct bump *bump) { return bump_alloc(bump, 24, 8); }
