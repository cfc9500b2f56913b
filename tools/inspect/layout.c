/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "vmarena/inspect.h"

#define LONG 64          /* cells: a longer stretch of nothing, or of guards alone, is folded */
#define FAR (1ull << 30) /* bytes: mappings farther apart are not in one group */
#define MOST_GROUPS 400  /* beyond this, groups of several names are made */

static bool grow(void *array, size_t *room, size_t count, size_t size) {
    void *bytes;
    memcpy(&bytes, array, sizeof bytes);
    if (count < *room) return true;
    size_t more = *room != 0 ? 2 * *room : 256;
    bytes = reallocarray(bytes, more, size);
    if (bytes == NULL) return false;
    memcpy(array, &bytes, sizeof bytes);
    *room = more;
    return true;
}

/* ---- groups --------------------------------------------------------------------------------------------------------- */

/* Whether a mapping belongs to the group that ends with `last`. */
static bool belongs(const struct vmarena_mapping *first, const struct vmarena_mapping *last,
                    const struct vmarena_mapping *next, bool mixed) {
    if (next->start - last->end >= FAR) return false;
    if (mixed) return true;
    if (last->owner != VMARENA_OWNER_NONE || next->owner != VMARENA_OWNER_NONE)
        return last->owner_start == next->owner_start && last->owner == next->owner;
    if (strcmp(first->name, next->name) == 0) return true;
    /* The .bss of a program or library follows it as a mapping without a name. */
    return next->name[0] == '\0' && last->inode != 0 && next->start == last->end && next->end - next->start < 1 << 20;
}

static void add_sums(struct vmarena_group *group, const struct vmarena_tool_mapping *mapping) {
    group->mapping_count++;
    group->size += mapping->mapping.end - mapping->mapping.start;
    group->pages.resident += mapping->pages.resident;
    group->pages.dirty += mapping->pages.dirty;
    group->pages.swapped += mapping->pages.swapped;
    group->pages.shared += mapping->pages.shared;
    group->pages.huge += mapping->pages.huge;
    group->pages.guard += mapping->pages.guard;
}

static bool make_groups(struct vmarena_layout *layout, const struct vmarena_space *space, bool mixed) {
    struct vmarena_group *group = NULL;
    layout->group_count = 0;
    for (size_t i = 0; i < space->count; i++) {
        const struct vmarena_mapping *base = &space->mappings[i].mapping,
                                     *last = i > 0 ? &space->mappings[i - 1].mapping : NULL;
        if (group == NULL || !belongs(&space->mappings[group->first_mapping].mapping, last, base, mixed)) {
            if (!grow(&layout->groups, &layout->group_room, layout->group_count, sizeof *group)) return false;
            group = &layout->groups[layout->group_count++];
            *group = (struct vmarena_group){
                .first_mapping = i, .gap = base->start - (last != NULL ? last->end : 0), .mixed = mixed};
        }
        add_sums(group, &space->mappings[i]);
    }
    return true;
}

/* ---- pieces: stretches of one mapping, or of nothing between two, that are alike all over -------------------------------- */

struct piece {
    uint64_t start, end;
    size_t mapping;
    unsigned state;
};

/* Takes the pieces of a group one by one, and makes cells of them or only counts the cells. */
struct builder {
    struct vmarena_layout *layout;
    struct vmarena_group *group; /* NULL: count */
    size_t width, most_width;
    uint64_t step;            /* bytes of a cell */
    struct vmarena_cell open; /* the cell being filled; start == end: none */
    uint64_t longest;         /* length of the stretch that gave it its state */
};

static bool add_cell(struct builder *builder, const struct vmarena_cell *cell) {
    struct vmarena_layout *layout = builder->layout;
    builder->width += cell->fold ? VMARENA_FOLD : 1;
    if (builder->group == NULL) return builder->width <= builder->most_width;
    if (!grow(&layout->cells, &layout->cell_room, layout->cell_count, sizeof *cell)) return false;
    if (builder->group->cell_count++ == 0) builder->group->first_cell = layout->cell_count;
    layout->cells[layout->cell_count++] = *cell;
    return true;
}

static bool close_cell(struct builder *builder) {
    struct vmarena_cell cell = builder->open;
    builder->open = (struct vmarena_cell){.mapping = VMARENA_NO_MAPPING};
    builder->longest = 0;
    return cell.start == cell.end || add_cell(builder, &cell);
}

/* Memory takes precedence over guards, and guards over nothing. */
static unsigned rank(unsigned state) { return state == 0 ? 0 : state == VMARENA_PAGE_GUARD ? 1 : 2; }

static void take(struct builder *builder, const struct piece *piece, uint64_t length) {
    struct vmarena_cell *cell = &builder->open;
    unsigned before = rank(cell->state), now = rank(piece->state);
    cell->end += length;
    cell->also |= piece->state;
    if (now < before || (now == before && length <= builder->longest)) return;
    cell->state = piece->state;
    cell->mapping = piece->mapping;
    builder->longest = length;
}

