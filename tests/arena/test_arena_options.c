/* SPDX-License-Identifier: MIT */
/* What vmarena_create is asked for, and what the kernel says that it got: policies, limits, huge pages, flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static struct vmarena_stats stats_of(const struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats;
}

/* By members: what lies between them is of no value. */
static bool are_same(const struct vmarena_stats *a, const struct vmarena_stats *b) {
    bool sizes = a->reserved == b->reserved && a->committed == b->committed && a->used == b->used &&
                 a->peak == b->peak && a->objects == b->objects && a->resident == b->resident && a->huge == b->huge &&
                 a->guard == b->guard && a->page_size == b->page_size;
    bool choices = a->prot == b->prot && a->flags == b->flags && a->huge_asked == b->huge_asked &&
                   a->huge_obtained == b->huge_obtained && a->guard_kind == b->guard_kind &&
                   a->commit_policy == b->commit_policy;
    return sizes && choices && a->named == b->named && a->sealed == b->sealed && a->annotated == b->annotated;
}

static struct vmarena *make(struct vmarena_options options) {
    struct vmarena *arena = NULL;
    int error = vmarena_create(&arena, &options);
    if (error != 0) fail_msg("vmarena_create: %d: %s", error, vmarena_explain());
    return arena;
}

static bool explains(const char *words) {
    bool does = strstr(vmarena_explain(), words) != NULL;
    if (!does) fprintf(stderr, "\"%s\" is not in \"%s\"\n", words, vmarena_explain());
    return does;
}

#define SKIP(reason)                                                                                                   \
    do {                                                                                                               \
        print_message("skip: %s\n", reason);                                                                           \
        skip();                                                                                                        \
    } while (0)

/* Whether the mapping at address has a flag (proc(5), VmFlags in smaps). */
static bool has_vm_flag(const void *address, const char *flag) {
    char line[512], word[8];
    unsigned long long first, last;
    bool inside = false, found = false, has = false;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    assert_non_null(smaps);
    snprintf(word, sizeof word, " %s ", flag);
    while (!found && fgets(line, sizeof line, smaps) != NULL) {
        if (sscanf(line, "%llx-%llx ", &first, &last) == 2)
            inside = (uintptr_t)address >= first && (uintptr_t)address < last;
        found = inside && strncmp(line, "VmFlags:", 8) == 0;
        has = found && strstr(line, word) != NULL;
    }
    fclose(smaps);
    if (!found) SKIP("no VmFlags in /proc/self/smaps");
    return has;
}

static long minor_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

/* Minor faults that writing to each page takes. */
static long faults_of_touching(char *start, size_t size) {
    size_t page = vmarena_page_size();
    long before = minor_faults();
    for (size_t at = 0; at < size; at += page) poke(start + at, 1);
    return minor_faults() - before;
}

/* ---- bad options ------------------------------------------------------------------------------------------------- */

static void assert_no_arena(struct vmarena_options options, int error, const char *words) {
    struct vmarena *arena = (struct vmarena *)(uintptr_t)0x5a5a;
    size_t maps = count_maps();
    assert_int_equal(vmarena_create(&arena, &options), error);
    assert_true(explains(words));
    assert_ptr_equal(arena, (void *)0x5a5a);
    assert_maps(maps);
}

static void test_options_out_of_range(void **state) {
    (void)state;
    (void)count_maps();                                                          /* stdio's buffer is mapped now */
    vmarena_destroy(make((struct vmarena_options){.fence = VMARENA_FENCE_END})); /* and the library's records */
    assert_no_arena((struct vmarena_options){.huge = (enum vmarena_huge)6}, -EINVAL, "has no such value");
    assert_no_arena((struct vmarena_options){.fence = (enum vmarena_fence)3}, -EINVAL, "has no such value");
    assert_no_arena((struct vmarena_options){.fence = (enum vmarena_fence) - 1}, -EINVAL, "has no such value");
    assert_no_arena((struct vmarena_options){.guard_kind = (enum vmarena_guard_kind)4}, -EINVAL, "has no such value");
    assert_no_arena((struct vmarena_options){.commit_policy = (enum vmarena_commit_policy)3}, -EINVAL, "no such value");
    assert_no_arena((struct vmarena_options){.flags = 1u << 31}, -EINVAL, "unknown bits 0x80000000 in flags");
    assert_no_arena((struct vmarena_options){.flags = VMARENA_DONT_FORK | VMARENA_WIPE_ON_FORK}, -EINVAL, "exclude");
    assert_no_arena((struct vmarena_options){.fence = VMARENA_FENCE_END, .huge = VMARENA_HUGE_TRANSPARENT}, -EINVAL,
                    "cannot have huge pages");
    assert_no_arena((struct vmarena_options){.fence = VMARENA_FENCE_END,
                                             .guard_kind = VMARENA_GUARD_MARKER,
                                             .flags = VMARENA_WIPE_ON_FORK},
                    -EOPNOTSUPP, "guards by markers do not work here, or not in this memory");
    assert_int_equal(vmarena_create(NULL, NULL), -EINVAL);
}

