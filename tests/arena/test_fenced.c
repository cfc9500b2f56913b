/* SPDX-License-Identifier: MIT */
/* Fenced arenas beyond the guard matrix: neighbours, marks, resizing, protection, checks, and what they refuse. */
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

/* Each test runs with each guard back end; *state is which. */
static enum vmarena_guard_kind obtained;

static struct vmarena *make(void **state, enum vmarena_fence side) {
    struct vmarena *arena = NULL;
    struct vmarena_options options = {
        .reserve = 16 * MIB, .fence = side, .guard_kind = *(enum vmarena_guard_kind *)*state, .name = "fenced"};
    assert_int_equal(vmarena_fault_reassert(), 0);
    int error = vmarena_create(&arena, &options);
    if (error == -EOPNOTSUPP && options.guard_kind != VMARENA_GUARD_PROTECT) {
        print_message("skip: %s\n", vmarena_explain());
        skip();
    }
    obtained = options.guard_kind;
    assert_int_equal(error, 0);
    return arena;
}

static struct vmarena_stats stats_of(const struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats;
}

static void assert_explains(const char *words) {
    if (strstr(vmarena_explain(), words) == NULL) fail_msg("\"%s\" is not in \"%s\"", words, vmarena_explain());
}

static char *alloc(struct vmarena *arena, size_t size, size_t align) {
    char *object = vmarena_alloc(arena, size, align);
    if (object == NULL) fail_msg("no object of %zu bytes: %s", size, vmarena_explain());
    return object;
}

/* Reading the byte faults, as this kind, for this object at this distance. */
static void assert_faults(char *address, enum vmarena_fault_kind kind, const char *object, size_t size,
                          ptrdiff_t distance) {
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(peek_body, address, &fault), 1);
    assert_fault(&fault, .signo = guard_signal(address, obtained), .address = address, .access = VMARENA_ACCESS_READ,
                 .kind = kind, .object = (void *)(uintptr_t)object, .object_size = size, .distance = distance);
}

static void assert_gone(char *object, size_t size) {
    assert_faults(object, VMARENA_FAULT_USE_AFTER_FREE, object, size, 0);
    assert_faults(object + size - 1, VMARENA_FAULT_USE_AFTER_FREE, object, size, 0);
}

static void assert_works(char *object, size_t size) {
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(poke_body, object, &fault), 0);
    assert_int_equal(vmarena_try(poke_body, object + size - 1, &fault), 0);
}

/* ---- placement --------------------------------------------------------------------------------------------------- */

static void test_the_nearer_neighbour_is_named(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *first = alloc(arena, 100, 1), *second = alloc(arena, 2 * page, 1);
    assert_ptr_equal(second, first + 100 + page);
    assert_faults(first + 100, VMARENA_FAULT_OVERRUN, first, 100, 1);
    assert_faults(first + 100 + page / 2 - 1, VMARENA_FAULT_OVERRUN, first, 100, (ptrdiff_t)page / 2);
    assert_faults(second - page / 2 + 1, VMARENA_FAULT_UNDERRUN, second, 2 * page, 1 - (ptrdiff_t)page / 2);
    assert_faults(second - 1, VMARENA_FAULT_UNDERRUN, second, 2 * page, -1);
    vmarena_destroy(arena);
    arena = make(state, VMARENA_FENCE_START);
    first = alloc(arena, page, 1);
    second = alloc(arena, 10, 1);
    assert_faults(first + page, VMARENA_FAULT_OVERRUN, first, page, 1);
    assert_faults(second - 1, VMARENA_FAULT_UNDERRUN, second, 10, -1);
    assert_faults(second + page, VMARENA_FAULT_OVERRUN, second, 10, (ptrdiff_t)page - 10 + 1);
    vmarena_destroy(arena);
}

static void test_before_the_first_and_past_the_last(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_START);
    char *object = alloc(arena, 10, 1);
    assert_faults(object - page, VMARENA_FAULT_UNDERRUN, object, 10, -(ptrdiff_t)page);
    assert_faults(object + 5 * page, VMARENA_FAULT_OVERRUN, object, 10, (ptrdiff_t)(5 * page - 10 + 1));
    vmarena_destroy(arena);
}

