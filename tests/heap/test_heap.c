/* SPDX-License-Identifier: MIT */
/* The guarded heap in one thread: where objects lie, what faults and how it is reported, every error that is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

#include "heap_support.h"

static size_t page;

static const enum vmarena_guard_kind back_ends[] = {VMARENA_GUARD_MARKER, VMARENA_GUARD_PROTECT,
                                                    VMARENA_GUARD_USERFAULT};
static const enum vmarena_access accesses[] = {VMARENA_ACCESS_READ, VMARENA_ACCESS_WRITE};
#define EACH(item, list) for (size_t item = 0; item < sizeof(list) / sizeof(list)[0]; item++)

/* Whether this system lacks a back end; a test that passes over one says so. */
static bool skip_back_end(enum vmarena_guard_kind kind) {
    struct vmarena_heap *heap;
    struct vmarena_heap_options options = {.guard_kind = kind};
    int error = vmarena_heap_create(&heap, &options);
    if (error == 0) vmarena_heap_destroy(heap);
    else {
        assert_int_equal(error, -EOPNOTSUPP);
        print_message("the test passes over a back end: %s\n", vmarena_explain());
    }
    return error != 0;
}

/* ---- places ---------------------------------------------------------------------------------------------------------- */

static void test_defaults(void **state) {
    struct vmarena_heap *heap = NULL;
    (void)state;
    assert_int_equal(vmarena_heap_create(&heap, NULL), 0);
    char *object = vmarena_heap_alloc(heap, 24, 0);
    assert_non_null(object);
    assert_int_equal((uintptr_t)object % 16, 0);
    assert_int_equal(((uintptr_t)object + 32) % page, 0); /* the end, rounded up to 16 */
    for (size_t i = 0; i < 24; i++) assert_int_equal(object[i], 0);
    struct vmarena_heap_stats stats = stats_of(heap);
    if (has_markers()) assert_int_equal(stats.guard_kind, VMARENA_GUARD_MARKER);
    else assert_int_not_equal(stats.guard_kind, VMARENA_GUARD_MARKER);
    assert_int_equal(stats.guard, page);
    assert_int_equal(stats.live, 1);
    assert_int_equal(stats.live_bytes, 24);
    assert_int_equal(stats.page_bytes, page);
    assert_int_equal(stats.allocs, 1);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    stats = stats_of(heap);
    assert_int_equal(stats.live, 0);
    assert_int_equal(stats.live_peak, 1);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.page_bytes, 0);
    assert_int_equal(stats.page_peak, page);
    assert_int_equal(stats.frees, 1);
    assert_int_equal(stats.quarantined, 1);
    assert_int_equal(stats.quarantined_bytes, page);
    assert_int_equal(stats.errors, 0);
    vmarena_heap_destroy(heap);
}

static const size_t sizes[] = {1,    2,    7,    8,    15,    16,    17,     24,      100,           1000,
                               4095, 4096, 4097, 8192, 12289, 65536, 100001, 1 << 20, (1 << 20) + 5, 3 << 20};
static const size_t aligns[] = {1, 2, 8, 16, 64, 4096, 16384, 1 << 21};

static void check_place(struct vmarena_heap *heap, size_t size, size_t align, enum vmarena_heap_side side) {
    struct vmarena_heap_object object;
    unsigned char *start = (unsigned char *)new_object(heap, size, align);
    size_t pages = vmarena_page_round_up(size);
    size_t slack = align > page ? (side == VMARENA_HEAP_END ? pages - size : 0) : (pages - size) % align;
    size_t after = side == VMARENA_HEAP_END ? slack : pages - size, before = pages - size - after;
    assert_int_equal((uintptr_t)start % align, 0);
    assert_int_equal(vmarena_heap_find(heap, start, &object), 0);
    assert_ptr_equal(object.start, start);
    assert_int_equal(object.size, size);
    assert_int_equal(object.align, align);
    assert_int_equal(object.side, side);
    assert_int_equal(object.state, VMARENA_HEAP_LIVE);
    assert_int_equal(object.slack_before, before);
    assert_int_equal(object.slack_after, after);
    assert_int_equal(vmarena_heap_usable_size(heap, start), size);
    start[0] = start[size - 1] = 1;
    for (size_t i = 0; i < 2; i++) {
        struct vmarena_fault fault = fault_at(start + size + after, accesses[i]);
        assert_fault(&fault, .signo = signal_at(heap, start + size + after), .address = start + size + after,
                     .access = accesses[i], .kind = VMARENA_FAULT_OVERRUN, .object = start, .object_size = size,
                     .distance = (ptrdiff_t)after + 1);
        fault = fault_at(start - before - 1, accesses[i]);
        /* The guard before it may be thought that of the object before. */
        if (side == VMARENA_HEAP_START)
            assert_fault(&fault, .signo = signal_at(heap, start - before - 1), .address = start - before - 1,
                         .access = accesses[i], .kind = VMARENA_FAULT_UNDERRUN, .object = start, .object_size = size,
                         .distance = -(ptrdiff_t)before - 1);
    }
    assert_int_equal(vmarena_heap_free(heap, start), 0);
}

static void test_places(void **state) {
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        for (enum vmarena_heap_side side = VMARENA_HEAP_END; side <= VMARENA_HEAP_START; side++) {
            struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .side = side);
            EACH(size, sizes) EACH(align, aligns) check_place(heap, sizes[size], aligns[align], side);
            assert_int_equal(reports.count, 0);
            vmarena_heap_destroy(heap);
        }
    }
}

static void test_wide_guard(void **state) {
    struct vmarena_heap *heap = new_heap(.guard = 100 * page - 1);
    (void)state;
    assert_int_equal(stats_of(heap).guard, 100 * page);
    char *first = new_object(heap, 16, 0), *second = new_object(heap, 16, 0);
    struct vmarena_fault fault = fault_at(first + 16 + 100 * page - 1, VMARENA_ACCESS_WRITE);
    assert_fault(&fault, .signo = signal_at(heap, first + 16 + 100 * page - 1), .address = first + 16 + 100 * page - 1,
                 .access = VMARENA_ACCESS_WRITE, .kind = VMARENA_FAULT_OVERRUN, .object = first, .object_size = 16,
                 .distance = (ptrdiff_t)(100 * page));
    fault = fault_at(second + 16, VMARENA_ACCESS_READ);
    assert_ptr_equal(fault.object, second);
    vmarena_heap_destroy(heap);
}

static void test_alternate(void **state) {
    struct vmarena_heap *heap = new_heap(.side = VMARENA_HEAP_ALTERNATE, .align = 1);
    struct vmarena_heap_object object;
    size_t ends = 0;
    enum vmarena_heap_side last = VMARENA_HEAP_ALTERNATE;
    (void)state;
    for (int i = 0; i < 100; i++) {
        char *start = new_object(heap, 24, 0);
        assert_int_equal(vmarena_heap_find(heap, start, &object), 0);
        assert_int_not_equal(object.side, last);
        last = object.side;
        ends += last == VMARENA_HEAP_END;
        struct vmarena_fault fault = fault_at(last == VMARENA_HEAP_END ? start + 24 : start - 1, VMARENA_ACCESS_READ);
        assert_ptr_equal(fault.object, start);
        assert_int_equal(fault.distance, last == VMARENA_HEAP_END ? 1 : -1);
    }
    assert_int_equal(ends, 50);
    vmarena_heap_destroy(heap);
}

