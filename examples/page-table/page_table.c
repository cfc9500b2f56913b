/* SPDX-License-Identifier: MIT */
/*
 * The page table has levels, so that what is not used costs nothing: the kernel counts the memory that a process's tables
 * take (VmPTE in /proc/PID/status). A page of the table holds as many entries as fit in one.
 */
#include <string.h>
#include <sys/mman.h>

#include "../experiment.h"

#define TOUCHED 512

/* In bytes; 0: not told. */
static size_t table_bytes(void) {
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmPTE: %zu kB", &kib) == 1) break;
    fclose(file);
    return kib * 1024;
}

/* Touches pages at a distance from each other, and gives the pages of the table that this took, and again when unmapped. */
static size_t cost_of(size_t count, size_t distance) {
    size_t before = table_bytes(), size = count * distance;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must_be(map != MAP_FAILED, "so much address space can be reserved");
    (void)madvise(map, size, MADV_NOHUGEPAGE);
    must_be(table_bytes() - before <= 2 * vmarena_page_size(), "reserving takes no table");
    for (size_t i = 0; i < count; i++) map[i * distance] = 1;
    size_t cost = table_bytes() - before;
    must_be(munmap(map, size) == 0, "it can be unmapped");
    must_be(table_bytes() - before <= 2 * vmarena_page_size(), "unmapping gives the tables back");
    return cost / vmarena_page_size();
}

/* The tables of the levels above may be there already, or not: a few pages more or less. */
static void show(const char *where, size_t count, size_t distance, size_t expected) {
    size_t cost = cost_of(count, distance);
    must_be(cost + 1 >= expected && cost <= expected + 4, "the table grew by as many pages as were to be expected");
    printf("%zu pages touched, %s: about %zu pages of table\n", count, where, expected);
}

int main(void) {
    size_t page = vmarena_page_size(), entries = page / sizeof(uint64_t), reach = entries * page;
    if (table_bytes() == 0 || sizeof(void *) < 8) {
        printf("this system does not tell of its tables: nothing is claimed\n");
        return 0;
    }
    struct vmarena *arena = small_page_arena(1, "ready"); /* what the library itself maps is there from now on */
    size_t before = table_bytes();
    void *reserved = mmap(NULL, (size_t)1 << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must_be(reserved != MAP_FAILED, "1 TiB can be reserved");
    must_be(table_bytes() - before <= 2 * page, "reserving takes no table");
    printf("1 TiB reserved, untouched: nothing, as there is no page to find\n");
    munmap(reserved, (size_t)1 << 40);
    show("side by side", TOUCHED, page, (TOUCHED + entries - 1) / entries);
    show("each where another table begins", TOUCHED, reach, TOUCHED);
    show("each where a table of tables begins", 16, entries * reach, 2 * 16);
    vmarena_destroy(arena);
    return 0;
}
