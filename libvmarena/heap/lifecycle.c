/* SPDX-License-Identifier: MIT */
/* A heap's life: options, numbers, visits, fork(2). */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "fault/fault.h"
#include "heap/heap.h"
#include "base/pool.h"
#include "prim/prim.h"

/* All heaps ever made. A dead one stays, for stale handles, until it is made again. */
static pthread_mutex_t heaps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmarena_heap *heaps;
static struct vmarena_pool pool = VMARENA_POOL(struct vmarena_heap);

static bool is_alive(const struct vmarena_heap *heap) {
    return atomic_load_explicit(&heap->alive, memory_order_acquire);
}

int vmarena_heap_verify(const struct vmarena_heap *heap) {
    if (heap != NULL && is_alive(heap)) return 0;
    return vmarena_fail(-EBADF, heap == NULL ? "no heap was given" : "the heap was destroyed");
}

/* ---- fork ----------------------------------------------------------------------------------------------------------------- */

static void each_lock(struct vmarena_heap *heap, int (*operate)(pthread_mutex_t *)) {
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) (void)operate(&heap->shards[i].lock);
    for (unsigned i = 0; i < VMARENA_CENTRAL_LOCKS; i++) (void)operate(&heap->central_locks[i]);
    (void)operate(&heap->grow);
    (void)operate(&heap->stacks.lock);
}

static void prepare_fork(void) {
    (void)pthread_mutex_lock(&heaps_lock);
    for (struct vmarena_heap *heap = heaps; heap != NULL; heap = heap->next)
        if (is_alive(heap)) each_lock(heap, pthread_mutex_lock);
}

/*
 * In the child: the thread that was at a check or at rearming is not there, unless it is the one that forked, out of a
 * report. Waiting for it in the parent would not do: its report may be forking, too.
 */
static void disown(struct vmarena_heap *heap) {
    vmarena_store_relaxed(heap->forked, true);
    if (vmarena_checking(heap)) return;
    struct vmarena_slot *held = vmarena_load_relaxed(heap->held);
    if (held != NULL && vmarena_load_relaxed(held->state) == VMARENA_SLOT_HELD) vmarena_slot_let_go(heap);
    vmarena_store_relaxed(heap->held, NULL);
    (void)pthread_mutex_init(&heap->check, NULL);
}

static void after_fork(bool child) {
    for (struct vmarena_heap *heap = heaps; heap != NULL; heap = heap->next) {
        if (!is_alive(heap)) continue;
        if (child) disown(heap);
        each_lock(heap, pthread_mutex_unlock);
    }
    (void)pthread_mutex_unlock(&heaps_lock);
}

static void after_fork_in_parent(void) { after_fork(false); }
static void after_fork_in_child(void) { after_fork(true); }

static int watch_forks(void) { return vmarena_prim_at_fork(prepare_fork, after_fork_in_parent, after_fork_in_child); }

/* ---- options -------------------------------------------------------------------------------------------------------------- */

static bool is_power(size_t value) { return value != 0 && (value & (value - 1)) == 0; }

static int check_options(const struct vmarena_heap_options *options) {
    const struct vmarena_heap_fallback *fallback = options->fallback;
    if (options->align != 0 && !is_power(options->align))
        return vmarena_fail(-EINVAL, "options.align: %zu is no power of two", options->align);
    if ((unsigned)options->side > VMARENA_HEAP_ALTERNATE || (unsigned)options->reuse > VMARENA_HEAP_RANDOM ||
        (unsigned)options->full > VMARENA_HEAP_UNGUARDED || (unsigned)options->guard_kind > VMARENA_GUARD_PROTECT)
        return vmarena_fail(-EINVAL, "options: side, reuse, full or guard_kind is none of its values");
    if ((options->flags & ~(VMARENA_HEAP_NO_QUARANTINE | VMARENA_HEAP_NO_STACKS)) != 0)
        return vmarena_fail(-EINVAL, "options.flags: unknown bits in 0x%x", options->flags);
    if (options->stack_depth > VMARENA_HEAP_STACK_DEPTH_MAX)
        return vmarena_fail(-EINVAL, "options.stack_depth: %u is more than %d", options->stack_depth,
                            VMARENA_HEAP_STACK_DEPTH_MAX);
    if (options->sample > UINT32_MAX / 2)
        return vmarena_fail(-EINVAL, "options.sample: %zu is too much", options->sample);
    if (options->guard > SIZE_MAX / 8) return vmarena_fail(-EINVAL, "options.guard: %zu is too wide", options->guard);
    if (options->guard_max != 0 && options->guard_min > options->guard_max)
        return vmarena_fail(-EINVAL, "options.guard_min is more than guard_max");
    bool needed = options->sample > 1 || options->guard_min != 0 || options->guard_max != 0 ||
                  options->full == VMARENA_HEAP_UNGUARDED;
    if (needed && fallback == NULL)
        return vmarena_fail(-EINVAL, "options.fallback is needed with sample, guard_min, guard_max and UNGUARDED");
    if (fallback != NULL && (fallback->alloc == NULL || fallback->calloc == NULL || fallback->realloc == NULL ||
                             fallback->free == NULL || fallback->usable_size == NULL))
        return vmarena_fail(-EINVAL, "options.fallback: only its function `owns` may be left out");
    return 0;
}

