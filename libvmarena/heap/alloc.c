/* SPDX-License-Identifier: MIT */
/* Allocating and freeing: what a request goes through, from the public call to the pages. */
#include "heap/heap.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "region/guard_layout.h"
#include "prim/prim.h"

/* ---- why not: reasons that never leave the heap as they are ----------------------------------------------------------- */

#define OVER_CAP (-EDQUOT)
#define OVER_GUARDS (-EMLINK)
#define PAUSING (-EBUSY)

static int explain(const struct vmarena_heap *heap, int error, size_t size, size_t align) {
    const char *name = heap->region.name;
    switch (error) {
    case -EINVAL: return vmarena_fail(error, "vmarena_heap_alloc: the alignment %zu is no power of two", align);
    case -EOVERFLOW: return vmarena_fail(error, "an object of %zu bytes exceeds the address space", size);
    case -ENOSPC:
        return vmarena_fail(error, "heap \"%s\": all %zu bytes of its reservation are in use; see options.reserve",
                            name, heap->region.size);
    case OVER_CAP:
        return vmarena_fail(-ENOMEM, "heap \"%s\": %zu bytes more would exceed its memory cap of %zu bytes", name, size,
                            heap->options.memory_cap);
    case OVER_GUARDS:
        return vmarena_fail(
            -ENOMEM,
            "heap \"%s\": guards by mprotect for %zu objects use up the %zu map entries of the process; "
            "raise vm.max_map_count, or use a kernel with guard markers (Linux 6.13)",
            name, heap->guard_limit, heap->map_entry_limit);
    case PAUSING: return vmarena_fail(-ENOMEM, "heap \"%s\": the system refused memory a moment ago", name);
    default: return vmarena_fail_call(error, heap->markers ? "madvise or mprotect" : "mprotect", size);
    }
}

/* ---- stacks -------------------------------------------------------------------------------------------------------------- */

/* The library's own frames and those of the hook, above the public function's caller. */
#define OWN_FRAMES 12

uint32_t vmarena_heap_capture(struct vmarena_heap *heap, const struct vmarena_origin *origin) {
    const struct vmarena_heap_options *options = &heap->options;
    void *frames[VMARENA_HEAP_STACK_DEPTH_MAX + OWN_FRAMES], **first = frames;
    size_t count, depth = options->stack_depth;
    if (options->flags & VMARENA_HEAP_NO_STACKS) return 0;
    if (options->capture == NULL) {
        /* Valgrind sees that what lies where no frame pointer is was never written. */
        count = heap->annotated ? 0 : vmarena_prim_backtrace(origin->frame, frames, depth);
        if (count == 0) frames[count++] = origin->caller;
    } else {
        count = options->capture(frames, depth + OWN_FRAMES, options->capture_arg);
        size_t own = 0;
        while (own < count && own < OWN_FRAMES && frames[own] != origin->caller) own++;
        if (own < count && own < OWN_FRAMES) {
            first = frames + own;
            count -= own;
        }
    }
    return vmarena_stacks_keep(&heap->stacks, first, count < depth ? count : depth);
}

__attribute__((noinline)) size_t vmarena_heap_capture_frames(void **frames, size_t depth, void *arg) {
    (void)arg;
    return vmarena_prim_backtrace(__builtin_frame_address(0), frames, depth);
}

/* ---- the fallback ------------------------------------------------------------------------------------------------------- */

/* The gaps between requests that are guarded: even from 1 to twice their mean. */
static size_t next_gap(const struct vmarena_heap *heap) {
    return vmarena_heap_chance() % (2 * heap->options.sample - 1) + 1;
}

static bool is_sampled(const struct vmarena_heap *heap) {
    static _Thread_local size_t gap;
    if (gap == 0) gap = next_gap(heap);
    if (--gap != 0) return false;
    gap = next_gap(heap);
    return true;
}

static bool is_wanted(const struct vmarena_heap *heap, size_t size) {
    const struct vmarena_heap_options *options = &heap->options;
    if (size < options->guard_min || (options->guard_max != 0 && size > options->guard_max)) return false;
    return options->sample <= 1 || is_sampled(heap);
}

