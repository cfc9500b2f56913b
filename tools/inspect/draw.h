/* SPDX-License-Identifier: MIT */
/* The picture of an address space as SVG. */
#ifndef VMARENA_TOOLS_INSPECT_DRAW_H
#define VMARENA_TOOLS_INSPECT_DRAW_H

#include <stdio.h>

#include "layout.h"

/* Pixels. All are multiples of a cell, so that the patterns, which count from the corner, fall on the cells. */
#define VMARENA_DRAW_CELL 8u
#define VMARENA_DRAW_MARGIN 16u
#define VMARENA_DRAW_COLUMNS 140u

struct vmarena_drawing {
    FILE *out;
    const struct vmarena_space *space;
    const struct vmarena_layout *layout;
};

/* attributes: of the svg element. */
void vmarena_draw(const struct vmarena_drawing *drawing, const char *attributes);

/* Where each group's cells begin: to be called for one after the other, *y being 0 for the first. */
unsigned vmarena_draw_top(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned *y);

#endif
