/* SPDX-License-Identifier: MIT */
/*
 * An address space laid out for drawing. Mappings side by side with one name make a group, as a library does; what is
 * between groups is left out. In a group each cell stands for the same number of pages, so that what is there is to
 * scale; long stretches of nothing, or of guard markers alone, are folded into one wide cell each.
 */
#ifndef VMARENA_TOOLS_INSPECT_LAYOUT_H
#define VMARENA_TOOLS_INSPECT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "space.h"

/* How many cells wide a fold is. */
#define VMARENA_FOLD 8u

#define VMARENA_NO_MAPPING SIZE_MAX

struct vmarena_cell {
    uint64_t start, end; /* addresses */
    size_t mapping;      /* its number in the space, or that of the largest part; NO_MAPPING: a gap within the group */
    unsigned state;      /* of the longest stretch of memory in it; GUARD: there are but guards; 0: nothing */
    unsigned also;       /* all states in it */
    bool fold;
};

struct vmarena_group {
    size_t first_mapping, mapping_count;
    size_t first_cell, cell_count;
    uint64_t gap; /* bytes of nothing before it */
    uint64_t size;
    struct vmarena_tool_sums pages;
    bool mixed; /* of several names, since there would be too many groups */
};

struct vmarena_layout {
    struct vmarena_cell *cells;
    size_t cell_count, cell_room;
    struct vmarena_group *groups;
    size_t group_count, group_room;
    uint64_t pages_per_cell; /* a power of two */
};

/* As large a scale as takes no more than `cells` cells (a fold counts for its width), with one a group at least. False: no
 * memory. */
bool vmarena_layout_make(struct vmarena_layout *layout, const struct vmarena_space *space, size_t cells);
void vmarena_layout_free(struct vmarena_layout *layout);

/* Cells in rows of `columns`: where one is that comes after those before. A fold does not wrap. */
struct vmarena_place {
    unsigned column, row, width;
};
void vmarena_place_next(struct vmarena_place *place, const struct vmarena_cell *cell, unsigned columns);
unsigned vmarena_group_rows(const struct vmarena_layout *layout, const struct vmarena_group *group, unsigned columns);

/* What a group is: its arena, heap or view, its file, "[heap]", or "anonymous". */
#define VMARENA_TITLE_SIZE 4608 /* a path, and some words */
void vmarena_group_title(const struct vmarena_space *space, const struct vmarena_group *group,
                         char title[VMARENA_TITLE_SIZE]);

/* "63.9G": what fits on a fold. */
const char *vmarena_short_bytes(uint64_t bytes, char text[16]);

#endif
