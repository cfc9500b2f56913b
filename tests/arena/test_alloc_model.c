/* SPDX-License-Identifier: MIT */
/*
 * vmarena_alloc packs all its checks into one compare. Here it is held against a model that makes them one by one, with
 * sizes and alignments from all over the range: powers of two and their neighbours, small ones, and any.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support.h"
#include "vmarena/arena.h"

#define RESERVE ((size_t)1 << 20)

static uint64_t random_state = 88172645463325252u;

/* xorshift64, Marsaglia 2003. */
static size_t any(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)random_state;
}

static size_t interesting(void) {
    const unsigned bits = sizeof(size_t) * 8;
    size_t power = (size_t)1 << any() % bits;
    switch (any() % 8) {
    case 0: return power;
    case 1: return power - 1;
    case 2: return power + 1;
    case 3: return (size_t)0 - power;
    case 4: return (size_t)0 - any() % 200;
    case 5: return any() >> any() % bits;
    default: return any() % 200;
    }
}

/* Mostly what works, or an arena would never fill. */
static size_t an_alignment(void) { return any() % 4 == 0 ? interesting() : (size_t)1 << any() % 13; }

/* Where the next object belongs; 0: nowhere. */
static uintptr_t model(uintptr_t next, uintptr_t end, size_t size, size_t align) {
    uintptr_t start, last;
    if (size == 0 || align == 0 || (align & (align - 1)) != 0 || align > RESERVE) return 0;
    if (__builtin_add_overflow(next, align - 1, &start)) return 0;
    start &= ~(uintptr_t)(align - 1);
    return __builtin_add_overflow(start, size, &last) || last > end ? 0 : start;
}

static void follow_model(enum vmarena_commit_policy policy, void *(*alloc)(struct vmarena *, size_t, size_t)) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = RESERVE, .commit = 4096, .commit_policy = policy};
    size_t made = 0, refused = 0;
    assert_int_equal(vmarena_create(&arena, &options), 0);
    uintptr_t base = arena->cursor + 1;
    for (size_t i = 0; i < 300000; i++) {
        size_t size = interesting(), align = an_alignment();
        uintptr_t before = arena->cursor, wanted = model(before + 1, base + RESERVE, size, align);
        void *got = alloc(arena, size, align);
        if ((uintptr_t)got != wanted || arena->cursor != (wanted != 0 ? wanted + size - 1 : before))
            fail_msg("size 0x%zx, align 0x%zx at 0x%zx: got %p, not 0x%zx", size, align, (size_t)before + 1, got,
                     (size_t)wanted);
        made += wanted != 0;
        refused += wanted == 0;
        if (wanted != 0) ((volatile char *)got)[0] = ((volatile char *)got)[size - 1] = 1;
        if (base + RESERVE - arena->cursor < 64) assert_int_equal(vmarena_reset(arena, any() % RESERVE), 0);
        if (any() % 1000 == 0) assert_int_equal(vmarena_reset(arena, any() % RESERVE), 0);
    }
    assert_true(made > 50000 && refused > 50000); /* or the test would not say much */
    vmarena_destroy(arena);
}

static void *inlined(struct vmarena *arena, size_t size, size_t align) { return vmarena_alloc(arena, size, align); }

static void test_inline(void **state) {
    (void)state;
    skip_where_annotated();
    follow_model(VMARENA_COMMIT_NORESERVE, inlined);
}

static void test_inline_by_steps(void **state) {
    (void)state;
    skip_where_annotated();
    follow_model(VMARENA_COMMIT_PROTECT, inlined);
}

static void test_exported_twin(void **state) {
    (void)state;
    skip_where_annotated();
    follow_model(VMARENA_COMMIT_PROTECT, vmarena_alloc_slow);
}

/* The last byte of the arena can be had, and not one more, whatever is left and however it is asked for. */
static void test_last_byte(void **state) {
    (void)state;
    skip_where_annotated();
    for (size_t left = 1; left < 300; left++) {
        struct vmarena *arena;
        volatile size_t fits = left, one = 1;
        assert_int_equal(vmarena_create(&arena, &(struct vmarena_options){.reserve = RESERVE}), 0);
        uintptr_t end = arena->cursor + 1 + RESERVE;
        assert_non_null(vmarena_alloc(arena, RESERVE - fits, one));
        assert_null(vmarena_alloc(arena, fits + 1, one));
        if (left < 24) assert_null(vmarena_alloc(arena, 24, 1));
        assert_ptr_equal(vmarena_alloc(arena, fits, one), end - left);
        assert_null(vmarena_alloc(arena, one, one));
        assert_null(vmarena_alloc(arena, 1, 1));
        vmarena_destroy(arena);
    }
}

/* Constants take shorter ways through the same lines: each must refuse and agree as the long one does. */
#define SAME(size, align)                                                                                              \
    do {                                                                                                               \
        volatile size_t hidden_size = (size), hidden_align = (align);                                                  \
        struct vmarena_mark mark = vmarena_mark(arena);                                                                \
        void *constant = vmarena_alloc(arena, size, align);                                                            \
        uintptr_t end = arena->cursor;                                                                                 \
        assert_int_equal(vmarena_rewind(arena, mark), 0);                                                              \
        assert_ptr_equal(vmarena_alloc(arena, hidden_size, hidden_align), constant);                                   \
        assert_int_equal(arena->cursor, end);                                                                          \
    } while (0)

static void test_constants(void **state) {
    (void)state;
    struct vmarena *arena;
    assert_int_equal(vmarena_create(&arena, &(struct vmarena_options){.reserve = RESERVE}), 0);
    SAME(1, 1);
    SAME(31, 1);
    SAME(24, 8);
    SAME(65536, 4096);
    SAME(65537, 4096);
    SAME(100, 8192);
    SAME(0, 8);
    SAME(8, 0);
    SAME(8, 3);
    SAME(8, 4095);
    SAME(SIZE_MAX, 1);
    SAME(SIZE_MAX - 1, 16);
    SAME((size_t)1 << (sizeof(size_t) * 8 - 1), 1);
    SAME(8, (size_t)1 << (sizeof(size_t) * 8 - 1));
    SAME(8, SIZE_MAX);
    SAME(2 * RESERVE, 1);
    vmarena_destroy(arena);
}

/* Valgrind marks byte for byte what becomes accessible, and ASan keeps an eighth of it in shadow: not 64 GiB at once. */
static void test_annotated_by_steps(void **state) {
    (void)state;
    struct vmarena *arena;
    struct vmarena_stats stats;
    assert_int_equal(vmarena_create(&arena, NULL), 0);
    assert_non_null(vmarena_alloc(arena, 100, 1));
    vmarena_stats(arena, &stats);
    vmarena_destroy(arena);
    if (!stats.annotated) {
        print_message("skip: neither ASan nor Valgrind is here\n");
        skip();
    }
    assert_int_equal(stats.commit_policy, VMARENA_COMMIT_PROTECT);
    assert_true(stats.committed > 0 && stats.committed <= 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inline),        cmocka_unit_test(test_inline_by_steps),
        cmocka_unit_test(test_exported_twin), cmocka_unit_test(test_last_byte),
        cmocka_unit_test(test_constants),     cmocka_unit_test(test_annotated_by_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