static void test_no_bytes(void **state) {
    (void)state;
    for (enum vmarena_heap_side side = VMARENA_HEAP_END; side <= VMARENA_HEAP_START; side++) {
        struct vmarena_heap *heap = new_heap(.side = side);
        char *one = new_object(heap, 0, 0), *other = new_object(heap, 0, 64), *after = new_object(heap, 8, 0);
        assert_ptr_not_equal(one, other);
        struct vmarena_fault fault = fault_at(one, VMARENA_ACCESS_READ);
        assert_fault(&fault, .signo = signal_at(heap, one), .address = one, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_OVERRUN, .object = one, .object_size = 0, .distance = 1);
        assert_int_equal(vmarena_heap_usable_size(heap, one), 0);
        assert_int_equal(stats_of(heap).page_bytes, page);
        assert_int_equal(vmarena_heap_free(heap, one), 0);
        fault = fault_at(one, VMARENA_ACCESS_WRITE);
        assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
        assert_int_equal(vmarena_heap_free(heap, one), -EALREADY);
        assert_int_equal(vmarena_heap_free(heap, other), 0);
        assert_int_equal(vmarena_heap_free(heap, after), 0);
        vmarena_heap_destroy(heap);
    }
}

static void test_zeroed_arrays(void **state) {
    struct vmarena_heap *heap = new_heap(.flags = VMARENA_HEAP_NO_QUARANTINE);
    (void)state;
    for (int round = 0; round < 3; round++) {
        unsigned char *array = vmarena_heap_calloc(heap, 100, 50, 0);
        assert_non_null(array);
        for (size_t i = 0; i < 5000; i++) assert_int_equal(array[i], 0);
        memset(array, 0xff, 5000);
        assert_int_equal(vmarena_heap_free(heap, array), 0);
    }
    assert_null(vmarena_heap_calloc(heap, SIZE_MAX / 2, 3, 0));
    assert_last_words("exceed the address space");
    assert_null(vmarena_heap_alloc(heap, SIZE_MAX, 0));
    assert_null(vmarena_heap_alloc(heap, SIZE_MAX / 2, 0));
    assert_null(vmarena_heap_alloc(heap, 8, 24));
    assert_last_words("24 is no power of two");
    assert_int_equal(stats_of(heap).failed, 4);
    vmarena_heap_destroy(heap);
}

/* ---- faults ----------------------------------------------------------------------------------------------------------- */

static void test_overruns(void **state) {
    static const size_t far[] = {1, 8, 4096};
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .align = 1, .name = "tokens");
        char *objects[16];
        EACH(i, objects) objects[i] = new_object(heap, 24 + i, 0);
        EACH(i, objects) EACH(f, far) EACH(a, accesses) {
            char *address = objects[i] + 24 + i + far[f] - 1;
            struct vmarena_fault fault = fault_at(address, accesses[a]);
            assert_fault(&fault, .signo = signal_at(heap, address), .address = address, .access = accesses[a],
                         .kind = VMARENA_FAULT_OVERRUN, .object = objects[i], .object_size = 24 + i,
                         .distance = (ptrdiff_t)far[f]);
            assert_ptr_equal(fault.owner, heap);
            assert_string_equal(fault.owner_name, "tokens");
        }
        vmarena_heap_destroy(heap);
    }
}

static void test_underruns(void **state) {
    static const size_t far[] = {1, 8, 4096};
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .side = VMARENA_HEAP_START);
        char *objects[16];
        EACH(i, objects) objects[i] = new_object(heap, 24 + i, 0);
        EACH(i, objects) EACH(f, far) EACH(a, accesses) {
            char *address = objects[i] - far[f];
            struct vmarena_fault fault = fault_at(address, accesses[a]);
            assert_fault(&fault, .signo = signal_at(heap, address), .address = address, .access = accesses[a],
                         .kind = VMARENA_FAULT_UNDERRUN, .object = objects[i], .object_size = 24 + i,
                         .distance = -(ptrdiff_t)far[f]);
        }
        vmarena_heap_destroy(heap);
    }
}

static void test_use_after_free(void **state) {
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .quarantine_count = 100);
        char *object = new_object(heap, 100, 4);
        memset(object, 1, 100);
        assert_int_equal(vmarena_heap_free(heap, object), 0);
        for (int after = 0; after < 100; after++) {
            EACH(a, accesses) {
                struct vmarena_fault fault = fault_at(object + 60, accesses[a]);
                assert_fault(&fault, .signo = signal_at(heap, object + 60), .address = object + 60,
                             .access = accesses[a], .kind = VMARENA_FAULT_USE_AFTER_FREE, .object = object,
                             .object_size = 100, .distance = 0);
            }
            assert_int_equal(vmarena_heap_free(heap, new_object(heap, 100, 4)), 0);
        }
        vmarena_heap_destroy(heap);
    }
}

/* Each of 100 times, in the same place of the code. */
static void test_detection_is_not_by_chance(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 1);
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        size_t size = 1 + i * 97;
        char *object = new_object(heap, size, 0);
        struct vmarena_fault fault = fault_at(object + size, VMARENA_ACCESS_READ);
        assert_int_equal(fault.distance, 1);
        assert_ptr_equal(fault.object, object);
        object[-1] ^= 1;
        assert_int_equal(vmarena_heap_free(heap, object), size % page == 0 ? 0 : -EILSEQ);
        fault = fault_at(object, VMARENA_ACCESS_WRITE);
        assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
        assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    }
    vmarena_heap_destroy(heap);
}

static void test_freed_object_in_words(void **state) {
    struct vmarena_heap *heap = new_heap(.name = "parser", .align = 8);
    char *object = new_object(heap, 24, 0), text[256], expected[256];
    (void)state;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    struct vmarena_fault fault = fault_at(object + 8, VMARENA_ACCESS_READ);
    vmarena_fault_describe(&fault, text, sizeof text);
    snprintf(expected, sizeof expected, "use after free: %s inside a 24-byte object at %p in \"parser\" (%s at %p)",
             fault_access_known() ? "read" : "access", (void *)object,
             signal_at(heap, object + 8) == SIGBUS ? "SIGBUS" : "SIGSEGV", (void *)(object + 8));
    assert_string_equal(text, expected);
    vmarena_heap_destroy(heap);
}

/* ---- errors without a fault ---------------------------------------------------------------------------------------------- */

