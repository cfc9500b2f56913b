/* SPDX-License-Identifier: MIT */
/* The guarded heap at its limits, and what it does not guard: options, fallback, caps, and a system that refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>

#include "vmarena.h"

#include "support.h"

#include "heap/heap.h"

#include "heap_support.h"

static size_t page;

/* ---- a fallback that counts -------------------------------------------------------------------------------------------- */

static struct {
    size_t allocs, callocs, reallocs, frees;
    void *owned[100000];
    size_t count;
} other;

static void *own(void *pointer) {
    other.owned[other.count++ % 100000] = pointer;
    return pointer;
}
static void *other_alloc(size_t size, size_t align, void *arg) {
    assert_string_equal(arg, "arg");
    other.allocs++;
    return own(aligned_alloc(align, (size + align - 1) / align * align));
}
static void *other_calloc(size_t size, size_t align, void *arg) {
    void *pointer = other_alloc(size, align, arg);
    other.allocs--;
    other.callocs++;
    return memset(pointer, 0, size);
}
static void *other_realloc(void *pointer, size_t size, void *arg) {
    assert_string_equal(arg, "arg");
    other.reallocs++;
    return own(realloc(pointer, size));
}
static void other_free(void *pointer, void *arg) {
    assert_string_equal(arg, "arg");
    other.frees++;
    free(pointer);
}
static size_t other_usable_size(const void *pointer, void *arg) {
    assert_string_equal(arg, "arg");
    return malloc_usable_size((void *)(uintptr_t)pointer);
}
static bool other_owns(const void *pointer, void *arg) {
    assert_string_equal(arg, "arg");
    for (size_t i = 0; i < other.count && i < 100000; i++)
        if (other.owned[i] == pointer) return true;
    return false;
}

static const struct vmarena_heap_fallback fallback = {
    other_alloc, other_calloc, other_realloc, other_free, other_usable_size, other_owns, (void *)(uintptr_t) "arg"};

static struct vmarena_heap *heap_with_fallback(struct vmarena_heap_options options) {
    memset(&other, 0, sizeof other);
    options.fallback = &fallback;
    return make_heap(options);
}
#define new_heap_with_fallback(...) heap_with_fallback((struct vmarena_heap_options){__VA_ARGS__})

/* ---- options --------------------------------------------------------------------------------------------------------------- */