static void test_wide_guards(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.reserve = MIB,
                                      .fence = VMARENA_FENCE_END,
                                      .guard = 4 * page,
                                      .guard_kind = *(enum vmarena_guard_kind *)*state};
    vmarena_destroy(make(state, VMARENA_FENCE_END)); /* skips where there are no markers */
    assert_int_equal(vmarena_create(&arena, &options), 0);
    assert_int_equal(stats_of(arena).guard, 4 * page);
    char *first = alloc(arena, 24, 8), *second = alloc(arena, page, 1);
    assert_ptr_equal(second, first + 24 + 4 * page);
    assert_faults(first + 24 + 2 * page - 1, VMARENA_FAULT_OVERRUN, first, 24, (ptrdiff_t)(2 * page));
    assert_faults(second + page + 4 * page - 1, VMARENA_FAULT_OVERRUN, second, page, (ptrdiff_t)(4 * page));
    vmarena_destroy(arena);
}

static void test_wide_alignments(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    for (size_t align = 128; align <= 4 * MIB; align *= 4) {
        struct vmarena_mark mark = vmarena_mark(arena);
        (void)alloc(arena, 1, 1);
        char *object = alloc(arena, align + 8, align);
        assert_int_equal((uintptr_t)object % align, 0);
        assert_works(object, align + 8);
        size_t slack = vmarena_page_round_up(align + 8) - (align + 8);
        slack = slack % align; /* what fits below a page lies behind the object */
        assert_faults(object + align + 8 + slack, VMARENA_FAULT_OVERRUN, object, align + 8, (ptrdiff_t)slack + 1);
        assert_int_equal(vmarena_rewind(arena, mark), 0);
    }
    vmarena_destroy(arena);
}

/* ---- taken back -------------------------------------------------------------------------------------------------- */