static void test_double_free(void **state) {
    struct vmarena_heap *heap = new_heap(.quarantine_count = 4);
    char *object = new_object(heap, 40, 0);
    (void)state;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_last_words("double free: the 40-byte object");
    assert_int_equal(reports.count, 1);
    const struct vmarena_heap_report *report = &reports.all[0];
    assert_int_equal(report->kind, VMARENA_HEAP_DOUBLE_FREE);
    assert_int_equal(report->call, VMARENA_HEAP_IN_FREE);
    assert_ptr_equal(report->pointer, object);
    assert_ptr_equal(report->object.start, object);
    assert_int_equal(report->object.size, 40);
    assert_int_equal(report->object.state, VMARENA_HEAP_FREED);
    assert_int_equal(report->object.alloc_number, 1);
    assert_int_equal(report->object.free_number, 1);
    assert_int_equal(report->object.free_thread, report->thread);
    assert_int_not_equal(report->object.free_stack, 0);
    /* Given up by the quarantine, but not used again: still known. */
    for (int i = 0; i < 4; i++) assert_int_equal(vmarena_heap_free(heap, new_object(heap, 9000, 0)), 0);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_int_equal(stats_of(heap).errors, 2);
    vmarena_heap_destroy(heap);
}

static char a_static[64];

static void test_bad_pointers(void **state) {
    struct vmarena_heap *heap = new_heap(.name = "own"), *other = new_heap(.name = "other");
    char on_stack[64], *foreign = new_object(other, 64, 0), *object = new_object(heap, 64, 0), *mine = malloc(64);
    void *bad[] = {on_stack, a_static, foreign, mine, (void *)8, (void *)UINTPTR_MAX};
    (void)state;
    reports.count = 0;
    EACH(i, bad) {
        assert_int_equal(vmarena_heap_free(heap, bad[i]), -EINVAL);
        assert_last_words("invalid free");
        assert_int_equal(reports.count, i + 1);
        assert_int_equal(reports.all[i].kind, VMARENA_HEAP_INVALID_FREE);
        assert_ptr_equal(reports.all[i].pointer, bad[i]);
        assert_int_equal(reports.all[i].object.state, VMARENA_HEAP_NONE);
        assert_int_equal(vmarena_heap_usable_size(heap, bad[i]), 0);
    }
    reports.count = 0;
    static const ptrdiff_t inside[] = {1, 8, 63, 64, -1, -16};
    EACH(i, inside) {
        assert_int_equal(vmarena_heap_free(heap, object + inside[i]), -EINVAL);
        assert_int_equal(reports.all[i].kind, VMARENA_HEAP_INTERIOR_FREE);
        assert_ptr_equal(reports.all[i].object.start, object);
        assert_int_equal(reports.all[i].object.state, VMARENA_HEAP_LIVE);
        assert_int_equal(reports.all[i].distance, inside[i] < 0 ? inside[i] : inside[i] < 64 ? 0 : 1);
        assert_int_equal(vmarena_heap_usable_size(heap, object + inside[i]), 0);
    }
    assert_int_equal(vmarena_heap_free(heap, NULL), 0);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    free(mine);
    vmarena_heap_destroy(other);
    vmarena_heap_destroy(heap);
}

static void check_damage(struct vmarena_heap *heap, enum vmarena_heap_side side, ptrdiff_t at, size_t length) {
    unsigned char *object = (unsigned char *)new_object(heap, 40, 16), *bad = at < 0 ? object + at : object + 39 + at;
    enum vmarena_heap_error kind = at < 0 ? VMARENA_HEAP_SLACK_BEFORE : VMARENA_HEAP_SLACK_AFTER;
    unsigned char expected = *bad;
    (void)side;
    reports.count = 0;
    for (size_t i = 0; i < length; i++) bad[i] = (unsigned char)(bad[i] + 1);
    assert_int_equal(vmarena_heap_check_object(heap, object), -EILSEQ);
    assert_last_words("slack overwritten: byte");
    assert_int_equal(reports.count, 1);
    const struct vmarena_heap_report *report = &reports.all[0];
    assert_int_equal(report->kind, kind);
    assert_int_equal(report->call, VMARENA_HEAP_IN_CHECK);
    assert_null(report->pointer);
    assert_ptr_equal(report->object.start, object);
    assert_ptr_equal(report->bad, bad);
    assert_int_equal(report->bad_length, length);
    assert_int_equal(report->distance, at);
    assert_int_equal(report->expected, expected);
    assert_int_equal(report->found, (unsigned char)(expected + 1));
    /* Told once. */
    assert_int_equal(vmarena_heap_check(heap), 0);
    bad[0] = 0; /* the pattern holds no zero */
    assert_int_equal(vmarena_heap_check(heap), -EILSEQ);
    bad[0] = 0;
    assert_int_equal(vmarena_heap_free(heap, object), -EILSEQ);
    assert_int_equal(reports.count, 3);
    assert_int_equal(reports.all[1].call, VMARENA_HEAP_IN_CHECK);
    assert_int_equal(reports.all[2].call, VMARENA_HEAP_IN_FREE);
    assert_ptr_equal(reports.all[2].pointer, object);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY); /* it was freed all the same */
}

/* What programs write most is never what the pattern holds anyway: one such byte is enough. */
static void test_slack_is_unlike_what_programs_write(void **state) {
    (void)state;
    struct vmarena_heap *heap = new_heap(.align = 1);
    for (int round = 0; round < 20; round++) { /* at other addresses each */
        unsigned char *object = vmarena_heap_alloc(heap, 16, 0);
        for (unsigned value = 0; value <= 0x80; value++) {
            unsigned char byte = value == 0x80 ? 0xff : (unsigned char)value;
            unsigned char *at = object - 1 - (value * 31) % (page - 16);
            reports.count = 0;
            poke(at, byte);
            if (vmarena_heap_check_object(heap, object) != -EILSEQ)
                fail_msg("0x%02x at %p is not seen", byte, (void *)at);
            assert_int_equal(reports.count, 1);
            assert_ptr_equal(reports.all[0].bad, at);
            assert_int_equal(reports.all[0].found, byte);
        }
    }
    vmarena_heap_destroy(heap);
}

static void test_slack(void **state) {
    (void)state;
    for (enum vmarena_heap_side side = VMARENA_HEAP_END; side <= VMARENA_HEAP_START; side++) {
        struct vmarena_heap *heap = new_heap(.side = side);
        if (side == VMARENA_HEAP_END) {
            for (ptrdiff_t at = 1; at <= 8; at++) check_damage(heap, side, at, 1);
            for (ptrdiff_t at = -1; at >= -(ptrdiff_t)page + 48; at -= 61) check_damage(heap, side, at, 1);
            check_damage(heap, side, -100, 100);
        } else {
            for (ptrdiff_t at = 1; at <= (ptrdiff_t)page - 40; at += 61) check_damage(heap, side, at, 1);
            check_damage(heap, side, 1, page - 40);
        }
        vmarena_heap_destroy(heap);
    }
}