static void test_sizes_out_of_range(void **state) {
    (void)state;
    (void)count_maps();
    static const struct vmarena_options sizes[] = {{.reserve = SIZE_MAX},
                                                   {.reserve = SIZE_MAX - 4095},
                                                   {.reserve = SIZE_MAX / 2},
                                                   {.reserve = 4096, .guard = SIZE_MAX},
                                                   {.reserve = 4096, .guard = SIZE_MAX / 2},
                                                   {.reserve = 4096, .guard = SIZE_MAX / 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int fence = VMARENA_FENCE_OFF; fence <= VMARENA_FENCE_START; fence++) {
            struct vmarena_options options = sizes[i];
            options.fence = (enum vmarena_fence)fence;
            assert_no_arena(options, -ENOMEM, "address space");
        }
    assert_no_arena((struct vmarena_options){.reserve = SIZE_MAX - 4095, .huge = VMARENA_HUGE_2M}, -ENOMEM, "address");
    assert_no_arena((struct vmarena_options){.reserve = SIZE_MAX / 2 - 1, .huge = VMARENA_HUGE_1G}, -ENOMEM, "addr");
}

static void test_smallest(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = 1, .guard = 1, .commit = 1});
    assert_int_equal(stats_of(arena).reserved, vmarena_page_size());
    assert_int_equal(stats_of(arena).guard, vmarena_page_size());
    assert_non_null(vmarena_alloc(arena, vmarena_page_size(), 1));
    vmarena_destroy(arena);
}

/* ---- commit policies --------------------------------------------------------------------------------------------- */

static void test_commit_by_steps(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    size_t page = vmarena_page_size();
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(peek_body, &fault, &fault), 0); /* the signal stack is mapped from here on */
    struct vmarena *arena = make(
        (struct vmarena_options){.reserve = 64 * page, .commit = 3 * page, .commit_policy = VMARENA_COMMIT_PROTECT});
    size_t maps = count_maps();
    assert_int_equal(stats_of(arena).commit_policy, VMARENA_COMMIT_PROTECT);
    assert_int_equal(stats_of(arena).committed, 0);
    char *base = vmarena_alloc(arena, 1, page);
    assert_int_equal(stats_of(arena).committed, 3 * page);
    assert_int_equal(vmarena_try(poke_body, base + 3 * page, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = base + 3 * page, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_OVERRUN, .object = base, .object_size = 1, .distance = (ptrdiff_t)(3 * page));
    assert_int_equal(faults_of_touching(base, 3 * page), 3);
    assert_non_null(vmarena_alloc(arena, 3 * page, 1));
    assert_int_equal(stats_of(arena).committed, 6 * page);
    for (char *object; (object = vmarena_alloc(arena, page, 1)) != NULL;) poke(object, 1);
    assert_int_equal(stats_of(arena).committed, 64 * page); /* the last step is cut at the reservation's end */
    assert_maps(maps + 2); /* one while all of it was inaccessible; guard, memory, guard now */
    vmarena_destroy(arena);
}

/* A range that is not committed yet is, so that a later commit does not undo its protection. */
static void test_ranges_ahead_of_commit(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    size_t page = vmarena_page_size();
    struct vmarena_fault fault;
    struct vmarena *arena = make(
        (struct vmarena_options){.reserve = 64 * page, .commit = 4 * page, .commit_policy = VMARENA_COMMIT_PROTECT});
    char *base = vmarena_alloc(arena, page, page);
    assert_int_equal(vmarena_protect_range(arena, base + 9 * page, page, VMARENA_READ), 0);
    assert_int_equal(stats_of(arena).committed, 12 * page);
    assert_non_null(vmarena_alloc(arena, 40 * page, 1));
    assert_int_equal(vmarena_try(peek_body, base + 9 * page, &fault), 0);
    assert_int_equal(vmarena_try(poke_body, base + 9 * page, &fault), 1);
    assert_int_equal(vmarena_try(poke_body, base + 10 * page, &fault), 0);
    vmarena_destroy(arena);
}

