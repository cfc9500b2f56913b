/* SPDX-License-Identifier: MIT */
/* Protections are seen changing in /proc/self/maps, where each line is one mapping. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../experiment.h"

#define PAGES 16

/* Reads /proc/self/maps: the permissions at the address, and how many lines there are; false where there is no such file. */
static bool read_maps(const void *address, char permissions[5], int *lines) {
    char line[4096];
    uintptr_t start, end;
    char found[5];
    FILE *file = fopen("/proc/self/maps", "r");
    if (file == NULL) return false;
    strcpy(permissions, "none");
    for (*lines = 0; fgets(line, sizeof line, file) != NULL; ++*lines)
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &start, &end, found) == 3 &&
            (uintptr_t)address - start < end - start)
            strcpy(permissions, found);
    fclose(file);
    return true;
}

static void show(const char *what, const void *address, const char *expected) {
    char permissions[5];
    int lines;
    must_be(read_maps(address, permissions, &lines), "/proc/self/maps can be read");
    must_be(strcmp(permissions, expected) == 0, "the permissions in /proc/self/maps are those that were set");
    printf("%s: %s\n", what, permissions);
}

static int count_lines(void) {
    char permissions[5];
    int lines;
    must_be(read_maps(NULL, permissions, &lines), "/proc/self/maps can be read");
    return lines;
}

/* ---- more: there are only so many entries --------------------------------------------------------------------------------- */

#define OBJECTS 100000

/* Every second page read-only: each takes two entries, until the kernel says no. */
static void show_limit(size_t page) {
    struct vmarena_caps caps;
    must_work(vmarena_caps(&caps) == 0, "vmarena_caps");
    if (caps.map_entry_limit == 0 || caps.map_entry_limit > 4 * OBJECTS) {
        printf("this system sets no limit within reach: nothing is claimed\n");
        return;
    }
    size_t count = 2 * caps.map_entry_limit, done = 0;
    struct vmarena *arena = small_page_arena(count * page, "striped");
    char *pages = must_alloc(arena, count * page, page);
    int error = 0;
    for (; done < count && error == 0; done += error == 0 ? 2 : 0)
        error = vmarena_protect_range(arena, pages + done * page, page, VMARENA_READ);
    must_be(error == -ENOMEM, "the entries run out");
    printf("every second page read-only: ENOMEM after %zu, %s\n", done / 2, vmarena_explain());
    vmarena_destroy(arena);
}

/* A guard after each object, all the same. */
static void show_markers(void) {
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .name = "markers"};
    struct vmarena *arena;
    struct vmarena_stats stats;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    vmarena_stats(arena, &stats);
    if (stats.guard_kind != VMARENA_GUARD_MARKER) {
        printf("this kernel has no guard markers: nothing is claimed\n");
    } else {
        int before = count_lines();
        for (size_t i = 0; i < OBJECTS; i++) (void)must_alloc(arena, 24, 1);
        must_be(count_lines() - before <= 16, "a marker takes no entry");
        printf("%d objects with a guard each, by markers: at most 16 entries more\n", OBJECTS);
    }
    vmarena_destroy(arena);
}

int main(int argc, char **argv) {
    bool more = wants_more(argc, argv);
    size_t page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(PAGES * page, "article");
    char *pages = must_alloc(arena, PAGES * page, page), permissions[5];
    int lines;
    if (!read_maps(pages, permissions, &lines)) {
        printf("this system has no /proc/self/maps: nothing is claimed\n");
        return 0;
    }
    show("a new arena", pages, "rw-p");
    must_work(vmarena_protect(arena, VMARENA_READ) == 0, "vmarena_protect");
    show("read-only", pages, "r--p");
    must_work(vmarena_protect(arena, VMARENA_NONE) == 0, "vmarena_protect");
    show("closed to all", pages, "---p");
    must_work(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE) == 0, "vmarena_protect");
    show("writable again", pages, "rw-p");
    show("the guard before it", pages - 1, "---p");
    show("the guard after it", pages + PAGES * page, "---p");

    int before = count_lines();
    must_work(vmarena_protect_range(arena, pages + 8 * page, page, VMARENA_READ) == 0, "vmarena_protect_range");
    must_count(count_lines() - before, 2, "more mappings");
    printf("one page of %d read-only: the mapping is split in three, %d lines more\n", PAGES, count_lines() - before);
    must_work(vmarena_protect_range(arena, pages + 8 * page, page, VMARENA_READ | VMARENA_WRITE) == 0,
              "vmarena_protect_range");
    must_count(count_lines() - before, 0, "more mappings");
    printf("and writable again: it is one mapping, as before\n");
    vmarena_destroy(arena);
    if (more) {
        show_limit(page);
        show_markers();
    }
    return 0;
}