static void test_bad_options(void **state) {
    static const struct vmarena_heap_fallback incomplete = {.alloc = other_alloc};
    static const struct {
        struct vmarena_heap_options options;
        const char *words;
    } bad[] = {
        {{.align = 3}, "options.align: 3 is no power of two"},
        {{.side = (enum vmarena_heap_side)3}, "side, reuse, full or guard_kind"},
        {{.reuse = (enum vmarena_heap_reuse)2}, "side, reuse, full or guard_kind"},
        {{.full = (enum vmarena_heap_full)2}, "side, reuse, full or guard_kind"},
        {{.guard_kind = (enum vmarena_guard_kind)4}, "side, reuse, full or guard_kind"},
        {{.flags = 4}, "unknown bits in 0x4"},
        {{.stack_depth = 65}, "65 is more than 64"},
        {{.sample = 2}, "options.fallback is needed"},
        {{.guard_min = 2}, "options.fallback is needed"},
        {{.guard_max = 2}, "options.fallback is needed"},
        {{.full = VMARENA_HEAP_UNGUARDED}, "options.fallback is needed"},
        {{.guard_min = 3, .guard_max = 2, .fallback = &fallback}, "guard_min is more than guard_max"},
        {{.fallback = &incomplete}, "options.fallback"},
        {{.reserve = SIZE_MAX}, "exceed the address space"},
        {{.guard = SIZE_MAX}, "too wide"},
        {{.sample = SIZE_MAX / 2 + 1, .fallback = &fallback}, "options.sample"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct vmarena_heap *heap = (struct vmarena_heap *)1;
        assert_int_equal(vmarena_heap_create(&heap, &bad[i].options), -EINVAL);
        assert_ptr_equal(heap, (struct vmarena_heap *)1);
        assert_last_words(bad[i].words);
    }
    assert_int_equal(vmarena_heap_create(NULL, NULL), -EINVAL);
}

static void test_create_and_destroy_leave_nothing(void **state) {
    struct vmarena_heap *heap = new_heap(.name = "first"); /* the library's own tables are made once */
    (void)state;
    vmarena_heap_destroy(heap);
    size_t entries = count_maps();
    for (int i = 0; i < 200; i++) {
        heap = new_heap(.name = "again");
        char *objects[20];
        for (size_t k = 0; k < 20; k++) objects[k] = new_object(heap, k * 5000, 0);
        char *large = new_object(heap, (size_t)80 << 20, 0), *kept = new_object(heap, (size_t)80 << 20, 0);
        for (size_t k = 0; k < 20; k += 2) assert_int_equal(vmarena_heap_free(heap, objects[k]), 0);
        assert_int_equal(vmarena_heap_free(heap, large), 0);
        assert_non_null(kept);
        vmarena_heap_destroy(heap);
    }
    if (memory_is_plain()) assert_true(count_maps() <= entries + 4); /* records, not one in 200 heaps */
}

/* ---- what is not guarded ------------------------------------------------------------------------------------------------------ */

static void test_fallback(void **state) {
    struct vmarena_heap *heap = new_heap_with_fallback(.guard_min = 100, .guard_max = 200);
    (void)state;
    char *small = new_object(heap, 99, 0), *least = new_object(heap, 100, 0), *most = new_object(heap, 200, 0);
    char *large = vmarena_heap_calloc(heap, 1, 201, 64);
    assert_int_equal(other.allocs, 1);
    assert_int_equal(other.callocs, 1);
    assert_false(vmarena_heap_owns(heap, small));
    assert_true(vmarena_heap_owns(heap, least));
    assert_true(vmarena_heap_owns(heap, most));
    assert_false(vmarena_heap_owns(heap, large));
    assert_int_equal((uintptr_t)large % 64, 0);
    assert_int_equal((uintptr_t)small % 16, 0);
    assert_int_equal(vmarena_heap_usable_size(heap, least), 100);
    assert_true(vmarena_heap_usable_size(heap, small) >= 99);
    struct vmarena_heap_stats stats = stats_of(heap);
    assert_int_equal(stats.unsampled, 2);
    assert_int_equal(stats.unguarded, 0);
    assert_int_equal(stats.live, 2);
    /* Sizes decide anew at a realloc of a guarded object, and one of the fallback's stays there. */
    memset(least, 7, 100);
    least = vmarena_heap_realloc(heap, least, 300);
    assert_false(vmarena_heap_owns(heap, least));
    for (size_t i = 0; i < 100; i++) assert_int_equal(least[i], 7);
    small = vmarena_heap_realloc(heap, small, 150);
    assert_int_equal(other.reallocs, 1);
    assert_int_equal(vmarena_heap_free(heap, small), 0);
    assert_int_equal(vmarena_heap_free(heap, least), 0);
    assert_int_equal(vmarena_heap_free(heap, large), 0);
    assert_int_equal(vmarena_heap_free(heap, most), 0);
    assert_int_equal(other.frees, 3);
    assert_int_equal(reports.count, 0);
    assert_int_equal(vmarena_heap_free(heap, &stats), -EINVAL); /* the fallback knows that it is not its own */
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_INVALID_FREE);
    vmarena_heap_destroy(heap);
}

