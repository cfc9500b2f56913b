/* SPDX-License-Identifier: MIT */
/* Bump arenas: what they hand out and take back, what they refuse, and that nothing has changed after a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

static struct vmarena *make(size_t reserve) {
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.reserve = reserve, .name = "test"};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    return arena;
}

static struct vmarena_stats stats_of(const struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats;
}

/* Nothing that a caller can see has changed: neither the arena's figures nor its map entries. */
static void assert_same_stats(const struct vmarena_stats *before, const struct vmarena *arena) {
    struct vmarena_stats after = stats_of(arena);
    assert_int_equal(after.committed, before->committed);
    assert_int_equal(after.used, before->used);
    assert_int_equal(after.peak, before->peak);
    assert_int_equal(after.prot, before->prot);
    assert_int_equal(after.resident, before->resident);
    assert_int_equal(after.sealed, before->sealed);
}

#define assert_explains(words)                                                                                         \
    do {                                                                                                               \
        if (strstr(vmarena_explain(), words) == NULL) fail_msg("\"%s\" is not in \"%s\"", words, vmarena_explain());   \
    } while (0)

/* Refused with this error and these words, and nothing has changed. */
#define assert_refused(arena, call, error, words)                                                                      \
    do {                                                                                                               \
        struct vmarena_stats before_ = stats_of(arena);                                                                \
        assert_int_equal((call), (error));                                                                             \
        assert_explains(words);                                                                                        \
        assert_same_stats(&before_, (arena));                                                                          \
    } while (0)
#define assert_null_because(arena, call, words)                                                                        \
    do {                                                                                                               \
        struct vmarena_stats before_ = stats_of(arena);                                                                \
        assert_null((call));                                                                                           \
        assert_explains(words);                                                                                        \
        assert_same_stats(&before_, (arena));                                                                          \
    } while (0)

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void test_defaults(void **state) {
    (void)state;
    skip_under_valgrind("the address space is smaller");
    struct vmarena *arena = NULL;
    size_t page = vmarena_page_size();
    assert_int_equal(vmarena_create(&arena, NULL), 0);
    struct vmarena_stats stats = stats_of(arena);
    if (sizeof(void *) == 8) assert_int_equal(stats.reserved, (uint64_t)64 << 30);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.peak, 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.guard, page);
    assert_int_equal(stats.page_size, page);
    assert_int_equal(stats.prot, VMARENA_READ | VMARENA_WRITE);
    assert_int_equal(stats.flags, 0);
    assert_int_equal(stats.resident, 0);
    assert_int_equal(stats.huge_asked, VMARENA_HUGE_SYSTEM);
    assert_false(stats.sealed);
    char *object = vmarena_alloc(arena, 100, 8);
    assert_non_null(object);
    memset(object, 1, 100);
    vmarena_destroy(arena);
}

static void test_life_leaves_no_mapping(void **state) {
    (void)state;
    skip_under_valgrind("some mappings are its own");
    struct vmarena *arena[8];
    for (int i = 0; i < 8; i++) arena[i] = make(1 << 20); /* records and registry nodes stay: made now */
    for (int i = 0; i < 8; i++) vmarena_destroy(arena[i]);
    size_t before = count_maps();
    for (int i = 0; i < 8; i++) {
        arena[i] = make(1 << 20);
        assert_non_null(vmarena_alloc(arena[i], 1000, 1));
    }
    for (int i = 0; i < 8; i++) vmarena_destroy(arena[i]);
    assert_maps(before);
}

static void test_destroyed_handles(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    void *object = vmarena_alloc(arena, 64, 8);
    struct vmarena_mark mark = vmarena_mark(arena);
    struct vmarena_stats stats, zero = {.reserved = 0};
    vmarena_destroy(arena);
    vmarena_destroy(arena);
    vmarena_destroy(NULL);
    assert_null(vmarena_alloc(arena, 1, 1));
    assert_explains("the arena was destroyed");
    assert_null(vmarena_alloc_slow(arena, 1, 1));
    assert_null(vmarena_alloc_array(arena, 1, 1, 1));
    assert_null(vmarena_alloc_zeroed(arena, 1, 1));
    assert_null(vmarena_resize(arena, object, 64, 65));
    assert_int_equal(vmarena_rewind(arena, mark), -EBADF);
    assert_int_equal(vmarena_reset(arena, 0), -EBADF);
    assert_int_equal(vmarena_discard(arena, object, 4096), -EBADF);
    assert_int_equal(vmarena_check(arena), -EBADF);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), -EBADF);
    assert_int_equal(vmarena_protect_range(arena, object, 4096, VMARENA_READ), -EBADF);
    assert_int_equal(vmarena_protect_push(arena, VMARENA_READ), -EBADF);
    assert_int_equal(vmarena_protect_pop(arena), -EBADF);
    assert_int_equal(vmarena_prefault(arena, 1), -EBADF);
    assert_int_equal(vmarena_seal(arena), -EBADF);
    assert_int_equal(vmarena_on_fault(arena, NULL, NULL), -EBADF);
    assert_false(vmarena_owns(arena, object));
    assert_int_equal(vmarena_mark(arena).arena, 0);
    memset(&stats, 0xff, sizeof stats);
    vmarena_stats(arena, &stats);
    assert_memory_equal(&stats.reserved, &zero.reserved, sizeof stats.reserved);
    assert_int_equal(stats.used + stats.committed + stats.peak + stats.page_size, 0);
}