static void test_both_sides_damaged(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 64);
    unsigned char *object = (unsigned char *)new_object(heap, 40, 0);
    (void)state;
    object[-3] = object[45] = 0;
    assert_int_equal(vmarena_heap_free(heap, object), -EILSEQ);
    assert_int_equal(reports.count, 2);
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_SLACK_BEFORE);
    assert_int_equal(reports.all[0].distance, -3);
    assert_int_equal(reports.all[1].kind, VMARENA_HEAP_SLACK_AFTER);
    assert_int_equal(reports.all[1].distance, 6);
    assert_int_equal(stats_of(heap).errors, 2);
    vmarena_heap_destroy(heap);
}

static void test_check_interval(void **state) {
    struct vmarena_heap *heap = new_heap(.check_interval = 10);
    unsigned char *object = (unsigned char *)new_object(heap, 40, 0); /* the first of ten */
    (void)state;
    object[-1] = 0;
    for (int i = 0; i < 4; i++) assert_int_equal(vmarena_heap_free(heap, new_object(heap, 8, 0)), 0);
    assert_int_equal(reports.count, 0);
    assert_int_equal(stats_of(heap).checks, 0);
    (void)new_object(heap, 8, 0); /* the tenth */
    assert_int_equal(stats_of(heap).checks, 1);
    assert_int_equal(reports.count, 1);
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_SLACK_BEFORE);
    assert_ptr_equal(reports.all[0].object.start, object);
    vmarena_heap_destroy(heap);
}

static void test_beliefs(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 16);
    (void)state;
    assert_int_equal(vmarena_heap_free_sized(heap, new_object(heap, 40, 0), 40, 16), 0);
    assert_int_equal(vmarena_heap_free_sized(heap, new_object(heap, 40, 64), 40, 64), 0);
    assert_int_equal(vmarena_heap_free_sized(heap, new_object(heap, 40, 64), SIZE_MAX, 0), 0);
    assert_int_equal(vmarena_heap_free_sized(heap, NULL, 7, 3), 0);
    assert_int_equal(reports.count, 0);
    char *object = new_object(heap, 40, 64);
    assert_int_equal(vmarena_heap_free_sized(heap, object, 41, 64), -ERANGE);
    assert_last_words("freed with size 41");
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_SIZE_MISMATCH);
    assert_int_equal(reports.all[0].given, 41);
    assert_int_equal(reports.all[0].object.size, 40);
    assert_int_equal(vmarena_heap_free_sized(heap, object, 40, 64), -EALREADY);
    object = new_object(heap, 40, 64);
    assert_int_equal(vmarena_heap_free_sized(heap, object, 40, 16), -ERANGE);
    assert_int_equal(reports.all[2].kind, VMARENA_HEAP_ALIGN_MISMATCH);
    assert_int_equal(reports.all[2].given, 16);
    assert_int_equal(reports.all[2].object.align, 64);
    vmarena_heap_destroy(heap);
}

/* ---- realloc -------------------------------------------------------------------------------------------------------------- */

static void fill_bytes(char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(i * 7 + 3);
}
static void assert_bytes(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (char)(i * 7 + 3)) fail_msg("byte %zu holds %d", i, bytes[i]);
}

static void test_realloc_in_place(void **state) {
    struct vmarena_heap *end = new_heap(.align = 16), *start = new_heap(.side = VMARENA_HEAP_START);
    (void)state;
    char *object = new_object(end, 17, 0);
    fill_bytes(object, 17);
    for (size_t size = 18; size <= 32; size++) {
        assert_ptr_equal(vmarena_heap_realloc(end, object, size), object);
        assert_int_equal(vmarena_heap_usable_size(end, object), size);
        assert_bytes(object, 17);
        assert_int_equal(vmarena_heap_check(end), 0);
        struct vmarena_fault fault = fault_at(object + 32, VMARENA_ACCESS_READ);
        assert_int_equal(fault.object_size, size);
        assert_int_equal(fault.distance, 33 - size);
    }
    assert_ptr_not_equal(vmarena_heap_realloc(end, object, 33), object);
    object = new_object(start, 100, 0);
    fill_bytes(object, 100);
    assert_ptr_equal(vmarena_heap_realloc(start, object, page), object);
    assert_bytes(object, 100);
    assert_ptr_equal(vmarena_heap_realloc(start, object, 50), object);
    assert_bytes(object, 50);
    object[50] ^= 1; /* slack again */
    assert_int_equal(vmarena_heap_free(start, object), -EILSEQ);
    assert_int_equal(stats_of(start).allocs, 1);
    assert_int_equal(stats_of(start).live_bytes, 0);
    vmarena_heap_destroy(start);
    vmarena_heap_destroy(end);
}

static void test_realloc_moves(void **state) {
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .align = 1);
        char *object = vmarena_heap_realloc(heap, NULL, 1);
        assert_non_null(object);
        size_t size = 1;
        fill_bytes(object, size);
        EACH(i, sizes) {
            char *old = object;
            object = vmarena_heap_realloc(heap, old, sizes[i] + 1);
            assert_non_null(object);
            assert_ptr_not_equal(object, old);
            assert_bytes(object, size < sizes[i] + 1 ? size : sizes[i] + 1);
            struct vmarena_fault fault = fault_at(old, VMARENA_ACCESS_WRITE);
            assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
            assert_ptr_equal(fault.object, old);
            assert_int_equal(fault.object_size, size);
            assert_int_equal(vmarena_heap_free(heap, old), -EALREADY);
            size = sizes[i] + 1;
            fill_bytes(object, size);
        }
        object = vmarena_heap_realloc(heap, object, 0);
        assert_non_null(object);
        struct vmarena_fault fault = fault_at(object, VMARENA_ACCESS_READ);
        assert_int_equal(fault.object_size, 0);
        assert_int_equal(vmarena_heap_free(heap, object), 0);
        vmarena_heap_destroy(heap);
    }
}

static void test_realloc_keeps_alignment(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 1);
    char *object = new_object(heap, 100, 512);
    (void)state;
    for (size_t size = 200; size < 20000; size += 1111) {
        object = vmarena_heap_realloc(heap, object, size);
        assert_int_equal((uintptr_t)object % 512, 0);
    }
    vmarena_heap_destroy(heap);
}

static void test_realloc_misuse(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 16);
    char *object = new_object(heap, 100, 0);
    (void)state;
    assert_null(vmarena_heap_realloc(heap, object + 16, 200));
    assert_int_equal(reports.all[0].kind, VMARENA_HEAP_INTERIOR_FREE);
    assert_int_equal(reports.all[0].call, VMARENA_HEAP_IN_REALLOC);
    assert_null(vmarena_heap_realloc(heap, &object, 200));
    assert_int_equal(reports.all[1].kind, VMARENA_HEAP_INVALID_FREE);
    assert_null(vmarena_heap_realloc(heap, object, SIZE_MAX)); /* the object is untouched */
    assert_int_equal(vmarena_heap_usable_size(heap, object), 100);
    object[-1] = 0;
    char *moved = vmarena_heap_realloc(heap, object, 200);
    assert_non_null(moved);
    assert_int_equal(reports.count, 3);
    assert_int_equal(reports.all[2].kind, VMARENA_HEAP_SLACK_BEFORE);
    assert_int_equal(reports.all[2].call, VMARENA_HEAP_IN_REALLOC);
    assert_null(vmarena_heap_realloc(heap, object, 300));
    assert_int_equal(reports.all[3].kind, VMARENA_HEAP_DOUBLE_FREE);
    assert_int_equal(vmarena_heap_free(heap, moved), 0);
    vmarena_heap_destroy(heap);
}

