/* SPDX-License-Identifier: MIT */
#include "arena/arena.h"

#include <errno.h>
#include <string.h>

#include "memfile/memfile.h"
#include "base/error.h"
#include "base/rounding.h"
#include "fault/fault.h"
#include "region/guard_layout.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "snapshot/snapshot.h"

#define DEFAULT_RESERVE ((uint64_t)64 << 30)
#define LEAST_RESERVE ((size_t)1 << 20)
#define DEFAULT_STEP ((size_t)64 << 10)
#define DEFAULT_FENCED_STEP ((size_t)2 << 20) /* guards are installed a step at a time: 20-30 ns a page in bulk */
#define LARGEST_ALIGN ((size_t)1 << (sizeof(size_t) * 8 - 2))
#define ALL_FLAGS                                                                                                      \
    (VMARENA_LOCK | VMARENA_DONT_DUMP | VMARENA_DONT_FORK | VMARENA_WIPE_ON_FORK | VMARENA_PREFAULT |                  \
     VMARENA_ALLOW_EXEC | VMARENA_MEMFD)
#define ALL_PROTS (VMARENA_READ | VMARENA_WRITE | VMARENA_EXEC)

static struct vmarena_pool arenas = VMARENA_POOL(struct vmarena_arena);
static _Atomic uint64_t last_id;

struct vmarena_arena *vmarena_arena_of(const struct vmarena *handle) {
    struct vmarena_arena *arena = (struct vmarena_arena *)(uintptr_t)handle;
    if (arena != NULL && arena->id != 0) return arena;
    (void)vmarena_fail(-EBADF, arena == NULL ? "no arena (NULL)" : "the arena was destroyed");
    return NULL;
}

/* ---- ready memory ------------------------------------------------------------------------------------------------ */

/* For ASan and Valgrind: forbidden until handed out. In a fenced arena the MMU sees to it, and its fault is wanted. */
static void forbid(const struct vmarena_arena *arena, uintptr_t start, uintptr_t end) {
    if (arena->annotated && !vmarena_arena_is_fenced(arena) && start < end)
        vmarena_prim_poison((const void *)start, end - start);
}

/* Before the library itself writes to the arena: a fault of its own would be nobody's. */
static int check_writable(const struct vmarena_arena *arena) {
    if (arena->region.prot & VMARENA_WRITE) return 0;
    return vmarena_fail(-EACCES, "the arena is not writable now");
}

static int populate(struct vmarena_arena *arena, char *start, size_t size) {
    int error = check_writable(arena);
    if (error != 0) return error;
    /* To the kernel, pages whose protection our handler would lift are read-only. */
    vmarena_dirty_open(arena, (size_t)(start - arena->region.base), size);
    error = vmarena_prim_advise(start, size, VMARENA_PRIM_POPULATE_WRITE);
    if (error != 0) return vmarena_fail_call(error, "prefault", size);
    if ((uintptr_t)start + size > arena->populated) arena->populated = (uintptr_t)start + size;
    return 0;
}

/* Best effort. Only pages that are there can be collapsed: they are brought in first, as huge ones where that works. */
static void collapse(struct vmarena_arena *arena, char *start, size_t size) {
    if ((arena->region.prot & VMARENA_WRITE) == 0 || populate(arena, start, size) != 0) return;
    if (vmarena_prim_advise(start, size, VMARENA_PRIM_COLLAPSE) == -EINVAL) arena->huge = VMARENA_HUGE_TRANSPARENT;
}

/* What each newly committed part gets, as the options ask. */
static int prepare(struct vmarena_arena *arena, char *start, size_t size) {
    int error = 0;
    if (arena->options.flags & VMARENA_LOCK) {
        error = vmarena_prim_lock(start, size);
        if (error != 0)
            return vmarena_fail(error, "mlock of %zu bytes: beyond RLIMIT_MEMLOCK, or memory is short", size);
    }
    if ((arena->options.flags & VMARENA_PREFAULT) && !vmarena_arena_is_fenced(arena)) {
        error = populate(arena, start, size);
        if (error != 0) return error;
    }
    if (arena->huge == VMARENA_HUGE_COLLAPSE) collapse(arena, start, size);
    return 0;
}

static size_t step_end(const struct vmarena_arena *arena, uintptr_t end) {
    size_t wanted = end - (uintptr_t)arena->region.base;
    size_t rounded = arena->step != 0 ? vmarena_round_up(wanted, arena->step) : arena->region.size;
    return rounded == 0 || rounded > arena->region.size ? arena->region.size : rounded;
}

int vmarena_arena_make_ready(struct vmarena_arena *arena, uintptr_t end) {
    if (end <= arena->ready) return 0;
    struct vmarena_region *region = &arena->region;
    size_t bytes = step_end(arena, end), before = arena->ready - (uintptr_t)region->base;
    if (bytes > region->committed) {
        int error = vmarena_region_commit(region, bytes);
        if (error != 0) return error;
    }
    int error = prepare(arena, region->base + before, bytes - before);
    if (error != 0) return error;
    forbid(arena, arena->ready, (uintptr_t)region->base + bytes);
    arena->ready = (uintptr_t)region->base + bytes;
    return 0;
}

void vmarena_arena_set_end(struct vmarena_arena *arena, uintptr_t end) {
    arena->head.cursor = end - 1;
    bool slow = arena->annotated || vmarena_arena_is_fenced(arena);
    arena->head.limit = slow ? end - 1 : arena->ready - 1;
}