static void test_no_handle(void **state) {
    (void)state;
    struct vmarena_mark none = vmarena_mark(NULL);
    assert_null(vmarena_alloc_slow(NULL, 1, 1));
    assert_explains("no arena");
    assert_null(vmarena_alloc_array(NULL, 1, 1, 1));
    assert_null(vmarena_alloc_zeroed(NULL, 1, 1));
    assert_null(vmarena_resize(NULL, NULL, 0, 1));
    assert_int_equal(vmarena_rewind(NULL, none), -EBADF);
    assert_int_equal(vmarena_reset(NULL, 0), -EBADF);
    assert_int_equal(vmarena_check(NULL), -EBADF);
    assert_int_equal(vmarena_protect(NULL, VMARENA_READ), -EBADF);
    assert_int_equal(vmarena_seal(NULL), -EBADF);
    assert_false(vmarena_owns(NULL, &none));
    vmarena_stats(NULL, NULL);
    struct vmarena *arena = make(1 << 16);
    assert_int_equal(vmarena_rewind(arena, none), -EINVAL);
    vmarena_destroy(arena);
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

static void test_objects_lie_side_by_side(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    if (stats_of(arena).annotated) {
        vmarena_destroy(arena);
        print_message("skip: under ASan or Valgrind objects have red zones between them\n");
        skip();
    }
    char *first = vmarena_alloc(arena, 1, 1), *second = vmarena_alloc(arena, 3, 1), *third = vmarena_alloc(arena, 8, 8);
    char *fourth = vmarena_alloc(arena, 1, 4096);
    assert_ptr_equal(second, first + 1);
    assert_ptr_equal(third, first + 8);
    assert_ptr_equal(fourth, first + 4096);
    assert_int_equal(stats_of(arena).used, 4097);
    vmarena_destroy(arena);
}

static void test_alignments(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 22);
    struct vmarena_mark start = vmarena_mark(arena);
    for (size_t align = 1; align <= (size_t)1 << 21; align *= 2) {
        assert_non_null(vmarena_alloc(arena, 1, 1)); /* off the alignment */
        char *object = vmarena_alloc(arena, 3, align);
        assert_non_null(object);
        assert_int_equal((uintptr_t)object % align, 0);
        memset(object, 0xaa, 3);
        assert_int_equal(vmarena_rewind(arena, start), 0);
    }
    vmarena_destroy(arena);
}

static void test_bad_requests(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    volatile size_t align; /* not known to the compiler: the inline path's checks run */
    assert_non_null(vmarena_alloc(arena, 5, 1));
    assert_null_because(arena, vmarena_alloc(arena, 0, 1), "0 bytes");
    static const size_t odd[] = {0, 3, 5, 6, 7, 12, 24, 4095, 4097, SIZE_MAX, SIZE_MAX - 1, (SIZE_MAX >> 1) + 2};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        align = odd[i];
        assert_null_because(arena, vmarena_alloc(arena, 1, align), "is no power of two");
        assert_null_because(arena, vmarena_alloc_slow(arena, 1, align), "is no power of two");
        assert_null_because(arena, vmarena_alloc_zeroed(arena, 1, align), "is no power of two");
        assert_null_because(arena, vmarena_alloc_array(arena, 1, 1, align), "is no power of two");
    }
    for (align = 1 << 21; align != 0; align *= 2) {
        assert_null_because(arena, vmarena_alloc(arena, 1, align), "is larger than the arena of 1048576 bytes");
        assert_null_because(arena, vmarena_alloc_slow(arena, 1, align), "is larger than the arena");
    }
    vmarena_destroy(arena);
}

static void test_sizes_near_the_top(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    assert_non_null(vmarena_alloc(arena, 7, 1));
    for (unsigned shift = 0; shift < 44; shift++) {
        volatile size_t size = SIZE_MAX - (((size_t)1 << shift) - 1);
        assert_null_because(arena, vmarena_alloc(arena, size, 1), "the arena is full");
        assert_null_because(arena, vmarena_alloc(arena, size, 64), "the arena is full");
        assert_null_because(arena, vmarena_alloc_slow(arena, size, 4096), "the arena is full");
        assert_null_because(arena, vmarena_alloc_zeroed(arena, size, 8), "the arena is full");
    }
    /* The sums that come out just below, at and above 2^64. */
    char *last = (char *)vmarena_alloc(arena, 1, 1);
    for (size_t past = 0; past < 40; past++) {
        volatile size_t size = (size_t)0 - (uintptr_t)last + past - 20;
        assert_null_because(arena, vmarena_alloc(arena, size, 1), "the arena is full");
        assert_null_because(arena, vmarena_alloc(arena, size, 32), "the arena is full");
    }
    vmarena_destroy(arena);
}