/* ---- quarantine -------------------------------------------------------------------------------------------------------------- */

/* How many allocations after its free the address of an object comes back; 0: not within `most`. */
static size_t comes_back(struct vmarena_heap *heap, const char *address, size_t size, size_t most) {
    for (size_t i = 1; i <= most; i++) {
        char *object = new_object(heap, size, 0);
        if (object == address) return i;
        assert_int_equal(vmarena_heap_free(heap, object), 0);
    }
    return 0;
}

static void test_quarantine_count(void **state) {
    struct vmarena_heap *heap = new_heap(.quarantine_count = 5);
    char *freed[8];
    (void)state;
    EACH(i, freed) freed[i] = new_object(heap, 8, 0);
    EACH(i, freed) {
        assert_int_equal(vmarena_heap_free(heap, freed[i]), 0);
        assert_int_equal(stats_of(heap).quarantined, i < 5 ? i + 1 : 5);
    }
    /* Three were given up, the longest freed first, and are free now; the last of them is used first. */
    assert_ptr_equal(new_object(heap, 8, 0), freed[2]);
    assert_ptr_equal(new_object(heap, 8, 0), freed[1]);
    assert_ptr_equal(new_object(heap, 8, 0), freed[0]);
    char *fresh = new_object(heap, 8, 0);
    EACH(i, freed) assert_ptr_not_equal(fresh, freed[i]);
    vmarena_heap_destroy(heap);
}

static void test_quarantine_bytes(void **state) {
    struct vmarena_heap *heap = new_heap(.quarantine_bytes = 10 * page);
    char *one = new_object(heap, 4 * page, 0), *two = new_object(heap, 4 * page, 0),
         *three = new_object(heap, 3 * page, 0);
    (void)state;
    assert_int_equal(vmarena_heap_free(heap, one), 0);
    assert_int_equal(vmarena_heap_free(heap, two), 0);
    assert_int_equal(stats_of(heap).quarantined_bytes, 8 * page);
    assert_int_equal(vmarena_heap_free(heap, three), 0);
    assert_int_equal(stats_of(heap).quarantined_bytes, 7 * page);
    assert_int_equal(stats_of(heap).quarantined, 2);
    assert_ptr_equal(new_object(heap, 4 * page, 0), one);
    /* More than the cap alone: not kept, and not at the others' cost for long. */
    assert_int_equal(vmarena_heap_free(heap, new_object(heap, 11 * page, 0)), 0);
    assert_int_equal(stats_of(heap).quarantined, 0);
    vmarena_heap_destroy(heap);
}

static void test_no_quarantine(void **state) {
    struct vmarena_heap *heap = new_heap(.flags = VMARENA_HEAP_NO_QUARANTINE);
    char *object = new_object(heap, 8, 0);
    (void)state;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(stats_of(heap).quarantined, 0);
    struct vmarena_fault fault = fault_at(object, VMARENA_ACCESS_READ); /* until it is used again */
    assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
    assert_int_equal(comes_back(heap, object, 8, 1), 1);
    vmarena_heap_destroy(heap);
}

static void test_random_reuse(void **state) {
    size_t when[2];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct vmarena_heap *heap =
            new_heap(.quarantine_count = 100, .reuse = i == 0 ? VMARENA_HEAP_FIFO : VMARENA_HEAP_RANDOM);
        size_t different = 0, last = 0;
        for (int round = 0; round < 20; round++) {
            char *object = new_object(heap, 8, 0);
            assert_int_equal(vmarena_heap_free(heap, object), 0);
            size_t back = comes_back(heap, object, 8, 10000);
            assert_int_not_equal(back, 0);
            different += round > 1 && back != last;
            last = back;
        }
        when[i] = different;
        vmarena_heap_destroy(heap);
    }
    assert_int_equal(when[0], 0);
    assert_true(when[1] > 0);
}

/* Freed memory goes back to the system at once, and page tables do not grow with what was allocated in all. */
static void test_memory_of_freed_objects(void **state) {
    struct vmarena_heap *heap = new_heap(.quarantine_count = 4096);
    static char *objects[4096];
    bool plain = memory_is_plain();
    (void)state;
    for (int round = 0; round < 3; round++) {
        size_t before = status_kib("VmRSS:");
        EACH(i, objects) * (objects[i] = new_object(heap, 4 * page, 0)) = 1;
        EACH(i, objects) memset(objects[i], 1, 4 * page);
        size_t full = status_kib("VmRSS:");
        assert_true(!plain || full - before >= 4096 * 4 * page / 1024);
        EACH(i, objects) assert_int_equal(vmarena_heap_free(heap, objects[i]), 0);
        /* A fifth is left for what the process itself and the page tables' caches do. */
        assert_true(!plain || status_kib("VmRSS:") - before < (full - before) / 5);
    }
    vmarena_heap_destroy(heap);
}

static void test_addresses_are_used_again(void **state) {
    bool plain = memory_is_plain();
    size_t pairs = plain ? 1000000 : 20000;
    struct vmarena_heap *heap = new_heap(.quarantine_count = 1000);
    (void)state;
    for (int i = 0; i < 2000; i++) assert_int_equal(vmarena_heap_free(heap, new_object(heap, 24, 0)), 0);
    size_t tables = status_kib("VmPTE:"), committed = stats_of(heap).committed;
    for (size_t i = 0; i < pairs; i++) {
        void *object = vmarena_heap_alloc(heap, 24, 0);
        if (object == NULL || vmarena_heap_free(heap, object) != 0) fail_msg("pair %zu: %s", i, vmarena_explain());
    }
    assert_int_equal(stats_of(heap).committed, committed);
    assert_true(!plain || status_kib("VmPTE:") <= tables + 64);
    assert_int_equal(stats_of(heap).allocs, 2000 + pairs);
    vmarena_heap_destroy(heap);
}

/* ---- looking ---------------------------------------------------------------------------------------------------------------------- */

