/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/shared_table.h"

#include <stdbool.h>
#include <string.h>

#include "region/region.h"

#define SIZE ((size_t)1 << 20)
#define MAPPING_NAME "vmarena"
#define ENTRIES ((SIZE - sizeof(struct header)) / sizeof(struct vmarena_shared_entry))

struct header {
    char magic[8]; /* MAPPING_NAME */
    uint32_t version, entry_size, pointer_size, unused;
    uint64_t used; /* entries from the first on that were ever in use */
    uint64_t next; /* 1 + the number of a free entry below that; 0: none */
};
#define VERSION 1

static struct header *table; /* under the global lock, as all that it points to */

static struct vmarena_shared_entry *entry_at(size_t index) {
    return (struct vmarena_shared_entry *)(void *)(table + 1) + index;
}

static bool make_table(void) {
    void *memory;
    if (table != NULL) return true;
    /* Tried again for the next region: there may be a descriptor free by then. */
    if (vmarena_prim_map_named(&memory, SIZE, MAPPING_NAME) != 0) return false;
    table = memory;
    table->entry_size = sizeof(struct vmarena_shared_entry);
    table->pointer_size = sizeof(void *);
    table->version = VERSION;
    memcpy(table->magic, MAPPING_NAME, sizeof MAPPING_NAME);
    return true;
}

/* 1 + the number of a free entry; 0: there is none. */
static size_t take_entry(void) {
    size_t index = (size_t)table->next;
    if (index != 0) table->next = entry_at(index - 1)->start;
    else if (table->used < ENTRIES) index = (size_t)++table->used;
    return index;
}

void vmarena_shared_table_add(struct vmarena_region *region) {
    region->entry = 0;
    if (vmarena_prim_global_lock() != 0) return;
    region->entry = make_table() ? take_entry() : 0;
    if (region->entry != 0) {
        uintptr_t start = (uintptr_t)region->outer;
        *entry_at(region->entry - 1) = (struct vmarena_shared_entry){.start = start,
                                                                     .end = start + region->outer_size,
                                                                     .name = (uintptr_t)region->name,
                                                                     .objects = (uintptr_t)region->objects,
                                                                     .kind = (uint32_t)region->kind};
    }
    vmarena_prim_global_unlock();
}

void vmarena_shared_table_remove(struct vmarena_region *region) {
    if (region->entry == 0) return;
    (void)vmarena_prim_global_lock(); /* cannot fail: the entry was made under it */
    *entry_at(region->entry - 1) = (struct vmarena_shared_entry){.start = table->next};
    table->next = region->entry;
    vmarena_prim_global_unlock();
    region->entry = 0;
}

/* ---- another process's: nothing in it is to be trusted ---------------------------------------------------------------- */

/*
 * A process has one table for each copy of the library in it: its own, and that of a preloaded malloc. It may have any
 * number of mappings that look like one: no more than these are looked at, and together they give no more entries than one
 * table holds.
 */
#define MOST_TABLES 4

struct search {
    struct vmarena_shared_entries *found;
    pid_t pid;
    unsigned tables;
};

/* Room for all entries that there may be, of which only what is used costs memory. */
static bool make_room(struct vmarena_shared_entries *found) {
    void *memory;
    if (found->room != 0) return true;
    if (vmarena_prim_map(&memory, SIZE, vmarena_prim_page_size(), VMARENA_READ | VMARENA_WRITE, true) != 0)
        return false;
    found->entries = memory;
    found->room = SIZE;
    return true;
}

static bool is_table(const struct header *header) {
    return memcmp(header->magic, MAPPING_NAME, sizeof MAPPING_NAME) == 0 && header->version == VERSION &&
           header->entry_size == sizeof(struct vmarena_shared_entry) && header->pointer_size == sizeof(void *);
}