static void test_policy_without_limits(void **state) {
    (void)state;
    struct vmarena_caps caps;
    struct rlimit data, space;
    assert_int_equal(vmarena_caps(&caps), 0);
    getrlimit(RLIMIT_DATA, &data);
    getrlimit(RLIMIT_AS, &space);
    bool limited = caps.strict_overcommit || data.rlim_cur != RLIM_INFINITY || space.rlim_cur != RLIM_INFINITY;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB});
    struct vmarena_stats stats = stats_of(arena);
    bool by_steps = limited || stats.annotated; /* Valgrind marks every byte that becomes accessible */
    assert_int_equal(stats.commit_policy, by_steps ? VMARENA_COMMIT_PROTECT : VMARENA_COMMIT_NORESERVE);
    vmarena_destroy(arena);
}

static void limit(__rlimit_resource_t resource, size_t bytes) {
    CHECK(setrlimit(resource, &(struct rlimit){bytes, bytes}) == 0);
}

static void under_data_limit(void *unused) {
    (void)unused;
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.reserve = 4 * GIB, .commit_policy = VMARENA_COMMIT_NORESERVE};
    limit(RLIMIT_DATA, 256 * MIB);
    CHECK(vmarena_create(&arena, &options) == -ENOMEM && explains("mprotect: out of memory or address space"));
    options.commit_policy = VMARENA_COMMIT_AUTO;
    CHECK(vmarena_create(&arena, &options) == 0);
    CHECK(stats_of(arena).commit_policy == VMARENA_COMMIT_PROTECT);
    char *object = vmarena_alloc(arena, 100 * MIB, 1);
    CHECK(object != NULL);
    object[100 * MIB - 1] = 1;
    struct vmarena_stats before = stats_of(arena);
    CHECK(vmarena_alloc(arena, GIB, 1) == NULL && explains("mprotect: out of memory or address space for 1,07"));
    struct vmarena_stats after = stats_of(arena);
    CHECK(are_same(&before, &after));
    CHECK(vmarena_resize(arena, object, 100 * MIB, GIB) == NULL);
    CHECK(vmarena_alloc(arena, 50 * MIB, 1) != NULL); /* the rest can still be allocated */
    vmarena_destroy(arena);
    CHECK(vmarena_create(&arena, NULL) == 0 && stats_of(arena).commit_policy == VMARENA_COMMIT_PROTECT);
    CHECK(vmarena_alloc(arena, 10 * MIB, 1) != NULL);
}

static void test_data_limit(void **state) {
    (void)state;
    if (UNDER_SANITIZER) SKIP("a sanitizer's own memory exceeds the limit");
    assert_runs(under_data_limit, NULL);
}

static void under_space_limit(void *unused) {
    (void)unused;
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.reserve = 64 * GIB};
    limit(RLIMIT_AS, 3 * GIB);
    size_t maps = count_maps();
    for (int fence = VMARENA_FENCE_OFF; fence <= VMARENA_FENCE_START; fence++) {
        options.fence = (enum vmarena_fence)fence;
        CHECK(vmarena_create(&arena, &options) == -ENOMEM && explains("mmap: out of memory or address space for 68,7"));
        CHECK(arena == NULL && count_maps() == maps);
    }
    CHECK(vmarena_create(&arena, NULL) == 0); /* by default as much less as it takes */
    CHECK(stats_of(arena).reserved == 2 * GIB && stats_of(arena).commit_policy == VMARENA_COMMIT_PROTECT);
    CHECK(vmarena_alloc(arena, MIB, 1) != NULL);
    vmarena_destroy(arena);
    CHECK(vmarena_create(&arena, &(struct vmarena_options){.fence = VMARENA_FENCE_END}) == 0);
    CHECK(vmarena_alloc(arena, 100, 1) != NULL);
}

/* Huge pages or not: the alignment that the largest want gives way, too. */
static void huge_under_space_limit(void *unused) {
    (void)unused;
    limit(RLIMIT_AS, 600 * MIB);
    for (int huge = VMARENA_HUGE_SYSTEM; huge <= VMARENA_HUGE_1G; huge++) {
        struct vmarena *arena = NULL;
        CHECK(vmarena_create(&arena, &(struct vmarena_options){.huge = (enum vmarena_huge)huge}) == 0);
        CHECK(stats_of(arena).reserved == 512 * MIB && stats_of(arena).huge_obtained < VMARENA_HUGE_2M);
        vmarena_destroy(arena);
    }
}