static void test_use_after_rewind(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *kept = alloc(arena, 50, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    char *first = alloc(arena, 60, 1), *second = alloc(arena, 10000, 1);
    assert_int_equal(stats_of(arena).objects, 3);
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    assert_int_equal(stats_of(arena).objects, 1);
    assert_gone(first, 60);
    assert_gone(second, 10000);
    assert_works(kept, 50);
    assert_ptr_equal(alloc(arena, 60, 1), first); /* the place is used again, */
    assert_works(first, 60);
    assert_gone(second, 10000); /* what lies behind it is still told of, */
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    char *other = alloc(arena, 20000, 1); /* until something else lies there */
    assert_works(other, 20000);
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_gone(kept, 50);
    assert_gone(other, 20000);
    assert_int_equal(stats_of(arena).objects, 0);
    assert_int_equal(stats_of(arena).used, 0);
    assert_int_equal(stats_of(arena).resident, 0);
    vmarena_destroy(arena);
}

static void test_zeroed(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    for (int round = 0; round < 3; round++) {
        unsigned char *object = vmarena_alloc_zeroed(arena, 9000, 1);
        assert_non_null(object);
        for (size_t i = 0; i < 9000; i++) assert_int_equal(object[i], 0);
        memset(object, 0xdd, 9000);
        assert_int_equal(vmarena_reset(arena, round == 0 ? SIZE_MAX : 0), 0);
    }
    vmarena_destroy(arena);
}

static void test_stale_marks(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    (void)alloc(arena, 10, 1);
    struct vmarena_mark outer = vmarena_mark(arena);
    char *object = alloc(arena, 10, 1);
    struct vmarena_mark inner = vmarena_mark(arena);
    assert_int_equal(vmarena_rewind(arena, outer), 0);
    assert_ptr_equal(alloc(arena, 10, 1), object);
    assert_int_equal(vmarena_rewind(arena, inner), -ESTALE);
    assert_int_equal(stats_of(arena).objects, 2);
    assert_works(object, 10);
    assert_int_equal(vmarena_rewind(arena, outer), 0);
    vmarena_destroy(arena);
}

/* ---- slack ------------------------------------------------------------------------------------------------------- */

static void test_overwritten_slack(void **state) {
    char words[120];
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *first = alloc(arena, 100, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    char *second = alloc(arena, 13, 8), *third = alloc(arena, 30, 1);
    assert_int_equal(vmarena_check(arena), 0);
    poke(second + 14, 0);
    poke(third - 20, 0);
    assert_int_equal(vmarena_check(arena), -EILSEQ);
    snprintf(words, sizeof words, "slack overwritten: byte +2 of the 13-byte object at %p in \"fenced\" holds 0x00",
             (void *)second);
    assert_explains(words);
    assert_int_equal(vmarena_rewind(arena, mark), -EILSEQ); /* told, and rewound all the same */
    assert_explains(words);
    assert_int_equal(stats_of(arena).objects, 1);
    assert_gone(second, 13);
    assert_int_equal(vmarena_check(arena), 0);
    poke(first - 7, 0);
    assert_int_equal(vmarena_reset(arena, 0), -EILSEQ);
    snprintf(words, sizeof words, "byte -7 of the 100-byte object at %p", (void *)first);
    assert_explains(words);
    assert_gone(first, 100);
    assert_int_equal(stats_of(arena).used, 0);
    vmarena_destroy(arena);
}

/* Each single byte of slack, and each value that it may be overwritten with. */
static void test_every_byte_of_slack(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    unsigned char *object = (unsigned char *)alloc(arena, 1, 1);
    for (size_t at = 1; at < page; at++) {
        unsigned char *byte = object - at, before = peek(byte);
        poke(byte, (unsigned char)(before + 1 + at % 255));
        assert_int_equal(vmarena_check(arena), -EILSEQ);
        poke(byte, before);
        if (at % 64 == 0) assert_int_equal(vmarena_check(arena), 0);
    }
    for (unsigned value = 0; value < 256; value++) {
        unsigned char before = peek(object - 9);
        poke(object - 9, (unsigned char)value);
        assert_int_equal(vmarena_check(arena), value == before ? 0 : -EILSEQ);
        poke(object - 9, before);
    }
    vmarena_destroy(arena);
}

/* ---- resize ------------------------------------------------------------------------------------------------------ */

static void fill(char *object, size_t size) {
    for (size_t i = 0; i < size; i++) object[i] = (char)(i * 5 + 3);
}
static void assert_filled(const char *object, size_t size) {
    for (size_t i = 0; i < size; i++) assert_int_equal(object[i], (char)(i * 5 + 3));
}

static void test_resize_at_the_end_moves(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *object = alloc(arena, 100, 4);
    fill(object, 100);
    char *grown = vmarena_resize(arena, object, 100, 5000);
    assert_non_null(grown);
    assert_filled(grown, 100);
    assert_int_equal((uintptr_t)grown % 4, 0);
    assert_gone(object, 100);
    assert_faults(grown + 5000, VMARENA_FAULT_OVERRUN, grown, 5000, 1);
    char *shrunk = vmarena_resize(arena, grown, 5000, 60);
    assert_filled(shrunk, 60);
    assert_gone(grown, 5000);
    assert_faults(shrunk + 60, VMARENA_FAULT_OVERRUN, shrunk, 60, 1);
    assert_int_equal(stats_of(arena).objects, 1);
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    assert_gone(shrunk, 60);
    assert_int_equal(stats_of(arena).objects, 0);
    vmarena_destroy(arena);
}

static void test_resize_at_the_start(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_START);
    char *object = alloc(arena, 100, 1);
    fill(object, 100);
    assert_ptr_equal(vmarena_resize(arena, object, 100, page), object); /* within its page */
    assert_filled(object, 100);
    assert_int_equal(vmarena_check(arena), 0);
    assert_ptr_equal(vmarena_resize(arena, object, page, 40), object);
    poke(object + 40, (unsigned char)(peek(object + 40) + 1));
    assert_int_equal(vmarena_check(arena), -EILSEQ); /* what it gave up is slack now */
    assert_null(vmarena_resize(arena, object, 40, 50));
    assert_explains("slack overwritten: byte +1 of the 40-byte object");
    poke(object + 40, (unsigned char)(peek(object + 40) - 1));
    char *moved = vmarena_resize(arena, object, 40, page + 1);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, object);
    assert_filled(moved, 40);
    assert_gone(object, 40);
    vmarena_destroy(arena);
}

