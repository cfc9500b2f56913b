/* SPDX-License-Identifier: MIT */
/*
 * Arenas in which each object has pages and a guard of its own (region/guard.h). Everything is closed until handed out:
 * covered with guards a step at a time, so that an object costs one call, which opens its pages. Nobody installs a guard at
 * an object's end: the page after it was never opened.
 */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "arena/arena.h"
#include "base/error.h"
#include "region/guard_layout.h"

/* ---- side tables ------------------------------------------------------------------------------------------------- */

static int table_open(struct vmarena_table *table, size_t size) {
    int error = vmarena_table_open(table, size);
    return error == 0 ? 0 : vmarena_fail_call(error, "mmap", size);
}

static int table_reach(struct vmarena_table *table, size_t bytes) {
    int error = vmarena_table_reach(table, bytes);
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", bytes);
}

static struct vmarena_object *object_at(const struct vmarena_arena *arena, size_t index) {
    return (struct vmarena_object *)(void *)arena->objects.all.base + index;
}

static uintptr_t end_of(const struct vmarena_object *object) { return object->start + object->size; }

static uintptr_t pages_start(const struct vmarena_object *object) {
    return object->start & ~(uintptr_t)(vmarena_prim_page_size() - 1);
}
static uintptr_t pages_end(const struct vmarena_object *object) {
    size_t page = vmarena_prim_page_size();
    return (end_of(object) + page - 1) & ~(uintptr_t)(page - 1);
}

static size_t page_index(const struct vmarena_arena *arena, uintptr_t address) {
    return (address - (uintptr_t)arena->region.base) / vmarena_prim_page_size();
}

/* The index + 1 of the object that the page belongs or belonged to, 0: none. Signal-safe. */
static size_t page_owner(const struct vmarena_arena *arena, uintptr_t address) {
    const struct vmarena_table *table = &arena->objects.by_page;
    size_t index = page_index(arena, address);
    if ((index + 1) * sizeof(uint32_t) > table->committed) return 0;
    return ((const uint32_t *)(const void *)table->base)[index];
}

static int open_tables(struct vmarena_arena *arena) {
    size_t pages = arena->region.size / vmarena_prim_page_size();
    if (pages > UINT32_MAX) return vmarena_fail(-EINVAL, "vmarena_create: a fenced arena has at most 2^32 pages");
    int error = table_open(&arena->objects.by_page, pages * sizeof(uint32_t));
    if (error != 0) return error;
    /* A page of the object's own and at least one of guard. */
    error = table_open(&arena->objects.all, (pages / 2 + 1) * sizeof(struct vmarena_object));
    if (error != 0) vmarena_table_close(&arena->objects.by_page);
    return error;
}

int vmarena_fenced_open(struct vmarena_arena *arena) {
    struct vmarena_options *options = &arena->options;
    unsigned flags = (options->flags & VMARENA_LOCK ? VMARENA_GUARDS_LOCKED : 0) |
                     (options->flags & VMARENA_WIPE_ON_FORK ? VMARENA_GUARDS_WIPED : 0);
    int error = vmarena_guards_init(&arena->guards, &arena->region, options->guard_kind, flags);
    if (error != 0) return error;
    options->guard_kind = arena->guards.kind;
    return open_tables(arena);
}