static int choose_guards(struct vmarena_heap *heap) {
    enum vmarena_guard_kind *kind = &heap->options.guard_kind;
    bool markers = *kind != VMARENA_GUARD_PROTECT && vmarena_prim_has_guard_markers();
    if (*kind == VMARENA_GUARD_MARKER && !markers)
        return vmarena_fail(-EOPNOTSUPP, "this kernel refuses guard markers (MADV_GUARD_INSTALL, Linux 6.13)");
    *kind = markers ? VMARENA_GUARD_MARKER : VMARENA_GUARD_PROTECT;
    heap->markers = markers;
    if (markers) return 0;
    /* An object splits its mapping in three. The rest is for the program: without entries its own mmap fails. */
    size_t used;
    vmarena_prim_map_entries(&used, &heap->map_entry_limit);
    size_t left = heap->map_entry_limit > used ? heap->map_entry_limit - used : 0;
    if (heap->map_entry_limit != 0) heap->guard_limit = left / 8 * 7 / 2 + 1;
    return 0;
}

static void settle_options(struct vmarena_heap *heap, const struct vmarena_heap_options *options) {
    struct vmarena_heap_options *own = &heap->options;
    *own = *options;
    if (own->align == 0) own->align = 16;
    if (own->stack_depth == 0) own->stack_depth = VMARENA_HEAP_STACK_DEPTH;
    if (own->quarantine_count == 0) own->quarantine_count = VMARENA_HEAP_QUARANTINE_COUNT;
    if (own->flags & VMARENA_HEAP_NO_QUARANTINE) own->quarantine_count = 0;
    heap->filters = own->sample > 1 || own->guard_min != 0 || own->guard_max != 0;
    heap->has_fallback = options->fallback != NULL;
    if (heap->has_fallback) heap->fallback = *options->fallback;
    own->fallback = NULL;
    own->name = NULL;
    heap->annotated = vmarena_prim_annotating();
    heap->page = vmarena_prim_page_size();
    heap->chunk = heap->page * VMARENA_CHUNK_PAGES;
    heap->guard_pages = own->guard == 0 ? 1 : (own->guard + heap->page - 1) / heap->page;
    const char *name = options->name != NULL ? options->name : "heap";
    for (size_t i = 0; i + 1 < VMARENA_NAME_SIZE && name[i] != '\0'; i++) heap->region.name[i] = name[i];
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

#define RESERVE (sizeof(void *) > 4 ? (size_t)1 << (sizeof(void *) > 4 ? 40 : 28) : (size_t)1 << 28)
#define LEAST_CHUNKS 8

/* Without a wish: as much as there is, but where less than RESERVE is, half is left to the program. */
static int open_slots(struct vmarena_heap *heap) {
    size_t wish = heap->options.reserve, size = RESERVE;
    if (wish > SIZE_MAX / 4) return vmarena_fail(-EINVAL, "options.reserve: %zu bytes exceed the address space", wish);
    if (wish != 0) return vmarena_slots_open(heap, (wish + heap->chunk - 1) / heap->chunk * heap->chunk);
    int error = vmarena_slots_open(heap, size);
    if (error == 0) return 0;
    while (error != 0 && (size /= 2) >= 2 * LEAST_CHUNKS * heap->chunk) error = vmarena_slots_open(heap, size);
    if (error != 0) return error;
    vmarena_slots_close(heap);
    return vmarena_slots_open(heap, size / 2);
}

static void init_locks(struct vmarena_heap *heap) {
    (void)pthread_mutex_init(&heap->grow, NULL);
    (void)pthread_mutex_init(&heap->check, NULL);
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) (void)pthread_mutex_init(&heap->shards[i].lock, NULL);
    for (unsigned i = 0; i < VMARENA_CENTRAL_LOCKS; i++) (void)pthread_mutex_init(&heap->central_locks[i], NULL);
}

#define STACKS_LEAST ((size_t)1 << 20)
#define STACKS_MOST ((size_t)1 << 30)