static void test_arrays(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    assert_non_null(vmarena_alloc_array(arena, 100, 8, 8));
    assert_null_because(arena, vmarena_alloc_array(arena, SIZE_MAX / 2, 3, 1), "exceeds the address space");
    size_t root = (SIZE_MAX >> (sizeof(size_t) * 4)) + 1; /* its square is 0 */
    assert_null_because(arena, vmarena_alloc_array(arena, root, root, 1), "exceeds the address space");
    assert_null_because(arena, vmarena_alloc_array(arena, SIZE_MAX, 1, 1), "the arena is full");
    assert_null_because(arena, vmarena_alloc_array(arena, 0, 8, 8), "0 bytes");
    assert_null_because(arena, vmarena_alloc_array(arena, 8, 0, 8), "0 bytes");
    vmarena_destroy(arena);
}

/* To the last byte, with the inline path and its twin; then one byte more. */
static void test_full_to_the_last_byte(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 16);
    if (stats_of(arena).annotated) {
        vmarena_destroy(arena);
        print_message("skip: under ASan or Valgrind red zones take room\n");
        skip();
    }
    struct vmarena_mark start = vmarena_mark(arena);
    for (volatile size_t size = 1; size <= 1 << 16; size *= 4) {
        char *object = NULL, *next;
        size_t count = 0;
        while ((next = vmarena_alloc(arena, size, 1)) != NULL) object = next, count++;
        assert_explains("the arena is full: 65536 of 65536 bytes used");
        assert_int_equal(count, (1 << 16) / size);
        memset(object, 1, size);
        assert_int_equal(stats_of(arena).used, 1 << 16);
        assert_int_equal(vmarena_rewind(arena, start), 0);
    }
    assert_non_null(vmarena_alloc(arena, 1 << 16, 1));
    assert_null_because(arena, vmarena_alloc(arena, 1, 1), "the arena is full");
    assert_int_equal(vmarena_rewind(arena, start), 0);
    assert_null_because(arena, vmarena_alloc(arena, (1 << 16) + 1, 1), "the arena is full");
    vmarena_destroy(arena);
}

/* The same requests to two arenas, inline and by the twin: the same answers at the same offsets. */
static void test_inline_and_twin_agree(void **state) {
    (void)state;
    struct vmarena *one = make(1 << 18), *two = make(1 << 18);
    uintptr_t base_one = (uintptr_t)vmarena_alloc(one, 1, 4096), base_two = (uintptr_t)vmarena_alloc(two, 1, 4096);
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t size = (size_t)(random >> 40) % 300, align = (size_t)1 << (random >> 33) % 13; /* to a page */
        if (i % 50 == 7) size = SIZE_MAX - (size_t)(random >> 50);
        if (i % 50 == 9) align = (size_t)(random >> 30);
        char *a = vmarena_alloc(one, size, align), *b = vmarena_alloc_slow(two, size, align);
        assert_int_equal(a == NULL, b == NULL);
        if (a != NULL) assert_int_equal((uintptr_t)a - base_one, (uintptr_t)b - base_two);
        assert_int_equal(stats_of(one).used, stats_of(two).used);
        if (i % 900 == 899) assert_int_equal(vmarena_reset(one, SIZE_MAX) | vmarena_reset(two, SIZE_MAX), 0);
    }
    vmarena_destroy(one);
    vmarena_destroy(two);
}

/* Constant layouts leave a check out of the inline path. */
static void test_constant_layouts(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 18);
    for (int i = 0; i < 2; i++) {
        char *a = vmarena_alloc(arena, 24, 8), *b = vmarena_alloc(arena, 65536, 4096);
        char *c = vmarena_alloc(arena, 65537, 1);
        assert_int_equal((uintptr_t)a % 8, 0);
        assert_int_equal((uintptr_t)b % 4096, 0);
        assert_true(a + 24 <= b && b + 65536 <= c);
        assert_null_because(arena, vmarena_alloc(arena, 65536 * 2, 1), "the arena is full");
        assert_null_because(arena, vmarena_alloc(arena, 0, 1), "0 bytes");
        assert_null_because(arena, vmarena_alloc(arena, 1, 0), "no power of two");
        assert_null_because(arena, vmarena_alloc(arena, 1, 3), "no power of two");
        assert_null_because(arena, vmarena_alloc(arena, SIZE_MAX, 1), "the arena is full");
        assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    }
    vmarena_destroy(arena);
}

/* ---- zeroed ------------------------------------------------------------------------------------------------------ */

static void assert_zeroed(struct vmarena *arena, size_t size, size_t align) {
    unsigned char *object = vmarena_alloc_zeroed(arena, size, align);
    assert_non_null(object);
    for (size_t i = 0; i < size; i++)
        if (object[i] != 0) fail_msg("byte %zu of %zu is 0x%02x", i, size, object[i]);
}

static void dirty(struct vmarena *arena, size_t size) {
    char *object = vmarena_alloc(arena, size, 1);
    assert_non_null(object);
    memset(object, 0xd1, size);
}