/* Each default takes what there is, side tables and all, down to a mebibyte. */
static void until_no_space_is_left(void *arg) {
    struct vmarena_options options = {.fence = *(enum vmarena_fence *)arg};
    struct vmarena *arena = NULL;
    size_t last = SIZE_MAX, count = 0;
    limit(RLIMIT_AS, 3 * GIB);
    for (; vmarena_create(&arena, &options) == 0; count++) {
        CHECK(stats_of(arena).reserved <= last);
        last = stats_of(arena).reserved;
    }
    CHECK(last < 64 * MIB && count > 6 && explains("mmap: out of memory or address space for "));
    /* Whether the last one's pages or its tables did not fit is a matter of a few pages. */
    CHECK(mmap(NULL, MIB + 64 * 1024, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    struct vmarena_scratch scratch = vmarena_scratch_begin(NULL);
    CHECK(scratch.arena == NULL);
    vmarena_destroy(arena);
}

static void test_space_limit(void **state) {
    (void)state;
    if (UNDER_SANITIZER) SKIP("a sanitizer's own address space exceeds the limit");
    assert_runs(under_space_limit, NULL);
    assert_runs(huge_under_space_limit, NULL);
    enum vmarena_fence fences[] = {VMARENA_FENCE_OFF, VMARENA_FENCE_END};
    for (size_t i = 0; i < 2; i++) assert_runs(until_no_space_is_left, &fences[i]);
}

/* Everything is taken: the arena cannot be made, whichever call it is that fails, and nothing stays behind. */
static void without_space(void *unused) {
    (void)unused;
    static struct vmarena *arenas[4096];
    struct vmarena_options options = {.reserve = 4 * MIB, .fence = VMARENA_FENCE_END};
    size_t count = 0;
    (void)count_maps();
    limit(RLIMIT_AS, 600 * MIB);
    while (count < 4096 && vmarena_create(&arenas[count], &options) == 0) count++;
    CHECK(count > 10 && count < 4096 && explains("out of memory or address space"));
    size_t maps = count_maps();
    for (int i = 0; i < 100; i++) CHECK(vmarena_create(&arenas[4095], &options) == -ENOMEM);
    CHECK(count_maps() == maps && arenas[4095] == NULL);
    vmarena_destroy(arenas[--count]);
    CHECK(vmarena_create(&arenas[count], &options) == 0);
}

static void test_no_space_left(void **state) {
    (void)state;
    if (UNDER_SANITIZER) SKIP("a sanitizer's own address space exceeds the limit");
    assert_runs(without_space, NULL);
}

/* ---- map entries ------------------------------------------------------------------------------------------------- */

static void without_map_entries(void *unused) {
    (void)unused;
    struct vmarena_caps caps;
    struct vmarena *arena = NULL, *other = NULL;
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .guard_kind = VMARENA_GUARD_PROTECT};
    /* All of it accessible: what is not, as under strict overcommit, may join its neighbours and take no entry. */
    struct vmarena_options open = {.reserve = MIB, .commit_policy = VMARENA_COMMIT_NORESERVE};
    CHECK(vmarena_fault_reassert() == 0 && vmarena_caps(&caps) == 0 && vmarena_create(&arena, &options) == 0);
    struct vmarena_mark start = vmarena_mark(arena);
    char *last = NULL;
    for (char *object; (object = vmarena_alloc(arena, 10, 1)) != NULL;) last = object;
    CHECK(explains("mprotect: the process has") && explains(" map entries; raise vm.max_map_count or use guard mark"));
    struct vmarena_stats stats = stats_of(arena), after;
    CHECK(stats.objects > caps.map_entry_limit / 2 - 200 && stats.objects < caps.map_entry_limit / 2);
    for (int i = 0; i < 10; i++) CHECK(vmarena_alloc(arena, 10, 1) == NULL);
    after = stats_of(arena);
    CHECK(after.objects == stats.objects && after.used == stats.used);
    CHECK(vmarena_create(&other, &open) == -ENOMEM && explains(" map entries; raise vm.max_map_count"));
    struct vmarena_fault fault;
    CHECK(vmarena_try(poke_body, last + 10, &fault) == 1 && fault.object == last && fault.distance == 1);
    CHECK(vmarena_check(arena) == 0);
    CHECK(vmarena_rewind(arena, start) == 0); /* what gives entries back works without any */
    CHECK(vmarena_alloc(arena, 10, 1) != NULL);
    /* Strict overcommit keeps pages that were accounted for apart from those that never were: no entries come back. */
    CHECK(caps.strict_overcommit || vmarena_create(&other, &open) == 0);
}

static void test_map_entries_exhausted(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.map_entry_limit == 0 || caps.map_entry_limit > 300000) SKIP("vm.max_map_count is unknown or very high");
    if (UNDER_SANITIZER) SKIP("a sanitizer needs map entries of its own");
    assert_runs(without_map_entries, NULL);
}