void vmarena_fenced_close(struct vmarena_arena *arena) {
    vmarena_table_close(&arena->objects.by_page);
    vmarena_table_close(&arena->objects.all);
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* Covers the arena up to end with guards, a step at a time, unless what is not open is inaccessible anyway. */
static int reach(struct vmarena_arena *arena, uintptr_t end) {
    if (end <= arena->ready || vmarena_guards_are_protection(&arena->guards)) return 0;
    size_t bytes = vmarena_arena_step_end(arena, end);
    int error = vmarena_guards_cover(&arena->guards, bytes);
    if (error == 0) arena->ready = (uintptr_t)arena->region.base + bytes;
    return error;
}

static int open_pages(struct vmarena_arena *arena, uintptr_t start, size_t size) {
    int error = vmarena_guards_open(&arena->guards, start, size);
    if (error == 0 && arena->annotated) vmarena_prim_defined((const void *)start, size);
    return error;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static struct vmarena_slack slack_of(const struct vmarena_object *object) {
    return (struct vmarena_slack){pages_start(object), object->start, end_of(object), pages_end(object)};
}

static void fill_slack(const struct vmarena_object *object) {
    struct vmarena_slack slack = slack_of(object);
    vmarena_slack_fill_pattern(&slack);
}

/* The first overwritten byte of an object's slack, or 0. */
static uintptr_t check_slack(const struct vmarena_object *object) {
    struct vmarena_slack slack = slack_of(object);
    size_t length;
    return vmarena_slack_find_damage(&slack, slack.before, &length);
}

static int report_slack(const struct vmarena_arena *arena, const struct vmarena_object *object, uintptr_t bad) {
    ptrdiff_t distance = vmarena_object_distance(object->start, object->size, bad);
    return vmarena_fail(-EILSEQ, "slack overwritten: byte %+td of the %zu-byte object at %p in \"%s\" holds 0x%02x",
                        distance, object->size, (void *)object->start, arena->region.name, *(const unsigned char *)bad);
}

static int check_readable(const struct vmarena_arena *arena) {
    if (arena->region.prot & VMARENA_READ) return 0;
    return vmarena_fail(-EACCES, "the arena is not readable, so that its slack cannot be checked");
}

/* The slack of the objects from first on, which is readable. */
static int check_from(const struct vmarena_arena *arena, size_t first) {
    for (size_t i = first; i < arena->objects.count; i++) {
        const struct vmarena_object *object = object_at(arena, i);
        uintptr_t bad = object->retired || object->unreadable ? 0 : check_slack(object);
        if (bad != 0) return report_slack(arena, object, bad);
    }
    return 0;
}

int vmarena_fenced_check(const struct vmarena_arena *arena) {
    int error = check_readable(arena);
    if (error == 0) error = check_from(arena, 0);
    for (size_t i = 0; i < arena->objects.count && error == 0 && arena->objects.has_range_protection; i++) {
        const struct vmarena_object *object = object_at(arena, i);
        size_t pages = pages_end(object) - pages_start(object);
        if (object->retired || !object->unreadable || pages == object->size) continue;
        error = vmarena_fail(-EACCES, "the %zu-byte object at %p was made unreadable: its slack cannot be checked",
                             object->size, (void *)object->start);
    }
    return error;
}

/* Where the next object goes: from the end of the used part to the end of its own guard. */
struct slot {
    uintptr_t pages, end;
    struct vmarena_placement place;
};

static int find_slot(const struct vmarena_arena *arena, struct slot *slot, size_t size, size_t align) {
    size_t page = vmarena_prim_page_size(), unit = align > page ? align : page, need;
    uintptr_t end = vmarena_arena_end(arena), last = (uintptr_t)arena->region.base + arena->region.size;
    int error = vmarena_place_object(&slot->place, size, align, arena->options.fence, page);
    slot->pages = (end + unit - 1) & ~(uintptr_t)(unit - 1);
    if (error != 0 || __builtin_add_overflow(slot->place.pages, arena->region.guard, &need) || slot->pages < end ||
        slot->pages > last || need > last - slot->pages)
        return vmarena_fail(-ENOSPC, "the arena is full: %zu of %zu bytes used, %zu and a guard asked for",
                            end - (uintptr_t)arena->region.base, arena->region.size, size);
    slot->end = slot->pages + need;
    return 0;
}

static int reach_tables(struct vmarena_arena *arena, uintptr_t end) {
    struct vmarena_objects *objects = &arena->objects;
    int error = table_reach(&objects->by_page, page_index(arena, end) * sizeof(uint32_t));
    if (error != 0) return error;
    return table_reach(&objects->all, (objects->count + 1) * sizeof(struct vmarena_object));
}

static struct vmarena_object *enter(struct vmarena_arena *arena, const struct slot *slot, size_t size, size_t align) {
    struct vmarena_objects *objects = &arena->objects;
    uint32_t *by_page = (uint32_t *)(void *)objects->by_page.base;
    struct vmarena_object *object = object_at(arena, objects->count);
    *object = (struct vmarena_object){
        .start = slot->pages + slot->place.offset, .size = size, .align = (unsigned char)__builtin_ctzl(align)};
    objects->count++;
    objects->live++;
    size_t last = page_index(arena, slot->end);
    for (size_t i = page_index(arena, vmarena_arena_end(arena)); i < last; i++) by_page[i] = (uint32_t)objects->count;
    return object;
}

void *vmarena_fenced_alloc(struct vmarena_arena *arena, size_t size, size_t align) {
    struct slot slot;
    if ((arena->region.prot & VMARENA_WRITE) == 0) {
        (void)vmarena_fail(-EACCES, "the fenced arena is not writable: a new object's slack must be filled");
        return NULL;
    }
    if (find_slot(arena, &slot, size, align) != 0 || reach(arena, slot.end) != 0 ||
        reach_tables(arena, slot.end) != 0 || open_pages(arena, slot.pages, slot.place.pages) != 0)
        return NULL;
    struct vmarena_object *object = enter(arena, &slot, size, align);
    fill_slack(object);
    if (slot.end > arena->ready) arena->ready = slot.end;
    vmarena_arena_set_end(arena, slot.end);
    return (void *)object->start;
}

/* The live object whose page or guard this is, or NULL. */
static struct vmarena_object *object_on(const struct vmarena_arena *arena, uintptr_t address) {
    size_t owner = page_owner(arena, address);
    struct vmarena_object *object = owner != 0 && owner <= arena->objects.count ? object_at(arena, owner - 1) : NULL;
    return object != NULL && !object->retired ? object : NULL;
}

static struct vmarena_object *find_object(const struct vmarena_arena *arena, const void *start, size_t size) {
    if (vmarena_region_holds(&arena->region, start, size)) {
        struct vmarena_object *object = object_on(arena, (uintptr_t)start);
        if (object != NULL && object->start == (uintptr_t)start && object->size == size) return object;
    }
    (void)vmarena_fail(-EINVAL, "no live object of %zu bytes at %p in this arena", size, start);
    return NULL;
}

static bool fits_in_place(const struct vmarena_arena *arena, const struct vmarena_object *object, size_t size) {
    struct vmarena_object resized = {.start = object->start, .size = size};
    return arena->options.fence == VMARENA_FENCE_START && size <= pages_end(object) - object->start &&
           pages_end(&resized) == pages_end(object);
}

/* Whether the library may read the object and write to its slack. */
static int check_resizable(const struct vmarena_arena *arena, const struct vmarena_object *object) {
    int error = check_readable(arena);
    if (error != 0) return error;
    if (object->unreadable || object->unwritable)
        return vmarena_fail(-EACCES, "the %zu-byte object at %p was protected: it cannot be resized", object->size,
                            (void *)object->start);
    uintptr_t bad = check_slack(object);
    return bad != 0 ? report_slack(arena, object, bad) : 0;
}

/* Fences off an object. Should that fail, it stays as it was until it is rewound. */
static int retire(struct vmarena_arena *arena, struct vmarena_object *object) {
    int error = vmarena_guards_close(&arena->guards, pages_start(object), pages_end(object) - pages_start(object));
    if (error != 0) return error;
    object->retired = true;
    arena->objects.live--;
    return 0;
}

int vmarena_fenced_free(struct vmarena_arena *arena, void *start, size_t size) {
    struct vmarena_object *object = find_object(arena, start, size);
    if (object == NULL) return -EINVAL;
    int found = check_resizable(arena, object);
    if (found != 0 && found != -EILSEQ) return found;
    int error = retire(arena, object);
    return error != 0 ? error : found;
}

void *vmarena_fenced_resize(struct vmarena_arena *arena, void *start, size_t old_size, size_t new_size) {
    struct vmarena_object *object = find_object(arena, start, old_size);
    if (object == NULL || check_resizable(arena, object) != 0) return NULL;
    if (fits_in_place(arena, object, new_size) && (arena->region.prot & VMARENA_WRITE)) {
        object->size = new_size;
        fill_slack(object);
        return start;
    }
    void *moved = vmarena_fenced_alloc(arena, new_size, (size_t)1 << object->align);
    if (moved == NULL) return NULL;
    memcpy(moved, start, old_size < new_size ? old_size : new_size);
    (void)retire(arena, object); /* the new object is good in either case */
    return moved;
}

static int protect_object(const struct vmarena_arena *arena, size_t index, unsigned prot) {
    const struct vmarena_object *object = object_at(arena, index);
    if (object->retired) return 0;
    return vmarena_prim_protect((void *)pages_start(object), pages_end(object) - pages_start(object), prot);
}

/* ---- taking back ------------------------------------------------------------------------------------------------- */

/* Gives all that lies from the end-th byte and the first-th object on one protection. */
static int protect_from(struct vmarena_arena *arena, uintptr_t end, size_t first, unsigned prot) {
    int error = 0;
    if (!vmarena_guards_are_protection(&arena->guards))
        return vmarena_prim_protect((void *)end, vmarena_arena_end(arena) - end, prot);
    for (size_t i = first; i < arena->objects.count && error == 0; i++) error = protect_object(arena, i, prot);
    return error;
}

/* Slack must be readable to be checked, and what was protected apart must not outlive the objects it belonged to. */
static int open_up(struct vmarena_arena *arena, uintptr_t end, size_t first) {
    unsigned prot = arena->region.prot;
    if ((prot & VMARENA_READ) && !arena->objects.has_range_protection) return 0;
    int error = protect_from(arena, end, first, prot | VMARENA_READ);
    if (error != 0) {
        (void)protect_from(arena, end, first, prot);
        return vmarena_fail_call(error, "mprotect", vmarena_arena_end(arena) - end);
    }
    for (size_t i = first; i < arena->objects.count; i++) {
        struct vmarena_object *object = object_at(arena, i);
        object->unreadable = object->unwritable = false;
    }
    return 0;
}

int vmarena_fenced_rewind(struct vmarena_arena *arena, uintptr_t end, size_t count) {
    struct vmarena_objects *objects = &arena->objects;
    size_t size = vmarena_arena_end(arena) - end;
    if (size == 0) return 0;
    int error = open_up(arena, end, count);
    if (error != 0) return error;
    int found = check_from(arena, count);
    error = vmarena_guards_close(&arena->guards, end, size);
    /* Under markers it lies as the whole arena does; by mprotect closing has made it inaccessible. */
    if ((arena->region.prot & VMARENA_READ) == 0 && (!vmarena_guards_are_protection(&arena->guards) || error != 0))
        (void)protect_from(arena, end, count, arena->region.prot);
    if (error != 0) return error;
    for (size_t i = count; i < objects->count; i++) objects->live -= !object_at(arena, i)->retired;
    objects->count = count;
    return found;
}

/* ---- protection -------------------------------------------------------------------------------------------------- */

/* What ranges had been protected apart is as the whole arena again. */
static void forget_ranges(struct vmarena_arena *arena) {
    for (size_t i = 0; i < arena->objects.count && arena->objects.has_range_protection; i++) {
        struct vmarena_object *object = object_at(arena, i);
        object->unreadable = object->unwritable = false;
    }
    arena->objects.has_range_protection = false;
}

static int protect_each(struct vmarena_arena *arena, unsigned prot) {
    for (size_t i = 0; i < arena->objects.count; i++) {
        int error = protect_object(arena, i, prot);
        if (error == 0) continue;
        while (i-- > 0) (void)protect_object(arena, i, arena->region.prot);
        return vmarena_fail_call(error, "mprotect", vmarena_prim_page_size());
    }
    arena->region.prot = prot;
    return 0;
}

int vmarena_fenced_protect(struct vmarena_arena *arena, unsigned prot) {
    int error = !vmarena_guards_are_protection(&arena->guards) ? vmarena_region_protect(&arena->region, prot)
                                                               : protect_each(arena, prot);
    if (error == 0) forget_ranges(arena);
    return error;
}

int vmarena_fenced_protect_range(struct vmarena_arena *arena, uintptr_t start, size_t length, unsigned prot) {
    struct vmarena_object *object = object_on(arena, start);
    if (object == NULL || start < pages_start(object) || start + length > pages_end(object))
        return vmarena_fail(-EINVAL, "vmarena_protect_range: in a fenced arena the range lies in one object's pages");
    int error = vmarena_prim_protect((void *)start, length, prot);
    if (error != 0) return vmarena_fail_call(error, "mprotect", length);
    bool whole = length == pages_end(object) - pages_start(object);
    object->unreadable = (prot & VMARENA_READ) == 0 || (object->unreadable && !whole);
    object->unwritable = (prot & VMARENA_WRITE) == 0 || (object->unwritable && !whole);
    arena->objects.has_range_protection = true;
    return 0;
}

/* ---- faults: signal-safe ----------------------------------------------------------------------------------------- */

static size_t gap_to(const struct vmarena_object *object, uintptr_t address) {
    return vmarena_object_gap(object->start, object->size, address);
}

/* A guard lies between two objects: the nearer edge is the one that was missed. */
static const struct vmarena_object *nearer(const struct vmarena_arena *arena, size_t index, uintptr_t address) {
    const struct vmarena_object *object = object_at(arena, index), *other = object;
    if (address >= end_of(object) && index + 1 < arena->objects.count) other = object_at(arena, index + 1);
    else if (address < object->start && index > 0) other = object_at(arena, index - 1);
    return !other->retired && gap_to(other, address) < gap_to(object, address) ? other : object;
}

/* In pages that were handed out once and taken back. */
static void explain_ghost(const struct vmarena_arena *arena, struct vmarena_fault *fault, size_t owner) {
    uintptr_t address = (uintptr_t)fault->address;
    vmarena_attribute_kind(fault, VMARENA_FAULT_USE_AFTER_FREE);
    if (owner <= arena->objects.count || owner * sizeof(struct vmarena_object) > arena->objects.all.committed) return;
    const struct vmarena_object *ghost = object_at(arena, owner - 1);
    /* A newer object may have taken its entry, for pages elsewhere. */
    if (address >= pages_start(ghost) && address < pages_end(ghost) + arena->region.guard)
        vmarena_attribute_object(fault, ghost->start, ghost->size);
}

static void explain_object(const struct vmarena_arena *arena, struct vmarena_fault *fault, size_t index) {
    const struct vmarena_object *object = nearer(arena, index, (uintptr_t)fault->address);
    vmarena_attribute(fault, object->start, object->size, !object->retired);
}

void vmarena_fenced_attribute(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct vmarena_arena *arena = region->owner;
    uintptr_t address = (uintptr_t)fault->address, end = vmarena_arena_end(arena);
    size_t count = arena->objects.count;
    if (address < (uintptr_t)region->base) {
        vmarena_attribute_kind(fault, VMARENA_FAULT_UNDERRUN);
        if (count > 0) explain_object(arena, fault, 0);
        return;
    }
    size_t owner = page_owner(arena, address);
    if (address >= end && address < arena->peak) explain_ghost(arena, fault, owner);
    else if (address < end && owner != 0 && owner <= count) explain_object(arena, fault, owner - 1);
    else {
        vmarena_attribute_kind(fault, VMARENA_FAULT_OVERRUN);
        if (count > 0) explain_object(arena, fault, count - 1);
    }
}