/* Before the cursor goes back: what lies above it has been used. */
static void remember_use(struct vmarena_arena *arena) {
    uintptr_t end = vmarena_arena_end(arena);
    if (end > arena->dirty) arena->dirty = end;
    if (end > arena->peak) arena->peak = end;
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static int check_options(const struct vmarena_options *options) {
    if ((unsigned)options->huge > VMARENA_HUGE_1G || (unsigned)options->fence > VMARENA_FENCE_START ||
        (unsigned)options->guard_kind > VMARENA_GUARD_PROTECT ||
        (unsigned)options->commit_policy > VMARENA_COMMIT_PROTECT)
        return vmarena_fail(-EINVAL, "vmarena_create: huge, fence, guard_kind or commit_policy has no such value");
    if ((options->flags & ~ALL_FLAGS) != 0)
        return vmarena_fail(-EINVAL, "vmarena_create: unknown bits 0x%x in flags", options->flags & ~ALL_FLAGS);
    if ((options->flags & VMARENA_DONT_FORK) && (options->flags & VMARENA_WIPE_ON_FORK))
        return vmarena_fail(-EINVAL, "vmarena_create: VMARENA_DONT_FORK and VMARENA_WIPE_ON_FORK exclude each other");
    if (options->fence != VMARENA_FENCE_OFF && options->huge > VMARENA_HUGE_NEVER)
        return vmarena_fail(-EINVAL, "vmarena_create: a fenced arena cannot have huge pages: each guard is one page");
    if ((options->flags & VMARENA_MEMFD) &&
        (options->fence != VMARENA_FENCE_OFF || (options->flags & (VMARENA_LOCK | VMARENA_WIPE_ON_FORK))))
        return vmarena_fail(-EINVAL, "vmarena_create: VMARENA_MEMFD goes with no fence, VMARENA_LOCK or _WIPE_ON_FORK");
    return 0;
}

/* Guard markers: where asked for they must work; VM_LOCKED and wiped memory refuse them (madvise(2)). */
static int choose_guards(struct vmarena_options *options) {
    if (options->fence == VMARENA_FENCE_OFF) {
        options->guard_kind = VMARENA_GUARD_PROTECT; /* only the edges, and those are always PROT_NONE */
        return 0;
    }
    bool possible = vmarena_prim_has_guard_markers() && !(options->flags & (VMARENA_LOCK | VMARENA_WIPE_ON_FORK));
    if (options->guard_kind == VMARENA_GUARD_MARKER && !possible)
        return vmarena_fail(-EOPNOTSUPP, "vmarena_create: guard markers do not work here, or not with these flags");
    if (options->guard_kind == VMARENA_GUARD_AUTO)
        options->guard_kind = possible ? VMARENA_GUARD_MARKER : VMARENA_GUARD_PROTECT;
    return 0;
}

/*
 * Whether markers work in this very arena: they do not if mlockall(2) has locked it. The marker tried stays where it
 * is, since all of a fenced arena is covered before it is used.
 */
static int confirm_guards(struct vmarena_arena *arena, bool asked) {
    if (arena->options.fence == VMARENA_FENCE_OFF || arena->options.guard_kind != VMARENA_GUARD_MARKER) return 0;
    if (vmarena_prim_guard_install(arena->region.base, vmarena_prim_page_size()) == 0) return 0;
    if (asked)
        return vmarena_fail(-EOPNOTSUPP, "vmarena_create: guard markers do not work in this memory (is it locked?)");
    arena->options.guard_kind = VMARENA_GUARD_PROTECT;
    return 0;
}

static void choose_commit(struct vmarena_options *options) {
    /* A fenced arena stays inaccessible but for what it has handed out. */
    if (options->fence != VMARENA_FENCE_OFF) options->commit_policy = VMARENA_COMMIT_PROTECT;
    else if (options->commit_policy == VMARENA_COMMIT_AUTO) {
        /* Valgrind marks byte for byte what becomes accessible: 64 GiB at once took it two minutes. */
        bool by_steps = vmarena_prim_strict_commit(options->reserve) || vmarena_prim_annotating();
        options->commit_policy = by_steps ? VMARENA_COMMIT_PROTECT : VMARENA_COMMIT_NORESERVE;
    }
}

static int reserve(struct vmarena_arena *arena, size_t align) {
    size_t page = vmarena_prim_page_size();
    struct vmarena_region_plan plan = {.align = align, .policy = arena->options.commit_policy};
    plan.guard = arena->options.guard == 0 ? page : vmarena_round_up(arena->options.guard, page);
    size_t size = vmarena_round_up(arena->options.reserve, align > page ? align : page);
    if (plan.guard == 0 || size == 0)
        return vmarena_fail(-ENOMEM, "vmarena_create: the sizes exceed the address space");
    arena->options.guard = plan.guard;
    plan.size = size;
    return vmarena_region_reserve(&arena->region, &plan);
}

/*
 * One rung of the hugetlb ladder: the whole arena, since a pool that is too small must be known now, not at a touch.
 * 1: done; 0: not to be had.
 */
static int map_hugetlb(struct vmarena_arena *arena, unsigned shift) {
    struct vmarena_region *region = &arena->region;
    size_t page = (size_t)1 << shift;
    if ((uintptr_t)region->base % page != 0 || region->size % page != 0) return 0;
    int error = vmarena_prim_map_hugetlb(region->base, region->size, shift);
    if (error == 0) {
        arena->page = page;
        region->committed = region->size;
        return 1;
    }
    if (error != -ENOTRECOVERABLE && region->committed != 0)
        error = vmarena_prim_protect(region->base, region->committed, region->prot) == 0 ? 0 : -ENOTRECOVERABLE;
    return error == -ENOTRECOVERABLE ? vmarena_fail(-ENOMEM, "the hugetlb pool was emptied by another process") : 0;
}

/* The rung of the hugetlb ladder obtained, SYSTEM for none, or an error. */
static int climb(struct vmarena_arena *arena) {
    if (arena->options.flags & VMARENA_MEMFD) return 0;
    int got = arena->options.huge == VMARENA_HUGE_1G ? map_hugetlb(arena, 30) : 0;
    if (got != 0) return got > 0 ? VMARENA_HUGE_1G : got;
    got = arena->options.huge >= VMARENA_HUGE_2M ? map_hugetlb(arena, 21) : 0;
    return got > 0 ? VMARENA_HUGE_2M : got;
}

/* Down the ladder, from the rung that was asked for. */
static int choose_huge(struct vmarena_arena *arena) {
    struct vmarena_region *region = &arena->region;
    enum vmarena_huge asked = arena->options.huge;
    arena->huge = VMARENA_HUGE_SYSTEM;
    if (asked == VMARENA_HUGE_SYSTEM) return 0;
    int got = climb(arena);
    if (got < 0) return got;
    if (got > 0) arena->huge = (enum vmarena_huge)got;
    else if (asked == VMARENA_HUGE_NEVER) {
        if (vmarena_prim_advise(region->base, region->size, VMARENA_PRIM_NO_HUGE) == 0) arena->huge = asked;
    } else if (vmarena_prim_advise(region->base, region->size, VMARENA_PRIM_HUGE) == 0)
        arena->huge = asked == VMARENA_HUGE_COLLAPSE ? asked : VMARENA_HUGE_TRANSPARENT;
    return 0;
}

/* The alignment that the wished pages need; huge pages must not meet the guards in one block. */
static size_t wished_align(const struct vmarena_options *options) {
    size_t huge = vmarena_prim_huge_page_size();
    if (options->flags & VMARENA_MEMFD) return vmarena_memfile_align(options->reserve);
    if (options->huge == VMARENA_HUGE_1G && options->reserve >= (size_t)1 << 30) return (size_t)1 << 30;
    if (options->huge >= VMARENA_HUGE_2M && huge < (size_t)2 << 20) return (size_t)2 << 20;
    if (options->huge >= VMARENA_HUGE_TRANSPARENT && huge != 0) return huge;
    return vmarena_prim_page_size();
}

static void choose_step(struct vmarena_arena *arena, size_t align) {
    const struct vmarena_options *options = &arena->options;
    /* Annotated: by steps too, since ASan's shadow of a whole reservation would be an eighth of it in memory. */
    bool by_steps = options->commit_policy == VMARENA_COMMIT_PROTECT || arena->annotated ||
                    (options->flags & (VMARENA_LOCK | VMARENA_PREFAULT)) != 0 || arena->huge == VMARENA_HUGE_COLLAPSE;
    size_t step = options->commit;
    if (step == 0) step = options->fence != VMARENA_FENCE_OFF ? DEFAULT_FENCED_STEP : DEFAULT_STEP;
    step = vmarena_round_up(step, align > arena->page ? align : arena->page);
    arena->step = by_steps ? step : 0; /* a step of 0 by overflow commits everything at once, as was asked */
}

static int set_flags(struct vmarena_arena *arena) {
    static const struct {
        unsigned flag;
        enum vmarena_prim_advice advice;
        const char *name;
    } advices[] = {{VMARENA_DONT_DUMP, VMARENA_PRIM_DONT_DUMP, "VMARENA_DONT_DUMP"},
                   {VMARENA_DONT_FORK, VMARENA_PRIM_DONT_FORK, "VMARENA_DONT_FORK"},
                   {VMARENA_WIPE_ON_FORK, VMARENA_PRIM_WIPE_ON_FORK, "VMARENA_WIPE_ON_FORK"}};
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if ((arena->options.flags & advices[i].flag) == 0) continue;
        int error = vmarena_prim_advise(arena->region.base, arena->region.size, advices[i].advice);
        if (error != 0) return vmarena_fail(-EOPNOTSUPP, "%s: this system refuses it for this memory", advices[i].name);
    }
    return 0;
}

