/* SPDX-License-Identifier: MIT */
/*
 * Where an object lies against its guard, and the pattern that fills the slack around it.
 *
 *      FENCE_END    pages: │ before ........ object │ guard      before: what the size lacks to whole pages
 *      FENCE_START  guard │ object ........ after │              after:  the same, at the other side
 *
 * An alignment wider than the size leaves a little slack at the guarded side, too.
 */
#ifndef VMARENA_GUARD_LAYOUT_H
#define VMARENA_GUARD_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmarena/arena.h"
#include "vmarena/fault.h"

struct vmarena_placement {
    size_t pages;  /* bytes of the pages that hold the object, a multiple of the page size */
    size_t offset; /* of the object in them */
};

/*
 * Places size bytes (not 0) aligned to align (a power of two) in pages that start at a multiple of align and of page.
 * -EOVERFLOW: size does not fit in whole pages.
 */
int vmarena_place_object(struct vmarena_placement *place, size_t size, size_t align, enum vmarena_fence side,
                         size_t page);

/* The slack of an object in its pages: [before, start) and [end, after). */
struct vmarena_slack {
    uintptr_t before, start, end, after;
};

/* Fills both sides with the pattern. */
void vmarena_slack_fill_pattern(const struct vmarena_slack *slack);

/*
 * Finds damage at or after `from` (slack->before, to begin with): returns the first byte that no longer holds the pattern,
 * or 0. *length: up to the last such byte on the same side, so that the search goes on from the sum. Signal-safe.
 */
uintptr_t vmarena_slack_find_damage(const struct vmarena_slack *slack, uintptr_t from, size_t *length);

/* Fills [start, end) with the pattern, in which each byte is a function of its address. */
void vmarena_pattern_fill(uintptr_t start, uintptr_t end);

/* Returns the first byte in [start, end) that no longer holds the pattern, or end. Signal-safe. */
uintptr_t vmarena_pattern_check(uintptr_t start, uintptr_t end);

/* The pattern's byte at address. Signal-safe. */
unsigned char vmarena_pattern_byte(uintptr_t address);

/* The signed distance from [start, start + size) to address: +1 is the first byte past the end, -1 the last before the
 * start, 0 inside. Signal-safe. */
ptrdiff_t vmarena_object_distance(uintptr_t start, size_t size, uintptr_t address);

/* The same without its sign. */
size_t vmarena_object_gap(uintptr_t start, size_t size, uintptr_t address);

/*
 * Sets the kind of a fault that an owner knows more about than the signal. A SIGBUS may be a guard by userfaultfd(2),
 * which tells it as a hardware error where the kernel knows of those (BUS_MCEERR_AR); inside of a live object it is one.
 * Signal-safe.
 */
void vmarena_attribute_kind(struct vmarena_fault *fault, enum vmarena_fault_kind kind);

/* Names the object [start, start + size) in a fault: object, object_size and distance. Signal-safe. */
void vmarena_attribute_object(struct vmarena_fault *fault, uintptr_t start, size_t size);

/* The same, and the kind that follows from the distance and from whether the object is live. Signal-safe. */
void vmarena_attribute(struct vmarena_fault *fault, uintptr_t start, size_t size, bool live);

#endif