static void test_find(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 16);
    struct vmarena_heap_object object;
    char *start = new_object(heap, 100, 0);
    (void)state;
    static const ptrdiff_t belongs[] = {0, 1, 99, 100, 111, 112, 4000, -1, -500};
    EACH(i, belongs) {
        assert_int_equal(vmarena_heap_find(heap, start + belongs[i], &object), 0);
        assert_ptr_equal(object.start, start);
        assert_true(vmarena_heap_owns(heap, start + belongs[i]));
    }
    assert_int_equal(object.alloc_number, 1);
    assert_int_equal(object.free_number, 0);
    assert_int_equal(object.alloc_thread, (uint32_t)getpid());
    assert_int_equal(object.free_thread, 0);
    assert_int_equal(vmarena_heap_find(heap, &object, &object), -ENOENT);
    assert_int_equal(object.state, VMARENA_HEAP_NONE);
    assert_false(vmarena_heap_owns(heap, &object));
    assert_int_equal(vmarena_heap_free(heap, start), 0);
    (void)new_object(heap, 5, 0);
    assert_int_equal(vmarena_heap_find(heap, start, &object), 0);
    assert_int_equal(object.state, VMARENA_HEAP_FREED);
    assert_int_equal(object.free_number, 1);
    assert_int_equal(object.free_thread, (uint32_t)getpid());
    vmarena_heap_destroy(heap);
}

struct visits {
    size_t live, freed, most, bytes;
};

static bool count_visit(const struct vmarena_heap_object *object, void *arg) {
    struct visits *visits = arg;
    if (object->state == VMARENA_HEAP_LIVE) visits->live++;
    else visits->freed++;
    visits->bytes += object->size;
    return visits->live + visits->freed < visits->most;
}

static void test_for_each(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 16);
    char *last = NULL, *large = new_object(heap, (size_t)100 << 20, 0);
    struct visits visits = {.most = SIZE_MAX};
    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        char *object = new_object(heap, i + 1, 0);
        if (i % 4 == 0) assert_int_equal(vmarena_heap_free(heap, object), 0);
        else last = object;
    }
    assert_non_null(last);
    assert_int_equal(vmarena_heap_for_each(heap, false, count_visit, &visits), 0);
    assert_int_equal(visits.live, 751);
    assert_int_equal(visits.freed, 0);
    assert_int_equal(visits.bytes, stats_of(heap).live_bytes);
    visits = (struct visits){.most = SIZE_MAX};
    assert_int_equal(vmarena_heap_for_each(heap, true, count_visit, &visits), 0);
    assert_int_equal(visits.live, 751);
    assert_int_equal(visits.freed, 250);
    visits = (struct visits){.most = 10};
    assert_int_equal(vmarena_heap_for_each(heap, true, count_visit, &visits), 0);
    assert_int_equal(visits.live + visits.freed, 10);
    assert_int_equal(vmarena_heap_for_each(heap, true, NULL, NULL), -EINVAL);
    assert_int_equal(vmarena_heap_free(heap, large), 0);
    vmarena_heap_destroy(heap);
}

/* ---- stacks ---------------------------------------------------------------------------------------------------------------------------- */

static size_t three_frames(void **frames, size_t depth, void *arg) {
    size_t *calls = arg;
    assert_true(depth >= 16);
    ++*calls;
    for (size_t i = 0; i < 3; i++) frames[i] = (void *)(0x1000 + i + *calls / 10 * 16);
    return 3;
}

static void test_stacks_are_kept_once(void **state) {
    size_t calls = 0;
    struct vmarena_heap *heap = new_heap(.capture = three_frames, .capture_arg = &calls);
    struct vmarena_heap_object object;
    void *frames[16];
    (void)state;
    char *first = new_object(heap, 8, 0);
    for (int i = 0; i < 99; i++) (void)new_object(heap, 8, 0);
    assert_int_equal(calls, 100);
    assert_int_equal(stats_of(heap).stacks, 11);
    assert_int_equal(vmarena_heap_find(heap, first, &object), 0);
    assert_int_equal(vmarena_heap_stack(heap, object.alloc_stack, frames, 16), 3);
    assert_ptr_equal(frames[0], (void *)0x1000);
    assert_ptr_equal(frames[2], (void *)0x1002);
    assert_int_equal(vmarena_heap_stack(heap, object.alloc_stack, frames, 0), 3);
    assert_int_equal(vmarena_heap_stack(heap, 0, frames, 16), 0);
    assert_int_equal(vmarena_heap_stack(heap, UINT32_MAX, frames, 16), 0);
    vmarena_heap_destroy(heap);
}

static size_t with_own_frames(void **frames, size_t depth, void *arg) {
    (void)depth;
    for (size_t i = 0; i < 3; i++) frames[i] = (void *)(0x10 + i); /* as an unwinder gives those of the library */
    frames[3] = *(void **)arg;
    frames[4] = (void *)0x99;
    return 5;
}

static void *caller;

__attribute__((noinline)) static char *alloc_telling_where(struct vmarena_heap *heap) {
    char *object = vmarena_heap_alloc(heap, 8, 0);
    __asm__ volatile("" : : : "memory"); /* no tail call */
    return object;
}

static void test_own_frames_are_dropped(void **state) {
    struct vmarena_heap_object object;
    void *frames[8];
    (void)state;
    /* The return address in alloc_telling_where, as the default capture sees it. */
    struct vmarena_heap *heap = new_heap(.stack_depth = 1);
    assert_int_equal(vmarena_heap_find(heap, alloc_telling_where(heap), &object), 0);
    assert_int_equal(vmarena_heap_stack(heap, object.alloc_stack, frames, 8), 1);
    caller = frames[0];
    uintptr_t within = (uintptr_t)caller - (uintptr_t)alloc_telling_where;
    assert_true(within < 200);
    vmarena_heap_destroy(heap);
    heap = new_heap(.capture = with_own_frames, .capture_arg = &caller);
    assert_int_equal(vmarena_heap_find(heap, alloc_telling_where(heap), &object), 0);
    assert_int_equal(vmarena_heap_stack(heap, object.alloc_stack, frames, 8), 2);
    assert_ptr_equal(frames[0], caller);
    assert_ptr_equal(frames[1], (void *)0x99);
    vmarena_heap_destroy(heap);
    heap = new_heap(.flags = VMARENA_HEAP_NO_STACKS);
    assert_int_equal(vmarena_heap_find(heap, alloc_telling_where(heap), &object), 0);
    assert_int_equal(object.alloc_stack, 0);
    vmarena_heap_destroy(heap);
}

#ifdef __clang__
#define KEEP_FRAMES
#else
#define KEEP_FRAMES __attribute__((optimize("no-omit-frame-pointer")))
#endif

__attribute__((noinline)) KEEP_FRAMES static char *deep(struct vmarena_heap *heap, int depth) {
    char *object = depth == 0 ? vmarena_heap_alloc(heap, 8, 0) : deep(heap, depth - 1);
    __asm__ volatile("" : : : "memory");
    return object;
}