static void set_name(struct vmarena_arena *arena, const char *name) {
    if (name == NULL) return;
    for (size_t i = 0; i + 1 < VMARENA_NAME_SIZE && name[i] != '\0'; i++) arena->region.name[i] = name[i];
    arena->named =
        arena->memfile != NULL || vmarena_prim_name(arena->region.base, arena->region.size, arena->region.name) == 0;
}

/* Signal-safe: what an address in a bump arena means. Its one object is the used part. */
static void explain_bump(const struct vmarena_region *region, struct vmarena_fault *fault) {
    const struct vmarena_arena *arena = region->owner;
    uintptr_t address = (uintptr_t)fault->address, base = (uintptr_t)region->base, end = arena->head.cursor + 1;
    fault->object = region->base;
    fault->object_size = end - base;
    fault->distance = vmarena_object_distance(base, end - base, address);
    if (fault->kind == VMARENA_FAULT_PAST_END_OF_FILE) fault->kind = VMARENA_FAULT_OTHER; /* no file: a hugetlb pool */
    if (fault->signo != SIGSEGV) return;
    if (address < base) fault->kind = VMARENA_FAULT_UNDERRUN;
    else if (address - base < region->committed) fault->kind = VMARENA_FAULT_PROTECTED;
    else fault->kind = VMARENA_FAULT_OVERRUN;
}

