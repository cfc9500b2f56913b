/* SPDX-License-Identifier: MIT */
/* Address space of a heap: spans cut into slots of one size class, and the ways of a free slot. */
#include <errno.h>

#include "base/error.h"
#include "region/guard_layout.h"
#include "heap/heap.h"
#include "prim/prim.h"

/* ---- size classes ------------------------------------------------------------------------------------------------------ */

/* The most pages of an object in the main reservation: 64 MiB of pages of 4 KiB. */
#define MOST_PAGES ((size_t)16384)

static void add_class(struct vmarena_heap *heap, size_t pages) {
    struct vmarena_class class = {.pages = pages + heap->guard_pages, .slots = 1};
    if (class.pages <= VMARENA_CHUNK_PAGES) {
        class.chunks = 1;
        class.slots = VMARENA_CHUNK_PAGES / class.pages;
        class.pages = VMARENA_CHUNK_PAGES / class.slots; /* what is left over, shared out */
    } else {
        class.chunks = (class.pages + VMARENA_CHUNK_PAGES - 1) / VMARENA_CHUNK_PAGES;
        class.pages = class.chunks * VMARENA_CHUNK_PAGES;
    }
    if (heap->class_count > 0 && heap->classes[heap->class_count - 1].pages >= class.pages) return;
    heap->classes[heap->class_count++] = class;
}

/* Objects of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... pages: four steps from one power of two to the next. */
void vmarena_slots_plan(struct vmarena_heap *heap) {
    heap->class_count = 0;
    for (size_t step = 1, pages = 1; pages <= MOST_PAGES; pages += step) {
        if (pages == 8 * step) step *= 2;
        add_class(heap, pages);
    }
    for (size_t need = 0, class = 0; need <= VMARENA_CHUNK_PAGES; need++) {
        while (heap->classes[class].pages < need) class ++;
        heap->class_of[need] = (unsigned char)class;
    }
    heap->slots_most = heap->classes[0].slots;
}

/* Pages that a slot must have: an alignment wider than a page may cost as many before the object. */
static size_t pages_needed(const struct vmarena_heap *heap, const struct vmarena_request *request) {
    size_t wide = request->align > heap->page ? request->align - heap->page : 0, bytes;
    if (__builtin_add_overflow(request->pages, wide, &bytes)) return SIZE_MAX;
    return bytes / heap->page + heap->guard_pages;
}

static unsigned class_for(const struct vmarena_heap *heap, size_t need) {
    unsigned class = heap->class_of[need < VMARENA_CHUNK_PAGES ? need : VMARENA_CHUNK_PAGES];
    while (class < heap->class_count && heap->classes[class].pages < need) class ++;
    return class;
}

bool vmarena_request_is_large(const struct vmarena_heap *heap, const struct vmarena_request *request) {
    return class_for(heap, pages_needed(heap, request)) == heap->class_count;
}

/* ---- chunks and records --------------------------------------------------------------------------------------------------- */

/* A chunk's word: its class + 1 in the lowest byte, and above it how many chunks of its span lie before it. 0: not cut. */
static _Atomic uint32_t *chunk_word(const struct vmarena_heap *heap, size_t chunk) {
    return (_Atomic uint32_t *)(void *)heap->chunks.base + chunk;
}

static struct vmarena_slot *slot_of(const struct vmarena_heap *heap, size_t chunk, size_t index) {
    return (struct vmarena_slot *)(void *)heap->records.base + (chunk * heap->slots_most + index);
}

static void place_of(const struct vmarena_heap *heap, const struct vmarena_slot *slot, size_t *chunk, size_t *index) {
    size_t number = (size_t)(slot - (const struct vmarena_slot *)(const void *)heap->records.base);
    *chunk = number / heap->slots_most;
    *index = number % heap->slots_most;
}

uintptr_t vmarena_slot_base(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    size_t chunk, index;
    place_of(heap, slot, &chunk, &index);
    return (uintptr_t)heap->region.base + chunk * heap->chunk + index * heap->classes[slot->class].pages * heap->page;
}

/* The span that a chunk is part of; NULL: not cut. */
static const struct vmarena_class *span_at(const struct vmarena_heap *heap, size_t *chunk) {
    if (*chunk >= atomic_load_explicit(&heap->cut, memory_order_acquire)) return NULL;
    uint32_t word = atomic_load_explicit(chunk_word(heap, *chunk), memory_order_acquire);
    if (word == 0) return NULL;
    *chunk -= word >> 8;
    return &heap->classes[(word & 255) - 1];
}