static bool add_piece(struct builder *builder, const struct piece *piece) {
    bool dull = piece->state == 0 || piece->state == VMARENA_PAGE_GUARD;
    if (dull && piece->end - piece->start > LONG * builder->step) {
        struct vmarena_cell fold = {piece->start, piece->end, piece->mapping, piece->state, piece->state, true};
        return close_cell(builder) && add_cell(builder, &fold);
    }
    for (uint64_t at = piece->start; at < piece->end;) {
        struct vmarena_cell *cell = &builder->open;
        if (cell->start == cell->end) cell->start = cell->end = at;
        uint64_t room = builder->step - (cell->end - cell->start), left = piece->end - at;
        take(builder, piece, left < room ? left : room);
        at = cell->end;
        if (cell->end - cell->start == builder->step && !close_cell(builder)) return false;
    }
    return true;
}

static bool add_mapping(struct builder *builder, const struct vmarena_space *space, size_t number) {
    const struct vmarena_tool_mapping *mapping = &space->mappings[number];
    uint64_t at = mapping->mapping.start;
    for (size_t i = 0; i < mapping->run_count; i++) {
        const struct vmarena_pages *run = &space->runs[mapping->first_run + i];
        if (!add_piece(builder, &(struct piece){at, run->start, number, 0}) ||
            !add_piece(builder, &(struct piece){run->start, run->end, number, run->state}))
            return false;
        at = run->end;
    }
    return add_piece(builder, &(struct piece){at, mapping->mapping.end, number, 0});
}

static bool add_group(struct builder *builder, const struct vmarena_space *space, const struct vmarena_group *group) {
    size_t number = group->first_mapping;
    for (; number < group->first_mapping + group->mapping_count; number++) {
        uint64_t start = space->mappings[number].mapping.start;
        uint64_t before = number > group->first_mapping ? space->mappings[number - 1].mapping.end : start;
        if (!add_piece(builder, &(struct piece){before, start, VMARENA_NO_MAPPING, 0}) ||
            !add_mapping(builder, space, number))
            return false;
    }
    return close_cell(builder);
}

static bool fits(const struct vmarena_layout *layout, const struct vmarena_space *space, size_t cells, uint64_t step) {
    struct builder builder = {.most_width = cells, .step = step, .open.mapping = VMARENA_NO_MAPPING};
    for (size_t i = 0; i < layout->group_count; i++)
        if (!add_group(&builder, space, &layout->groups[i])) return false;
    return true;
}

static bool make_cells(struct vmarena_layout *layout, const struct vmarena_space *space) {
    struct builder builder = {
        .layout = layout, .step = layout->pages_per_cell * space->page, .open.mapping = VMARENA_NO_MAPPING};
    for (size_t i = 0; i < layout->group_count; i++) {
        builder.group = &layout->groups[i];
        if (!add_group(&builder, space, builder.group)) return false;
    }
    return true;
}

bool vmarena_layout_make(struct vmarena_layout *layout, const struct vmarena_space *space, size_t cells) {
    *layout = (struct vmarena_layout){.pages_per_cell = 1};
    bool made = make_groups(layout, space, false);
    if (made && layout->group_count > MOST_GROUPS) made = make_groups(layout, space, true);
    if (cells < layout->group_count) cells = layout->group_count; /* the least that any scale needs */
    while (made && !fits(layout, space, cells, layout->pages_per_cell * space->page)) layout->pages_per_cell *= 2;
    if (made && make_cells(layout, space)) return true;
    vmarena_layout_free(layout);
    return false;
}

void vmarena_layout_free(struct vmarena_layout *layout) {
    free(layout->cells);
    free(layout->groups);
    *layout = (struct vmarena_layout){.cells = NULL};
}

/* ---- what drawers share --------------------------------------------------------------------------------------------------- */

void vmarena_place_next(struct vmarena_place *place, const struct vmarena_cell *cell, unsigned columns) {
    place->column += place->width;
    place->width = cell->fold ? VMARENA_FOLD : 1;
    if (place->column + place->width <= columns) return;
    place->column = 0;
    place->row++;
}

unsigned vmarena_group_rows(const struct vmarena_layout *layout, const struct vmarena_group *group, unsigned columns) {
    struct vmarena_place place = {0, 0, 0};
    for (size_t i = 0; i < group->cell_count; i++)
        vmarena_place_next(&place, &layout->cells[group->first_cell + i], columns);
    return place.row + 1;
}

void vmarena_group_title(const struct vmarena_space *space, const struct vmarena_group *group,
                         char title[VMARENA_TITLE_SIZE]) {
    const struct vmarena_mapping *base = &space->mappings[group->first_mapping].mapping;
    const char *others = group->mixed && group->mapping_count > 1 ? " and others" : "";
    char number[32], objects[64] = "";
    if (base->objects != 0)
        (void)snprintf(objects, sizeof objects, ", %s object%s", vmarena_grouped(base->objects, number),
                       base->objects == 1 ? "" : "s");
    if (base->owner == VMARENA_OWNER_NONE)
        (void)snprintf(title, VMARENA_TITLE_SIZE, "%s%s", base->name[0] != '\0' ? base->name : "anonymous", others);
    else
        (void)snprintf(title, VMARENA_TITLE_SIZE, "%s \"%s\"%s%s", vmarena_owner_kind(base->owner), base->owner_name,
                       objects, others);
}

const char *vmarena_short_bytes(uint64_t bytes, char text[16]) {
    static const char units[] = "KMGTPE";
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    for (; value >= 999.5 && unit < 5; unit++) value /= 1024;
    (void)snprintf(text, 16, value < 9.95 && unit > 0 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return text;
}