/* ---- huge pages -------------------------------------------------------------------------------------------------- */

static void test_transparent_huge_pages(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    for (int policy = VMARENA_COMMIT_NORESERVE; policy <= VMARENA_COMMIT_PROTECT; policy++) {
        struct vmarena *arena = make((struct vmarena_options){.reserve = 64 * MIB,
                                                              .huge = VMARENA_HUGE_TRANSPARENT,
                                                              .commit_policy = (enum vmarena_commit_policy)policy});
        struct vmarena_stats stats = stats_of(arena);
        assert_int_equal(stats.huge_asked, VMARENA_HUGE_TRANSPARENT);
        if (stats.huge_obtained == VMARENA_HUGE_TRANSPARENT && caps.thp >= VMARENA_THP_MADVISE) {
            char *object = vmarena_alloc(arena, 8 * MIB, caps.huge_page_size);
            for (size_t at = 0; at < 8 * MIB; at += vmarena_page_size()) poke(object + at, 1);
            stats = stats_of(arena);
        }
        vmarena_destroy(arena);
        if (caps.thp < VMARENA_THP_MADVISE) SKIP("this system gives no transparent huge pages");
        if (stats.resident == 0) SKIP("the system does not tell what is resident");
        if (stats.huge == 0) SKIP("the kernel had no huge page at hand");
        assert_int_equal(stats.huge % caps.huge_page_size, 0);
        assert_in_range(stats.huge, caps.huge_page_size, 8 * MIB);
        assert_int_equal(stats.page_size, vmarena_page_size());
    }
}

static void test_collapse(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    struct vmarena *arena = make((struct vmarena_options){.reserve = 64 * MIB, .huge = VMARENA_HUGE_COLLAPSE});
    assert_non_null(vmarena_alloc(arena, 1, 1));
    struct vmarena_stats stats = stats_of(arena);
    vmarena_destroy(arena);
    assert_int_equal(stats.huge_asked, VMARENA_HUGE_COLLAPSE);
    if (!caps.collapse) assert_int_not_equal(stats.huge_obtained, VMARENA_HUGE_COLLAPSE);
    if (!caps.collapse) SKIP("this kernel has no MADV_COLLAPSE");
    if (stats.resident == 0) SKIP("the system does not tell what is resident");
    if (stats.huge == 0) SKIP("the kernel had no huge page at hand");
    assert_int_equal(stats.huge_obtained, VMARENA_HUGE_COLLAPSE);
    assert_int_equal(stats.huge, caps.huge_page_size); /* at once, untouched */
}

static void test_never_huge(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = 64 * MIB, .huge = VMARENA_HUGE_NEVER});
    char *object = vmarena_alloc(arena, 8 * MIB, 1);
    (void)faults_of_touching(object, 8 * MIB);
    struct vmarena_stats stats = stats_of(arena);
    bool refused = has_vm_flag(object, "nh");
    vmarena_destroy(arena);
    assert_int_equal(stats.huge, 0);
    assert_int_equal(stats.huge_obtained, refused ? VMARENA_HUGE_NEVER : VMARENA_HUGE_SYSTEM);
    assert_true(stats.resident == 0 || stats.resident == 8 * MIB);
}

/* Without a pool the ladder goes down, and the memory is there all the same. */
static void test_the_ladder_goes_down(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.hugetlb_2m_free >= 16 || caps.hugetlb_1g_free > 0) SKIP("the hugetlb pool is large enough to climb");
    for (int huge = VMARENA_HUGE_2M; huge <= VMARENA_HUGE_1G; huge++)
        for (int policy = VMARENA_COMMIT_NORESERVE; policy <= VMARENA_COMMIT_PROTECT; policy++) {
            size_t maps = count_maps();
            struct vmarena *arena = make((struct vmarena_options){
                .reserve = GIB, .huge = (enum vmarena_huge)huge, .commit_policy = (enum vmarena_commit_policy)policy});
            struct vmarena_stats stats = stats_of(arena);
            assert_int_equal(stats.huge_asked, huge);
            assert_true(stats.huge_obtained == VMARENA_HUGE_TRANSPARENT || stats.huge_obtained == VMARENA_HUGE_SYSTEM);
            assert_int_equal(stats.page_size, vmarena_page_size());
            char *object = vmarena_alloc(arena, 10 * MIB, 1);
            poke(object, 1);
            poke(object + 10 * MIB - 1, 2);
            assert_int_equal(peek(object), 1);
            assert_int_equal(peek(object + 10 * MIB - 1), 2);
            vmarena_destroy(arena);
            assert_maps(maps);
        }
}

