/* SPDX-License-Identifier: MIT */
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "vmarena/error.h"
#include "vmarena/page.h"

/* Doubles *array until it holds `needed` elements. Returns false if memory is out. */
static bool make_room(void *array, size_t *room, size_t needed, size_t size) {
    size_t more = *room != 0 ? *room : 64;
    void *bytes;
    memcpy(&bytes, array, sizeof bytes);
    if (needed <= *room) return true;
    while (more < needed) more *= 2;
    bytes = reallocarray(bytes, more, size);
    if (bytes == NULL) return false;
    memcpy(array, &bytes, sizeof bytes);
    *room = more;
    return true;
}

/* The buffer of strings moves as it grows: until it is complete, pointers hold offsets in it. */
static bool keep(struct vmarena_space *space, const char **string) {
    size_t length = strlen(*string) + 1;
    if (!make_room(&space->strings, &space->string_room, space->string_bytes + length, 1)) return false;
    memcpy(space->strings + space->string_bytes, *string, length);
    *string = (const char *)(uintptr_t)space->string_bytes;
    space->string_bytes += length;
    return true;
}

static int add_mapping(const struct vmarena_mapping *mapping, void *arg) {
    struct vmarena_space *space = arg;
    if (!make_room(&space->mappings, &space->room, space->count + 1, sizeof space->mappings[0])) return -ENOMEM;
    struct vmarena_tool_mapping *added = &space->mappings[space->count];
    *added = (struct vmarena_tool_mapping){.mapping = *mapping};
    if (!keep(space, &added->mapping.name) || !keep(space, &added->mapping.owner_name)) return -ENOMEM;
    space->count++;
    return 0;
}

static void offset_to_pointer(const struct vmarena_space *space, const char **string) {
    *string = space->strings + (uintptr_t)*string;
}

static void sum(struct vmarena_tool_sums *sums, uint64_t bytes, unsigned state) {
    if (state & VMARENA_PAGE_RESIDENT) sums->resident += bytes;
    if ((state & VMARENA_PAGE_RESIDENT) && (state & VMARENA_PAGE_DIRTY)) sums->dirty += bytes;
    if (state & VMARENA_PAGE_SWAPPED) sums->swapped += bytes;
    if (state & VMARENA_PAGE_SHARED) sums->shared += bytes;
    if (state & VMARENA_PAGE_HUGE) sums->huge += bytes;
    if (state & VMARENA_PAGE_GUARD) sums->guard += bytes;
}

struct page_reader {
    struct vmarena_space *space;
    size_t at; /* index of the mapping that contained the last run */
};

static int add_part(struct vmarena_space *space, struct vmarena_tool_mapping *mapping, struct vmarena_pages part) {
    if (!make_room(&space->runs, &space->run_room, space->run_count + 1, sizeof space->runs[0])) return -ENOMEM;
    if (mapping->run_count++ == 0) mapping->first_run = space->run_count;
    space->runs[space->run_count++] = part;
    sum(&mapping->pages, part.end - part.start, part.state);
    sum(&space->total, part.end - part.start, part.state);
    return 0;
}

/* Runs may span several mappings; both are in ascending order. Pages that were mapped since belong to no mapping. */
static int add_run(const struct vmarena_pages *pages, void *arg) {
    struct page_reader *reader = arg;
    struct vmarena_space *space = reader->space;
    for (; reader->at < space->count; reader->at++) {
        struct vmarena_tool_mapping *mapping = &space->mappings[reader->at];
        struct vmarena_pages part = *pages;
        if (part.start < mapping->mapping.start) part.start = mapping->mapping.start;
        if (part.end > mapping->mapping.end) part.end = mapping->mapping.end;
        int error = part.start < part.end ? add_part(space, mapping, part) : 0;
        if (error != 0) return error;
        if (mapping->mapping.end > pages->end) break;
    }
    return 0;
}

static int read_pages(struct vmarena_space *space) {
    struct page_reader reader = {.space = space};
    if (space->count == 0) return 0;
    uint64_t start = space->mappings[0].mapping.start, end = space->mappings[space->count - 1].mapping.end;
    return vmarena_residency(space->pid, start, end - start, 0, &space->known, add_run, &reader);
}

int vmarena_space_read(struct vmarena_space *space, pid_t pid, bool pages) {
    *space = (struct vmarena_space){.pid = pid, .page = vmarena_page_size()};
    vmarena_process_title(pid, space->title, sizeof space->title);
    int error = vmarena_maps(pid, add_mapping, space);
    for (size_t i = 0; i < space->count; i++) {
        offset_to_pointer(space, &space->mappings[i].mapping.name);
        offset_to_pointer(space, &space->mappings[i].mapping.owner_name);
    }
    if (error == 0 && pages) error = read_pages(space);
    space->has_pages = pages;
    if (error != 0) vmarena_space_free(space);
    return error;
}

int vmarena_space_complain(const char *command, int error) {
    if (error == -ENOMEM) return vmarena_complain(VMARENA_EXIT_FAILED, command, "no memory for all the mappings");
    const char *why = vmarena_explain(), *colon = strstr(why, ": ");
    /* The function's name, as in "vmarena_maps: ...", is of no use here. */
    if (strncmp(why, "vmarena_", 8) == 0 && colon != NULL) why = colon + 2;
    return vmarena_complain(VMARENA_EXIT_FAILED, command, "%s", why);
}

void vmarena_print_sums(FILE *out, const struct vmarena_space *space) {
    char text[32];
    uint64_t mapped = 0;
    for (size_t i = 0; i < space->count; i++)
        mapped += space->mappings[i].mapping.end - space->mappings[i].mapping.start;
    fprintf(out, "%s in ", vmarena_bytes(mapped, text));
    fprintf(out, "%s mapping%s: ", vmarena_grouped(space->count, text), space->count == 1 ? "" : "s");
    fprintf(out, "%s resident, ", vmarena_bytes(space->total.resident, text));
    fprintf(out, "%s dirty", vmarena_bytes(space->total.dirty, text));
    if (space->total.swapped != 0) fprintf(out, ", %s swapped", vmarena_bytes(space->total.swapped, text));
    if (space->total.guard != 0) fprintf(out, ", %s guards", vmarena_bytes(space->total.guard, text));
}

void vmarena_space_free(struct vmarena_space *space) {
    free(space->mappings);
    free(space->runs);
    free(space->strings);
    *space = (struct vmarena_space){.pid = 0};
}