struct vmarena_slot *vmarena_slot_at(const struct vmarena_heap *heap, uintptr_t address) {
    size_t offset = address - (uintptr_t)heap->region.base, chunk = offset / heap->chunk;
    const struct vmarena_class *class = span_at(heap, &chunk);
    if (class == NULL) return NULL;
    size_t index = (offset - chunk * heap->chunk) / heap->page / class->pages;
    return slot_of(heap, chunk, index < class->slots ? index : class->slots - 1);
}

struct vmarena_slot *vmarena_slot_beside(const struct vmarena_heap *heap, const struct vmarena_slot *slot,
                                         int direction) {
    size_t chunk, index;
    place_of(heap, slot, &chunk, &index);
    const struct vmarena_class *class = &heap->classes[slot->class];
    if (direction > 0 && index + 1 < class->slots) return slot_of(heap, chunk, index + 1);
    if (direction < 0 && index > 0) return slot_of(heap, chunk, index - 1);
    if (direction < 0 && chunk == 0) return NULL;
    chunk = direction > 0 ? chunk + class->chunks : chunk - 1;
    class = span_at(heap, &chunk);
    if (class == NULL) return NULL;
    return slot_of(heap, chunk, direction > 0 ? 0 : class->slots - 1);
}

bool vmarena_slots_visit(struct vmarena_heap *heap, vmarena_slot_visit_fn *visit, void *arg) {
    size_t chunk = 0;
    for (const struct vmarena_class *class; (class = span_at(heap, &chunk)) != NULL; chunk += class->chunks)
        for (size_t i = 0; i < class->slots; i++)
            if (!visit(heap, slot_of(heap, chunk, i), arg)) return false;
    return true;
}

/* ---- life --------------------------------------------------------------------------------------------------------------------- */

static int open_tables(struct vmarena_heap *heap) {
    size_t chunks = heap->region.size / heap->chunk;
    int error = vmarena_table_open(&heap->chunks, chunks * sizeof(uint32_t));
    if (error != 0) return error;
    error = vmarena_table_open(&heap->records, chunks * heap->slots_most * sizeof(struct vmarena_slot));
    if (error != 0) vmarena_table_close(&heap->chunks);
    return error;
}

int vmarena_slots_open(struct vmarena_heap *heap, size_t reserve) {
    struct vmarena_region_plan plan = {.size = reserve,
                                       .align = heap->chunk,
                                       .guard = heap->guard_pages * heap->page,
                                       .policy = VMARENA_COMMIT_PROTECT};
    heap->region.owner = heap;
    heap->region.kind = VMARENA_OWNER_HEAP;
    heap->region.objects = &heap->live;
    heap->region.attribute = vmarena_heap_attribute;
    heap->region.history = vmarena_heap_history;
    int error = vmarena_region_reserve(&heap->region, &plan);
    if (error != 0) return error;
    error = open_tables(heap);
    if (error == 0) return 0;
    vmarena_region_release(&heap->region);
    return vmarena_fail_call(error, "mmap", reserve);
}

void vmarena_slots_close(struct vmarena_heap *heap) {
    vmarena_region_release(&heap->region);
    vmarena_table_close(&heap->chunks);
    vmarena_table_close(&heap->records);
}

/* ---- pages --------------------------------------------------------------------------------------------------------------------- */

/* Locked memory takes no marker (madvise(2)). That a page was locked says nothing once it is freed: all are unlocked. */
static int install(struct vmarena_heap *heap, uintptr_t start, size_t size) {
    int error = vmarena_prim_guard_install((void *)start, size);
    if (error != -EINVAL) return error;
    if (vmarena_prim_unlock(heap->region.base, heap->region.size) != 0) return error;
    vmarena_store_relaxed(heap->unlocked, true);
    return vmarena_prim_guard_install((void *)start, size);
}

int vmarena_pages_open(struct vmarena_heap *heap, uintptr_t start, size_t size) {
    if (size == 0) return 0;
    if (heap->markers) return vmarena_prim_guard_remove((void *)start, size);
    return vmarena_prim_protect((void *)start, size, VMARENA_READ | VMARENA_WRITE);
}

/* Gives memory back that is inaccessible; locked memory is unlocked first. Should that fail, it is kept. */
static void drop(struct vmarena_heap *heap, uintptr_t start, size_t size) {
    if (vmarena_prim_discard((void *)start, size) == 0) return;
    if (vmarena_prim_unlock((void *)start, size) == 0) vmarena_store_relaxed(heap->unlocked, true);
    (void)vmarena_prim_discard((void *)start, size);
}