static void test_hugetlb(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.hugetlb_2m_free < 4) SKIP("fewer than four 2 MiB pages are free in the hugetlb pool");
    struct vmarena *arena = make((struct vmarena_options){.reserve = 8 * MIB, .huge = VMARENA_HUGE_2M});
    struct vmarena_stats stats = stats_of(arena);
    assert_int_equal(stats.huge_obtained, VMARENA_HUGE_2M);
    assert_int_equal(stats.page_size, 2 * MIB);
    char *object = vmarena_alloc(arena, 8 * MIB, 1);
    poke(object + 8 * MIB - 1, 1);
    assert_int_equal(stats_of(arena).huge, caps.pagemap_scan ? 2 * MIB : 0);
    assert_int_equal(vmarena_protect_range(arena, object, vmarena_page_size(), VMARENA_READ), -EINVAL);
    assert_int_equal(vmarena_protect_range(arena, object, 2 * MIB, VMARENA_READ), 0);
    vmarena_destroy(arena);
}

/* ---- flags ------------------------------------------------------------------------------------------------------- */

static void test_dont_dump(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_DONT_DUMP});
    struct vmarena *plain = make((struct vmarena_options){.reserve = MIB});
    assert_int_equal(stats_of(arena).flags, VMARENA_DONT_DUMP);
    assert_true(has_vm_flag(vmarena_alloc(arena, 1, 1), "dd"));
    assert_false(has_vm_flag(vmarena_alloc(plain, 1, 1), "dd"));
    vmarena_destroy(arena);
    vmarena_destroy(plain);
}

static void test_dont_fork(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_DONT_FORK});
    char *object = vmarena_alloc(arena, 10, 1);
    poke(object, 7);
    assert_dies(peek_body, object, SIGSEGV);
    assert_int_equal(peek(object), 7);
    vmarena_destroy(arena);
}

static void finds_zero(void *object) { CHECK(peek(object) == 0 && peek((char *)object + 9) == 0); }
static void finds_seven(void *object) { CHECK(peek(object) == 7); }

static void test_wipe_on_fork(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_WIPE_ON_FORK});
    struct vmarena *plain = make((struct vmarena_options){.reserve = MIB});
    char *object = vmarena_alloc(arena, 10, 1), *kept = vmarena_alloc(plain, 10, 1);
    memset(object, 7, 10);
    memset(kept, 7, 10);
    assert_runs(finds_zero, object);
    assert_runs(finds_seven, kept);
    assert_int_equal(peek(object), 7);
    vmarena_destroy(arena);
    vmarena_destroy(plain);
}

static void test_lock(void **state) {
    (void)state;
    skip_where_nothing_is_locked();
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_LOCK, .commit = 16384});
    char *object = vmarena_alloc(arena, 20000, 1);
    assert_non_null(object);
    assert_true(has_vm_flag(object, "lo"));
    assert_int_equal(faults_of_touching(object, 20000), 0);
    assert_true(stats_of(arena).resident == 0 || stats_of(arena).resident == 32768);
    assert_int_equal(vmarena_reset(arena, 0), 0); /* locked: all of it is kept, and cleared where that is asked for */
    assert_true(stats_of(arena).resident == 0 || stats_of(arena).resident == 32768);
    object = vmarena_alloc_zeroed(arena, 20000, 1);
    assert_int_equal(peek(object), 0);
    vmarena_destroy(arena);
}