static void test_sampling(void **state) {
    struct vmarena_heap *heap = new_heap_with_fallback(.sample = 10);
    static char *objects[20000];
    size_t guarded = 0, longest = 0, run = 0;
    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        objects[i] = new_object(heap, 24, 0);
        run = vmarena_heap_owns(heap, objects[i]) ? 0 : run + 1;
        if (run > longest) longest = run;
        guarded += run == 0;
    }
    /* The mean is 10; 1,800 and 2,200 are six standard deviations off. No gap is wider than 19. */
    assert_in_range(guarded, 1800, 2200);
    assert_true(longest <= 18);
    assert_int_equal(stats_of(heap).allocs, guarded);
    assert_int_equal(stats_of(heap).unsampled, 20000 - guarded);
    for (size_t i = 0; i < 20000; i++) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
    assert_int_equal(other.frees, 20000 - guarded);
    vmarena_heap_destroy(heap);
}

/* Each heap keeps its own rate where a thread uses two in turn. */
static void test_sampling_of_two_heaps(void **state) {
    struct vmarena_heap *often = new_heap_with_fallback(.sample = 2), *seldom = new_heap_with_fallback(.sample = 1000);
    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        assert_int_equal(vmarena_heap_free(often, new_object(often, 24, 0)), 0);
        assert_int_equal(vmarena_heap_free(seldom, new_object(seldom, 24, 0)), 0);
    }
    /* Six standard deviations around 10,000 and 20. */
    assert_in_range(stats_of(often).allocs, 9750, 10250);
    assert_in_range(stats_of(seldom).allocs, 4, 36);
    vmarena_heap_destroy(often);
    vmarena_heap_destroy(seldom);
}

/* The same for the side. */
static void test_alternate_of_two_heaps(void **state) {
    struct vmarena_heap *heaps[] = {new_heap(.side = VMARENA_HEAP_ALTERNATE), new_heap(.side = VMARENA_HEAP_ALTERNATE)};
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        struct vmarena_heap_object object;
        assert_int_equal(vmarena_heap_find(heaps[i % 2], new_object(heaps[i % 2], 24, 0), &object), 0);
        assert_int_equal(object.side, i / 2 % 2 == 0 ? VMARENA_HEAP_END : VMARENA_HEAP_START);
    }
    for (size_t i = 0; i < 2; i++) vmarena_heap_destroy(heaps[i]);
}

/* Gaps as long as the rate asks for, not only as 32 bits hold. */
static void test_sampling_seldom(void **state) {
    uint64_t longest = 0;
    (void)state;
    if (SIZE_MAX / 2 < (uint64_t)1 << 40) {
        print_message("skip: sizes have 32 bits here\n");
        skip();
    }
    for (size_t i = 0; i < 64; i++) {
        struct vmarena_heap *heap = new_heap_with_fallback(.sample = (size_t)1 << 40);
        assert_int_equal(vmarena_heap_free(heap, new_object(heap, 24, 0)), 0);
        for (size_t shard = 0; shard < VMARENA_SHARDS; shard++)
            if (heap->shards[shard].gap > longest) longest = heap->shards[shard].gap;
        vmarena_heap_destroy(heap);
    }
    assert_in_range(longest, (uint64_t)1 << 38, (uint64_t)1 << 41);
}

/* ---- caps ------------------------------------------------------------------------------------------------------------------------ */

static void test_memory_cap(void **state) {
    struct vmarena_heap *heap = new_heap(.memory_cap = 10 * page, .name = "capped");
    char *objects[10];
    (void)state;
    for (size_t i = 0; i < 10; i++) objects[i] = new_object(heap, 24, 0);
    assert_null(vmarena_heap_alloc(heap, 24, 0));
    assert_last_words("would exceed its memory cap");
    assert_null(vmarena_heap_realloc(heap, objects[0], 100));
    assert_int_equal(vmarena_heap_usable_size(heap, objects[0]), 24);
    assert_int_equal(vmarena_heap_free(heap, objects[9]), 0);
    objects[9] = new_object(heap, 24, 0);
    assert_int_equal(stats_of(heap).failed, 2);
    assert_int_equal(stats_of(heap).page_peak, 10 * page);
    vmarena_heap_destroy(heap);
}