static void test_resize_of_what_is_none(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    struct vmarena_mark start = vmarena_mark(arena);
    char *object = alloc(arena, 100, 1), local[8] = "";
    fill(object, 100);
    size_t used = stats_of(arena).used;
    assert_null(vmarena_resize(arena, object, 99, 200));
    assert_explains("no live object of 99 bytes at ");
    assert_null(vmarena_resize(arena, object + 1, 99, 200));
    assert_null(vmarena_resize(arena, local, sizeof local, 200));
    assert_null(vmarena_resize(arena, object, 100, 0));
    assert_null(vmarena_resize(arena, object, SIZE_MAX, 10));
    assert_null(vmarena_resize(arena, object, 100, SIZE_MAX));
    assert_explains("the arena is full");
    assert_null(vmarena_resize(arena, object, 100, 16 * MIB));
    assert_filled(object, 100);
    assert_int_equal(stats_of(arena).used, used);
    char *moved = vmarena_resize(arena, object, 100, 200);
    assert_null(vmarena_resize(arena, object, 100, 300)); /* gone already */
    assert_explains("no live object of 100 bytes at ");
    assert_int_equal(vmarena_rewind(arena, start), 0);
    assert_null(vmarena_resize(arena, moved, 200, 300));
    vmarena_destroy(arena);
}

static void test_objects_taken_back(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *first = alloc(arena, 100, 1), *last = alloc(arena, 30, 1);
    fill(last, 30);
    assert_int_equal(vmarena_free(arena, first, 99), -EINVAL);
    assert_explains("no live object of 99 bytes at ");
    assert_int_equal(vmarena_free(arena, first, 100), 0);
    assert_gone(first, 100);
    assert_int_equal(stats_of(arena).objects, 1);
    assert_int_equal(vmarena_free(arena, first, 100), -EINVAL);
    assert_explains("no live object of 100 bytes at ");
    assert_filled(last, 30);
    poke(last - 1, (unsigned char)(peek(last - 1) + 1));
    assert_int_equal(vmarena_free(arena, last, 30), -EILSEQ);
    assert_explains("slack overwritten: byte -1 of the 30-byte object");
    assert_gone(last, 30);
    assert_int_equal(stats_of(arena).objects, 0);
    assert_int_equal(vmarena_check(arena), 0); /* told once */
    assert_int_equal(vmarena_reset(arena, 0), 0);
    vmarena_destroy(arena);
}

static void test_free_of_a_protected_object(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *object = alloc(arena, page, page);
    assert_int_equal(vmarena_protect_range(arena, object, page, VMARENA_READ), 0);
    assert_int_equal(vmarena_free(arena, object, page), -EACCES);
    assert_int_equal(stats_of(arena).objects, 1);
    assert_int_equal(vmarena_protect_range(arena, object, page, VMARENA_READ | VMARENA_WRITE), 0);
    assert_int_equal(vmarena_free(arena, object, page), 0);
    vmarena_destroy(arena);
}

/* ---- protection -------------------------------------------------------------------------------------------------- */

static void test_protect(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    struct vmarena_mark start = vmarena_mark(arena);
    struct vmarena_fault fault;
    char *first = alloc(arena, 10, 1), *second = alloc(arena, 20, 1);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(vmarena_try(peek_body, first, &fault), 0);
    assert_int_equal(vmarena_try(poke_body, second + 5, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = second + 5, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_PROTECTED, .object = second, .object_size = 20, .distance = 0);
    assert_faults(first + 10, VMARENA_FAULT_OVERRUN, first, 10, 1); /* guards stay guards */
    assert_null(vmarena_alloc(arena, 10, 1));
    assert_explains("the fenced arena is not writable");
    assert_null(vmarena_resize(arena, second, 20, 30));
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_protect_push(arena, VMARENA_NONE), 0);
    assert_faults(first + 5, VMARENA_FAULT_PROTECTED, first, 10, 0);
    assert_int_equal(vmarena_check(arena), -EACCES);
    assert_explains("not readable");
    assert_int_equal(vmarena_protect_pop(arena), 0);
    assert_int_equal(vmarena_try(peek_body, first, &fault), 0);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_works(second, 20);
    assert_faults(second + 20, VMARENA_FAULT_OVERRUN, second, 20, 1);
    assert_works(alloc(arena, 30, 1), 30);
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    assert_int_equal(vmarena_rewind(arena, start), 0); /* the slack is read for the check all the same */
    assert_int_equal(stats_of(arena).prot, VMARENA_NONE);
    assert_gone(first, 10);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_gone(first, 10);
    assert_ptr_equal(alloc(arena, 10, 1), first);
    assert_works(first, 10);
    vmarena_destroy(arena);
}

