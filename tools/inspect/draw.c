/* SPDX-License-Identifier: MIT */
#include "draw.h"

#include <string.h>

#include "common.h"
#include "parts/parts.h"
#include "vmarena/arena.h"

#define CELL VMARENA_DRAW_CELL
#define MARGIN VMARENA_DRAW_MARGIN
#define COLUMNS VMARENA_DRAW_COLUMNS
#define LINE 16u      /* of text: a group's title, or the size of a gap */
#define SPACE 8u      /* below a group */
#define HEAD 120u     /* title and legend */
#define MOST_TITLE 80 /* characters of a group's */
#define MOST_HEAD 105

unsigned vmarena_draw_top(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned *y) {
    if (*y == 0) *y = HEAD;
    unsigned top = *y + (group->gap != 0 ? LINE : 0) + LINE;
    *y = top + vmarena_group_rows(drawing->layout, group, COLUMNS) * CELL + SPACE;
    return top;
}

/* ---- layers: one path for all cells of a group that look alike -------------------------------------------------------- */

/* What a cell looks like. */
struct look {
    enum vmarena_permission permission;
    unsigned state, also;
};

static bool is_back(const struct look *look) { return look->permission != VMARENA_NOTHING; }
static bool is_there(const struct look *look) { return (look->state & VMARENA_PAGE_RESIDENT) != 0; }
static bool is_zero(const struct look *look) { return is_there(look) && (look->state & VMARENA_PAGE_ZERO); }
static bool is_dirty(const struct look *look) { return is_there(look) && (look->state & VMARENA_PAGE_DIRTY); }
static bool is_clean(const struct look *look) { return is_there(look) && !is_zero(look) && !is_dirty(look); }
static bool is_swapped(const struct look *look) { return (look->state & VMARENA_PAGE_SWAPPED) != 0; }
static bool is_guard(const struct look *look) { return (look->state & VMARENA_PAGE_GUARD) != 0; }
static bool is_shared(const struct look *look) {
    return is_there(look) && (look->state & VMARENA_PAGE_SHARED) && !is_zero(look);
}
static bool is_huge(const struct look *look) { return is_there(look) && (look->state & VMARENA_PAGE_HUGE); }
static bool has_guard(const struct look *look) { return (look->also & VMARENA_PAGE_GUARD) && !is_guard(look); }

/* From the bottom layer to the top. The last two are lines of 2 pixels. */
static const struct layer {
    const char *name;
    bool (*has)(const struct look *look);
    bool by_permission; /* the colour depends on it */
    unsigned y;         /* of the line's middle */
} layers[] = {{"back", is_back, true, 4},      {"clean", is_clean, true, 4},      {"dirty", is_dirty, true, 4},
              {"zero", is_zero, false, 4},     {"swapped", is_swapped, false, 4}, {"guard", is_guard, false, 4},
              {"shared", is_shared, false, 4}, {"huge", is_huge, false, 1},       {"some-guard", has_guard, false, 6}};
#define LAYERS (sizeof layers / sizeof layers[0])

static const char *const permission_names[] = {
    [VMARENA_NOTHING] = "", [VMARENA_NO_ACCESS] = "none", [VMARENA_READS] = "r",
    [VMARENA_WRITES] = "w", [VMARENA_RUNS] = "x",         [VMARENA_WRITES_AND_RUNS] = "wx"};
#define PERMISSIONS (sizeof permission_names / sizeof permission_names[0])

static struct look look_of(const struct vmarena_drawing *drawing, const struct vmarena_cell *cell) {
    struct look look = {VMARENA_NOTHING, cell->state, cell->also};
    if (cell->mapping != VMARENA_NO_MAPPING)
        look.permission = vmarena_permission(drawing->space->mappings[cell->mapping].mapping.prot);
    return look;
}

static bool belongs(const struct layer *layer, const struct look *look, size_t permission) {
    return layer->has(look) && (!layer->by_permission || look->permission == permission);
}

static void begin_path(FILE *out, const struct layer *layer, size_t permission) {
    fprintf(out, "<path class=\"%s%s%s\" d=\"", layer->name, layer->by_permission ? " " : "",
            layer->by_permission ? permission_names[permission] : "");
}

/* Cells side by side, as a piece of a path. */
struct stroke {
    unsigned x, y, width;
};