static void test_memory_cap_unguarded(void **state) {
    struct vmarena_heap *heap = new_heap_with_fallback(.memory_cap = 10 * page, .full = VMARENA_HEAP_UNGUARDED);
    char *objects[30];
    (void)state;
    for (size_t i = 0; i < 30; i++) {
        objects[i] = new_object(heap, 24, 0);
        assert_int_equal(vmarena_heap_owns(heap, objects[i]), i < 10);
    }
    assert_int_equal(stats_of(heap).unguarded, 20);
    assert_int_equal(stats_of(heap).failed, 0);
    assert_null(vmarena_heap_alloc(heap, 24, 3)); /* senseless requests are not handed on */
    assert_int_equal(stats_of(heap).unguarded, 20);
    for (size_t i = 0; i < 30; i++) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
    assert_true(vmarena_heap_owns(heap, new_object(heap, 24, 0)));
    vmarena_heap_destroy(heap);
}

static void test_reservation_is_full(void **state) {
    struct vmarena_heap *heap = new_heap(.reserve = 1, .flags = VMARENA_HEAP_NO_QUARANTINE);
    size_t reserved = stats_of(heap).reserved, count = 0;
    static char *objects[257];
    (void)state;
    assert_int_equal(reserved, 512 * page);
    while ((objects[count] = vmarena_heap_alloc(heap, 24, 0)) != NULL) count++;
    assert_int_equal(count, 256); /* a page and a guard each, to the last */
    assert_last_words("of its reservation are in use");
    struct vmarena_fault fault = fault_at(objects[255] + 32, VMARENA_ACCESS_WRITE);
    assert_ptr_equal(fault.object, objects[255]);
    fault = fault_at(objects[255] + 32 + page, VMARENA_ACCESS_WRITE); /* the edge of the reservation */
    assert_ptr_equal(fault.object, objects[255]);
    fault = fault_at(objects[0] - page, VMARENA_ACCESS_READ);
    assert_ptr_equal(fault.object, objects[0]);
    assert_int_equal(fault.kind, VMARENA_FAULT_UNDERRUN);
    for (size_t i = 0; i < count; i++) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
    for (size_t i = 0; i < count; i++) (void)new_object(heap, 24, 0);
    vmarena_heap_destroy(heap);
}

/* What another thread freed, and keeps for reuse, is found before the heap says that it is full. */
static void *free_three(void *arg) {
    char **objects = arg;
    for (size_t i = 1; i <= 3; i++) assert_int_equal(vmarena_heap_free((void *)objects[0], objects[i]), 0);
    return NULL;
}

static void full_of_what_others_freed(unsigned flags) {
    struct vmarena_heap *heap = new_heap(.reserve = 1, .flags = flags);
    char *objects[4] = {(void *)heap};
    pthread_t thread;
    size_t count = 0;
    for (char *object; (object = vmarena_heap_alloc(heap, 24, 0)) != NULL; count++) objects[1 + count % 3] = object;
    assert_int_equal(count, 256);
    assert_int_equal(pthread_create(&thread, NULL, free_three, objects), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 3; i++) (void)new_object(heap, 24, 0);
    assert_null(vmarena_heap_alloc(heap, 24, 0));
    vmarena_heap_destroy(heap);
}

static void test_others_have_free_slots(void **state) {
    (void)state;
    full_of_what_others_freed(0);
    full_of_what_others_freed(VMARENA_HEAP_NO_QUARANTINE);
}

/* ---- map entries ---------------------------------------------------------------------------------------------------------------- */

/* A million objects, unless memory is not the system's alone here. */
static void cost_no_map_entries(enum vmarena_guard_kind kind) {
    if (!guards_work(kind)) skip();
    struct vmarena_heap *heap = new_heap(.guard_kind = kind, .flags = VMARENA_HEAP_NO_STACKS);
    size_t entries = count_maps(), count = memory_is_plain() ? 1000000 : 5000;
    for (size_t i = 0; i < count; i++)
        if (vmarena_heap_alloc(heap, 24, 0) == NULL) fail_msg("object %zu: %s", i, vmarena_explain());
    assert_true(count_maps() <= entries + 8);
    assert_int_equal(stats_of(heap).guard_limit, 0);
    vmarena_heap_destroy(heap);
}