static void test_frames_by_frame_pointers(void **state) {
    struct vmarena_heap *heap = new_heap(.stack_depth = 12);
    struct vmarena_heap_object object;
    void *frames[64];
    (void)state;
#ifdef __clang__
    print_message("skip: clang keeps frame pointers by option only\n");
    vmarena_heap_destroy(heap);
    skip();
#endif
    if (vmarena_prim_annotating()) {
        print_message("skip: under a sanitizer or Valgrind only the caller is kept\n");
        vmarena_heap_destroy(heap);
        skip();
    }
    assert_int_equal(vmarena_heap_find(heap, deep(heap, 20), &object), 0);
    assert_int_equal(vmarena_heap_stack(heap, object.alloc_stack, frames, 64), 12);
    EACH(i, ((int[12]){0})) assert_true((uintptr_t)frames[i] - (uintptr_t)deep < 300);
    for (size_t i = 2; i < 12; i++) assert_ptr_equal(frames[i], frames[1]);
    vmarena_heap_destroy(heap);
}

/* ---- large objects -------------------------------------------------------------------------------------------------------------------- */

static void test_large_objects(void **state) {
    size_t size = ((size_t)1 << 30) + 5;
    (void)state;
    if (sizeof(void *) == 4) {
        print_message("skip: an object of a GiB on a 32-bit system\n");
        skip();
    }
    bool plain = memory_is_plain();
    for (enum vmarena_heap_side side = VMARENA_HEAP_END; side <= VMARENA_HEAP_START; side++) {
        struct vmarena_heap *heap = new_heap(.side = side, .align = 1);
        size_t tables = status_kib("VmPTE:"), entries = count_maps();
        char *object = new_object(heap, size, 0);
        assert_true(!plain || status_kib("VmPTE:") - tables <= 64);
        object[0] = object[size / 2] = object[size - 1] = 1;
        size_t after = side == VMARENA_HEAP_END ? 0 : vmarena_page_round_up(size) - size;
        struct vmarena_fault fault = fault_at(object + size + after, VMARENA_ACCESS_WRITE);
        assert_fault(&fault, .signo = signal_at(heap, object + size + after), .address = object + size + after,
                     .access = VMARENA_ACCESS_WRITE, .kind = VMARENA_FAULT_OVERRUN, .object = object,
                     .object_size = size, .distance = (ptrdiff_t)after + 1);
        size_t before = side == VMARENA_HEAP_START ? 0 : vmarena_page_round_up(size) - size;
        fault = fault_at(object - before - 1, VMARENA_ACCESS_READ);
        assert_int_equal(fault.kind, VMARENA_FAULT_UNDERRUN);
        assert_int_equal(fault.distance, -(ptrdiff_t)before - 1);
        assert_int_equal(vmarena_heap_usable_size(heap, object), size);
        assert_int_equal(vmarena_heap_free(heap, object + 1), -EINVAL);
        object[side == VMARENA_HEAP_END ? -1 : (ptrdiff_t)size] ^= 1;
        assert_int_equal(vmarena_heap_check(heap), -EILSEQ);
        assert_int_equal(vmarena_heap_free(heap, object), 0);
        fault = fault_at(object + size / 2, VMARENA_ACCESS_READ);
        assert_fault(&fault, .signo = signal_at(heap, object + size / 2), .address = object + size / 2,
                     .access = VMARENA_ACCESS_READ, .kind = VMARENA_FAULT_USE_AFTER_FREE, .object = object,
                     .object_size = size, .distance = 0);
        assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
        assert_true(!plain || count_maps() <= entries + 2);
        vmarena_heap_destroy(heap);
    }
}

static void test_large_realloc(void **state) {
    struct vmarena_heap *heap = new_heap(.align = 16);
    size_t size = (size_t)70 << 20;
    char *object = new_object(heap, 1000, 0);
    (void)state;
    fill_bytes(object, 1000);
    char *large = vmarena_heap_realloc(heap, object, size);
    assert_non_null(large);
    assert_bytes(large, 1000);
    char *larger = vmarena_heap_realloc(heap, large, 2 * size);
    assert_non_null(larger);
    assert_bytes(larger, 1000);
    struct vmarena_fault fault = fault_at(large, VMARENA_ACCESS_READ);
    assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
    char *small = vmarena_heap_realloc(heap, larger, 10);
    assert_bytes(small, 10);
    assert_int_equal(vmarena_heap_free(heap, small), 0);
    assert_int_equal(stats_of(heap).page_bytes, 0);
    vmarena_heap_destroy(heap);
}

/* What a quarantine gives up is unmapped, and the records are used again. */
static void test_large_quarantine(void **state) {
    size_t size = (size_t)70 << 20;
    struct vmarena_heap *heap = new_heap(.quarantine_count = 2);
    char *object = new_object(heap, size, 0);
    size_t entries = count_maps();
    bool plain = memory_is_plain();
    (void)state;
    for (int i = 0; i < (plain ? 1000 : 50); i++) {
        assert_int_equal(vmarena_heap_free(heap, object), 0);
        assert_true(stats_of(heap).quarantined <= 2);
        object = new_object(heap, size, 0);
        *object = 1;
    }
    assert_true(!plain || count_maps() <= entries + 6);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    vmarena_heap_destroy(heap);
}

/* ---- going on --------------------------------------------------------------------------------------------------------------------------- */

struct repairs {
    struct vmarena_heap *heap;
    size_t count;
    struct vmarena_fault last;
};

static bool expose_and_retry(const struct vmarena_fault *fault, void *arg) {
    struct repairs *repairs = arg;
    repairs->count++;
    repairs->last = *fault;
    return vmarena_heap_expose(repairs->heap, fault->address) == 0;
}

static void expose_one(enum vmarena_guard_kind kind, enum vmarena_heap_side side, size_t size) {
    struct vmarena_heap *heap = new_heap(.guard_kind = kind, .side = side, .align = 1);
    struct repairs repairs = {.heap = heap};
    assert_int_equal(vmarena_heap_on_fault(heap, expose_and_retry, &repairs), 0);
    char *object = new_object(heap, size, 0), *neighbour = new_object(heap, size, 0);
    char *bad = side == VMARENA_HEAP_END ? object + size : object - 1;
    for (size_t round = 1; round <= 100; round++) {
        fill_bytes(object, 16);
        assert_int_equal(vmarena_try(poke_body, bad, NULL), 0);
        assert_int_equal(repairs.count, round);
        assert_ptr_equal(repairs.last.object, object);
        assert_int_equal(repairs.last.distance, side == VMARENA_HEAP_END ? 1 : -1);
        assert_int_equal(peek(bad), 0x5a);
        assert_int_equal(vmarena_heap_rearm(heap), 0);
        assert_bytes(object, 16);
    }
    /* A free closes what was opened, too. */
    assert_int_equal(vmarena_try(poke_body, bad, NULL), 0);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    repairs.count = 0;
    assert_int_equal(vmarena_try(poke_body, object, NULL), 0);
    assert_int_equal(repairs.count, 1);
    assert_int_equal(repairs.last.kind, VMARENA_FAULT_USE_AFTER_FREE);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    assert_int_equal(vmarena_try(poke_body, object, NULL), 0);
    assert_int_equal(repairs.count, 2);
    assert_int_equal(vmarena_heap_on_fault(heap, NULL, NULL), 0);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    (void)fault_at(object, VMARENA_ACCESS_READ);
    assert_int_equal(vmarena_heap_free(heap, neighbour), 0);
    vmarena_heap_destroy(heap);
}