static void test_zeroed_after_every_way_to_dirty(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(1 << 20);
    assert_zeroed(arena, 100, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    dirty(arena, 3 * page + 5); /* rewind */
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    assert_zeroed(arena, 4 * page, 1);
    memset(vmarena_alloc(arena, 10, 1), 0xd2, 10); /* reset, keeping all */
    dirty(arena, 5 * page);
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_zeroed(arena, 12 * page, 1);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    dirty(arena, 5 * page); /* reset, keeping some */
    assert_int_equal(vmarena_reset(arena, page + 1), 0);
    assert_zeroed(arena, 5 * page, 1);
    assert_int_equal(vmarena_reset(arena, 0), 0); /* reset, keeping none */
    assert_zeroed(arena, 6 * page, 1);
    memset(vmarena_alloc(arena, 100, 1), 0xd3, 100); /* the last object shrunk */
    char *last = vmarena_alloc(arena, 2 * page, 1);
    memset(last, 0xd4, 2 * page);
    assert_ptr_equal(vmarena_resize(arena, last, 2 * page, 1), last);
    assert_zeroed(arena, 3 * page, 1);
    last = vmarena_alloc(arena, 50, 1); /* the last object grown, filled, then rewound */
    mark = vmarena_mark(arena);
    last = vmarena_resize(arena, last, 50, 3 * page);
    memset(last, 0xd5, 3 * page);
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    assert_zeroed(arena, 4 * page, 1);
    vmarena_destroy(arena);
}

/* Half of it fresh, half of it used: exactly the used part is cleared, and fresh pages are not touched. */
static void test_fresh_pages_are_not_written(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(1 << 20);
    struct vmarena_mark start = vmarena_mark(arena);
    assert_zeroed(arena, 1, 1);
    assert_non_null(vmarena_alloc_zeroed(arena, 100 * page, 1));
    size_t resident = stats_of(arena).resident;
    assert_true(resident == 0 || resident == page); /* 0: the system does not tell */
    assert_int_equal(vmarena_rewind(arena, start), 0);
    assert_non_null(vmarena_alloc_zeroed(arena, 150 * page, 1)); /* dirty up to here, touched in the first page */
    assert_int_equal(vmarena_reset(arena, 0), 0);
    dirty(arena, 2 * page);
    assert_int_equal(vmarena_rewind(arena, start), 0);
    assert_non_null(vmarena_alloc_zeroed(arena, 200 * page, 1)); /* the two used pages are cleared, the others not */
    resident = stats_of(arena).resident;
    assert_true(resident == 0 || resident == 2 * page);
    vmarena_destroy(arena);
}

/* ---- resize ------------------------------------------------------------------------------------------------------ */

static void fill(char *object, size_t size) {
    for (size_t i = 0; i < size; i++) object[i] = (char)(i * 5 + 3);
}
static void assert_filled(const char *object, size_t size) {
    for (size_t i = 0; i < size; i++) assert_int_equal(object[i], (char)(i * 5 + 3));
}

static void test_resize_in_place(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 8);
    fill(object, 100);
    assert_ptr_equal(vmarena_resize(arena, object, 100, 5000), object);
    assert_filled(object, 100);
    assert_ptr_equal(vmarena_resize(arena, object, 5000, 5000), object);
    assert_ptr_equal(vmarena_resize(arena, object, 5000, 10), object);
    assert_filled(object, 10);
    struct vmarena_stats stats = stats_of(arena);
    assert_int_equal(stats.used, 10);
    assert_int_equal(stats.peak, 5000);
    assert_ptr_equal(vmarena_resize(arena, object, 10, 1 << 20), object);
    assert_null_because(arena, vmarena_resize(arena, object, 1 << 20, (1 << 20) + 1), "the arena is full");
    assert_null_because(arena, vmarena_resize(arena, object, 1 << 20, SIZE_MAX), "the arena is full");
    assert_filled(object, 10);
    vmarena_destroy(arena);
}

static void test_resize_moves(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 64), *other = vmarena_alloc(arena, 1, 1);
    fill(object, 100);
    assert_ptr_equal(vmarena_resize(arena, object, 100, 60), object);
    char *moved = vmarena_resize(arena, object, 60, 3000);
    assert_non_null(moved);
    assert_true(moved > other);
    assert_int_equal((uintptr_t)moved % 16, 0);
    assert_filled(moved, 60);
    assert_null_because(arena, vmarena_resize(arena, object, 60, 1 << 20), "the arena is full");
    assert_null_because(arena, vmarena_resize(arena, object, 60, SIZE_MAX), "the arena is full");
    vmarena_destroy(arena);
}