/* *served counts the objects that come from here, as failed counts the requests that it refuses. */
static void *from_fallback(struct vmarena_heap *heap, size_t size, size_t align, bool zero, _Atomic uint64_t *served) {
    const struct vmarena_heap_fallback *fallback = &heap->fallback;
    if (align == 0) align = heap->options.align;
    void *pointer = (zero ? fallback->calloc : fallback->alloc)(size, align, fallback->arg);
    if (pointer != NULL) {
        vmarena_add_relaxed(*served, 1);
        return pointer;
    }
    vmarena_add_relaxed(heap->failed, 1);
    (void)vmarena_fail(-ENOMEM, "heap \"%s\": the fallback has no %zu bytes", heap->region.name, size);
    return NULL;
}

/* Whether the pointer is for the fallback to deal with. */
static bool is_foreign(const struct vmarena_heap *heap, const void *pointer) {
    if (!heap->has_fallback || vmarena_heap_owns(heap, pointer)) return false;
    return heap->fallback.owns == NULL || heap->fallback.owns(pointer, heap->fallback.arg);
}

/* ---- allocating ---------------------------------------------------------------------------------------------------------- */

static enum vmarena_heap_side side_of_next(const struct vmarena_heap *heap) {
    static _Thread_local bool turn;
    if (heap->options.side != VMARENA_HEAP_ALTERNATE) return heap->options.side;
    turn = !turn;
    return turn ? VMARENA_HEAP_END : VMARENA_HEAP_START;
}

static int place(const struct vmarena_heap *heap, struct vmarena_request *request) {
    struct vmarena_placement place;
    enum vmarena_fence fence = request->side == VMARENA_HEAP_END ? VMARENA_FENCE_END : VMARENA_FENCE_START;
    if (request->size > PTRDIFF_MAX) return -EOVERFLOW;
    int error = vmarena_place_object(&place, request->size, request->align, fence, heap->page);
    request->pages = place.pages;
    request->offset = place.offset;
    return error;
}

static int make_request(const struct vmarena_heap *heap, struct vmarena_request *request, size_t size, size_t align) {
    *request = (struct vmarena_request){.size = size, .align = align != 0 ? align : heap->options.align};
    if ((request->align & (request->align - 1)) != 0) return -EINVAL;
    if (request->align > PTRDIFF_MAX) return -EOVERFLOW;
    request->side = side_of_next(heap);
    return place(heap, request);
}

static void raise_to(_Atomic size_t *peak, size_t value) {
    size_t known = atomic_load_explicit(peak, memory_order_relaxed);
    while (known < value &&
           !atomic_compare_exchange_weak_explicit(peak, &known, value, memory_order_relaxed, memory_order_relaxed)) {}
}

static void warn_near_limit(struct vmarena_heap *heap) {
    if (atomic_exchange_explicit(&heap->warned, true, memory_order_relaxed)) return;
    struct vmarena_heap_report report = {.kind = VMARENA_HEAP_NEAR_LIMIT, .call = VMARENA_HEAP_IN_ALLOC};
    vmarena_heap_tell(heap, &report);
}

static void discharge(struct vmarena_heap *heap, size_t pages) {
    (void)atomic_fetch_sub_explicit(&heap->page_bytes, pages, memory_order_relaxed);
    (void)atomic_fetch_sub_explicit(&heap->live, 1, memory_order_relaxed);
}

/* Counts the object before it is there, so that no two threads pass a cap together. */
static int charge(struct vmarena_heap *heap, size_t pages) {
    size_t bytes = vmarena_add_relaxed(heap->page_bytes, pages) + pages, live = vmarena_add_relaxed(heap->live, 1) + 1;
    int error = 0;
    if (heap->options.memory_cap != 0 && bytes > heap->options.memory_cap) error = OVER_CAP;
    else if (heap->guard_limit != 0 && live > heap->guard_limit) error = OVER_GUARDS;
    if (error != 0) {
        discharge(heap, pages);
        return error;
    }
    if (heap->guard_limit != 0 && live > heap->guard_limit / 10 * 9) warn_near_limit(heap);
    return 0;
}

static int open_slot(struct vmarena_heap *heap, struct vmarena_slot *slot, const struct vmarena_request *request) {
    int error = 0;
    if (VMARENA_UNLIKELY(vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED))
        error = vmarena_slot_rearm(heap, slot);
    if (error == 0)
        error = vmarena_pages_open(heap, vmarena_load_relaxed(slot->start) - request->offset, request->pages);
    if (error == 0) return 0;
    vmarena_slot_give(heap, slot);
    return error;
}