static void test_overwritten_slack_of_the_protected(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    struct vmarena_mark start = vmarena_mark(arena);
    char *object = alloc(arena, 10, 1);
    poke(object - 1, (unsigned char)(peek(object - 1) + 1));
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    assert_int_equal(vmarena_rewind(arena, start), -EILSEQ);
    assert_explains("byte -1 of the 10-byte object");
    assert_int_equal(stats_of(arena).objects, 0);
    vmarena_destroy(arena);
}

static void test_protect_ranges(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    struct vmarena_mark start = vmarena_mark(arena);
    char *object = alloc(arena, 3 * page - 8, 8), *other = alloc(arena, 10, 1), *pages = object - 8;
    assert_int_equal(vmarena_protect_range(arena, pages + page, page, VMARENA_NONE), 0);
    assert_faults(pages + page, VMARENA_FAULT_PROTECTED, object, 3 * page - 8, 0);
    assert_works(object, page - 8);
    assert_works(pages + 2 * page, page);
    assert_int_equal(vmarena_check(arena), -EACCES); /* whether slack was overwritten there is not known */
    assert_explains("was made unreadable");
    assert_null(vmarena_resize(arena, object, 3 * page - 8, page));
    assert_explains("was protected");
    static const struct {
        ptrdiff_t start;
        size_t pages;
    } bad[] = {{0, 4}, {3, 1}, {-1, 1}, {2, 2}, {4, 2}, {100, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *from = pages + bad[i].start * (ptrdiff_t)page;
        assert_int_equal(vmarena_protect_range(arena, from, bad[i].pages * page, VMARENA_READ), -EINVAL);
    }
    assert_faults(pages + page, VMARENA_FAULT_PROTECTED, object, 3 * page - 8, 0);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_works(object, 3 * page - 8);
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_protect_range(arena, pages, 3 * page, VMARENA_NONE), 0);
    assert_int_equal(vmarena_check(arena), -EACCES);
    assert_int_equal(vmarena_protect_range(arena, pages, 3 * page, VMARENA_READ), 0);
    assert_int_equal(vmarena_check(arena), 0);
    char *whole = alloc(arena, page, 1); /* has no slack that could not be checked */
    assert_int_equal(vmarena_protect_range(arena, whole, page, VMARENA_NONE), 0);
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_protect_range(arena, pages, page, VMARENA_NONE), 0);
    assert_int_equal(vmarena_protect_range(arena, (char *)((uintptr_t)other & ~(page - 1)), page, VMARENA_NONE), 0);
    assert_int_equal(vmarena_rewind(arena, start), 0);
    assert_gone(other, 10);
    assert_works(alloc(arena, 4 * page, 1), 4 * page); /* nothing of the ranges is left */
    vmarena_destroy(arena);
}

static void test_a_range_on_a_retired_object(void **state) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *object = alloc(arena, page, 1);
    assert_non_null(vmarena_resize(arena, object, page, page + 1));
    assert_int_equal(vmarena_protect_range(arena, object, page, VMARENA_READ), -EINVAL);
    assert_gone(object, page);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_gone(object, page);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_gone(object, page);
    vmarena_destroy(arena);
}

/* ---- what it refuses --------------------------------------------------------------------------------------------- */

