/* SPDX-License-Identifier: MIT */
/* The picture of an address space as SVG. */
#ifndef VMARENA_TOOLS_INSPECT_DRAW_H
#define VMARENA_TOOLS_INSPECT_DRAW_H

#include <stdio.h>

#include "layout.h"

/* In pixels. All are multiples of a cell, so that the patterns, whose origin is the corner, match the cells. */
#define VMARENA_DRAW_CELL 8u
#define VMARENA_DRAW_MARGIN 16u
#define VMARENA_DRAW_COLUMNS 140u

struct vmarena_drawing {
    FILE *out;
    const struct vmarena_space *space;
    const struct vmarena_layout *layout;
};

/* attributes: for the svg element. */
void vmarena_draw(const struct vmarena_drawing *drawing, const char *attributes);

/* The top of a group's cells. To be called for each group in order, with *y 0 before the first. */
unsigned vmarena_draw_top(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned *y);

#endif