static void test_resize_of_what_is_none(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20), *other = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 8), *foreign = vmarena_alloc(other, 100, 8), most[64];
    snprintf(most, sizeof most, "no object of %zu bytes", SIZE_MAX);
    assert_null_because(arena, vmarena_resize(arena, object, 100, 0), "a size of 0");
    assert_null_because(arena, vmarena_resize(arena, object, 0, 10), "a size of 0");
    assert_null_because(arena, vmarena_resize(arena, object, 101, 10), "no object of 101 bytes");
    assert_null_because(arena, vmarena_resize(arena, object, SIZE_MAX, 10), most);
    assert_null_because(arena, vmarena_resize(arena, foreign, 100, 10), "no object of 100 bytes");
    assert_null_because(arena, vmarena_resize(arena, object - 1, 100, 10), "no object of 100 bytes");
    assert_null_because(arena, vmarena_resize(arena, &arena, 8, 10), "no object of 8 bytes");
    char *fresh = vmarena_resize(arena, NULL, 0, 40);
    assert_non_null(fresh);
    assert_int_equal((uintptr_t)fresh % 16, 0);
    assert_null_because(arena, vmarena_resize(arena, NULL, 0, 0), "0 bytes");
    vmarena_destroy(arena);
    vmarena_destroy(other);
}

static void test_objects_taken_back(void **state) {
    (void)state;
    skip_where_annotated();
    struct vmarena *arena = make(1 << 20);
    char *first = vmarena_alloc(arena, 100, 8), *last = vmarena_alloc(arena, 50, 64);
    struct vmarena_mark before = vmarena_mark(arena);
    char *later = vmarena_alloc(arena, 10, 1);
    struct vmarena_mark after = vmarena_mark(arena);
    assert_int_equal(vmarena_free(arena, later, 10), 0);
    assert_int_equal(stats_of(arena).used, (size_t)(later - first));
    assert_int_equal(vmarena_free(arena, first, 100), 0); /* not the last: waits for a rewind */
    assert_int_equal(stats_of(arena).used, (size_t)(later - first));
    assert_ptr_equal(vmarena_alloc(arena, 20, 1), later);
    assert_refused(arena, vmarena_rewind(arena, after), -ESTALE, "rewound past this mark");
    assert_int_equal(vmarena_rewind(arena, before), 0);
    assert_int_equal(vmarena_free(arena, last, 50), 0);
    assert_ptr_equal(vmarena_alloc(arena, 1, 64), last);
    assert_int_equal(vmarena_free(arena, NULL, 0), 0);
    assert_refused(arena, vmarena_free(arena, last, 0), -EINVAL, "no object of 0 bytes");
    assert_refused(arena, vmarena_free(arena, last, 2), -EINVAL, "no object of 2 bytes");
    assert_refused(arena, vmarena_free(arena, &arena, 8), -EINVAL, "no object of 8 bytes");
    assert_int_equal(vmarena_free(NULL, last, 1), -EBADF);
    vmarena_destroy(arena);
}

static void test_last_error(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    assert_null_because(arena, vmarena_alloc(arena, 2 << 20, 1), "the arena is full");
    assert_int_equal(vmarena_last_error(), -ENOSPC);
    assert_null_because(arena, vmarena_alloc(arena, 0, 1), "0 bytes");
    assert_int_equal(vmarena_last_error(), -EINVAL);
    assert_non_null(vmarena_alloc(arena, 1, 1)); /* a success leaves it alone */
    assert_int_equal(vmarena_last_error(), -EINVAL);
    assert_int_equal(vmarena_protect(arena, VMARENA_EXEC), -EACCES);
    assert_int_equal(vmarena_last_error(), -EACCES);
    vmarena_destroy(arena);
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

static void test_marks(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20), *other = make(1 << 20);
    assert_non_null(vmarena_alloc(arena, 100, 1));
    struct vmarena_mark outer = vmarena_mark(arena);
    char *first = vmarena_alloc(arena, 50, 1);
    struct vmarena_mark inner = vmarena_mark(arena);
    size_t used = stats_of(arena).used; /* 150, and a red zone under ASan or Valgrind */
    assert_true(used == 150 || stats_of(arena).annotated);
    assert_non_null(vmarena_alloc(arena, 50, 1));
    assert_int_equal(vmarena_rewind(arena, inner), 0);
    assert_int_equal(vmarena_rewind(arena, inner), 0); /* again: nothing to take back */
    assert_int_equal(stats_of(arena).used, used);
    assert_int_equal(vmarena_rewind(arena, outer), 0);
    assert_int_equal(stats_of(arena).used, 100);
    assert_ptr_equal(vmarena_alloc(arena, 50, 1), first);
    /* inner now lies where the arena is, but was rewound past: out of order. */
    assert_refused(arena, vmarena_rewind(arena, inner), -ESTALE, "rewound past this mark");
    assert_refused(other, vmarena_rewind(other, outer), -EINVAL, "of another arena");
    struct vmarena_mark forged = {.arena = outer.arena, .generation = outer.generation, .cursor = UINTPTR_MAX};
    assert_refused(arena, vmarena_rewind(arena, forged), -ESTALE, "rewound past this mark");
    assert_int_equal(vmarena_rewind(arena, outer), 0);
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_non_null(vmarena_alloc(arena, 500, 1));
    assert_refused(arena, vmarena_rewind(arena, outer), -ESTALE, "rewound past this mark");
    vmarena_destroy(arena);
    vmarena_destroy(other);
}