static void test_refused(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    size_t page = vmarena_page_size();
    char *object = alloc(arena, page, 1);
    assert_int_equal(vmarena_discard(arena, object, page), -EOPNOTSUPP);
    assert_explains("rewind and reset");
    assert_int_equal(vmarena_prefault(arena, page), -EOPNOTSUPP);
    assert_int_equal(vmarena_seal(arena), -EOPNOTSUPP);
    assert_null(vmarena_alloc(arena, 0, 1));
    assert_null(vmarena_alloc(arena, 1, 3));
    assert_null(vmarena_alloc(arena, 1, 32 * MIB));
    assert_null(vmarena_alloc_array(arena, SIZE_MAX, 2, 1));
    volatile size_t size = SIZE_MAX;
    for (int i = 0; i < 20; i++, size -= 997) {
        assert_null(vmarena_alloc(arena, size, 1));
        assert_explains("the arena is full");
        assert_null(vmarena_alloc(arena, size, 4096));
    }
    assert_int_equal(stats_of(arena).used, 2 * page);
    assert_int_equal(stats_of(arena).objects, 1);
    vmarena_destroy(arena);
}

static void test_full(void **state) {
    size_t page = vmarena_page_size(), count = 0;
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *last = NULL;
    for (char *object; (object = vmarena_alloc(arena, page, 1)) != NULL; count++) last = object;
    assert_explains("the arena is full: 16777216 of 16777216 bytes used");
    assert_int_equal(count, 16 * MIB / page / 2);
    assert_faults(last + page, VMARENA_FAULT_OVERRUN, last, page, 1);
    assert_faults(last + 2 * page, VMARENA_FAULT_OVERRUN, last, page, (ptrdiff_t)page + 1); /* in the edge's guard */
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    (void)alloc(arena, 16 * MIB - page, 1);
    assert_null(vmarena_alloc(arena, 1, 1));
    vmarena_destroy(arena);
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

struct family {
    struct vmarena *arena;
    char *object, *gone;
};

static void child_is_guarded(void *arg) {
    const struct family *family = arg;
    struct vmarena_fault fault;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(peek(family->object) == 1);
    CHECK(vmarena_try(poke_body, family->object + 40, &fault) == 1 && fault.distance == 1);
    CHECK(fault.object == family->object && fault.kind == VMARENA_FAULT_OVERRUN);
    CHECK(vmarena_try(poke_body, family->gone, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
    char *more = vmarena_alloc(family->arena, 40, 1);
    CHECK(more != NULL && vmarena_try(poke_body, more + 40, &fault) == 1 && fault.object == more);
    CHECK(vmarena_check(family->arena) == 0 && vmarena_reset(family->arena, 0) == 0);
    vmarena_destroy(family->arena);
}

static void test_fork(void **state) {
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    char *object = alloc(arena, 40, 1);
    struct vmarena_mark mark = vmarena_mark(arena);
    char *gone = alloc(arena, 40, 1);
    poke(object, 1);
    assert_int_equal(vmarena_rewind(arena, mark), 0);
    assert_runs(child_is_guarded, (&(struct family){arena, object, gone}));
    assert_works(object, 40);
    assert_gone(gone, 40);
    vmarena_destroy(arena);
}

/* mlockall(2) with MCL_FUTURE: such memory refuses markers and keeps its contents, and no reservation may be locked. */
static void all_locked(void *unused) {
    (void)unused;
    struct vmarena *arena = NULL, *bump = NULL;
    struct vmarena_options options = {.reserve = 16 * MIB, .fence = VMARENA_FENCE_END};
    struct vmarena_fault fault;
    CHECK(vmarena_fault_reassert() == 0 && vmarena_create(&arena, &options) == 0);
    enum vmarena_guard_kind unlocked = stats_of(arena).guard_kind;
    vmarena_destroy(arena);
    if (mlockall(MCL_FUTURE) != 0) _exit(42);
    CHECK(vmarena_create(&arena, &options) == 0);
    CHECK(unlocked == VMARENA_GUARD_PROTECT || stats_of(arena).guard_kind == VMARENA_GUARD_PROTECT);
    for (int round = 0; round < 2; round++) {
        char *object = vmarena_alloc_zeroed(arena, 5000, 1);
        CHECK(object != NULL);
        for (size_t i = 0; i < 5000; i++) CHECK(object[i] == 0);
        memset(object, 0xdd, 5000);
        CHECK(vmarena_try(poke_body, object + 5000, &fault) == 1 && fault.distance == 1);
        CHECK(vmarena_reset(arena, 0) == 0);
        CHECK(vmarena_try(poke_body, object, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
    }
    options.guard_kind = VMARENA_GUARD_MARKER;
    CHECK(vmarena_create(&bump, &options) == -EOPNOTSUPP);
    CHECK(vmarena_create(&bump, &(struct vmarena_options){.reserve = 1024 * MIB}) == 0);
    CHECK(stats_of(bump).commit_policy == VMARENA_COMMIT_PROTECT);
    char *object = vmarena_alloc(bump, 100000, 1);
    CHECK(object != NULL && stats_of(bump).resident < MIB);
}

static void test_all_memory_locked(void **state) {
    (void)state;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer keeps memory from being locked\n");
        skip();
    }
    int status = run_child(all_locked, NULL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 42) {
        print_message("skip: mlockall(2) is not allowed\n");
        skip();
    }
    assert_status(status, 0);
}

/* ---- map entries ------------------------------------------------------------------------------------------------- */

static void test_guards_cost_no_map_entries(void **state) {
    if (*(enum vmarena_guard_kind *)*state == VMARENA_GUARD_PROTECT) {
        print_message("skip: guards by mprotect cost map entries by design\n");
        skip();
    }
    size_t before = count_maps();
    struct vmarena *arena = make(state, VMARENA_FENCE_END);
    for (int round = 0; round < 3; round++) {
        char *last = NULL;
        for (char *object; (object = vmarena_alloc(arena, 100, 1)) != NULL;) {
            if (last != NULL && round == 1) (void)vmarena_resize(arena, last, 100, 50);
            last = object;
        }
        assert_true(count_maps() <= before + 8);
        assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
        assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
        assert_true(count_maps() <= before + 8);
        assert_int_equal(vmarena_reset(arena, 0), 0);
    }
    vmarena_destroy(arena);
    assert_true(count_maps() <= before + 2); /* the signal stack may be new */
}

static enum vmarena_guard_kind markers = VMARENA_GUARD_MARKER, by_mprotect = VMARENA_GUARD_PROTECT,
                               by_userfaultfd = VMARENA_GUARD_USERFAULT;
#define EACH(test)                                                                                                     \
    {#test " (markers)", test, NULL, NULL, &markers}, {#test " (mprotect)", test, NULL, NULL, &by_mprotect}, {         \
#test " (userfaultfd)", test, NULL, NULL, &by_userfaultfd                                                      \
    }

/* A step that no address space holds commits the whole arena at once, and all of it is guarded. */
static void test_one_step_for_all(void **state) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = MIB,
                                      .commit = SIZE_MAX,
                                      .fence = VMARENA_FENCE_END,
                                      .guard_kind = *(enum vmarena_guard_kind *)*state};
    assert_int_equal(vmarena_fault_reassert(), 0);
    int error = vmarena_create(&arena, &options);
    if (error == -EOPNOTSUPP) {
        print_message("skip: %s\n", vmarena_explain());
        skip();
    }
    assert_int_equal(error, 0);
    obtained = options.guard_kind;
    char *object = alloc(arena, 16, 1);
    assert_faults(object + 16, VMARENA_FAULT_OVERRUN, object, 16, 1);
    vmarena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(test_one_step_for_all),
        EACH(test_the_nearer_neighbour_is_named),
        EACH(test_before_the_first_and_past_the_last),
        EACH(test_wide_guards),
        EACH(test_wide_alignments),
        EACH(test_use_after_rewind),
        EACH(test_zeroed),
        EACH(test_stale_marks),
        EACH(test_overwritten_slack),
        EACH(test_every_byte_of_slack),
        EACH(test_resize_at_the_end_moves),
        EACH(test_resize_at_the_start),
        EACH(test_resize_of_what_is_none),
        EACH(test_objects_taken_back),
        EACH(test_free_of_a_protected_object),
        EACH(test_protect),
        EACH(test_overwritten_slack_of_the_protected),
        EACH(test_protect_ranges),
        EACH(test_a_range_on_a_retired_object),
        EACH(test_refused),
        EACH(test_full),
        EACH(test_fork),
        cmocka_unit_test(test_all_memory_locked),
        EACH(test_guards_cost_no_map_entries),
    };
    return cmocka_run_group_tests_name("fenced", tests, NULL, NULL);
}