static int build(struct vmarena_arena *arena, const char *name) {
    bool markers_asked = arena->options.guard_kind == VMARENA_GUARD_MARKER;
    int error = choose_guards(&arena->options);
    if (error != 0) return error;
    choose_commit(&arena->options);
    arena->page = vmarena_prim_page_size();
    arena->region.owner = arena;
    arena->region.kind = VMARENA_OWNER_ARENA;
    if (vmarena_arena_is_fenced(arena)) arena->region.objects = (const _Atomic size_t *)&arena->objects.live;
    arena->region.attribute = vmarena_arena_is_fenced(arena) ? vmarena_fenced_attribute : explain_bump;
    size_t align = wished_align(&arena->options);
    error = reserve(arena, align);
    if (error != 0) return error;
    arena->options.reserve = arena->region.size;
    arena->annotated = vmarena_prim_annotating();
    arena->ready = arena->dirty = arena->populated = arena->peak = (uintptr_t)arena->region.base;
    if (arena->options.flags & VMARENA_MEMFD) error = vmarena_memfile_open(arena, name);
    if (error == 0) error = choose_huge(arena);
    choose_step(arena, align);
    set_name(arena, name);
    if (error == 0) error = set_flags(arena);
    if (error == 0) error = confirm_guards(arena, markers_asked);
    if (error == 0 && arena->step == 0) error = vmarena_arena_make_ready(arena, arena->ready + arena->region.size);
    if (error == 0 && vmarena_arena_is_fenced(arena)) error = vmarena_fenced_open(arena);
    if (error != 0) vmarena_region_release(&arena->region);
    if (error != 0 && arena->memfile != NULL) vmarena_memfile_close(arena);
    return error;
}

/* A default size gives way to what the process may have. */
static int build_some(struct vmarena_arena *arena, const struct vmarena_options *options) {
    size_t size = DEFAULT_RESERVE > SIZE_MAX / 16 ? (size_t)256 << 20 : (size_t)DEFAULT_RESERVE;
    bool by_default = options->reserve == 0;
    for (;; size /= 2) {
        arena->options = *options;
        arena->options.name = NULL;
        if (by_default) arena->options.reserve = size;
        int error = build(arena, options->name);
        /* EAGAIN: under mlockall(2) more than RLIMIT_MEMLOCK */
        if ((error != -ENOMEM && error != -EAGAIN) || !by_default || size <= LEAST_RESERVE) return error;
    }
}

static struct vmarena_arena *take_record(void) {
    struct vmarena_arena *arena = vmarena_pool_take(&arenas);
    if (arena != NULL) arena->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    return arena;
}

static void give_record(struct vmarena_arena *arena) {
    /* The pool's link lies in the first word, the cursor: with a limit of 0 every allocation takes the slow path. */
    arena->id = 0;
    arena->head.limit = 0;
    vmarena_pool_give(&arenas, arena);
}

int vmarena_create(struct vmarena **out, const struct vmarena_options *options) {
    static const struct vmarena_options defaults;
    if (options == NULL) options = &defaults;
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_create: nowhere to put the arena");
    int error = check_options(options);
    if (error != 0) return error;
    struct vmarena_arena *arena = take_record();
    if (arena == NULL) return vmarena_fail(-ENOMEM, "vmarena_create: no memory for the arena's record");
    error = build_some(arena, options);
    if (error != 0) {
        give_record(arena);
        return error;
    }
    vmarena_arena_set_end(arena, (uintptr_t)arena->region.base);
    *out = &arena->head;
    return 0;
}

void vmarena_destroy(struct vmarena *handle) {
    struct vmarena_arena *arena = (struct vmarena_arena *)(void *)handle;
    if (arena == NULL || arena->id == 0) return;
    size_t ready = arena->ready - (uintptr_t)arena->region.base;
    if (arena->annotated) vmarena_prim_defined(arena->region.base, ready); /* for the next mapping there */
    if (vmarena_arena_is_fenced(arena)) vmarena_fenced_close(arena);
    vmarena_snapshots_detach(arena);
    vmarena_region_release(&arena->region);
    if (arena->memfile != NULL) vmarena_memfile_close(arena);
    give_record(arena);
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

/* Between objects under ASan or Valgrind, so that an overrun is not another object's memory. */
#define RED_ZONE ((size_t)16)

static int check_request(const struct vmarena_arena *arena, size_t size, size_t align) {
    if (size == 0) return vmarena_fail(-EINVAL, "an allocation of 0 bytes");
    if (align == 0 || (align & (align - 1)) != 0)
        return vmarena_fail(-EINVAL, "the alignment %zu is no power of two", align);
    if (align > LARGEST_ALIGN || align > vmarena_round_up(arena->region.size, arena->page))
        return vmarena_fail(-EINVAL, "the alignment %zu is larger than the arena of %zu bytes", align,
                            arena->region.size);
    return 0;
}

static void *bump(struct vmarena_arena *arena, size_t size, size_t align) {
    const struct vmarena_region *region = &arena->region;
    uintptr_t end = vmarena_arena_end(arena), last = (uintptr_t)region->base + region->size;
    if (arena->annotated && end != (uintptr_t)region->base && last - end >= RED_ZONE) end += RED_ZONE;
    uintptr_t start = vmarena_align_up(end, align);
    if (start < end || start > last || size > last - start) {
        (void)vmarena_fail(-ENOSPC, "the arena is full: %zu of %zu bytes used, %zu asked for",
                           end - (uintptr_t)region->base, region->size, size);
        return NULL;
    }
    if (vmarena_arena_make_ready(arena, start + size) != 0) return NULL;
    if (arena->annotated) vmarena_prim_unpoison((const void *)start, size);
    vmarena_arena_set_end(arena, start + size);
    return (void *)start;
}

void *vmarena_alloc_slow(struct vmarena *handle, size_t size, size_t align) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL || check_request(arena, size, align) != 0) return NULL;
    return vmarena_arena_is_fenced(arena) ? vmarena_fenced_alloc(arena, size, align) : bump(arena, size, align);
}