static int find_room(struct vmarena_heap *heap, struct vmarena_slot **slot, const struct vmarena_request *request) {
    int error = 0;
    bool large = vmarena_request_is_large(heap, request);
    do *slot = (large ? vmarena_large_take : vmarena_slot_take)(heap, request, &error);
    while (*slot == NULL && error != PAUSING && vmarena_quarantine_shorten(heap));
    if (*slot != NULL && !large) error = open_slot(heap, *slot, request);
    return error == -EINVAL ? -EPERM : error; /* the kernel's EINVAL says nothing of the request */
}

static void describe(struct vmarena_heap *heap, struct vmarena_slot *slot, const struct vmarena_request *request,
                     uint32_t stack) {
    vmarena_store_relaxed(slot->size, request->size);
    vmarena_store_relaxed(slot->side, (unsigned char)request->side);
    vmarena_store_relaxed(slot->shift, (unsigned char)__builtin_ctzl((unsigned long)request->align));
    vmarena_store_relaxed(slot->alloc_stack, stack);
    vmarena_store_relaxed(slot->alloc_thread, vmarena_prim_thread_id());
    vmarena_store_relaxed(slot->alloc_number, vmarena_add_relaxed(heap->number, 1) + 1);
}

/* Once the object is there: a request that the system refuses is no peak. */
static void note_peaks(struct vmarena_heap *heap) {
    raise_to(&heap->page_peak, vmarena_load_relaxed(heap->page_bytes));
    raise_to(&heap->live_peak, vmarena_load_relaxed(heap->live));
}

static void *alloc_guarded(struct vmarena_heap *heap, size_t size, size_t align, const struct vmarena_origin *origin,
                           int *error) {
    struct vmarena_request request;
    struct vmarena_slot *slot;
    *error = make_request(heap, &request, size, align);
    if (*error == 0) *error = charge(heap, request.pages);
    if (*error != 0) return NULL;
    *error = find_room(heap, &slot, &request);
    if (*error != 0) {
        discharge(heap, request.pages);
        return NULL;
    }
    note_peaks(heap);
    describe(heap, slot, &request, vmarena_heap_capture(heap, origin));
    vmarena_slack_fill(heap, slot);
    atomic_store_explicit(&slot->state, VMARENA_SLOT_LIVE, memory_order_release);
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_add_relaxed(shard->allocs, 1);
    vmarena_add_relaxed(shard->bytes_in, size);
    return (void *)vmarena_load_relaxed(slot->start);
}

static void *allocate(struct vmarena_heap *heap, size_t size, size_t align, const struct vmarena_origin *origin,
                      bool zero) {
    int error;
    if (heap->filters && !is_wanted(heap, size)) return from_fallback(heap, size, align, zero, &heap->unsampled);
    void *object = alloc_guarded(heap, size, align, origin, &error);
    if (object == NULL) {
        bool senseless = error == -EINVAL || error == -EOVERFLOW;
        if (!senseless && heap->options.full == VMARENA_HEAP_UNGUARDED)
            return from_fallback(heap, size, align, zero, &heap->unguarded);
        vmarena_add_relaxed(heap->failed, 1);
        (void)explain(heap, error, size, align);
    }
    if (heap->options.check_interval != 0) vmarena_check_due(heap);
    return object;
}

__attribute__((noinline)) void *vmarena_heap_alloc(struct vmarena_heap *heap, size_t size, size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    int saved = errno;
    void *object = allocate(heap, size, align, &origin, false);
    errno = saved;
    return object;
}

/* Guarded memory is always fresh from the system. */
__attribute__((noinline)) void *vmarena_heap_calloc(struct vmarena_heap *heap, size_t count, size_t size,
                                                    size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    size_t bytes;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        vmarena_add_relaxed(heap->failed, 1);
        (void)vmarena_fail(-EOVERFLOW, "%zu objects of %zu bytes exceed the address space", count, size);
        return NULL;
    }
    int saved = errno;
    void *object = allocate(heap, bytes, align, &origin, true);
    errno = saved;
    return object;
}

/* ---- freeing ---------------------------------------------------------------------------------------------------------------- */

