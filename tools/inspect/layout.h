/* SPDX-License-Identifier: MIT */
/*
 * An address space laid out for drawing. Adjacent mappings of one name, such as those of a library, form a group; gaps
 * between groups are left out. All cells stand for the same number of pages, so that groups are to scale; a long stretch of
 * nothing, or of guard markers alone, is folded into one wide cell.
 */
#ifndef VMARENA_TOOLS_INSPECT_LAYOUT_H
#define VMARENA_TOOLS_INSPECT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "space.h"

/* The width of a fold in cells. */
#define VMARENA_FOLD 8u

#define VMARENA_NO_MAPPING SIZE_MAX

struct vmarena_cell {
    uint64_t start, end; /* addresses */
    size_t mapping;      /* index in the space, of the largest part; NO_MAPPING: a gap within the group */
    unsigned state;      /* of the longest stretch of memory in it; GUARD: guards only; 0: nothing */
    unsigned also;       /* all states in it */
    bool fold;
};

struct vmarena_group {
    size_t first_mapping, mapping_count;
    size_t first_cell, cell_count;
    uint64_t gap; /* unmapped bytes before it */
    uint64_t size;
    struct vmarena_tool_sums pages;
    bool mixed; /* has several names, because there would be too many groups otherwise */
};

struct vmarena_layout {
    struct vmarena_cell *cells;
    size_t cell_count, cell_room;
    struct vmarena_group *groups;
    size_t group_count, group_room;
    uint64_t pages_per_cell; /* a power of two */
};

/* Chooses the largest scale that needs at most `cells` cells (a fold counts with its width), but at least one cell for each
 * group. Returns false if memory is out. */
bool vmarena_layout_make(struct vmarena_layout *layout, const struct vmarena_space *space, size_t cells);
void vmarena_layout_free(struct vmarena_layout *layout);

/* The position of a cell in rows of `columns` cells, from the position of the one before. A fold does not wrap. */
struct vmarena_place {
    unsigned column, row, width;
};
void vmarena_place_next(struct vmarena_place *place, const struct vmarena_cell *cell, unsigned columns);
unsigned vmarena_group_rows(const struct vmarena_layout *layout, const struct vmarena_group *group, unsigned columns);

/* The name of a group: its arena, heap or view, its file, "[heap]", or "anonymous". */
#define VMARENA_TITLE_SIZE 4608 /* a path, and some words */
void vmarena_group_title(const struct vmarena_space *space, const struct vmarena_group *group,
                         char title[VMARENA_TITLE_SIZE]);

/* "63.9G", short enough for a fold. */
const char *vmarena_short_bytes(uint64_t bytes, char text[16]);

#endif