/* Adds those of the table's entries that are in use and for which there is room. */
static void read_table(struct search *search, uint64_t address) {
    struct header header;
    struct vmarena_shared_entries *found = search->found;
    if (vmarena_prim_read_memory(search->pid, &header, address, sizeof header) != 0 || !is_table(&header)) return;
    size_t count = ENTRIES - found->count, kept = found->count;
    if (header.used < count) count = (size_t)header.used;
    if (count == 0 || !make_room(found)) return;
    struct vmarena_shared_entry *entries = found->entries + kept;
    if (vmarena_prim_read_memory(search->pid, entries, address + sizeof header, count * sizeof entries[0]) != 0) return;
    for (size_t i = 0; i < count; i++)
        if (entries[i].start < entries[i].end) found->entries[kept++] = entries[i];
    found->count = kept;
}

static int look_for_table(const struct vmarena_mapping *mapping, void *arg) {
    struct search *search = arg;
    if (strcmp(mapping->name, "/memfd:" MAPPING_NAME " (deleted)") != 0 || mapping->offset != 0) return 0;
    read_table(search, mapping->start);
    return ++search->tables == MOST_TABLES; /* 1 ends the walk */
}

/*
 * Sorting by start address. A heap sort, since qsort(3) may call malloc: the entries are arranged as a binary tree in which
 * no child starts above its parent; then the root, the largest left, changes places with the last, again and again.
 *
 * Moves the entry at root down until its children start no higher.
 */
static void sink(struct vmarena_shared_entry *entries, size_t root, size_t count) {
    struct vmarena_shared_entry sinking = entries[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && entries[child].start < entries[child + 1].start) child++;
        if (sinking.start >= entries[child].start) break;
        entries[root] = entries[child];
    }
    entries[root] = sinking;
}

static void sort(struct vmarena_shared_entry *entries, size_t count) {
    for (size_t root = count / 2; root-- > 0;) sink(entries, root, count);
    while (count > 1) {
        struct vmarena_shared_entry last = entries[--count];
        entries[count] = entries[0];
        entries[0] = last;
        sink(entries, 0, count);
    }
}

void vmarena_shared_entries_read(struct vmarena_shared_entries *found, pid_t pid) {
    struct search search = {.found = found, .pid = pid};
    *found = (struct vmarena_shared_entries){.entries = NULL};
    (void)vmarena_prim_walk_mappings(pid, look_for_table, &search);
    sort(found->entries, found->count);
}

void vmarena_shared_entries_free(struct vmarena_shared_entries *found) {
    if (found->room != 0) (void)vmarena_prim_unmap(found->entries, found->room);
}

/* The first entry with a part in [start, end). */
static const struct vmarena_shared_entry *first_in(const struct vmarena_shared_entries *all, uint64_t start,
                                                   uint64_t end) {
    size_t low = 0, high = all->count; /* the first entry that ends past start */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->entries[middle].end <= start) low = middle + 1;
        else high = middle;
    }
    return low < all->count && all->entries[low].start < end ? &all->entries[low] : NULL;
}

void vmarena_shared_entries_find(const struct vmarena_shared_entries *all, pid_t pid, struct vmarena_mapping *mapping,
                                 char *name) {
    size_t objects;
    const struct vmarena_shared_entry *entry = first_in(all, mapping->start, mapping->end);
    mapping->owner_name = "";
    if (entry == NULL) return;
    mapping->owner = entry->kind <= VMARENA_OWNER_VIEW ? (enum vmarena_owner)entry->kind : VMARENA_OWNER_NONE;
    mapping->owner_start = entry->start;
    mapping->owner_end = entry->end;
    if (vmarena_prim_read_memory(pid, name, entry->name, VMARENA_NAME_SIZE) == 0) {
        name[VMARENA_NAME_SIZE - 1] = '\0';
        mapping->owner_name = name;
    }
    if (entry->objects != 0 && vmarena_prim_read_memory(pid, &objects, entry->objects, sizeof objects) == 0)
        mapping->objects = objects;
}