static void beyond_memlock(void *fence) {
    struct vmarena *arena = NULL;
    struct vmarena_options options = {
        .reserve = MIB, .flags = VMARENA_LOCK, .commit = 16384, .fence = *(enum vmarena_fence *)fence};
    limit(RLIMIT_MEMLOCK, 65536);
    if (geteuid() == 0) CHECK(setresuid(65534, 65534, 65534) == 0); /* root may lock as much as it likes */
    CHECK(vmarena_create(&arena, &options) == 0);
    char *object = vmarena_alloc(arena, 10000, 1);
    CHECK(object != NULL);
    struct vmarena_stats before = stats_of(arena);
    struct vmarena_fault fault;
    for (int i = 0; i < 3; i++) CHECK(vmarena_alloc(arena, 100000, 1) == NULL && explains("RLIMIT_MEMLOCK"));
    struct vmarena_stats after = stats_of(arena);
    CHECK(are_same(&before, &after));
    if (options.fence == VMARENA_FENCE_OFF) return;
    CHECK(vmarena_fault_reassert() == 0);
    char *behind = object + 10000 + 2 * vmarena_page_size(); /* past the object's guard nothing was left open */
    CHECK(vmarena_try(poke_body, behind, &fault) == 1 && fault.object == object);
}

static void test_lock_limit(void **state) {
    (void)state;
    skip_where_nothing_is_locked();
    for (int fence = VMARENA_FENCE_OFF; fence <= VMARENA_FENCE_START; fence++) assert_runs(beyond_memlock, &fence);
}

/* ---- pages brought in -------------------------------------------------------------------------------------------- */

static void test_prefault_flag(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_PREFAULT, .commit = 65536});
    for (int i = 0; i < 3; i++) {
        char *object = vmarena_alloc(arena, 200000, 1);
        assert_int_equal(faults_of_touching(object, 200000), 0);
        assert_int_equal(vmarena_reset(arena, (size_t)i * 100000), 0); /* what was given back comes back at once, too */
    }
    vmarena_destroy(arena);
}

static void test_prefault_call(void **state) {
    (void)state;
    for (int policy = VMARENA_COMMIT_NORESERVE; policy <= VMARENA_COMMIT_PROTECT; policy++) {
        struct vmarena *arena =
            make((struct vmarena_options){.reserve = MIB, .commit_policy = (enum vmarena_commit_policy)policy});
        assert_non_null(vmarena_alloc(arena, 100, 1));
        assert_int_equal(vmarena_prefault(arena, 300000), 0);
        assert_int_equal(stats_of(arena).used, 100);
        char *object = vmarena_alloc(arena, 300000, 1);
        assert_int_equal(faults_of_touching(object, 300000), 0);
        assert_int_equal(vmarena_prefault(arena, MIB), -ENOSPC);
        assert_true(explains("bytes are left of 1048576"));
        assert_int_equal(vmarena_prefault(arena, SIZE_MAX), -ENOSPC);
        assert_int_equal(vmarena_prefault(arena, 0), 0);
        assert_int_equal(vmarena_prefault(arena, 500000), 0);
        assert_int_equal(vmarena_reset(arena, 0), 0); /* also what was brought in and never handed out */
        assert_int_equal(stats_of(arena).resident, 0);
        vmarena_destroy(arena);
    }
}

/* ---- under AddressSanitizer -------------------------------------------------------------------------------------- */

void *__asan_region_is_poisoned(void *start, size_t size) __attribute__((weak));

/* What the arena's memory becomes next must not be taken for a free part of an arena. */
static void test_no_poison_is_left(void **state) {
    (void)state;
    if (__asan_region_is_poisoned == NULL) SKIP("not built with AddressSanitizer");
    static const struct vmarena_options all[] = {{.reserve = MIB},
                                                 {.reserve = MIB, .flags = VMARENA_PREFAULT},
                                                 {.reserve = MIB, .commit_policy = VMARENA_COMMIT_PROTECT},
                                                 {.reserve = MIB, .fence = VMARENA_FENCE_END}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct vmarena *arena = make(all[i]);
        char *object = vmarena_alloc(arena, 300000, 1);
        char *end = object + 300000;
        if (all[i].fence == VMARENA_FENCE_OFF) assert_ptr_equal(__asan_region_is_poisoned(object, 300001), end);
        assert_int_equal(vmarena_reset(arena, 0), 0);
        object = vmarena_alloc(arena, 1000, 1);
        vmarena_destroy(arena);
        assert_null(__asan_region_is_poisoned(object, 900000));
    }
}

/* ---- sealed ------------------------------------------------------------------------------------------------------ */