static void test_markers_cost_no_map_entries(void **state) {
    (void)state;
    cost_no_map_entries(VMARENA_GUARD_MARKER);
}

static void test_userfaultfd_costs_no_map_entries(void **state) {
    (void)state;
    cost_no_map_entries(VMARENA_GUARD_USERFAULT);
}

/* A heap by mprotect says how far it can go, warns before, and leaves the program map entries when it ends. */
static void test_map_entries_run_out(void **state) {
    struct vmarena_heap *heap = new_heap(.guard_kind = VMARENA_GUARD_PROTECT, .flags = VMARENA_HEAP_NO_STACKS);
    struct vmarena_caps caps;
    struct vmarena_heap_stats stats = stats_of(heap);
    (void)state;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.map_entry_limit == 0 || caps.map_entry_limit > 200000 || !memory_is_plain()) {
        print_message("skip: no limit of map entries that could be reached here\n");
        vmarena_heap_destroy(heap);
        skip();
    }
    assert_int_equal(stats.guard_kind, VMARENA_GUARD_PROTECT);
    assert_int_equal(stats.map_entry_limit, caps.map_entry_limit);
    assert_in_range(stats.guard_limit, caps.map_entry_limit / 8 * 3, caps.map_entry_limit / 2);
    size_t count = 0;
    for (; vmarena_heap_alloc(heap, 24, 0) != NULL; count++)
        if (reports.count == 0) assert_true(count <= stats.guard_limit / 10 * 9);
    assert_int_equal(count, stats.guard_limit);
    assert_last_words("raise vm.max_map_count");
    assert_int_equal(reports.count, 1);
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_NEAR_LIMIT);
    assert_int_equal(stats_of(heap).errors, 0);
    for (int i = 0; i < 1000; i++) (void)map_pages(1, i % 2 ? PROT_READ : PROT_NONE); /* there is room for others */
    vmarena_heap_destroy(heap);
}

/* mprotect alone leaves an entry behind for each object that was ever freed, see slots.c. */
static void test_freed_objects_cost_no_map_entries(void **state) {
    struct vmarena_heap *heap = new_heap(.guard_kind = VMARENA_GUARD_PROTECT);
    static char *objects[2000];
    (void)state;
    if (!memory_is_plain()) {
        print_message("skip: sanitizers and Valgrind have mappings of their own\n");
        vmarena_heap_destroy(heap);
        skip();
    }
    size_t entries = count_maps();
    for (size_t i = 0; i < 2000; i++) *(objects[i] = new_object(heap, 24, 0)) = 1;
    assert_in_range(count_maps() - entries, 3990, 4010);
    for (size_t i = 0; i < 2000; i += 2) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
    assert_in_range(count_maps() - entries, 1990, 2010);
    for (size_t i = 1; i < 2000; i += 2) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
    assert_true(count_maps() <= entries + 10);
    vmarena_heap_destroy(heap);
}

