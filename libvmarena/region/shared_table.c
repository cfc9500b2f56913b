/* SPDX-License-Identifier: MIT */
#include "region/shared_table.h"

#include <stdbool.h>
#include <string.h>

#include "base/rounding.h"
#include "prim/prim.h"
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

static struct header *directory; /* under the global lock, as all that it points to */
static bool impossible;

static struct vmarena_shared_entry *entry_at(struct header *header, size_t index) {
    return (struct vmarena_shared_entry *)(void *)(header + 1) + index;
}

static bool make(void) {
    void *memory;
    if (directory != NULL || impossible) return directory != NULL;
    if (vmarena_prim_map_named(&memory, SIZE, MAPPING_NAME) != 0) {
        impossible = true;
        return false;
    }
    directory = memory;
    directory->entry_size = sizeof(struct vmarena_shared_entry);
    directory->pointer_size = sizeof(void *);
    directory->version = VERSION;
    memcpy(directory->magic, MAPPING_NAME, sizeof MAPPING_NAME);
    return true;
}

/* 1 + the number of a free entry; 0: there is none. */
static size_t take_entry(void) {
    size_t index = (size_t)directory->next;
    if (index != 0) directory->next = entry_at(directory, index - 1)->start;
    else if (directory->used < ENTRIES) index = (size_t)++directory->used;
    return index;
}

void vmarena_shared_table_add(struct vmarena_region *region) {
    region->entry = 0;
    if (vmarena_prim_global_lock() != 0) return;
    region->entry = make() ? take_entry() : 0;
    if (region->entry != 0) {
        uintptr_t start = (uintptr_t)region->outer;
        *entry_at(directory, region->entry - 1) = (struct vmarena_shared_entry){.start = start,
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
    *entry_at(directory, region->entry - 1) = (struct vmarena_shared_entry){.start = directory->next};
    directory->next = region->entry;
    vmarena_prim_global_unlock();
    region->entry = 0;
}

/* ---- another process's: nothing in it is to be trusted ---------------------------------------------------------------- */

struct search {
    struct vmarena_shared_owners *owners;
    pid_t pid;
};

static bool grow(struct vmarena_shared_owners *owners, size_t count) {
    void *memory;
    size_t page = vmarena_prim_page_size();
    size_t room = vmarena_round_up((owners->count + count) * sizeof owners->entries[0], page);
    if (room <= owners->room) return true;
    if (vmarena_prim_map(&memory, room, page, VMARENA_READ | VMARENA_WRITE, true) != 0) return false;
    if (owners->room != 0) {
        memcpy(memory, owners->entries, owners->count * sizeof owners->entries[0]);
        (void)vmarena_prim_unmap(owners->entries, owners->room);
    }
    owners->entries = memory;
    owners->room = room;
    return true;
}

static void take_directory(struct search *search, uint64_t address) {
    struct header header;
    struct vmarena_shared_owners *owners = search->owners;
    if (vmarena_prim_read_memory(search->pid, &header, address, sizeof header) != 0) return;
    if (memcmp(header.magic, MAPPING_NAME, sizeof MAPPING_NAME) != 0 || header.version != VERSION ||
        header.entry_size != sizeof owners->entries[0] || header.pointer_size != sizeof(void *) ||
        header.used > ENTRIES)
        return;
    size_t count = (size_t)header.used, kept = owners->count;
    if (count == 0 || !grow(owners, count)) return;
    struct vmarena_shared_entry *entries = owners->entries + kept;
    if (vmarena_prim_read_memory(search->pid, entries, address + sizeof header, count * sizeof entries[0]) != 0) return;
    for (size_t i = 0; i < count; i++)
        if (entries[i].end != 0) owners->entries[kept++] = entries[i];
    owners->count = kept;
}

static int look_for_directory(const struct vmarena_mapping *mapping, void *arg) {
    if (strcmp(mapping->name, "/memfd:" MAPPING_NAME " (deleted)") == 0 && mapping->offset == 0)
        take_directory(arg, mapping->start);
    return 0;
}

/* A heap sort, since qsort(3) may call malloc. */
static void sift_down(struct vmarena_shared_entry *entries, size_t root, size_t count) {
    struct vmarena_shared_entry moved = entries[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && entries[child].start < entries[child + 1].start) child++;
        if (moved.start >= entries[child].start) break;
        entries[root] = entries[child];
    }
    entries[root] = moved;
}

static void sort(struct vmarena_shared_entry *entries, size_t count) {
    for (size_t root = count / 2; root-- > 0;) sift_down(entries, root, count);
    while (count > 1) {
        struct vmarena_shared_entry last = entries[--count];
        entries[count] = entries[0];
        entries[0] = last;
        sift_down(entries, 0, count);
    }
}

void vmarena_shared_owners_read(struct vmarena_shared_owners *owners, pid_t pid) {
    struct search search = {owners, pid};
    *owners = (struct vmarena_shared_owners){.entries = NULL};
    (void)vmarena_prim_walk_mappings(pid, look_for_directory, &search);
    sort(owners->entries, owners->count);
}

void vmarena_shared_owners_free(struct vmarena_shared_owners *owners) {
    if (owners->room != 0) (void)vmarena_prim_unmap(owners->entries, owners->room);
}

static const struct vmarena_shared_entry *first_in(const struct vmarena_shared_owners *owners, uint64_t start,
                                                   uint64_t end) {
    size_t low = 0, high = owners->count; /* the first entry that ends past start */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (owners->entries[middle].end <= start) low = middle + 1;
        else high = middle;
    }
    return low < owners->count && owners->entries[low].start < end ? &owners->entries[low] : NULL;
}

void vmarena_shared_owners_find(const struct vmarena_shared_owners *owners, pid_t pid, struct vmarena_mapping *mapping,
                                char *name) {
    size_t objects;
    const struct vmarena_shared_entry *entry = first_in(owners, mapping->start, mapping->end);
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