/* The edges of the reservation, and the part of it that holds no objects yet, stay closed. */
static void test_edges_stay_closed(void **state) {
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        struct vmarena_heap *heap = new_heap(.guard_kind = back_ends[kind], .side = VMARENA_HEAP_START);
        char *object = new_object(heap, 100, 0);
        size_t reserved = stats_of(heap).reserved, committed = stats_of(heap).committed;
        char *base = object - 2 * page; /* the first slot is left out: so an underrun of this object can be exposed */
        char *closed[] = {base - 1, base - page, base + committed, base + reserved - 1, base + reserved};
        EACH(i, closed) {
            assert_int_equal(vmarena_heap_expose(heap, closed[i]), -EINVAL);
            (void)fault_at(closed[i], VMARENA_ACCESS_READ);
        }
        assert_int_equal(vmarena_heap_expose(heap, object - 1), 0);
        assert_int_equal(vmarena_heap_expose(heap, object + page), 0);
        assert_int_equal(vmarena_heap_expose(heap, base + committed - 1), 0);
        vmarena_heap_destroy(heap);
    }
}

static void test_expose(void **state) {
    (void)state;
    EACH(kind, back_ends) {
        if (skip_back_end(back_ends[kind])) continue;
        for (enum vmarena_heap_side side = VMARENA_HEAP_END; side <= VMARENA_HEAP_START; side++) {
            expose_one(back_ends[kind], side, 100);
            expose_one(back_ends[kind], side, (size_t)70 << 20);
        }
    }
}

static void test_exposed_slot_is_used_again(void **state) {
    struct vmarena_heap *heap = new_heap(.flags = VMARENA_HEAP_NO_QUARANTINE, .align = 1);
    char *object = new_object(heap, 100, 0);
    (void)state;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_expose(heap, object), 0);
    poke(object, 1);
    char *again = new_object(heap, 200, 0);
    assert_ptr_equal(again, object - 100);
    assert_int_equal(peek(object), 0);
    struct vmarena_fault fault = fault_at(again + 200, VMARENA_ACCESS_WRITE);
    assert_ptr_equal(fault.object, again);
    assert_int_equal(vmarena_heap_expose(heap, &heap), -EINVAL);
    vmarena_heap_destroy(heap);
}

/* ---- handles ------------------------------------------------------------------------------------------------------------------------------ */

static void test_dead_handles(void **state) {
    struct vmarena_heap *heap = new_heap(.name = "gone");
    struct vmarena_heap_stats stats;
    struct vmarena_heap_object object;
    (void)state;
    vmarena_heap_destroy(heap);
    struct vmarena_heap *dead[] = {heap, NULL};
    EACH(i, dead) {
        vmarena_heap_destroy(dead[i]);
        assert_null(vmarena_heap_alloc(dead[i], 8, 0));
        assert_null(vmarena_heap_calloc(dead[i], 8, 8, 0));
        assert_null(vmarena_heap_realloc(dead[i], NULL, 8));
        assert_int_equal(vmarena_heap_free(dead[i], &stats), -EBADF);
        assert_int_equal(vmarena_heap_free_sized(dead[i], &stats, 1, 1), -EBADF);
        assert_int_equal(vmarena_heap_check(dead[i]), -EBADF);
        assert_int_equal(vmarena_heap_check_object(dead[i], &stats), -EBADF);
        assert_int_equal(vmarena_heap_find(dead[i], &stats, &object), -EBADF);
        assert_int_equal(vmarena_heap_for_each(dead[i], true, count_visit, NULL), -EBADF);
        assert_int_equal(vmarena_heap_on_fault(dead[i], NULL, NULL), -EBADF);
        assert_int_equal(vmarena_heap_expose(dead[i], &stats), -EBADF);
        assert_int_equal(vmarena_heap_rearm(dead[i]), -EBADF);
        assert_int_equal(vmarena_heap_usable_size(dead[i], &stats), 0);
        assert_int_equal(vmarena_heap_stack(dead[i], 1, NULL, 0), 0);
        assert_false(vmarena_heap_owns(dead[i], &stats));
        vmarena_heap_stats(dead[i], &stats);
        assert_int_equal(stats.reserved, 0);
    }
}

static void test_errno_is_left_alone(void **state) {
    struct vmarena_heap *heap = new_heap(.memory_cap = 16 * page);
    (void)state;
    errno = 4711;
    char *object = new_object(heap, 100, 0);
    object = vmarena_heap_realloc(heap, object, 5000);
    assert_null(vmarena_heap_alloc(heap, 100 * page, 0));
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_int_equal(errno, 4711);
    vmarena_heap_destroy(heap);
}

static int setup(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_wide_guard),
        cmocka_unit_test(test_alternate),
        cmocka_unit_test(test_no_bytes),
        cmocka_unit_test(test_zeroed_arrays),
        cmocka_unit_test(test_overruns),
        cmocka_unit_test(test_underruns),
        cmocka_unit_test(test_use_after_free),
        cmocka_unit_test(test_detection_is_not_by_chance),
        cmocka_unit_test(test_freed_object_in_words),
        cmocka_unit_test(test_double_free),
        cmocka_unit_test(test_bad_pointers),
        cmocka_unit_test(test_slack),
        cmocka_unit_test(test_slack_is_unlike_what_programs_write),
        cmocka_unit_test(test_both_sides_damaged),
        cmocka_unit_test(test_check_interval),
        cmocka_unit_test(test_beliefs),
        cmocka_unit_test(test_realloc_in_place),
        cmocka_unit_test(test_realloc_moves),
        cmocka_unit_test(test_realloc_keeps_alignment),
        cmocka_unit_test(test_realloc_misuse),
        cmocka_unit_test(test_quarantine_count),
        cmocka_unit_test(test_quarantine_bytes),
        cmocka_unit_test(test_no_quarantine),
        cmocka_unit_test(test_random_reuse),
        cmocka_unit_test(test_memory_of_freed_objects),
        cmocka_unit_test(test_addresses_are_used_again),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_for_each),
        cmocka_unit_test(test_stacks_are_kept_once),
        cmocka_unit_test(test_own_frames_are_dropped),
        cmocka_unit_test(test_frames_by_frame_pointers),
        cmocka_unit_test(test_large_objects),
        cmocka_unit_test(test_large_realloc),
        cmocka_unit_test(test_large_quarantine),
        cmocka_unit_test(test_expose),
        cmocka_unit_test(test_edges_stay_closed),
        cmocka_unit_test(test_exposed_slot_is_used_again),
        cmocka_unit_test(test_dead_handles),
        cmocka_unit_test(test_errno_is_left_alone),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