void *vmarena_alloc_array(struct vmarena *handle, size_t count, size_t size, size_t align) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        (void)vmarena_fail(-EOVERFLOW, "an array of %zu objects of %zu bytes exceeds the address space", count, size);
        return NULL;
    }
    if (handle == NULL) return vmarena_alloc_slow(handle, bytes, align);
    return vmarena_alloc(handle, bytes, align);
}

void *vmarena_alloc_zeroed(struct vmarena *handle, size_t size, size_t align) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return NULL;
    bool clears = vmarena_arena_end(arena) < arena->dirty && !vmarena_arena_is_fenced(arena);
    if (clears && check_writable(arena) != 0) return NULL;
    char *object = vmarena_alloc(handle, size, align);
    if (object == NULL) return NULL;
    uintptr_t start = (uintptr_t)object;
    if (vmarena_arena_is_fenced(arena)) return arena->objects.keeps ? memset(object, 0, size) : object;
    if (arena->annotated) vmarena_prim_defined(object, size);
    if (start < arena->dirty) memset(object, 0, arena->dirty - start < size ? arena->dirty - start : size);
    return object;
}

/*
 * Keeps the rewinds that can make a mark stale: one that went lower makes those before it, which went less low,
 * needless. So floors rise from entry to entry; the oldest is forgotten where there are too many.
 */
static void remember_rewind(struct vmarena_arena *arena, uintptr_t floor) {
    unsigned count = arena->rewound_count;
    while (count > 0 && arena->rewound[count - 1].floor >= floor) count--;
    if (count == VMARENA_REWINDS) {
        memmove(arena->rewound, arena->rewound + 1, (VMARENA_REWINDS - 1) * sizeof arena->rewound[0]);
        count--;
    }
    arena->rewound[count] = (struct vmarena_rewound){++arena->generation, floor};
    arena->rewound_count = count + 1;
}

/* The last object: only the end moves. */
static void *resize_last(struct vmarena_arena *arena, char *object, size_t old_size, size_t new_size) {
    uintptr_t start = (uintptr_t)object, last = (uintptr_t)arena->region.base + arena->region.size;
    if (new_size > last - start) {
        (void)vmarena_fail(-ENOSPC, "the arena is full: an object of %zu bytes cannot grow to %zu", old_size, new_size);
        return NULL;
    }
    if (vmarena_arena_make_ready(arena, start + new_size) != 0) return NULL;
    if (new_size < old_size) {
        remember_use(arena);
        remember_rewind(arena, start + new_size); /* a mark above it would cut what is allocated next in two */
    }
    vmarena_arena_set_end(arena, start + new_size);
    if (arena->annotated && new_size > old_size) vmarena_prim_unpoison(object + old_size, new_size - old_size);
    if (new_size < old_size) forbid(arena, start + new_size, start + old_size);
    return object;
}

static size_t natural_align(const void *object) {
    size_t align = (size_t)((uintptr_t)object & (0 - (uintptr_t)object));
    return align < 16 ? align : 16;
}

static int check_object(const struct vmarena_arena *arena, const void *object, size_t size) {
    bool inside = vmarena_region_holds(&arena->region, object, size);
    if (inside && size != 0 && (uintptr_t)object + size <= vmarena_arena_end(arena)) return 0;
    return vmarena_fail(-EINVAL, "no object of %zu bytes at %p in this arena", size, object);
}

static void *resize_bump(struct vmarena_arena *arena, char *object, size_t old_size, size_t new_size) {
    if (check_object(arena, object, old_size) != 0) return NULL;
    if ((uintptr_t)object + old_size == vmarena_arena_end(arena)) return resize_last(arena, object, old_size, new_size);
    if (new_size <= old_size) {
        forbid(arena, (uintptr_t)object + new_size, (uintptr_t)object + old_size);
        return object;
    }
    if ((arena->region.prot & VMARENA_READ) == 0) {
        (void)vmarena_fail(-EACCES, "the arena is not readable now: an object cannot be moved");
        return NULL;
    }
    if (check_writable(arena) != 0) return NULL;
    void *moved = vmarena_alloc(&arena->head, new_size, natural_align(object));
    if (moved == NULL) return NULL;
    memcpy(moved, object, old_size);
    forbid(arena, (uintptr_t)object, (uintptr_t)object + old_size);
    return moved;
}

void *vmarena_resize(struct vmarena *handle, void *object, size_t old_size, size_t new_size) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return NULL;
    if (object == NULL) return vmarena_alloc(handle, new_size, 16);
    if (new_size == 0 || old_size == 0) {
        (void)vmarena_fail(-EINVAL, "vmarena_resize: a size of 0 bytes");
        return NULL;
    }
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_resize(arena, object, old_size, new_size);
    return resize_bump(arena, object, old_size, new_size);
}