/* A pointer that nothing live starts at: what is it? */
static int tell_bad_pointer(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call, uint32_t stack) {
    struct vmarena_heap_report report = {
        .kind = VMARENA_HEAP_INVALID_FREE, .call = call, .pointer = pointer, .stack = stack};
    const struct vmarena_slot *slot = vmarena_owner_of(heap, (uintptr_t)pointer);
    const char *name = heap->region.name;
    int error;
    size_t near = heap->page * (heap->guard_pages + 1);
    if (slot == NULL || !vmarena_slot_object(heap, slot, &report.object) ||
        vmarena_object_gap((uintptr_t)report.object.start, report.object.size, (uintptr_t)pointer) > near) {
        report.object = (struct vmarena_heap_object){.state = VMARENA_HEAP_NONE};
        error = vmarena_fail(-EINVAL, "invalid free: %p is no object of heap \"%s\"", pointer, name);
    } else if (report.object.start == pointer) {
        report.kind = VMARENA_HEAP_DOUBLE_FREE;
        error = vmarena_fail(-EALREADY, "double free: the %zu-byte object at %p in \"%s\" was freed before",
                             report.object.size, pointer, name);
    } else {
        report.kind = VMARENA_HEAP_INTERIOR_FREE;
        report.distance =
            vmarena_object_distance((uintptr_t)report.object.start, report.object.size, (uintptr_t)pointer);
        error = vmarena_fail(-EINVAL, "interior free: %p is not the start of the %zu-byte object at %p in \"%s\"",
                             pointer, report.object.size, report.object.start, name);
    }
    vmarena_heap_tell(heap, &report);
    return error;
}

/* The slot of the live object that starts at pointer, claimed. NULL: *error, told. */
static struct vmarena_slot *claim(struct vmarena_heap *heap, void *pointer, enum vmarena_heap_call call, uint32_t stack,
                                  int *error) {
    struct vmarena_slot *slot = vmarena_slot_starting(heap, pointer);
    *error = 0;
    if (slot != NULL && vmarena_slot_claim(slot)) return slot;
    *error = tell_bad_pointer(heap, pointer, call, stack);
    return NULL;
}

/* From the moment on that its pages are closed it counts as freed, for a thread that touches them just then. */
static int close_slot(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    if (vmarena_slot_is_large(slot)) return vmarena_large_close(slot);
    if (VMARENA_UNLIKELY(vmarena_load_relaxed(slot->flags) & VMARENA_SLOT_EXPOSED))
        return vmarena_slot_rearm(heap, slot);
    return vmarena_pages_close(heap, vmarena_slot_pages(heap, slot), vmarena_slot_page_bytes(heap, slot));
}

/* Frees what is claimed and checked. */
static int release(struct vmarena_heap *heap, struct vmarena_slot *slot, uint32_t stack) {
    size_t size = vmarena_load_relaxed(slot->size);
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_store_relaxed(slot->free_stack, stack);
    vmarena_store_relaxed(slot->free_thread, vmarena_prim_thread_id());
    vmarena_store_relaxed(slot->free_number, vmarena_load_relaxed(heap->number));
    atomic_store_explicit(&slot->state, VMARENA_SLOT_FREED, memory_order_release);
    vmarena_add_relaxed(shard->frees, 1);
    vmarena_add_relaxed(shard->bytes_out, size);
    discharge(heap, vmarena_slot_page_bytes(heap, slot));
    int error = close_slot(heap, slot);
    /* Still accessible: it must not be used again, and is lost. */
    if (VMARENA_UNLIKELY(error != 0)) return vmarena_fail_call(error, "free: madvise or mprotect", size);
    vmarena_quarantine(heap, slot);
    return 0;
}

static int tell_mismatch(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_error kind,
                         size_t given, uint32_t stack) {
    struct vmarena_heap_report report = {.kind = kind, .call = VMARENA_HEAP_IN_FREE, .given = given, .stack = stack};
    (void)vmarena_slot_object(heap, slot, &report.object);
    report.pointer = report.object.start;
    bool by_size = kind == VMARENA_HEAP_SIZE_MISMATCH;
    int error = vmarena_fail(-ERANGE, "freed with %s %zu: the object at %p in \"%s\" was allocated with %zu",
                             by_size ? "size" : "alignment", given, report.object.start, heap->region.name,
                             by_size ? report.object.size : report.object.align);
    vmarena_heap_tell(heap, &report);
    return error;
}

static int check_belief(struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t size, size_t align,
                        uint32_t stack) {
    int error = 0;
    if (size != SIZE_MAX && size != vmarena_load_relaxed(slot->size))
        error = tell_mismatch(heap, slot, VMARENA_HEAP_SIZE_MISMATCH, size, stack);
    if (align != 0 && align != (size_t)1 << vmarena_load_relaxed(slot->shift))
        error = tell_mismatch(heap, slot, VMARENA_HEAP_ALIGN_MISMATCH, align, stack);
    return error;
}