static void sealed(void *unused) {
    (void)unused;
    size_t page = vmarena_page_size();
    struct vmarena *arena = NULL;
    CHECK(vmarena_create(&arena, &(struct vmarena_options){.reserve = MIB}) == 0);
    char *object = vmarena_alloc(arena, 4 * page, page);
    poke(object, 7);
    CHECK(vmarena_seal(arena) == 0 && stats_of(arena).sealed);
    struct vmarena_stats before = stats_of(arena);
    CHECK(vmarena_protect(arena, VMARENA_READ) == -EPERM && explains("sealed"));
    CHECK(vmarena_protect_range(arena, object, page, VMARENA_NONE) == -EPERM && explains("sealed"));
    CHECK(vmarena_protect_push(arena, VMARENA_READ) == -EPERM);
    CHECK(vmarena_discard(arena, object, page) == -EPERM && explains("sealed"));
    CHECK(vmarena_reset(arena, 0) == -EPERM && explains("sealed"));
    struct vmarena_stats after = stats_of(arena);
    CHECK(are_same(&before, &after));
    CHECK(mprotect(object, page, PROT_NONE) == -1 && errno == EPERM);
    CHECK(munmap(object - page, page) == -1 && errno == EPERM); /* the guard, too */
    poke(vmarena_alloc(arena, page, 1), 1);
    CHECK(vmarena_reset(arena, SIZE_MAX) == 0 && stats_of(arena).used == 0);
    vmarena_destroy(arena);
    CHECK(peek(object) == 7); /* forgotten, and still there */
    CHECK(vmarena_alloc(arena, 1, 1) == NULL && explains("destroyed"));
}

static void test_seal(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .fence = VMARENA_FENCE_END});
    assert_int_equal(vmarena_seal(arena), -EOPNOTSUPP);
    assert_true(explains("a fenced arena changes its mapping"));
    vmarena_destroy(arena);
    if (!caps.seal) SKIP("this kernel has no mseal(2)");
    assert_runs(sealed, NULL);
}

/* ---- names, execution -------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    char text[300];
    struct vmarena_fault fault;
    struct vmarena *arena =
        make((struct vmarena_options){.reserve = MIB, .name = "a name of more than thirty-one bytes"});
    char *object = vmarena_alloc(arena, MIB, 1);
    assert_int_equal(vmarena_try(poke_body, object + MIB, &fault), 1);
    assert_string_equal(fault.owner_name, "a name of more than thirty-one ");
    assert_ptr_equal(fault.owner, arena);
    vmarena_fault_describe(&fault, text, sizeof text);
    assert_non_null(strstr(text, " in \"a name of more than thirty-one \" (SIGSEGV"));
    bool named = stats_of(arena).named, listed = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(text, sizeof text, maps) != NULL)
        listed = listed || strstr(text, "[anon:a name of more than thirty-one ]") != NULL;
    fclose(maps);
    vmarena_destroy(arena);
    assert_int_equal(listed, named);
    if (!named) SKIP("this kernel takes no names (CONFIG_ANON_VMA_NAME); the fault was named all the same");
}

static void test_exec(void **state) {
    (void)state;
    struct vmarena *arena = make((struct vmarena_options){.reserve = MIB, .flags = VMARENA_ALLOW_EXEC});
    char *object = vmarena_alloc(arena, 100, 1);
    assert_false(has_vm_flag(object, "ex"));
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_EXEC), 0);
    assert_true(has_vm_flag(object, "ex"));
    assert_false(has_vm_flag(object, "wr"));
    assert_int_equal(stats_of(arena).prot, VMARENA_READ | VMARENA_EXEC);
    vmarena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_out_of_range),
        cmocka_unit_test(test_sizes_out_of_range),
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_commit_by_steps),
        cmocka_unit_test(test_ranges_ahead_of_commit),
        cmocka_unit_test(test_policy_without_limits),
        cmocka_unit_test(test_data_limit),
        cmocka_unit_test(test_space_limit),
        cmocka_unit_test(test_no_space_left),
        cmocka_unit_test(test_map_entries_exhausted),
        cmocka_unit_test(test_transparent_huge_pages),
        cmocka_unit_test(test_collapse),
        cmocka_unit_test(test_never_huge),
        cmocka_unit_test(test_the_ladder_goes_down),
        cmocka_unit_test(test_hugetlb),
        cmocka_unit_test(test_dont_dump),
        cmocka_unit_test(test_dont_fork),
        cmocka_unit_test(test_wipe_on_fork),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_lock_limit),
        cmocka_unit_test(test_prefault_flag),
        cmocka_unit_test(test_prefault_call),
        cmocka_unit_test(test_no_poison_is_left),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_exec),
    };
    return cmocka_run_group_tests_name("arena_options", tests, NULL, NULL);
}