static int build(struct vmarena_heap *heap, const struct vmarena_heap_options *options) {
    settle_options(heap, options);
    int error = choose_guards(heap);
    if (error != 0) return error;
    vmarena_slots_plan(heap);
    init_locks(heap);
    error = open_slots(heap);
    if (error != 0) return error;
    size_t stacks = heap->region.size / 64;
    if (stacks < STACKS_LEAST) stacks = STACKS_LEAST;
    error = vmarena_stacks_open(&heap->stacks, stacks < STACKS_MOST ? stacks : STACKS_MOST);
    if (error != 0) {
        vmarena_slots_close(heap);
        return vmarena_fail_call(error, "mmap", stacks);
    }
    if (heap->options.quarantine_bytes == 0) heap->options.quarantine_bytes = heap->region.size / 4;
    (void)vmarena_prim_name(heap->region.base, heap->region.size, heap->region.name);
    return 0;
}

/* A record, all zero but for its place among the heaps; under their lock. */
static struct vmarena_heap *take_record(void) {
    struct vmarena_heap *heap = heaps;
    while (heap != NULL && is_alive(heap)) heap = heap->next;
    if (heap != NULL) {
        struct vmarena_heap *next = heap->next;
        memset(heap, 0, sizeof *heap);
        heap->next = next;
        return heap;
    }
    heap = vmarena_pool_take(&pool);
    if (heap == NULL) return NULL;
    heap->next = heaps;
    heaps = heap;
    return heap;
}

int vmarena_heap_create(struct vmarena_heap **out, const struct vmarena_heap_options *options) {
    static const struct vmarena_heap_options defaults;
    static struct vmarena_prim_once once;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_heap_create: nowhere to put the heap");
    if (options == NULL) options = &defaults;
    int error = check_options(options);
    if (error != 0) return error;
    error = vmarena_prim_once(&once, watch_forks);
    if (error != 0) return vmarena_fail_call(error, "pthread_atfork", 0);
    (void)pthread_mutex_lock(&heaps_lock);
    struct vmarena_heap *heap = take_record();
    error = heap != NULL ? build(heap, options) : vmarena_fail(-ENOMEM, "mmap: no memory for a heap's record");
    if (error == 0) {
        atomic_store_explicit(&heap->alive, true, memory_order_release);
        *out = heap;
    }
    (void)pthread_mutex_unlock(&heaps_lock);
    return error;
}

static bool give_large(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    (void)heap, (void)arg;
    vmarena_large_give(slot);
    return true;
}

void vmarena_heap_destroy(struct vmarena_heap *heap) {
    if (heap == NULL) return;
    (void)pthread_mutex_lock(&heaps_lock);
    if (is_alive(heap)) {
        atomic_store_explicit(&heap->alive, false, memory_order_release);
        (void)vmarena_large_visit(heap, give_large, NULL);
        vmarena_slots_close(heap);
        vmarena_stacks_close(&heap->stacks);
    }
    (void)pthread_mutex_unlock(&heaps_lock);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------ */

static void add_shards(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    uint64_t in = 0, gone = 0;
    for (unsigned i = 0; i < VMARENA_SHARDS; i++) {
        const struct vmarena_shard *shard = &heap->shards[i];
        out->allocs += vmarena_load_relaxed(shard->allocs);
        out->frees += vmarena_load_relaxed(shard->frees);
        in += vmarena_load_relaxed(shard->bytes_in);
        gone += vmarena_load_relaxed(shard->bytes_out);
    }
    out->live_bytes = (size_t)(in - gone);
}

void vmarena_heap_stats(const struct vmarena_heap *heap, struct vmarena_heap_stats *out) {
    *out = (struct vmarena_heap_stats){.live = 0};
    if (heap == NULL || !is_alive(heap)) return;
    add_shards(heap, out);
    out->live = vmarena_load_relaxed(heap->live);
    out->live_peak = vmarena_load_relaxed(heap->live_peak);
    out->page_bytes = vmarena_load_relaxed(heap->page_bytes);
    out->page_peak = vmarena_load_relaxed(heap->page_peak);
    out->quarantined = vmarena_load_relaxed(heap->quarantined);
    out->quarantined_bytes = vmarena_load_relaxed(heap->quarantined_bytes);
    out->shortened = vmarena_load_relaxed(heap->shortened);
    out->unguarded = vmarena_load_relaxed(heap->unguarded);
    out->unsampled = vmarena_load_relaxed(heap->unsampled);
    out->failed = vmarena_load_relaxed(heap->failed);
    out->errors = vmarena_load_relaxed(heap->errors);
    out->checks = vmarena_load_relaxed(heap->check_count);
    out->reserved = heap->region.size;
    out->committed = vmarena_load_relaxed(heap->cut) * heap->chunk;
    out->record_bytes =
        vmarena_load_relaxed(heap->records.committed) + vmarena_load_relaxed(heap->chunks.committed) + sizeof *heap;
    out->stacks = vmarena_load_relaxed(heap->stacks.count);
    out->stack_bytes = vmarena_load_relaxed(heap->stacks.used) + vmarena_load_relaxed(heap->stacks.buckets.committed);
    out->guard = heap->guard_pages * heap->page;
    out->guard_kind = heap->options.guard_kind;
    out->guard_limit = heap->guard_limit;
    out->map_entry_limit = heap->map_entry_limit;
    out->unlocked = vmarena_load_relaxed(heap->unlocked);
    out->forked = vmarena_load_relaxed(heap->forked);
}

size_t vmarena_heap_stack(const struct vmarena_heap *heap, uint32_t stack, void **frames, size_t count) {
    if (heap == NULL || !is_alive(heap)) return 0;
    return vmarena_stacks_frames(&heap->stacks, stack, frames, count);
}

/* ---- visits ---------------------------------------------------------------------------------------------------------------------- */

struct visit {
    vmarena_heap_visit_fn *function;
    void *arg;
    bool freed;
};

static bool visit_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    const struct visit *visit = arg;
    struct vmarena_heap_object object;
    if (!vmarena_slot_object(heap, slot, &object)) return true;
    if (object.state == VMARENA_HEAP_FREED && !visit->freed) return true;
    return visit->function(&object, visit->arg);
}

