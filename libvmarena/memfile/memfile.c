/* SPDX-License-Identifier: MIT */
#include "memfile/memfile.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "vmarena/fault.h"
#include "vmarena/inspect.h"

static struct vmarena_pool memfiles = VMARENA_POOL(struct vmarena_memfile); /* under the global lock */

/* Over the list of arenas with a file, the holders of files, and fork(2). Taken before the global lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watched = PTHREAD_ONCE_INIT;
static struct vmarena_arena *arenas;

/* ---- files ------------------------------------------------------------------------------------------------------- */

static struct vmarena_memfile *new_backing(const char *name, size_t size, int *error) {
    int fd;
    *error = vmarena_prim_memory_file(&fd, name, size);
    if (*error != 0) {
        if (*error == -EOPNOTSUPP) (void)vmarena_fail(*error, "VMARENA_MEMFD: this system has no memory files");
        else (void)vmarena_fail_call(*error, "memfd_create", size);
        return NULL;
    }
    struct vmarena_memfile *memfile = vmarena_pool_take(&memfiles);
    if (memfile == NULL) {
        vmarena_prim_file_close(fd);
        *error = vmarena_fail(-ENOMEM, "VMARENA_MEMFD: no memory for the file's record");
        return NULL;
    }
    *memfile = (struct vmarena_memfile){.fd = fd, .holders = 1, .size = size};
    return memfile;
}

void vmarena_memfile_hold(struct vmarena_memfile *memfile) {
    (void)pthread_mutex_lock(&lock);
    memfile->holders++;
    (void)pthread_mutex_unlock(&lock);
}

void vmarena_memfile_release(struct vmarena_memfile *memfile) {
    (void)pthread_mutex_lock(&lock);
    bool last = --memfile->holders == 0;
    (void)pthread_mutex_unlock(&lock);
    if (!last) return;
    if (memfile->aside != NULL) (void)vmarena_prim_unmap(memfile->aside, memfile->aside_size);
    vmarena_prim_file_close(memfile->fd);
    vmarena_pool_give(&memfiles, memfile);
}

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

/* Parts whose protection is not the arena's: vmarena_protect_range. A new mapping must get them again. */
#define PARTS 64
struct parts {
    uintptr_t start, end;
    unsigned prot;
    size_t count;
    struct {
        struct vmarena_prim_range range;
        unsigned prot;
    } part[PARTS];
};

static int note_part(const struct vmarena_mapping *mapping, void *arg) {
    struct parts *parts = arg;
    uintptr_t start = (uintptr_t)mapping->start, end = (uintptr_t)mapping->end;
    if (end <= parts->start || start >= parts->end || mapping->prot == parts->prot) return 0;
    if (start < parts->start) start = parts->start;
    if (end > parts->end) end = parts->end;
    if (parts->count == PARTS) return -EBUSY;
    parts->part[parts->count].range = (struct vmarena_prim_range){(void *)start, end - start};
    parts->part[parts->count++].prot = mapping->prot;
    return 0;
}

static int note_parts(const struct vmarena_arena *arena, struct parts *parts) {
    const struct vmarena_region *region = &arena->region;
    *parts = (struct parts){.start = (uintptr_t)region->base, .prot = region->prot};
    parts->end = parts->start + region->committed;
    int error = arena->parted ? vmarena_prim_maps(0, note_part, parts) : 0;
    if (error == 0) return 0;
    return vmarena_fail(error, "the arena has more than %d parts with a protection of their own", PARTS);
}

/* Replaces the region's mapping by one of the file, with the protection and advice that there was. */
static int map(struct vmarena_arena *arena, struct vmarena_memfile *memfile, bool shared, const struct parts *parts) {
    struct vmarena_region *region = &arena->region;
    size_t committed = region->committed, rest = region->size - committed;
    int error = 0;
    if (committed != 0) error = vmarena_prim_map_file(region->base, committed, region->prot, shared, memfile->fd, 0);
    if (error == 0 && rest != 0)
        error = vmarena_prim_map_file(region->base + committed, rest, VMARENA_NONE, shared, memfile->fd, committed);
    for (size_t i = 0; parts != NULL && i < parts->count && error == 0; i++)
        error = vmarena_prim_protect(parts->part[i].range.address, parts->part[i].range.size, parts->part[i].prot);
    if (error == -EPERM) return vmarena_fail(error, "mmap: the memory is sealed");
    if (error != 0) return vmarena_fail_call(error, "mmap", region->size);
    return vmarena_arena_readvise(arena);
}