static int free_object(struct vmarena_heap *heap, void *pointer, size_t size, size_t align,
                       const struct vmarena_origin *origin) {
    int error;
    if (is_foreign(heap, pointer)) {
        heap->fallback.free(pointer, heap->fallback.arg);
        return 0;
    }
    uint32_t stack = vmarena_heap_capture(heap, origin);
    struct vmarena_slot *slot = claim(heap, pointer, VMARENA_HEAP_IN_FREE, stack, &error);
    if (slot == NULL) return error;
    error = check_belief(heap, slot, size, align, stack);
    int slack = vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_FREE, stack);
    int failed = release(heap, slot, stack);
    if (heap->options.check_interval != 0) vmarena_check_due(heap);
    return failed != 0 ? failed : slack != 0 ? slack : error;
}

__attribute__((noinline)) int vmarena_heap_free(struct vmarena_heap *heap, void *pointer) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    int error = vmarena_heap_verify(heap);
    if (error != 0 || pointer == NULL) return error;
    int saved = errno;
    error = free_object(heap, pointer, SIZE_MAX, 0, &origin);
    errno = saved;
    return error;
}

__attribute__((noinline)) int vmarena_heap_free_sized(struct vmarena_heap *heap, void *pointer, size_t size,
                                                      size_t align) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    int error = vmarena_heap_verify(heap);
    if (error != 0 || pointer == NULL) return error;
    int saved = errno;
    error = free_object(heap, pointer, size, align, &origin);
    errno = saved;
    return error;
}

/* ---- reallocating ---------------------------------------------------------------------------------------------------------------- */

/* Whether a new object of this size would lie in the same pages at the same address. */
static bool stays(const struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t size) {
    struct vmarena_request request = {.size = size,
                                      .align = (size_t)1 << vmarena_load_relaxed(slot->shift),
                                      .side = (enum vmarena_heap_side)vmarena_load_relaxed(slot->side)};
    return size != 0 && place(heap, &request) == 0 && request.pages == vmarena_slot_page_bytes(heap, slot) &&
           request.offset == vmarena_load_relaxed(slot->start) - vmarena_slot_pages(heap, slot);
}

static void resize_in_place(struct vmarena_heap *heap, struct vmarena_slot *slot, size_t size, uint32_t stack) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    vmarena_add_relaxed(shard->bytes_out, vmarena_load_relaxed(slot->size));
    vmarena_add_relaxed(shard->bytes_in, size);
    vmarena_store_relaxed(slot->size, size);
    vmarena_store_relaxed(slot->alloc_stack, stack);
    vmarena_store_relaxed(slot->alloc_thread, vmarena_prim_thread_id());
    vmarena_slack_fill(heap, slot);
    atomic_store_explicit(&slot->state, VMARENA_SLOT_LIVE, memory_order_release);
}

static void *realloc_object(struct vmarena_heap *heap, void *pointer, size_t size,
                            const struct vmarena_origin *origin) {
    int error;
    if (is_foreign(heap, pointer)) return heap->fallback.realloc(pointer, size, heap->fallback.arg);
    uint32_t stack = vmarena_heap_capture(heap, origin);
    struct vmarena_slot *slot = claim(heap, pointer, VMARENA_HEAP_IN_REALLOC, stack, &error);
    if (slot == NULL) return NULL;
    if (vmarena_slack_check(heap, slot, VMARENA_HEAP_IN_REALLOC, stack) != 0) vmarena_slack_fill(heap, slot);
    if (stays(heap, slot, size)) {
        resize_in_place(heap, slot, size, stack);
        return pointer;
    }
    size_t old_size = vmarena_load_relaxed(slot->size);
    void *moved = allocate(heap, size, (size_t)1 << vmarena_load_relaxed(slot->shift), origin, false);
    if (moved == NULL) {
        atomic_store_explicit(&slot->state, VMARENA_SLOT_LIVE, memory_order_release);
        return NULL;
    }
    memcpy(moved, pointer, old_size < size ? old_size : size);
    (void)release(heap, slot, stack);
    return moved;
}

__attribute__((noinline)) void *vmarena_heap_realloc(struct vmarena_heap *heap, void *pointer, size_t size) {
    struct vmarena_origin origin = VMARENA_ORIGIN_HERE;
    if (vmarena_heap_verify(heap) != 0) return NULL;
    int saved = errno;
    void *object =
        pointer == NULL ? allocate(heap, size, 0, &origin, false) : realloc_object(heap, pointer, size, &origin);
    errno = saved;
    return object;
}