/* The last object gives bytes back that a mark has counted: the point marked is no more. */
static void test_marks_above_a_shrunk_object(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    assert_ptr_equal(vmarena_resize(arena, object, 100, 40), object);
    assert_refused(arena, vmarena_rewind(arena, mark), -ESTALE, "rewound past this mark");
    assert_non_null(vmarena_alloc(arena, 300, 1)); /* lies on both sides of the mark */
    assert_refused(arena, vmarena_rewind(arena, mark), -ESTALE, "rewound past this mark");
    vmarena_destroy(arena);
}

/* A mark of an arena that is gone is foreign to the one that took its place, even at the same address. */
static void test_marks_of_a_destroyed_arena(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    assert_non_null(vmarena_alloc(arena, 100, 1));
    struct vmarena_mark mark = vmarena_mark(arena);
    vmarena_destroy(arena);
    arena = make(1 << 20);
    assert_non_null(vmarena_alloc(arena, 200, 1));
    assert_refused(arena, vmarena_rewind(arena, mark), -EINVAL, "of another arena");
    vmarena_destroy(arena);
}

/* What 60 rewinds that each went less low leave known: every mark between them is judged rightly. */
static void test_many_rewinds(void **state) {
    (void)state;
    enum { ROUNDS = 60 };
    struct vmarena *arena = make(1 << 20);
    struct vmarena_mark stale[ROUNDS], good = vmarena_mark(arena);
    for (int i = 0; i < ROUNDS; i++) {
        assert_non_null(vmarena_alloc(arena, 10, 1));
        struct vmarena_mark low = vmarena_mark(arena);
        assert_non_null(vmarena_alloc(arena, 5, 1));
        stale[i] = vmarena_mark(arena);
        assert_non_null(vmarena_alloc(arena, 5, 1));
        assert_int_equal(vmarena_rewind(arena, low), 0);
    }
    for (int i = 0; i < ROUNDS; i++) assert_int_equal(vmarena_rewind(arena, stale[i]), -ESTALE);
    assert_int_equal(vmarena_rewind(arena, good), 0);
    assert_int_equal(stats_of(arena).used, 0);
    vmarena_destroy(arena);
}

/* Marks in random order, held against what each of them would find: whether the arena went below it since. */
struct known_mark {
    struct vmarena_mark mark;
    size_t used;
    bool valid;
};

static void go_below(struct known_mark *marks, size_t count, size_t used) {
    for (size_t i = 0; i < count; i++) marks[i].valid = marks[i].valid && marks[i].used <= used;
}

static void test_marks_against_a_model(void **state) {
    (void)state;
    enum { MARKS = 40 };
    struct vmarena *arena = make(1 << 20);
    struct known_mark marks[MARKS];
    uint64_t random = 7;
    for (size_t i = 0; i < MARKS; i++) marks[i] = (struct known_mark){vmarena_mark(arena), 0, true};
    for (int i = 0; i < 20000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        struct known_mark *one = &marks[(size_t)(random >> 33) % MARKS];
        if (random >> 62 != 0) {
            if (vmarena_alloc(arena, 1 + (size_t)(random >> 50) % 30, 1) == NULL) {
                assert_int_equal(vmarena_reset(arena, 0), 0);
                go_below(marks, MARKS, 0);
            }
            *one = (struct known_mark){vmarena_mark(arena), stats_of(arena).used, true};
        } else {
            assert_int_equal(vmarena_rewind(arena, one->mark), one->valid ? 0 : -ESTALE);
            if (one->valid) go_below(marks, MARKS, one->used);
        }
    }
    vmarena_destroy(arena);
}

/* ---- reset and discard ------------------------------------------------------------------------------------------- */

static void test_reset_keeps_what_was_asked(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(1 << 20);
    static const size_t keeps[] = {0, 1, 4096, 4097, 40960, SIZE_MAX - 4095, SIZE_MAX};
    for (size_t i = 0; i < sizeof keeps / sizeof keeps[0]; i++) {
        dirty(arena, 20 * page);
        size_t used_pages = stats_of(arena).resident;
        assert_int_equal(vmarena_reset(arena, keeps[i]), 0);
        struct vmarena_stats stats = stats_of(arena);
        size_t kept = keeps[i] > 20 * page ? 20 * page : vmarena_page_round_up(keeps[i]);
        assert_int_equal(stats.used, 0);
        assert_int_equal(stats.peak, 20 * page);
        if (used_pages != 0) assert_int_equal(stats.resident, kept);
    }
    vmarena_destroy(arena);
}