int vmarena_free(struct vmarena *handle, void *object, size_t size) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (object == NULL) return 0;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_free(arena, object, size);
    int error = check_object(arena, object, size);
    if (error != 0) return error;
    if ((uintptr_t)object + size == vmarena_arena_end(arena)) (void)resize_last(arena, object, size, 0);
    else forbid(arena, (uintptr_t)object, (uintptr_t)object + size);
    return 0;
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

struct vmarena_mark vmarena_mark(const struct vmarena *handle) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return (struct vmarena_mark){.arena = 0};
    return (struct vmarena_mark){arena->id, arena->generation, handle->cursor, arena->objects.count};
}

/* Whether the arena went below the mark since it was taken. */
static bool is_stale(const struct vmarena_arena *arena, struct vmarena_mark mark) {
    if (mark.cursor > arena->head.cursor) return true;
    for (unsigned i = 0; i < arena->rewound_count; i++)
        if (arena->rewound[i].generation > mark.generation) return arena->rewound[i].floor < mark.cursor + 1;
    return false;
}

/* Takes back everything from end on, after remember_use(). */
static int take_back(struct vmarena_arena *arena, uintptr_t end, size_t objects) {
    int error = 0;
    if (vmarena_arena_is_fenced(arena)) {
        error = vmarena_fenced_rewind(arena, end, objects);
        if (error != 0 && error != -EILSEQ) return error;
    }
    remember_rewind(arena, end);
    forbid(arena, end, vmarena_arena_end(arena));
    vmarena_arena_set_end(arena, end);
    return error;
}

int vmarena_rewind(struct vmarena *handle, struct vmarena_mark mark) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (mark.arena != arena->id) return vmarena_fail(-EINVAL, "vmarena_rewind: the mark is of another arena");
    if (is_stale(arena, mark))
        return vmarena_fail(-ESTALE, "vmarena_rewind: the arena was rewound past this mark since it was taken");
    if (mark.cursor == handle->cursor) return 0;
    remember_use(arena);
    return take_back(arena, mark.cursor + 1, mark.objects);
}

/* Whole pages of the arena read as zero from now on. */
static int discard(struct vmarena_arena *arena, void *start, size_t size) {
    vmarena_snapshots_discarded(arena, start, size);
    if (arena->memfile != NULL) return vmarena_memfile_discard(arena, start, size);
    return vmarena_prim_discard(start, size);
}

/* Gives back what is resident from base + keep on. */
static int give_back(struct vmarena_arena *arena, size_t keep) {
    uintptr_t base = (uintptr_t)arena->region.base, floor = base + keep, end = arena->dirty;
    if (arena->populated > end) end = arena->populated;
    size_t size = vmarena_round_up(end - base, arena->page) - keep;
    if (arena->sealed) return vmarena_fail(-EPERM, "vmarena_reset: the memory is sealed and cannot be given back");
    int error = discard(arena, (void *)floor, size);
    if (error != 0) return vmarena_fail_call(error, "madvise", size);
    if (arena->dirty > floor) arena->dirty = floor;
    if (arena->populated > floor) arena->populated = floor;
    return 0;
}

/* What is brought in at commit is to come back so after it was given back: from floor on it is not ready. */
static void make_unready(struct vmarena_arena *arena, uintptr_t floor) {
    bool again = (arena->options.flags & VMARENA_PREFAULT) || arena->huge == VMARENA_HUGE_COLLAPSE;
    if (!again || arena->ready <= floor) return;
    if (arena->annotated) vmarena_prim_defined((const void *)floor, arena->ready - floor); /* forbidden when ready */
    arena->ready = floor;
    vmarena_arena_set_end(arena, vmarena_arena_end(arena));
}

int vmarena_reset(struct vmarena *handle, size_t keep_bytes) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    remember_use(arena);
    uintptr_t base = (uintptr_t)arena->region.base;
    size_t resident = (arena->dirty > arena->populated ? arena->dirty : arena->populated) - base;
    size_t keep = vmarena_round_up(keep_bytes, arena->page);
    bool keeps_all = vmarena_arena_is_fenced(arena) || (arena->options.flags & VMARENA_LOCK) ||
                     keep_bytes >= resident || keep >= resident;
    int error = keeps_all ? 0 : give_back(arena, keep);
    if (error != 0) return error;
    error = take_back(arena, base, 0);
    if (!keeps_all) make_unready(arena, base + keep);
    return error;
}

int vmarena_check(const struct vmarena *handle) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    return vmarena_arena_is_fenced(arena) ? vmarena_fenced_check(arena) : 0;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static int check_pages(const struct vmarena_arena *arena, const void *start, size_t length, const char *call) {
    if ((uintptr_t)start % arena->page != 0)
        return vmarena_fail(-EINVAL, "%s: the start %p is not a multiple of the page size, %zu", call, start,
                            arena->page);
    if (length == 0 || length % arena->page != 0)
        return vmarena_fail(-EINVAL, "%s: the length %zu is not a positive multiple of the page size, %zu", call,
                            length, arena->page);
    if (!vmarena_region_holds(&arena->region, start, length))
        return vmarena_fail(-EINVAL, "%s: the range of %zu bytes at %p leaves the arena", call, length, start);
    return 0;
}