int vmarena_heap_for_each(struct vmarena_heap *heap, bool freed, vmarena_heap_visit_fn *function, void *arg) {
    int error = vmarena_heap_verify(heap);
    if (error != 0) return error;
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_heap_for_each: no function");
    struct visit visit = {function, arg, freed};
    if (vmarena_slots_visit(heap, visit_slot, &visit)) (void)vmarena_large_visit(heap, visit_slot, &visit);
    return 0;
}

/* ---- faults ------------------------------------------------------------------------------------------------------------------------ */

int vmarena_heap_on_fault(struct vmarena_heap *heap, vmarena_fault_fn *function, void *arg) {
    int error = vmarena_heap_verify(heap);
    return error != 0 ? error : vmarena_fault_set_repair(&heap->region, function, arg);
}

/* Holds the slot meanwhile, whatever it is: nobody frees the object, or takes the slot for another. */
static bool rearm_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, void *arg) {
    int *error = arg, failed;
    if ((vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED) == 0) return true;
    unsigned char state = vmarena_load_relaxed(slot->state);
    if (state == VMARENA_SLOT_CLAIMED || !vmarena_slot_hold(heap, slot, state)) return true;
    bool live = state == VMARENA_SLOT_LIVE;
    if (vmarena_slot_is_large(slot)) failed = live ? vmarena_large_rearm(slot) : vmarena_large_close(slot);
    else failed = live ? vmarena_slot_rearm_around(heap, slot) : vmarena_slot_rearm(heap, slot);
    vmarena_slot_let_go(heap);
    if (failed != 0) *error = failed;
    return true;
}

static int rearm_edges(struct vmarena_heap *heap) {
    const struct vmarena_region *region = &heap->region;
    size_t lead = (size_t)(region->base - region->outer), cut = vmarena_load_relaxed(heap->cut) * heap->chunk;
    int error = vmarena_prim_map_reserved(region->outer, lead);
    if (error != 0) return error;
    return vmarena_prim_map_reserved(region->base + cut, region->outer_size - lead - cut);
}

int vmarena_heap_rearm(struct vmarena_heap *heap) {
    int error = vmarena_heap_verify(heap), failed = 0;
    if (error != 0) return error;
    if (vmarena_checking(heap)) return vmarena_fail(-EBUSY, "vmarena_heap_rearm: called from a check's report");
    (void)pthread_mutex_lock(&heap->check);
    (void)vmarena_slots_visit(heap, rearm_slot, &failed);
    (void)vmarena_large_visit(heap, rearm_slot, &failed);
    (void)pthread_mutex_lock(&heap->grow);
    if (vmarena_load_relaxed(heap->edge_exposed)) {
        vmarena_store_relaxed(heap->edge_exposed, false);
        int edges = rearm_edges(heap);
        if (edges != 0) failed = edges;
    }
    (void)pthread_mutex_unlock(&heap->grow);
    (void)pthread_mutex_unlock(&heap->check);
    return failed == 0 ? 0 : vmarena_fail_call(failed, "rearm: madvise, mprotect or mmap", heap->page);
}