static void test_discard(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 4 * page + 10, page);
    memset(object, 0xdd, 4 * page + 10);
    assert_int_equal(vmarena_discard(arena, object + page, 2 * page), 0);
    assert_int_equal(object[page - 1], (char)0xdd);
    for (size_t i = 0; i < 2 * page; i++) assert_int_equal(object[page + i], 0);
    assert_int_equal(object[3 * page], (char)0xdd);
    assert_refused(arena, vmarena_discard(arena, object + 1, page), -EINVAL, "is not a multiple of the page size");
    assert_refused(arena, vmarena_discard(arena, object, 1), -EINVAL, "not a positive multiple of the page size");
    assert_refused(arena, vmarena_discard(arena, object, 0), -EINVAL, "not a positive multiple");
    assert_refused(arena, vmarena_discard(arena, object, 6 * page), -EINVAL, "past the used part");
    assert_refused(arena, vmarena_discard(arena, object - page, page), -EINVAL, "leaves the arena");
    assert_refused(arena, vmarena_discard(arena, object, SIZE_MAX & ~(page - 1)), -EINVAL, "leaves the arena");
    assert_int_equal(object[0], (char)0xdd);
    vmarena_destroy(arena);
}

/* ---- protection -------------------------------------------------------------------------------------------------- */

static void assert_access(void *address, bool readable, bool writable) {
    struct vmarena_fault fault;
    int read = vmarena_try(peek_body, address, &fault), wrote = vmarena_try(poke_body, address, &fault);
    assert_int_equal(read, !readable);
    assert_int_equal(wrote, !writable);
}

static void test_protect(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 10000, 1);
    assert_access(object + 9999, true, true);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(stats_of(arena).prot, VMARENA_READ);
    assert_access(object + 9999, true, false);
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(poke_body, object + 5, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = object + 5, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_PROTECTED, .object = object, .object_size = 10000, .distance = 0);
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    assert_access(object, false, false);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_access(object, true, true);
    assert_refused(arena, vmarena_protect(arena, 8), -EINVAL, "unknown protection bits 0x8");
    assert_refused(arena, vmarena_protect(arena, VMARENA_READ | VMARENA_EXEC), -EACCES, "VMARENA_ALLOW_EXEC");
    assert_access(object, true, true);
    vmarena_destroy(arena);
}

static void test_protect_ranges(void **state) {
    (void)state;
    skip_under_valgrind("some mappings are its own");
    assert_int_equal(vmarena_fault_reassert(), 0);
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 5 * page, page);
    size_t maps = count_maps();
    poke(object, 1); /* parts first touched apart would never become one map entry again (anon_vma in the kernel) */
    assert_int_equal(vmarena_protect_range(arena, object + page, page, VMARENA_NONE), 0);
    assert_access(object + page - 1, true, true);
    assert_access(object + page, false, false);
    assert_access(object + 2 * page - 1, false, false);
    assert_access(object + 2 * page, true, true);
    assert_maps(maps + 2);
    static const struct {
        ptrdiff_t start, length; /* in bytes, from the object */
        unsigned prot;
        int error;
        const char *words;
    } bad[] = {{1, 4096, VMARENA_READ, -EINVAL, "is not a multiple"},
               {0, 4097, VMARENA_READ, -EINVAL, "not a positive multiple"},
               {0, 0, VMARENA_READ, -EINVAL, "not a positive multiple"},
               {-4096, 4096, VMARENA_READ, -EINVAL, "leaves the arena"},
               {0, (1 << 20) + 4096, VMARENA_READ, -EINVAL, "leaves the arena"},
               {0, -4096, VMARENA_READ, -EINVAL, "leaves the arena"},
               {4096, -4096, VMARENA_READ, -EINVAL, "leaves the arena"},
               {0, 4096, 16, -EINVAL, "unknown protection bits 0x10"},
               {0, 4096, VMARENA_EXEC, -EACCES, "VMARENA_ALLOW_EXEC"}};
    assert_int_equal(page % 4096, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] && page == 4096; i++)
        assert_refused(arena, vmarena_protect_range(arena, object + bad[i].start, (size_t)bad[i].length, bad[i].prot),
                       bad[i].error, bad[i].words);
    assert_access(object, true, true);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0); /* ranges give way to the whole */
    assert_access(object + page, true, true);
    assert_maps(maps);
    /* To the reservation's last page. */
    assert_int_equal(vmarena_protect_range(arena, object + (1 << 20) - page, page, VMARENA_NONE), 0);
    vmarena_destroy(arena);
}