/* Turns the arena's mapping into a private one; under the lock. The arena is live. */
static int make_private(struct vmarena_arena *arena) {
    struct vmarena_memfile *memfile = arena->memfile;
    struct vmarena_region *region = &arena->region;
    struct parts parts;
    int error = note_parts(arena, &parts);
    if (error != 0) return error;
    if (arena->sealed) return vmarena_fail(-EPERM, "the arena is sealed: its mapping cannot become a private one");
    /* Where it cannot be moved, its page table is torn down, which takes longer. */
    size_t size = region->committed, align = vmarena_memfile_align(region->size);
    if (size != 0 && vmarena_prim_move_aside(region->base, size, align, &memfile->aside) == 0)
        memfile->aside_size = size;
    error = map(arena, memfile, false, &parts);
    if (error == 0) memfile->frozen = true;
    return error;
}

/* ---- fork(2) ----------------------------------------------------------------------------------------------------- */

/* Shared memory would be one for parent and child. */
static void before_fork(void) {
    (void)pthread_mutex_lock(&lock);
    for (struct vmarena_arena *arena = arenas; arena != NULL; arena = arena->next_memfile) {
        if (!arena->memfile->frozen && make_private(arena) != 0)
            (void)vmarena_prim_advise(arena->region.base, arena->region.size, VMARENA_PRIM_DONT_FORK);
        arena->memfile->foreign = true;
    }
}

static void after_fork(void) { (void)pthread_mutex_unlock(&lock); }
static void watch_forks(void) { (void)vmarena_prim_at_fork(before_fork, after_fork, after_fork); }

/* ---- arenas ------------------------------------------------------------------------------------------------------ */

static void enter(struct vmarena_arena *arena, struct vmarena_memfile *memfile) {
    (void)pthread_once(&watched, watch_forks);
    arena->memfile = memfile;
    (void)pthread_mutex_lock(&lock);
    arena->next_memfile = arenas;
    arenas = arena;
    (void)pthread_mutex_unlock(&lock);
}

size_t vmarena_memfile_align(size_t size) {
    size_t huge = vmarena_prim_huge_page_size(), gib = (size_t)1 << 30;
    if (size >= gib) return gib;
    return huge != 0 && size >= huge ? huge : vmarena_prim_page_size();
}

int vmarena_memfile_open(struct vmarena_arena *arena, const char *name) {
    int error;
    struct vmarena_memfile *memfile = new_backing(name != NULL ? name : "vmarena arena", arena->region.size, &error);
    if (memfile == NULL) return error;
    error = map(arena, memfile, true, NULL);
    if (error != 0) vmarena_memfile_release(memfile);
    else enter(arena, memfile);
    return error;
}

int vmarena_memfile_adopt(struct vmarena_arena *arena, struct vmarena_memfile *memfile) {
    int error = map(arena, memfile, false, NULL);
    if (error != 0) return error;
    vmarena_memfile_hold(memfile);
    enter(arena, memfile);
    return 0;
}

void vmarena_memfile_close(struct vmarena_arena *arena) {
    (void)pthread_mutex_lock(&lock);
    struct vmarena_arena **link = &arenas;
    while (*link != arena) link = &(*link)->next_memfile;
    *link = arena->next_memfile;
    (void)pthread_mutex_unlock(&lock);
    vmarena_memfile_release(arena->memfile);
    arena->memfile = NULL;
}

/* The arena takes another file, which it holds already. */
static void exchange(struct vmarena_arena *arena, struct vmarena_memfile *memfile) {
    struct vmarena_memfile *before = arena->memfile;
    (void)pthread_mutex_lock(&lock);
    arena->memfile = memfile;
    (void)pthread_mutex_unlock(&lock);
    vmarena_memfile_release(before);
}

/* ---- what an arena has of its own -------------------------------------------------------------------------------- */

/* Its private pages, a batch of runs at a time. */
#define BATCH 256
struct batch {
    struct vmarena_arena *arena;
    int (*treat)(struct vmarena_arena *arena, const struct vmarena_prim_range *ranges, size_t count);
    size_t count, bytes;
    struct vmarena_prim_range ranges[BATCH];
};

static int treat(struct batch *batch) {
    int error = batch->count != 0 ? batch->treat(batch->arena, batch->ranges, batch->count) : 0;
    batch->count = 0;
    return error;
}

static int add_private(const struct vmarena_pages *pages, void *arg) {
    struct batch *batch = arg;
    size_t size = (size_t)(pages->end - pages->start);
    batch->ranges[batch->count++] = (struct vmarena_prim_range){(void *)(uintptr_t)pages->start, size};
    batch->bytes += size;
    return batch->count == BATCH ? treat(batch) : 0;
}

