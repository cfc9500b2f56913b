/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/bits.h"

enum { COUNT = 200 };

/* Every pair of runs up to two words and a bit apart, against an array of bool. */
static void test_runs_found_as_set(void **state) {
    (void)state;
    for (size_t first = 0; first < 70; first++) {
        _Atomic uint64_t bits[COUNT / 64 + 1] = {0};
        size_t at = 0, end;
        assert_true(vmarena_bits_bytes(COUNT) <= sizeof bits);
        for (size_t i = first; i < first + 66; i++) vmarena_bits_set(bits, i);
        vmarena_bits_set(bits, COUNT - 1);
        assert_true(vmarena_bits_next_run(bits, COUNT, &at, &end));
        assert_int_equal(at, first);
        assert_int_equal(end, first + 66);
        at = end;
        assert_true(vmarena_bits_next_run(bits, COUNT, &at, &end));
        assert_int_equal(at, COUNT - 1);
        assert_int_equal(end, COUNT);
        at = end;
        assert_false(vmarena_bits_next_run(bits, COUNT, &at, &end));
    }
}

static void test_cleared_and_nothing_else(void **state) {
    (void)state;
    for (size_t from = 0; from < 130; from++)
        for (size_t end = from; end <= COUNT; end++) {
            _Atomic uint64_t bits[COUNT / 64 + 1] = {0};
            for (size_t i = 0; i < COUNT; i++) vmarena_bits_set(bits, i);
            vmarena_bits_clear(bits, from, end);
            for (size_t i = 0; i < COUNT; i++) assert_int_equal(vmarena_bits_is_set(bits, i), i < from || i >= end);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_found_as_set),
        cmocka_unit_test(test_cleared_and_nothing_else),
    };
    return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