static void test_protect_scopes(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 1);
    assert_refused(arena, vmarena_protect_pop(arena), -EINVAL, "no protection scope is open");
    assert_int_equal(vmarena_protect_push(arena, VMARENA_READ), 0);
    assert_access(object, true, false);
    assert_int_equal(vmarena_protect_push(arena, VMARENA_NONE), 0);
    assert_access(object, false, false);
    assert_int_equal(vmarena_protect_push(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_access(object, true, true);
    assert_refused(arena, vmarena_protect_push(arena, 64), -EINVAL, "unknown protection bits");
    assert_int_equal(vmarena_protect_pop(arena), 0);
    assert_access(object, false, false);
    assert_int_equal(vmarena_protect_pop(arena), 0);
    assert_access(object, true, false);
    assert_int_equal(vmarena_protect_pop(arena), 0);
    assert_access(object, true, true);
    assert_refused(arena, vmarena_protect_pop(arena), -EINVAL, "no protection scope is open");
    for (unsigned i = 0; i < 16; i++) assert_int_equal(vmarena_protect_push(arena, i & 3), 0);
    assert_refused(arena, vmarena_protect_push(arena, VMARENA_READ), -EOVERFLOW, "16 protection scopes are open");
    for (unsigned i = 0; i < 16; i++) assert_int_equal(vmarena_protect_pop(arena), 0);
    assert_access(object, true, true);
    vmarena_destroy(arena);
}

/* What the library itself would write to or read from memory that is protected is refused, instead of a fault. */
static void test_refused_while_protected(void **state) {
    (void)state;
    struct vmarena *arena = make(1 << 20);
    char *object = vmarena_alloc(arena, 100, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    dirty(arena, 5000);
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    assert_non_null(vmarena_alloc(arena, 1, 1));
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_null_because(arena, vmarena_alloc_zeroed(arena, 1000, 1), "not writable");
    assert_null_because(arena, vmarena_resize(arena, object, 100, 200), "not writable");
    assert_refused(arena, vmarena_prefault(arena, 1 << 16), -EACCES, "not writable");
    assert_non_null(vmarena_alloc(arena, 10, 1)); /* itself writes nothing */
    assert_int_equal(vmarena_protect(arena, VMARENA_WRITE), 0);
    assert_null_because(arena, vmarena_resize(arena, object, 100, 200), "not readable");
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    assert_null_because(arena, vmarena_resize(arena, object, 100, 200), "not readable");
    assert_ptr_equal(vmarena_resize(arena, object, 100, 50), object);
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    vmarena_destroy(arena);
}

/* ---- edges and figures ------------------------------------------------------------------------------------------- */

static void test_edges_fault(void **state) {
    (void)state;
    assert_int_equal(vmarena_fault_reassert(), 0);
    struct vmarena *arena = NULL;
    size_t page = vmarena_page_size();
    struct vmarena_options options = {.reserve = 16 * page, .guard = 3 * page};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    char *base = vmarena_alloc(arena, 16 * page, 1);
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(poke_body, base + 16 * page + 2 * page, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = base + 18 * page, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_OVERRUN, .object = base, .object_size = 16 * page,
                 .distance = (ptrdiff_t)(2 * page + 1));
    assert_int_equal(vmarena_try(peek_body, base - 3 * page, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = base - 3 * page, .access = VMARENA_ACCESS_READ,
                 .kind = VMARENA_FAULT_UNDERRUN, .object = base, .object_size = 16 * page,
                 .distance = -(ptrdiff_t)(3 * page));
    assert_true(vmarena_owns(arena, base));
    assert_true(vmarena_owns(arena, base - 3 * page));
    assert_true(vmarena_owns(arena, base + 19 * page - 1));
    assert_false(vmarena_owns(arena, base - 3 * page - 1));
    assert_false(vmarena_owns(arena, base + 19 * page));
    vmarena_destroy(arena);
}

static void test_figures(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(10 * page - 1);
    struct vmarena_stats stats = stats_of(arena);
    assert_int_equal(stats.reserved, 10 * page);
    char *object = vmarena_alloc(arena, 3 * page, page);
    memset(object, 1, 2 * page);
    struct vmarena_mark mark = vmarena_mark(arena);
    assert_non_null(vmarena_alloc(arena, page, 1));
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    stats = stats_of(arena);
    assert_int_equal(stats.used, 3 * page);
    assert_in_range(stats.peak, 4 * page, 4 * page + (stats.annotated ? 16 : 0)); /* and a red zone */
    assert_int_equal(stats.objects, 0);
    if (stats.resident != 0) assert_int_equal(stats.resident, 2 * page);
    assert_int_equal(stats.huge, 0);
    assert_int_equal(vmarena_check(arena), 0);
    vmarena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_life_leaves_no_mapping),
        cmocka_unit_test(test_destroyed_handles),
        cmocka_unit_test(test_no_handle),
        cmocka_unit_test(test_objects_lie_side_by_side),
        cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_sizes_near_the_top),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_full_to_the_last_byte),
        cmocka_unit_test(test_inline_and_twin_agree),
        cmocka_unit_test(test_constant_layouts),
        cmocka_unit_test(test_zeroed_after_every_way_to_dirty),
        cmocka_unit_test(test_fresh_pages_are_not_written),
        cmocka_unit_test(test_resize_in_place),
        cmocka_unit_test(test_resize_moves),
        cmocka_unit_test(test_resize_of_what_is_none),
        cmocka_unit_test(test_objects_taken_back),
        cmocka_unit_test(test_last_error),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_marks_above_a_shrunk_object),
        cmocka_unit_test(test_marks_of_a_destroyed_arena),
        cmocka_unit_test(test_many_rewinds),
        cmocka_unit_test(test_marks_against_a_model),
        cmocka_unit_test(test_reset_keeps_what_was_asked),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_protect),
        cmocka_unit_test(test_protect_ranges),
        cmocka_unit_test(test_protect_scopes),
        cmocka_unit_test(test_refused_while_protected),
        cmocka_unit_test(test_edges_fault),
        cmocka_unit_test(test_figures),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