static void draw_layer(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned top,
                       const struct layer *layer, size_t permission) {
    struct vmarena_place place = {0, 0, 0};
    struct stroke stroke = {0, 0, 0};
    bool any = false;
    for (size_t i = 0; i < group->cell_count; i++) {
        const struct vmarena_cell *cell = &drawing->layout->cells[group->first_cell + i];
        struct look look = look_of(drawing, cell);
        vmarena_place_next(&place, cell, COLUMNS);
        if (!belongs(layer, &look, permission)) continue;
        unsigned x = MARGIN + place.column * CELL, y = top + place.row * CELL + layer->y, width = place.width * CELL;
        if (any && stroke.y == y && stroke.x + stroke.width == x) {
            stroke.width += width;
            continue;
        }
        if (any) fprintf(drawing->out, "M%u %uh%u", stroke.x, stroke.y, stroke.width);
        else begin_path(drawing->out, layer, permission);
        stroke = (struct stroke){x, y, width};
        any = true;
    }
    if (any) fprintf(drawing->out, "M%u %uh%u\"/>\n", stroke.x, stroke.y, stroke.width);
}

static void draw_folds(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned top) {
    struct vmarena_place place = {0, 0, 0};
    char text[16];
    for (size_t i = 0; i < group->cell_count; i++) {
        const struct vmarena_cell *cell = &drawing->layout->cells[group->first_cell + i];
        vmarena_place_next(&place, cell, COLUMNS);
        if (!cell->fold) continue;
        unsigned x = MARGIN + place.column * CELL, y = top + place.row * CELL;
        fprintf(drawing->out,
                "<use href=\"#fold\" x=\"%u\" y=\"%u\"/><text class=\"size%s\" x=\"%u\" y=\"%u\">%s</text>\n", x, y,
                cell->state != 0 ? " of-guards" : "", x + place.width * CELL / 2, y + CELL - 2,
                vmarena_short_bytes(cell->end - cell->start, text));
    }
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static void draw_title(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned y) {
    char title[VMARENA_TITLE_SIZE], text[32];
    vmarena_group_title(drawing->space, group, title);
    const char *shown = vmarena_tail(title, MOST_TITLE); /* the end of a path says most */
    fprintf(drawing->out, "<text x=\"%u\" y=\"%u\"><tspan class=\"plain\">%llx</tspan> <tspan class=\"title\">%s",
            MARGIN, y, (unsigned long long)drawing->space->mappings[group->first_mapping].mapping.start,
            shown != title ? "…" : "");
    vmarena_print_markup(drawing->out, shown, MOST_TITLE);
    fprintf(drawing->out, "</tspan> <tspan class=\"plain\">%s", vmarena_bytes(group->size, text));
    if (group->pages.resident != 0) fprintf(drawing->out, ", %s resident", vmarena_bytes(group->pages.resident, text));
    if (group->mapping_count > 1) fprintf(drawing->out, ", %s mappings", vmarena_grouped(group->mapping_count, text));
    fputs("</tspan></text>\n", drawing->out);
}

static void draw_group(const struct vmarena_drawing *drawing, const struct vmarena_group *group, unsigned *y) {
    char text[32];
    unsigned top = vmarena_draw_top(drawing, group, y);
    if (group->gap != 0)
        fprintf(drawing->out, "<text class=\"plain\" x=\"%u\" y=\"%u\">⋮ %s of nothing</text>\n", MARGIN,
                top - LINE - 5, vmarena_bytes(group->gap, text));
    draw_title(drawing, group, top - 5);
    for (size_t layer = 0; layer < LAYERS; layer++)
        for (size_t permission = 0; permission < (layers[layer].by_permission ? PERMISSIONS : 1); permission++)
            draw_layer(drawing, group, top, &layers[layer], permission);
    fprintf(drawing->out, "<rect fill=\"url(#grid)\" x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"/>\n", MARGIN, top,
            COLUMNS * CELL, vmarena_group_rows(drawing->layout, group, COLUMNS) * CELL);
    draw_folds(drawing, group, top);
}

/* A cell as it looks in the picture, and what that means. */
struct key {
    const char *text;
    struct look look;
};

static unsigned draw_key(FILE *out, unsigned x, unsigned y, const struct key *key) {
    fprintf(out, "<g class=\"key\" transform=\"translate(%u %u) scale(1.5)\">", x, y);
    for (size_t i = 0; i < LAYERS; i++) {
        if (!layers[i].has(&key->look)) continue;
        begin_path(out, &layers[i], key->look.permission);
        fprintf(out, "M0 %uh8\"/>", layers[i].y);
    }
    fprintf(out, "</g><text x=\"%u\" y=\"%u\">%s</text>\n", x + 17, y + 10, key->text);
    return x + 32 + (unsigned)strlen(key->text) * 7;
}

static void draw_legend(FILE *out, unsigned y) {
    enum { IN = VMARENA_PAGE_RESIDENT, DIRTY = IN | VMARENA_PAGE_DIRTY, GUARD = VMARENA_PAGE_GUARD };
    static const struct key permissions[] = {
        {"r-- read", {VMARENA_READS, 0, 0}},          {"rw- write", {VMARENA_WRITES, 0, 0}},
        {"r-x execute", {VMARENA_RUNS, 0, 0}},        {"rwx both", {VMARENA_WRITES_AND_RUNS, 0, 0}},
        {"--- no access", {VMARENA_NO_ACCESS, 0, 0}}, {"not there yet: any of these, pale", {VMARENA_WRITES, 0, 0}}};
    static const struct key pages[] = {{"resident", {VMARENA_READS, IN, 0}},
                                       {"dirty", {VMARENA_WRITES, DIRTY, 0}},
                                       {"zero page", {VMARENA_WRITES, IN | VMARENA_PAGE_ZERO, 0}},
                                       {"shared", {VMARENA_READS, IN | VMARENA_PAGE_SHARED, 0}},
                                       {"huge", {VMARENA_WRITES, DIRTY | VMARENA_PAGE_HUGE, 0}},
                                       {"swapped", {VMARENA_WRITES, VMARENA_PAGE_SWAPPED, 0}},
                                       {"guard", {VMARENA_WRITES, GUARD, 0}},
                                       {"guards among others", {VMARENA_WRITES, DIRTY, GUARD}}};
    unsigned x = MARGIN;
    for (size_t i = 0; i < sizeof permissions / sizeof permissions[0]; i++) x = draw_key(out, x, y, &permissions[i]);
    x = MARGIN;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) x = draw_key(out, x, y + 20, &pages[i]);
}

