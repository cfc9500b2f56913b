/* SPDX-License-Identifier: MIT */
#include "deferred_free.h"

#include "malloc/unwind/unwind.h"
#include "state.h"

#define ENTRIES 4096
#define FRAMES 16

_Atomic uint32_t vmarena_deferred_count;

static struct entry {
    _Atomic uintptr_t pointer; /* the object, or FREE or TAKEN */
    size_t count;
    void *frames[FRAMES];
} entries[ENTRIES];
#define FREE ((uintptr_t)0)
#define TAKEN ((uintptr_t)1) /* a thread uses the other members */

static _Thread_local const struct entry *being_freed;

static size_t depth_of_stacks(void) {
    size_t depth = vmarena_malloc.options.depth;
    return depth < FRAMES ? depth : FRAMES;
}

static struct entry *take_entry(uintptr_t pointer) {
    size_t first = (pointer >> 4) * UINT64_C(0x9e3779b97f4a7c15) % ENTRIES;
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *entry = &entries[(first + i) % ENTRIES];
        uintptr_t expected = FREE;
        if (atomic_compare_exchange_strong(&entry->pointer, &expected, TAKEN)) return entry;
    }
    return NULL;
}

void vmarena_deferred_free(void *pointer, const struct vmarena_prim_frame *caller) {
    static _Atomic bool said;
    struct entry *entry = take_entry((uintptr_t)pointer);
    if (entry == NULL) {
        if (!atomic_exchange(&said, true))
            vmarena_write_line("vmarena guard: too many objects were freed in signal handlers that interrupted malloc, "
                               "or during fork(); some stay allocated");
        return;
    }
    entry->count = vmarena_unwind(caller, entry->frames, depth_of_stacks());
    atomic_store(&entry->pointer, (uintptr_t)pointer);
    (void)atomic_fetch_add(&vmarena_deferred_count, 1);
}

static void free_entry(struct entry *entry, uintptr_t pointer) {
    being_freed = entry;
    (void)vmarena_heap_free(vmarena_malloc.heap, (void *)pointer);
    being_freed = NULL;
    atomic_store(&entry->pointer, FREE);
}

void vmarena_deferred_free_all(void) {
    for (size_t i = 0; i < ENTRIES && atomic_load(&vmarena_deferred_count) != 0; i++) {
        uintptr_t pointer = atomic_load(&entries[i].pointer);
        if (pointer == FREE || pointer == TAKEN) continue;
        if (!atomic_compare_exchange_strong(&entries[i].pointer, &pointer, TAKEN)) continue;
        (void)atomic_fetch_sub(&vmarena_deferred_count, 1);
        free_entry(&entries[i], pointer);
    }
}

size_t vmarena_deferred_stack(void **frames, size_t depth) {
    const struct entry *entry = being_freed;
    size_t count = entry == NULL ? 0 : entry->count < depth ? entry->count : depth;
    for (size_t i = 0; i < count; i++) frames[i] = entry->frames[i];
    return count;
}
