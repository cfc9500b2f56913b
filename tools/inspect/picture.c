/* SPDX-License-Identifier: MIT */
/* vmarena picture: draws the address space of a process, as SVG to print or as HTML to explore. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "common.h"
#include "draw.h"
#include "parts/parts.h"
#include "space.h"

static const char help[] =
    "usage: vmarena picture -o FILE.svg|FILE.html PID\n"
    "\n"
    "Draws the address space of a process: mappings to scale with gaps folded, permissions by colour,\n"
    "pages as cells. An .html file can be zoomed and describes what is under the pointer; it needs\n"
    "no network.\n"
    "\n"
    "  -o, --output=FILE  the file to write, .svg or .html; - writes SVG to standard output\n"
    "  -h, --help         print this help\n";

#define MOST_CELLS 40000

/* ---- HTML: the SVG, with what its script needs to tell of it -------------------------------------------------------------- */

static void write_number(FILE *out, const char *key, uint64_t value) {
    if (value != 0) fprintf(out, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void write_mapping(FILE *out, const struct vmarena_tool_mapping *mapping) {
    char perm[5], owner[512];
    const struct vmarena_mapping *base = &mapping->mapping;
    fprintf(out,
            "{\"start\":\"%llx\",\"end\":\"%llx\",\"permissions\":\"%s\",\"name\":", (unsigned long long)base->start,
            (unsigned long long)base->end, vmarena_permissions(base->prot, base->shared, perm));
    vmarena_print_json(out, base->name);
    if (base->owner != VMARENA_OWNER_NONE) {
        (void)snprintf(owner, sizeof owner, "%s \"%s\"", vmarena_owner_kind(base->owner), base->owner_name);
        fputs(",\"owner\":", out);
        vmarena_print_json(out, owner);
    }
    write_number(out, "objects", base->objects);
    write_number(out, "offset", base->offset);
    write_number(out, "resident", mapping->pages.resident);
    write_number(out, "dirty", mapping->pages.dirty);
    write_number(out, "shared", mapping->pages.shared);
    write_number(out, "huge", mapping->pages.huge);
    write_number(out, "swapped", mapping->pages.swapped);
    write_number(out, "guard", mapping->pages.guard);
    putc('}', out);
}

static bool alike(const struct vmarena_cell *one, const struct vmarena_cell *next, uint64_t step) {
    return !one->fold && !next->fold && one->mapping == next->mapping && one->state == next->state &&
           one->also == next->also && one->end == next->start && one->end - one->start == step;
}

/* Writes consecutive equal cells, of `step` bytes each except for the last, as one run. */
static void write_runs(const struct vmarena_drawing *drawing, const struct vmarena_group *group, uint64_t step) {
    const struct vmarena_cell *cells = drawing->layout->cells + group->first_cell;
    for (size_t i = 0, next; i < group->cell_count; i = next) {
        for (next = i + 1; next < group->cell_count && alike(&cells[next - 1], &cells[next], step);) next++;
        fprintf(drawing->out, "%s{\"count\":%zu,\"start\":\"%llx\",\"state\":%u,\"also\":%u", i > 0 ? "," : "",
                next - i, (unsigned long long)cells[i].start, cells[i].state, cells[i].also);
        if (cells[i].mapping != VMARENA_NO_MAPPING) fprintf(drawing->out, ",\"mapping\":%zu", cells[i].mapping);
        if (cells[i].fold)
            fprintf(drawing->out, ",\"fold\":true,\"size\":\"%llx\"",
                    (unsigned long long)(cells[i].end - cells[i].start));
        putc('}', drawing->out);
    }
}

static void write_data(const struct vmarena_drawing *drawing) {
    FILE *out = drawing->out;
    const struct vmarena_space *space = drawing->space;
    const struct vmarena_layout *layout = drawing->layout;
    uint64_t step = layout->pages_per_cell * space->page;
    unsigned y = 0;
    fprintf(out, "{\"cell\":%u,\"columns\":%u,\"margin\":%u,\"fold\":%u,\"page\":%llu,\"step\":%llu,\"mappings\":[",
            VMARENA_DRAW_CELL, VMARENA_DRAW_COLUMNS, VMARENA_DRAW_MARGIN, VMARENA_FOLD, (unsigned long long)space->page,
            (unsigned long long)step);
    for (size_t i = 0; i < space->count; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        write_mapping(out, &space->mappings[i]);
    }
    fputs("],\n\"groups\":[", out);
    for (size_t i = 0; i < layout->group_count; i++) {
        const struct vmarena_group *group = &layout->groups[i];
        unsigned top = vmarena_draw_top(drawing, group, &y);
        fprintf(out, "%s{\"y\":%u,\"rows\":%u,\"runs\":[", i > 0 ? ",\n" : "\n", top,
                vmarena_group_rows(layout, group, VMARENA_DRAW_COLUMNS));
        write_runs(drawing, group, step);
        fputs("]}", out);
    }
    fputs("]}", out);
}

static void write_html(const struct vmarena_drawing *drawing) {
    FILE *out = drawing->out;
    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%d: ", (int)drawing->space->pid);
    vmarena_print_markup(out, drawing->space->title, SIZE_MAX);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head><body>\n%s", vmarena_page_css, vmarena_controls_html);
    vmarena_draw(drawing, " id=\"picture\"");
    fputs("<script type=\"application/json\" id=\"data\">", out);
    write_data(drawing);
    fprintf(out, "</script>\n<script>\n%s</script>\n</body></html>\n", vmarena_page_js);
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

struct options {
    const char *output;
    bool html;
    pid_t pid;
};

static bool ends_in(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length > tail && strcmp(text + length - tail, ending) == 0;
}

/* Returns -1 to go on, or the exit code. */
static int parse(int count, char **arguments, struct options *options) {
    static const struct option long_options[] = {
        {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    opterr = 0;
    /* Without '+' the option may follow the process number. */
    for (int option; (option = getopt_long(count, arguments, ":o:h", long_options, NULL)) != -1;) {
        if (option == 'o') options->output = optarg;
        else if (option == 'h') return vmarena_print_help("picture", help);
        else return vmarena_complain_option("picture", option, arguments);
    }
    if (optind == count)
        return vmarena_complain(VMARENA_EXIT_USAGE, "picture", "which process? try: vmarena picture --help");
    if (count - optind > 1)
        return vmarena_complain(VMARENA_EXIT_USAGE, "picture", "one process, not %d", count - optind);
    if (options->output == NULL)
        return vmarena_complain(VMARENA_EXIT_USAGE, "picture", "where to? give -o FILE.svg or FILE.html");
    options->html = ends_in(options->output, ".html");
    if (!options->html && !ends_in(options->output, ".svg") && strcmp(options->output, "-") != 0)
        return vmarena_complain(VMARENA_EXIT_USAGE, "picture", "'%s' ends neither in .svg nor in .html",
                                options->output);
    int code = vmarena_parse_process("picture", arguments[optind], &options->pid);
    return code != 0 ? code : -1;
}

static int write_file(struct vmarena_drawing *drawing, const struct options *options) {
    bool standard = strcmp(options->output, "-") == 0;
    drawing->out = standard ? stdout : vmarena_open_output("picture", options->output);
    if (drawing->out == NULL) return VMARENA_EXIT_FAILED;
    if (options->html) write_html(drawing);
    else vmarena_draw(drawing, "");
    if (standard) return vmarena_finish_output("picture");
    return vmarena_close_output("picture", drawing->out, options->output);
}

int vmarena_command_picture(int count, char **arguments) {
    struct options options = {.output = NULL};
    struct vmarena_space space;
    struct vmarena_layout layout;
    int code = parse(count, arguments, &options);
    if (code >= 0) return code;
    int error = vmarena_space_read(&space, options.pid, true);
    if (error != 0) return vmarena_space_complain("picture", error);
    if (space.count == 0)
        code = vmarena_complain(VMARENA_EXIT_FAILED, "picture", "process %d has no memory to draw", (int)options.pid);
    else if (!vmarena_layout_make(&layout, &space, MOST_CELLS))
        code = vmarena_complain(VMARENA_EXIT_FAILED, "picture", "no memory for the picture");
    else {
        code = write_file(&(struct vmarena_drawing){.space = &space, .layout = &layout}, &options);
        vmarena_layout_free(&layout);
    }
    vmarena_space_free(&space);
    return code;
}