static void draw_head(const struct vmarena_drawing *drawing) {
    char text[32], page[32];
    FILE *out = drawing->out;
    uint64_t pages = drawing->layout->pages_per_cell;
    fprintf(out, "<text class=\"head\" x=\"%u\" y=\"28\">%d: ", MARGIN, (int)drawing->space->pid);
    vmarena_print_markup(out, drawing->space->title, MOST_HEAD);
    fprintf(out, "</text>\n<text class=\"plain\" x=\"%u\" y=\"46\">", MARGIN);
    vmarena_print_sums(out, drawing->space);
    fprintf(out,
            "</text>\n<text class=\"plain\" x=\"%u\" y=\"62\">A cell is %s page%s of %s, from left to right; a wide one"
            " folds as much as it says of nothing, or of guards.</text>\n",
            MARGIN, vmarena_grouped(pages, text), pages == 1 ? "" : "s", vmarena_bytes(drawing->space->page, page));
    draw_legend(out, 72);
}

void vmarena_draw(const struct vmarena_drawing *drawing, const char *attributes) {
    const struct vmarena_layout *layout = drawing->layout;
    unsigned width = 2 * MARGIN + COLUMNS * CELL, y = 0;
    for (size_t i = 0; i < layout->group_count; i++) (void)vmarena_draw_top(drawing, &layout->groups[i], &y);
    unsigned height = y + MARGIN;
    fprintf(drawing->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\"%s width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">\n<style>\n",
            attributes, width, height, width, height);
    fputs(vmarena_picture_css, drawing->out);
    fputs("</style>\n", drawing->out);
    fputs(vmarena_patterns_svg, drawing->out);
    fprintf(drawing->out, "<rect width=\"%u\" height=\"%u\" fill=\"#fff\"/>\n", width, height);
    draw_head(drawing);
    y = 0;
    for (size_t i = 0; i < layout->group_count; i++) draw_group(drawing, &layout->groups[i], &y);
    fputs("</svg>\n", drawing->out);
}
