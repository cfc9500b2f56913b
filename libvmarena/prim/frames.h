/* SPDX-License-Identifier: MIT */
/* Return addresses by frame pointers: a few loads a frame, never outside the thread's stack. */
#ifndef VMARENA_PRIM_FRAMES_H
#define VMARENA_PRIM_FRAMES_H

#include <stddef.h>

/*
 * Writes the return addresses of the chain that starts at frame (__builtin_frame_address(0) of a function that is
 * running) into frames[0..depth), the innermost first, and returns how many. The chain ends where it leaves the stack or
 * does not climb. Asks the system once for each stack it meets. Signal-safe.
 */
size_t vmarena_prim_frames(const void *frame, void **frames, size_t depth);

#endif