/* -EOPNOTSUPP: the system does not tell which they are. */
static int each_private(struct batch *batch) {
    const struct vmarena_region *region = &batch->arena->region;
    unsigned known = 0;
    uint64_t start = (uintptr_t)region->base;
    struct vmarena_prim_pages_query wish = {start, start + region->size, VMARENA_PAGE_DIRTY, &known, false};
    int error = vmarena_prim_pages(0, &wish, add_private, batch);
    return error == 0 ? treat(batch) : error;
}

static int drop(struct vmarena_arena *arena, const struct vmarena_prim_range *ranges, size_t count) {
    (void)arena;
    return vmarena_prim_discard_many(ranges, count);
}

/* To the file, and not its own any more. */
static int fold(struct vmarena_arena *arena, const struct vmarena_prim_range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)((char *)ranges[i].address - arena->region.base);
        int error = vmarena_prim_file_write(arena->memfile->fd, ranges[i].address, ranges[i].size, offset);
        if (error != 0) return error;
    }
    return vmarena_prim_discard_many(ranges, count);
}

static int count_only(struct vmarena_arena *arena, const struct vmarena_prim_range *ranges, size_t count) {
    return (void)arena, (void)ranges, (void)count, 0;
}

/* By vmarena_compare: ASan would take memcmp to task for the red zones between objects. */
static bool is_zero(const char *page, size_t size) {
    static const char zeroes[4096];
    for (size_t at = 0; at < size; at += sizeof zeroes) {
        size_t piece = size - at < sizeof zeroes ? size - at : sizeof zeroes;
        if (vmarena_compare(page + at, zeroes, piece, NULL) != piece) return false;
    }
    return true;
}

/* A file of its own with what the arena shows now; pages that are zero stay holes. */
static int renew(struct vmarena_arena *arena, size_t *copied) {
    const struct vmarena_region *region = &arena->region;
    size_t page = vmarena_prim_page_size(), used = vmarena_arena_touched(arena);
    struct parts parts;
    int error = note_parts(arena, &parts);
    if (error != 0) return error;
    struct vmarena_memfile *memfile = new_backing("vmarena arena", region->size, &error);
    if (memfile == NULL) return error;
    for (size_t at = 0; at < used && error == 0; at += page) {
        if (is_zero(region->base + at, page)) continue;
        error = vmarena_prim_file_write(memfile->fd, region->base + at, page, at);
        *copied += page;
    }
    if (error != 0) error = vmarena_fail_call(error, "write", used);
    else error = map(arena, memfile, false, &parts);
    memfile->frozen = true;
    if (error != 0) vmarena_memfile_release(memfile);
    else exchange(arena, memfile);
    return error;
}

int vmarena_memfile_freeze(struct vmarena_arena *arena, size_t *copied) {
    *copied = 0;
    (void)pthread_mutex_lock(&lock);
    bool live = !arena->memfile->frozen, alone = arena->memfile->holders == 1 && !arena->memfile->foreign;
    int error = live ? make_private(arena) : 0;
    (void)pthread_mutex_unlock(&lock);
    if (error != 0 || live) return error;
    if ((arena->region.prot & VMARENA_READ) == 0 || arena->parted)
        return vmarena_fail(-EACCES,
                            "a second snapshot copies what was written, and parts of the arena may not be readable");
    struct batch batch = {.arena = arena, .treat = alone ? fold : count_only};
    error = each_private(&batch);
    if (alone && error == 0) *copied = batch.bytes;
    if (error == 0 && (alone || batch.bytes == 0)) return 0;
    if (error != 0 && error != -EOPNOTSUPP) return vmarena_fail_call(error, "fold", batch.bytes);
    return renew(arena, copied);
}

int vmarena_memfile_restore(struct vmarena_arena *arena, struct vmarena_memfile *memfile, size_t *restored) {
    struct batch batch = {.arena = arena, .treat = drop};
    struct parts parts;
    if (arena->sealed) return vmarena_fail(-EPERM, "the arena is sealed and cannot be restored");
    int error = arena->memfile == memfile ? each_private(&batch) : -EOPNOTSUPP;
    *restored = batch.bytes;
    if (error == 0) return 0;
    /* Mapped anew it shows nothing but the file. */
    error = note_parts(arena, &parts);
    if (error == 0) error = map(arena, memfile, false, &parts);
    *restored = vmarena_arena_touched(arena);
    if (error != 0 || arena->memfile == memfile) return error;
    vmarena_memfile_hold(memfile);
    exchange(arena, memfile);
    return 0;
}

int vmarena_memfile_discard(struct vmarena_arena *arena, void *start, size_t size) {
    if (!arena->memfile->frozen) return vmarena_prim_punch(start, size);
    /* Given back, the pages would show the file. */
    if ((arena->region.prot & VMARENA_WRITE) == 0) return -EACCES;
    memset(start, 0, size);
    return 0;
}