int vmarena_discard(struct vmarena *handle, void *start, size_t length) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_discard: a fenced arena gives memory back by rewind and reset");
    int error = check_pages(arena, start, length, "vmarena_discard");
    if (error != 0) return error;
    if ((uintptr_t)start + length > vmarena_round_up(vmarena_arena_end(arena), arena->page))
        return vmarena_fail(-EINVAL, "vmarena_discard: the range goes past the used part");
    if (arena->sealed) return vmarena_fail(-EPERM, "vmarena_discard: the memory is sealed");
    if (arena->options.flags & VMARENA_LOCK)
        return vmarena_fail(-EINVAL, "vmarena_discard: locked memory is not given back");
    error = discard(arena, start, length);
    return error == 0 ? 0 : vmarena_fail_call(error, "madvise", length);
}

static int check_prot(const struct vmarena_arena *arena, unsigned prot) {
    if ((prot & ~ALL_PROTS) != 0) return vmarena_fail(-EINVAL, "unknown protection bits 0x%x", prot & ~ALL_PROTS);
    if ((prot & VMARENA_EXEC) && !(arena->options.flags & VMARENA_ALLOW_EXEC))
        return vmarena_fail(-EACCES, "VMARENA_EXEC needs an arena made with VMARENA_ALLOW_EXEC");
    if (arena->sealed) return vmarena_fail(-EPERM, "the arena is sealed: its protection stays as it is");
    return 0;
}

VMARENA_TOGETHER static int protect_all(struct vmarena_arena *arena, unsigned prot) {
    int error = check_prot(arena, prot);
    if (error != 0) return error;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_protect(arena, prot);
    vmarena_dirty_lose(arena);
    arena->parted = false;
    return vmarena_region_protect(&arena->region, prot);
}

VMARENA_TOGETHER int vmarena_protect(struct vmarena *handle, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    return arena == NULL ? -EBADF : protect_all(arena, prot);
}

int vmarena_protect_range(struct vmarena *handle, void *start, size_t length, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    int error = check_pages(arena, start, length, "vmarena_protect_range");
    if (error == 0) error = check_prot(arena, prot);
    if (error != 0) return error;
    if (vmarena_arena_is_fenced(arena)) return vmarena_fenced_protect_range(arena, (uintptr_t)start, length, prot);
    /* Up to there the pages must be committed, or their protection would be lost when they are. */
    error = vmarena_arena_make_ready(arena, (uintptr_t)start + length);
    if (error != 0) return error;
    vmarena_arena_set_end(arena, vmarena_arena_end(arena));
    vmarena_dirty_lose(arena);
    arena->parted = true;
    error = vmarena_prim_protect(start, length, prot);
    return error == 0 ? 0 : vmarena_fail_call(error, "mprotect", length);
}

int vmarena_protect_push(struct vmarena *handle, unsigned prot) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (arena->prot_depth == VMARENA_SCOPES)
        return vmarena_fail(-EOVERFLOW, "vmarena_protect_push: %d protection scopes are open", VMARENA_SCOPES);
    unsigned before = arena->region.prot;
    int error = protect_all(arena, prot);
    if (error == 0) arena->prots[arena->prot_depth++] = (unsigned char)before;
    return error;
}

int vmarena_protect_pop(struct vmarena *handle) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (arena->prot_depth == 0) return vmarena_fail(-EINVAL, "vmarena_protect_pop: no protection scope is open");
    int error = protect_all(arena, arena->prots[arena->prot_depth - 1]);
    if (error == 0) arena->prot_depth--;
    return error;
}

int vmarena_prefault(struct vmarena *handle, size_t bytes) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_prefault: a fenced arena's pages come with each object");
    uintptr_t end = vmarena_arena_end(arena), last = (uintptr_t)arena->region.base + arena->region.size;
    if (bytes > last - end)
        return vmarena_fail(-ENOSPC, "vmarena_prefault: %zu bytes are left of %zu", last - end, arena->region.size);
    if (bytes == 0) return 0;
    int error = check_writable(arena);
    if (error == 0) error = vmarena_arena_make_ready(arena, end + bytes);
    if (error != 0) return error;
    vmarena_arena_set_end(arena, end);
    uintptr_t from = end & ~(uintptr_t)(arena->page - 1), to = vmarena_round_up(end + bytes, arena->page);
    return populate(arena, (char *)from, to - from);
}

int vmarena_seal(struct vmarena *handle) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    if (vmarena_arena_is_fenced(arena))
        return vmarena_fail(-EOPNOTSUPP, "vmarena_seal: a fenced arena changes its mapping with each object");
    vmarena_dirty_lose(arena); /* its protection could not be lifted any more */
    int error = vmarena_prim_seal(arena->region.outer, arena->region.outer_size);
    if (error == -EOPNOTSUPP) return vmarena_fail(error, "vmarena_seal: this kernel has no mseal(2)");
    if (error != 0) return vmarena_fail_call(error, "mseal", arena->region.outer_size);
    arena->sealed = true;
    return 0;
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

