/* SPDX-License-Identifier: MIT */
/* An ordinary test with an overrun, which no scope catches, and a test after it. test_planted says what must come of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vmarena/testing.h>

static int sum(const volatile unsigned char *bytes, size_t length) {
    int total = 0;
    for (size_t i = 0; i <= length; i++) total += bytes[i]; /* planted */
    return total;
}

static void test_with_an_overrun(void **state) {
    (void)state;
    vmarena_testing_begin();
    unsigned char *input = vmarena_fenced_copy("abcdefgh", 8, VMARENA_FENCE_END);
    assert_int_equal(sum(input, 8), 804);
}

static void test_after_it(void **state) {
    (void)state;
    vmarena_testing_begin();
    unsigned char *input = vmarena_fenced_copy("abcdefgh", 8, VMARENA_FENCE_END);
    assert_int_equal(sum(input, 7), 804);
    vmarena_fenced_free(input);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_with_an_overrun), cmocka_unit_test(test_after_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
