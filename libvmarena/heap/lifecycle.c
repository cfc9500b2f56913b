/* SPDX-License-Identifier: MIT */
/* Creating and destroying heaps. */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/pool.h"
#include "heap/heap.h"

static struct vmarena_pool pool = VMARENA_POOL(struct vmarena_heap);

#define RESERVE (sizeof(void *) > 4 ? (size_t)1 << (sizeof(void *) > 4 ? 40 : 28) : (size_t)1 << 28)
#define LEAST_CHUNKS 8

/* Where no size is asked for: as much as there is, but where that is less than RESERVE, half is left to the program. */
static int open_any_size(struct vmarena_heap *heap) {
    size_t size = RESERVE;
    int error = vmarena_slots_open(heap, size);
    if (error == 0) return 0;
    while (error != 0 && (size /= 2) >= 2 * LEAST_CHUNKS * heap->chunk) error = vmarena_slots_open(heap, size);
    if (error != 0) return error;
    vmarena_slots_close(heap);
    return vmarena_slots_open(heap, size / 2);
}

static int open_slots(struct vmarena_heap *heap) {
    heap->region.owner = heap;
    heap->region.kind = VMARENA_OWNER_HEAP;
    heap->region.objects = &heap->live;
    heap->region.attribute = vmarena_heap_attribute;
    heap->region.history = vmarena_heap_history;
    vmarena_slots_plan(heap);
    size_t reserve = heap->options.reserve;
    return reserve != 0 ? vmarena_slots_open(heap, vmarena_round_up(reserve, heap->chunk)) : open_any_size(heap);
}

#define STACKS_LEAST ((size_t)1 << 20)
#define STACKS_MOST ((size_t)1 << 30)

static int open_stacks(struct vmarena_heap *heap) {
    size_t size = heap->region.size / 64;
    if (size < STACKS_LEAST) size = STACKS_LEAST;
    if (size > STACKS_MOST) size = STACKS_MOST;
    int error = vmarena_stacks_open(&heap->stacks, size);
    return error != 0 ? vmarena_fail_call(error, "mmap", size) : 0;
}

static void init_locks(struct vmarena_heap *heap) {
    (void)pthread_mutex_init(&heap->grow, NULL);
    (void)pthread_mutex_init(&heap->check, NULL);
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) (void)pthread_mutex_init(&heap->shards[i].lock, NULL);
    for (unsigned i = 0; i < VMARENA_CENTRAL_LOCKS; i++) (void)pthread_mutex_init(&heap->central_locks[i], NULL);
}

/* An object splits its mapping in three. The rest is for the program, whose own mmap fails without map entries. */
static void limit_guards(struct vmarena_heap *heap) {
    size_t used;
    vmarena_prim_map_entries(&used, &heap->map_entry_limit);
    size_t left = heap->map_entry_limit > used ? heap->map_entry_limit - used : 0;
    if (heap->map_entry_limit != 0) heap->guard_limit = left / 8 * 7 / 2 + 1;
}

static int choose_guards(struct vmarena_heap *heap) {
    int error = vmarena_guards_init(&heap->guards, &heap->region, heap->options.guard_kind,
                                    VMARENA_GUARDS_MAY_UNLOCK | VMARENA_GUARDS_REUSED);
    if (error != 0) return error;
    heap->options.guard_kind = heap->guards.kind;
    if (heap->guards.kind == VMARENA_GUARD_PROTECT) limit_guards(heap);
    return 0;
}

static int build(struct vmarena_heap *heap, const struct vmarena_heap_options *options) {
    vmarena_heap_apply_options(heap, options);
    init_locks(heap);
    int error = open_slots(heap);
    if (error != 0) return error;
    error = choose_guards(heap);
    if (error == 0) error = open_stacks(heap);
    if (error != 0) {
        vmarena_slots_close(heap);
        return error;
    }
    if (heap->options.quarantine_bytes == 0) heap->options.quarantine_bytes = heap->region.size / 4;
    (void)vmarena_prim_name(heap->region.base, heap->region.size, heap->region.name);
    return 0;
}

/* A record that is all zero but for its place in the list; with the list's lock. */
static struct vmarena_heap *take_record(struct vmarena_heap **heaps) {
    struct vmarena_heap *heap = *heaps;
    while (heap != NULL && vmarena_heap_is_alive(heap)) heap = heap->next;
    if (heap != NULL) {
        struct vmarena_heap *next = heap->next;
        memset(heap, 0, sizeof *heap);
        heap->next = next;
        return heap;
    }
    heap = vmarena_pool_take(&pool);
    if (heap == NULL) return NULL;
    heap->next = *heaps;
    *heaps = heap;
    return heap;
}

int vmarena_heap_create(struct vmarena_heap **out, const struct vmarena_heap_options *options) {
    static const struct vmarena_heap_options defaults;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_heap_create: nowhere to put the heap");
    if (options == NULL) options = &defaults;
    int error = vmarena_heap_check_options(options);
    if (error == 0) error = vmarena_fork_watch();
    if (error != 0) return error;
    struct vmarena_heap **heaps = vmarena_heaps_lock(), *heap = take_record(heaps);
    error = heap != NULL ? build(heap, options) : vmarena_fail(-ENOMEM, "mmap: no memory for a heap's record");
    if (error == 0) {
        atomic_store_explicit(&heap->alive, true, memory_order_release);
        *out = heap;
    }
    vmarena_heaps_unlock();
    return error;
}

static bool unmap_large(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    (void)heap, (void)arg;
    vmarena_large_unmap(slot);
    return true;
}

void vmarena_heap_destroy(struct vmarena_heap *heap) {
    if (heap == NULL) return;
    (void)vmarena_heaps_lock();
    if (vmarena_heap_is_alive(heap)) {
        atomic_store_explicit(&heap->alive, false, memory_order_release);
        (void)vmarena_large_visit(heap, unmap_large, NULL);
        vmarena_slots_close(heap);
        vmarena_stacks_close(&heap->stacks);
    }
    vmarena_heaps_unlock();
}