int vmarena_pages_close(struct vmarena_heap *heap, uintptr_t start, size_t size) {
    if (size == 0) return 0;
    if (heap->markers) return install(heap, start, size);
    int error = vmarena_prim_protect((void *)start, size, VMARENA_NONE);
    if (error != 0) return error;
    drop(heap, start, size);
    return 0;
}

int vmarena_slot_rearm(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    (void)atomic_fetch_and_explicit(&slot->flags, (unsigned char)~VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    return vmarena_pages_close(heap, vmarena_slot_base(heap, slot), heap->classes[slot->class].pages * heap->page);
}

int vmarena_slot_rearm_around(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    uintptr_t base = vmarena_slot_base(heap, slot), pages = vmarena_slot_pages(heap, slot);
    uintptr_t after = pages + vmarena_slot_page_bytes(heap, slot);
    (void)atomic_fetch_and_explicit(&slot->flags, (unsigned char)~VMARENA_SLOT_EXPOSED, memory_order_relaxed);
    int error = vmarena_pages_close(heap, base, pages - base);
    if (error != 0) return error;
    return vmarena_pages_close(heap, after, base + heap->classes[slot->class].pages * heap->page - after);
}

/* ---- cutting spans ---------------------------------------------------------------------------------------------------------------- */

/*
 * Writes to one page and closes all again. On Linux a mapping that was written to merges with a neighbour only if both
 * have the same reverse map (struct anon_vma), and takes over the one of a neighbour at its first write: so that all of
 * the reservation comes to have one, and a freed object costs no map entry for ever.
 */
static int write_once(struct vmarena_heap *heap, uintptr_t start, size_t size) {
    int error = vmarena_prim_protect((void *)start, size, VMARENA_READ | VMARENA_WRITE);
    if (error != 0) return error;
    *(volatile char *)start = 0;
    error = vmarena_prim_protect((void *)start, size, VMARENA_NONE);
    if (error == 0) drop(heap, start, size);
    return error;
}

/* Chunks from first on become usable: covered first, accessible then. */
static int commit(struct vmarena_heap *heap, size_t first, size_t count) {
    uintptr_t start = (uintptr_t)heap->region.base + first * heap->chunk;
    int error = vmarena_table_reach(&heap->chunks, (first + count) * sizeof(uint32_t));
    if (error == 0)
        error = vmarena_table_reach(&heap->records, (first + count) * heap->slots_most * sizeof(struct vmarena_slot));
    if (error != 0) return error;
    if (!heap->markers) return write_once(heap, start, count * heap->chunk);
    error = install(heap, start, count * heap->chunk);
    if (error == 0) error = vmarena_prim_protect((void *)start, count * heap->chunk, VMARENA_READ | VMARENA_WRITE);
    if (error == 0) heap->region.committed = (first + count) * heap->chunk;
    return error;
}

static int cut_span(struct vmarena_heap *heap, unsigned index, size_t *chunk) {
    const struct vmarena_class *class = &heap->classes[index];
    (void)pthread_mutex_lock(&heap->grow);
    size_t first = vmarena_load_relaxed(heap->cut);
    int error = first + class->chunks > heap->region.size / heap->chunk ? -ENOSPC : commit(heap, first, class->chunks);
    if (error == 0) {
        for (size_t i = 0; i < class->slots; i++) slot_of(heap, first, i)->class = (unsigned char)index;
        for (size_t i = 0; i < class->chunks; i++)
            atomic_store_explicit(chunk_word(heap, first + i), (uint32_t)(i << 8 | (index + 1)), memory_order_release);
        atomic_store_explicit(&heap->cut, first + class->chunks, memory_order_release);
        *chunk = first;
    }
    (void)pthread_mutex_unlock(&heap->grow);
    return error;
}

/* ---- lists ---------------------------------------------------------------------------------------------------------------------------- */

static void push(struct vmarena_slot_list *list, struct vmarena_slot *slot) {
    slot->next = list->first;
    list->first = slot;
    list->count++;
}

static struct vmarena_slot *pop(struct vmarena_slot_list *list) {
    struct vmarena_slot *slot = list->first;
    if (slot == NULL) return NULL;
    list->first = slot->next;
    list->count--;
    return slot;
}

/* Slots that a shard takes from the class, or gives back, at a time: few where they are wide. */
static size_t batch_of(const struct vmarena_class *class) { return class->slots >= 128 ? 32 : class->slots / 4 + 1; }

/* Fills a shard's empty list: with slots that were in use before, or newly cut ones. */
static int fetch(struct vmarena_heap *heap, struct vmarena_slot_list *to, unsigned index) {
    struct vmarena_central *central = &heap->central[index];
    const struct vmarena_class *class = &heap->classes[index];
    size_t batch = batch_of(class);
    int error = 0;
    (void)pthread_mutex_lock(&heap->central_locks[index % VMARENA_CENTRAL_LOCKS]);
    for (struct vmarena_slot *slot; to->count < batch && (slot = pop(&central->free)) != NULL;) push(to, slot);
    if (to->count == 0 && central->cut == central->end) {
        error = cut_span(heap, index, &central->chunk);
        if (error == 0) {
            central->cut = 0;
            central->end = class->slots;
        }
    }
    /* Backwards, so that the list gives them in the order of addresses. */
    if (to->count == 0 && error == 0) {
        size_t count = central->end - central->cut < batch ? central->end - central->cut : batch;
        for (size_t i = count; i > 0; i--) push(to, slot_of(heap, central->chunk, central->cut + i - 1));
        central->cut += count;
    }
    (void)pthread_mutex_unlock(&heap->central_locks[index % VMARENA_CENTRAL_LOCKS]);
    return error;
}

/* What one thread frees and another allocates must get from here to there. */
static void hand_over(struct vmarena_heap *heap, struct vmarena_slot_list *from, unsigned index) {
    struct vmarena_central *central = &heap->central[index];
    size_t batch = batch_of(&heap->classes[index]);
    (void)pthread_mutex_lock(&heap->central_locks[index % VMARENA_CENTRAL_LOCKS]);
    for (size_t i = 0; i < batch; i++) push(&central->free, pop(from));
    (void)pthread_mutex_unlock(&heap->central_locks[index % VMARENA_CENTRAL_LOCKS]);
}

struct vmarena_shard *vmarena_shard_of(struct vmarena_heap *heap) {
    static _Atomic unsigned threads;
    static _Thread_local unsigned mine; /* + 1 */
    if (mine == 0) mine = vmarena_add_relaxed(threads, 1) % VMARENA_SHARDS + 1;
    return &heap->shards[mine - 1];
}

/* After a refusal, where the fallback serves: not each request is to try the system again. */
#define PAUSE 1024

static bool pausing(struct vmarena_heap *heap) {
    size_t left = vmarena_load_relaxed(heap->pause);
    if (left == 0) return false;
    vmarena_store_relaxed(heap->pause, left - 1);
    return true;
}

/* What lay here last is known no more. */
static void forget(struct vmarena_slot *slot) {
    unsigned char state = vmarena_load_relaxed(slot->state);
    while (state == VMARENA_SLOT_HELD ||
           !atomic_compare_exchange_weak_explicit(&slot->state, &state, VMARENA_SLOT_EMPTY, memory_order_acquire,
                                                  memory_order_relaxed)) {
        vmarena_prim_yield();
        state = vmarena_load_relaxed(slot->state);
    }
}

struct vmarena_slot *vmarena_slot_take(struct vmarena_heap *heap, const struct vmarena_request *request, int *error) {
    unsigned index = class_for(heap, pages_needed(heap, request));
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    (void)pthread_mutex_lock(&shard->lock);
    struct vmarena_slot_list *list = &shard->free[index];
    *error = list->count != 0 ? 0 : pausing(heap) ? -EBUSY : fetch(heap, list, index);
    struct vmarena_slot *slot = pop(list);
    (void)pthread_mutex_unlock(&shard->lock);
    if (slot == NULL) {
        if (*error != -EBUSY && heap->options.full == VMARENA_HEAP_UNGUARDED) vmarena_store_relaxed(heap->pause, PAUSE);
        return NULL;
    }
    uintptr_t base = vmarena_slot_base(heap, slot);
    forget(slot);
    vmarena_store_relaxed(slot->start, vmarena_align_up(base, request->align) + request->offset);
    return slot;
}

void vmarena_slot_give_locked(struct vmarena_heap *heap, struct vmarena_shard *shard, struct vmarena_slot *slot) {
    struct vmarena_slot_list *list = &shard->free[slot->class];
    push(list, slot);
    if (list->count >= 2 * batch_of(&heap->classes[slot->class])) hand_over(heap, list, slot->class);
}

void vmarena_slot_give(struct vmarena_heap *heap, struct vmarena_slot *slot) {
    struct vmarena_shard *shard = vmarena_shard_of(heap);
    (void)pthread_mutex_lock(&shard->lock);
    vmarena_slot_give_locked(heap, shard, slot);
    (void)pthread_mutex_unlock(&shard->lock);
}