void vmarena_info(const struct vmarena *handle, struct vmarena_stats *out) {
    if (out == NULL) return;
    *out = (struct vmarena_stats){.reserved = 0};
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return;
    uintptr_t base = (uintptr_t)arena->region.base, end = vmarena_arena_end(arena);
    out->reserved = arena->region.size;
    out->committed = arena->ready - base;
    out->used = end - base;
    out->peak = (end > arena->peak ? end : arena->peak) - base;
    out->objects = arena->objects.live;
    out->guard = arena->region.guard;
    out->page_size = arena->page;
    out->prot = arena->region.prot;
    out->flags = arena->options.flags;
    out->huge_asked = arena->options.huge;
    out->huge_obtained = arena->huge;
    out->guard_kind = arena->options.guard_kind;
    out->commit_policy = arena->options.commit_policy;
    out->named = arena->named;
    out->sealed = arena->sealed;
    out->annotated = arena->annotated;
}

void vmarena_stats(const struct vmarena *handle, struct vmarena_stats *out) {
    vmarena_info(handle, out);
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (out == NULL || arena == NULL) return;
    (void)vmarena_prim_residency(arena->region.base, arena->region.size, &out->resident, &out->huge);
}

bool vmarena_owns(const struct vmarena *handle, const void *address) {
    const struct vmarena_arena *arena = vmarena_arena_of(handle);
    return arena != NULL && vmarena_region_spans(&arena->region, (uintptr_t)address);
}

/* ---- for snapshots ------------------------------------------------------------------------------------------------ */

size_t vmarena_arena_touched(const struct vmarena_arena *arena) {
    uintptr_t end = vmarena_arena_end(arena);
    if (arena->dirty > end) end = arena->dirty;
    if (arena->populated > end) end = arena->populated;
    return vmarena_round_up(end - (uintptr_t)arena->region.base, arena->page);
}

int vmarena_arena_readvise(struct vmarena_arena *arena) {
    struct vmarena_region *region = &arena->region;
    if (arena->huge == VMARENA_HUGE_NEVER) (void)vmarena_prim_advise(region->base, region->size, VMARENA_PRIM_NO_HUGE);
    if (arena->huge > VMARENA_HUGE_NEVER) (void)vmarena_prim_advise(region->base, region->size, VMARENA_PRIM_HUGE);
    return set_flags(arena);
}

struct vmarena_arena_form vmarena_arena_form(const struct vmarena_arena *arena) {
    struct vmarena_arena_form form = {.options = arena->options, .prot = arena->region.prot};
    uintptr_t base = (uintptr_t)arena->region.base, end = vmarena_arena_end(arena);
    memcpy(form.name, arena->region.name, sizeof form.name);
    form.used = end - base;
    form.dirty = (end > arena->dirty ? end : arena->dirty) - base;
    return form;
}

static int build_clone(struct vmarena_arena *arena, const struct vmarena_arena_form *form,
                       struct vmarena_memfile *memfile) {
    struct vmarena_region *region = &arena->region;
    struct vmarena_region_plan plan = {.size = form->options.reserve,
                                       .guard = form->options.guard,
                                       .align = vmarena_memfile_align(form->options.reserve),
                                       .policy = VMARENA_COMMIT_PROTECT}; /* what is committed is mapped anew at once */
    arena->page = vmarena_prim_page_size();
    region->owner = arena;
    region->kind = VMARENA_OWNER_ARENA;
    region->attribute = explain_bump;
    memcpy(region->name, form->name, sizeof region->name);
    int error = vmarena_region_reserve(region, &plan);
    if (error != 0) return error;
    region->policy = form->options.commit_policy;
    region->prot = form->prot;
    region->committed =
        region->policy == VMARENA_COMMIT_PROTECT ? vmarena_round_up(form->used, arena->page) : region->size;
    arena->annotated = vmarena_prim_annotating();
    arena->named = true;
    error = vmarena_memfile_adopt(arena, memfile);
    if (error != 0) vmarena_region_release(region);
    return error;
}

int vmarena_arena_clone(struct vmarena **out, const struct vmarena_arena_form *form, struct vmarena_memfile *memfile) {
    struct vmarena_arena *arena = take_record();
    if (arena == NULL) return vmarena_fail(-ENOMEM, "vmarena_clone: no memory for the arena's record");
    arena->options = form->options;
    int error = build_clone(arena, form, memfile);
    if (error != 0) {
        give_record(arena);
        return error;
    }
    uintptr_t base = (uintptr_t)arena->region.base;
    choose_step(arena, arena->page);
    arena->ready = base + (arena->step == 0 ? arena->region.size : vmarena_round_up(form->used, arena->page));
    arena->dirty = arena->populated = arena->peak = base + form->dirty;
    vmarena_arena_set_end(arena, base + form->used);
    *out = &arena->head;
    return 0;
}

/* How far down the arena was rewound since. */
static uintptr_t lowest_since(const struct vmarena_arena *arena, uint64_t generation) {
    for (unsigned i = 0; i < arena->rewound_count; i++)
        if (arena->rewound[i].generation > generation) return arena->rewound[i].floor;
    return UINTPTR_MAX;
}

void vmarena_arena_return(struct vmarena_arena *arena, size_t used, uint64_t generation) {
    uintptr_t base = (uintptr_t)arena->region.base, end = base + used, floor = lowest_since(arena, generation);
    remember_use(arena);
    remember_rewind(arena, floor < end ? floor : end);
    if (arena->annotated && used != 0) vmarena_prim_defined(arena->region.base, used);
    forbid(arena, end, arena->ready);
    vmarena_arena_set_end(arena, end);
}

int vmarena_on_fault(struct vmarena *handle, vmarena_fault_fn *function, void *arg) {
    struct vmarena_arena *arena = vmarena_arena_of(handle);
    if (arena == NULL) return -EBADF;
    return vmarena_fault_set_repair(&arena->region, function, arg);
}
