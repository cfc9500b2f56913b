/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/ranges.h"

#include <errno.h>

#include "base/error.h"
#include "base/rounding.h"

struct reading {
    uintptr_t base, end;
    struct vmarena_range *table; /* NULL: they are only counted */
    size_t count, room;
    unsigned prot; /* of the last range */
};

static int read_one(const struct vmarena_mapping *mapping, void *arg) {
    struct reading *reading = arg;
    uintptr_t start = (uintptr_t)mapping->start, end = (uintptr_t)mapping->end;
    if (start < reading->base) start = reading->base;
    if (end > reading->end) end = reading->end;
    if (start >= end) return 0;
    struct vmarena_range range = {start - reading->base, end - reading->base, mapping->prot};
    bool joins = reading->count != 0 && reading->prot == range.prot;
    if (!joins && reading->table != NULL && reading->count == reading->room) return -EAGAIN;
    if (!joins) reading->count++;
    if (reading->table != NULL && joins) reading->table[reading->count - 1].end = range.end;
    else if (reading->table != NULL) reading->table[reading->count - 1] = range;
    reading->prot = range.prot;
    return 0;
}

static int read_all(struct reading *reading, const struct vmarena_region *region) {
    reading->base = (uintptr_t)region->base;
    reading->end = reading->base + region->committed;
    reading->count = 0;
    int error = vmarena_prim_walk_mappings(0, read_one, reading);
    if (error == 0 && reading->count == 0) error = -ENOENT;
    return error == 0 ? 0 : vmarena_fail(error, "the protection of the arena's pages cannot be read from /proc/self");
}

static int read_table(struct vmarena_ranges *ranges, const struct vmarena_region *region, size_t count) {
    void *table;
    size_t page = vmarena_prim_page_size(), bytes = vmarena_round_up(count * sizeof(struct vmarena_range), page);
    int error = vmarena_prim_map(&table, bytes, page, VMARENA_READ | VMARENA_WRITE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", bytes);
    struct reading reading = {.table = table, .room = count};
    error = read_all(&reading, region);
    *ranges = (struct vmarena_ranges){.range = table, .count = reading.count, .bytes = bytes};
    if (error != 0) vmarena_ranges_free(ranges);
    return error;
}

int vmarena_ranges_read(struct vmarena_ranges *ranges, struct vmarena_region *region) {
    struct reading counting = {.table = NULL};
    *ranges = (struct vmarena_ranges){.whole = {0, region->committed, region->prot}, .count = region->committed != 0};
    ranges->range = &ranges->whole;
    if (!region->has_range_protection || region->committed == 0) return 0;
    int error = read_all(&counting, region);
    if (error != 0) return error;
    region->has_range_protection = counting.count > 1 || counting.prot != region->prot;
    return region->has_range_protection ? read_table(ranges, region, counting.count) : 0;
}

void vmarena_ranges_free(const struct vmarena_ranges *ranges) {
    if (ranges->bytes != 0) (void)vmarena_prim_unmap((void *)(uintptr_t)ranges->range, ranges->bytes);
}

bool vmarena_ranges_differ(struct vmarena_region *region) {
    struct vmarena_ranges ranges;
    if (vmarena_ranges_read(&ranges, region) == 0) vmarena_ranges_free(&ranges);
    return region->has_range_protection;
}