static void use_up_map_entries(void *arg) {
    struct vmarena_heap *heap = NULL;
    struct vmarena_heap_options options = {
        .guard_kind = VMARENA_GUARD_PROTECT, .full = VMARENA_HEAP_UNGUARDED, .fallback = &fallback};
    (void)arg;
    memset(&other, 0, sizeof other);
    CHECK(vmarena_heap_create(&heap, &options) == 0);
    /* Somebody else takes them all after the heap was made. */
    size_t count = 0;
    for (; count < 300000; count++)
        if (mmap(NULL, page, count % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
    CHECK(count < 300000);
    for (int i = 0; i < 5000; i++) {
        char *object = vmarena_heap_alloc(heap, 24, 0);
        CHECK(object != NULL);
        object[0] = 1;
        CHECK(vmarena_heap_free(heap, object) == 0);
    }
    struct vmarena_heap_stats stats;
    vmarena_heap_stats(heap, &stats);
    CHECK(stats.unguarded == 5000 && stats.live == 0 && stats.page_bytes == 0 && other.allocs == 5000);
}

static void test_others_use_up_map_entries(void **state) {
    struct vmarena_caps caps;
    (void)state;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.map_entry_limit == 0 || caps.map_entry_limit > 200000 || !memory_is_plain()) {
        print_message("skip: no limit of map entries that could be reached here\n");
        skip();
    }
    assert_runs(use_up_map_entries, NULL);
}

/* ---- a system that refuses, in children ------------------------------------------------------------------------------------------- */

struct squeeze {
    int resource; /* -1: none */
    rlim_t limit;
    bool lock;
    struct vmarena_heap_options options;
    size_t most; /* objects it must fail before */
};

/* Allocates until it is refused; frees; and must get as much again. */
static void squeeze_child(void *arg) {
    const struct squeeze *squeeze = arg;
    struct vmarena_heap *heap = NULL;
    static char *objects[1000000];
    size_t count = 0;
    CHECK(vmarena_fault_reassert() == 0);
    if (squeeze->resource >= 0) {
        struct rlimit limit = {squeeze->limit, squeeze->limit};
        CHECK(setrlimit((__rlimit_resource_t)squeeze->resource, &limit) == 0);
    }
    if (squeeze->lock) CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    CHECK(vmarena_heap_create(&heap, &squeeze->options) == 0);
    for (int round = 0; round < 3; round++) {
        size_t least = count;
        for (count = 0; count < squeeze->most; count++) {
            objects[count] = vmarena_heap_alloc(heap, 3000, 0);
            if (objects[count] == NULL) break;
            memset(objects[count], 1, 3000);
        }
        CHECK(count < squeeze->most && count > 100);
        CHECK(vmarena_explain()[0] != '\0');
        CHECK(count >= least / 10 * 9);
        struct vmarena_heap_stats stats;
        vmarena_heap_stats(heap, &stats);
        CHECK(stats.live == count && stats.page_bytes == count * page);
        struct vmarena_fault fault;
        CHECK(vmarena_try(poke_body, objects[count - 1] + 3008, &fault) == 1 && fault.object == objects[count - 1]);
        for (size_t i = 0; i < count; i++) CHECK(vmarena_heap_free(heap, objects[i]) == 0);
    }
    vmarena_heap_destroy(heap);
}

/* The same where refused requests go to malloc: nobody notices, but for the count. */
static void squeeze_unguarded_child(void *arg) {
    struct squeeze squeeze = *(const struct squeeze *)arg;
    struct vmarena_heap *heap = NULL;
    struct vmarena_heap_stats stats;
    struct rlimit limit = {squeeze.limit, squeeze.limit};
    memset(&other, 0, sizeof other);
    squeeze.options.full = VMARENA_HEAP_UNGUARDED;
    squeeze.options.fallback = &fallback;
    CHECK(setrlimit((__rlimit_resource_t)squeeze.resource, &limit) == 0);
    CHECK(vmarena_heap_create(&heap, &squeeze.options) == 0);
    for (size_t i = 0; i < squeeze.most; i++) {
        vmarena_heap_stats(heap, &stats);
        if (stats.unguarded == 2000) break;
        char *object = vmarena_heap_alloc(heap, 24, 0);
        CHECK(object != NULL);
        memset(object, 1, 24);
    }
    CHECK(stats.unguarded == 2000 && stats.live > 100 && stats.failed == 0);
}

#define MIB ((rlim_t)1 << 20)

static void test_address_space_is_limited(void **state) {
    struct squeeze squeeze = {.resource = RLIMIT_AS, .limit = 2048 * MIB, .most = 1000000};
    (void)state;
    if (!memory_is_plain()) {
        print_message("skip: sanitizers and Valgrind need the address space\n");
        skip();
    }
    assert_runs(squeeze_child, &squeeze);
    squeeze.options.guard_kind = VMARENA_GUARD_PROTECT;
    assert_runs(squeeze_child, &squeeze);
    squeeze.options.guard_kind = VMARENA_GUARD_AUTO;
    assert_runs(squeeze_unguarded_child, &squeeze);
}

static void test_data_is_limited(void **state) {
    struct squeeze squeeze = {.resource = RLIMIT_DATA, .limit = 256 * MIB, .most = 1000000};
    (void)state;
    if (!memory_is_plain()) {
        print_message("skip: sanitizers and Valgrind count as data\n");
        skip();
    }
    assert_runs(squeeze_child, &squeeze);
    assert_runs(squeeze_unguarded_child, &squeeze);
}

static void lock_later(void *arg) {
    struct vmarena_heap *heap = NULL;
    struct vmarena_heap_stats stats;
    static char *objects[1000];
    (void)arg;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_heap_create(&heap, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 1000; i++) {
            objects[i] = vmarena_heap_alloc(heap, 24 + i, 8);
            CHECK(objects[i] != NULL);
            objects[i][0] = 1;
        }
        if (round == 0) CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
        struct vmarena_fault fault;
        for (size_t i = 0; i < 1000; i++) {
            CHECK(vmarena_heap_free(heap, objects[i]) == 0);
            CHECK(vmarena_try(poke_body, objects[i], &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
        }
    }
    vmarena_heap_stats(heap, &stats);
    CHECK(stats.unlocked && stats.live == 0);
}

static void lock_before(void *arg) {
    struct vmarena_heap *heap = NULL;
    struct vmarena_heap_options options = {.guard_kind = *(const enum vmarena_guard_kind *)arg};
    struct vmarena_fault fault;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    CHECK(vmarena_heap_create(&heap, &options) == 0);
    for (int i = 0; i < 1000; i++) {
        char *object = vmarena_heap_alloc(heap, 10000, 8);
        CHECK(object != NULL);
        memset(object, 1, 10000);
        CHECK(vmarena_try(poke_body, object + 10000, &fault) == 1 && fault.object == object);
        CHECK(vmarena_heap_free(heap, object) == 0);
        CHECK(vmarena_try(poke_body, object, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
    }
}

static void test_locked_memory(void **state) {
    struct rlimit limit;
    enum vmarena_guard_kind kinds[] = {VMARENA_GUARD_AUTO, VMARENA_GUARD_PROTECT};
    (void)state;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY && geteuid() != 0) {
        print_message("skip: RLIMIT_MEMLOCK does not let a process lock all its memory\n");
        skip();
    }
    if (!memory_is_plain()) {
        print_message("skip: a sanitizer's shadow memory is too large to lock\n");
        skip();
    }
    if (has_markers()) assert_runs(lock_later, NULL);
    for (size_t i = 0; i < 2; i++) assert_runs(lock_before, &kinds[i]);
}

static int setup(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_create_and_destroy_leave_nothing),
        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_sampling_of_two_heaps),
        cmocka_unit_test(test_alternate_of_two_heaps),
        cmocka_unit_test(test_sampling_seldom),
        cmocka_unit_test(test_memory_cap),
        cmocka_unit_test(test_memory_cap_unguarded),
        cmocka_unit_test(test_reservation_is_full),
        cmocka_unit_test(test_others_have_free_slots),
        cmocka_unit_test(test_markers_cost_no_map_entries),
        cmocka_unit_test(test_userfaultfd_costs_no_map_entries),
        cmocka_unit_test(test_map_entries_run_out),
        cmocka_unit_test(test_freed_objects_cost_no_map_entries),
        cmocka_unit_test(test_others_use_up_map_entries),
        cmocka_unit_test(test_address_space_is_limited),
        cmocka_unit_test(test_data_is_limited),
        cmocka_unit_test(test_locked_memory),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
