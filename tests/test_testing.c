/* SPDX-License-Identifier: MIT */
/* testing.h as a cmocka program uses it. Its expectations fail when they should, with the right message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A cmocka program would define this as `fail_msg("%s", message)`; here an expected failure is recorded instead. */
static char kept[1024];
static int kept_count, keeping;
static void keep_or_fail(const char *message) {
    if (!keeping) fail_msg("%s", message);
    snprintf(kept, sizeof kept, "%s", message);
    kept_count++;
}
#define VMARENA_TEST_FAIL(message) keep_or_fail(message)

#include "vmarena/testing.h"

#include "support.h"

/* The statement must fail exactly one expectation, and the message must contain these words. */
#define assert_fails(statement, words)                                                                                 \
    do {                                                                                                               \
        kept_count = 0;                                                                                                \
        keeping = 1;                                                                                                   \
        statement;                                                                                                     \
        keeping = 0;                                                                                                   \
        assert_int_equal(kept_count, 1);                                                                               \
        if (strstr(kept, words) == NULL) fail_msg("\"%s\" is not in \"%s\"", words, kept);                             \
    } while (0)

/* ---- expectations ------------------------------------------------------------------------------------------------ */

static void test_a_fault_is_expected(void **state) {
    (void)state;
    volatile char *null = NULL;
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_END);
    VMARENA_EXPECT_FAULT(*null = 1);
    VMARENA_EXPECT_FAULT(peek(copy + 5));
    VMARENA_EXPECT_FAULT(int two[] = {1, 2}; poke(copy + 4 + two[0], 3));
    VMARENA_EXPECT_NO_FAULT(peek(copy + 4));
    VMARENA_EXPECT_NO_FAULT(int two[] = {1, 2}; poke(copy + two[1], 3));
    assert_int_equal(copy[2], 3);
    vmarena_fenced_free(copy);
}

static void test_a_fault_is_like_this(void **state) {
    (void)state;
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_END);
    VMARENA_EXPECT_FAULT_LIKE(poke(copy + 5, 0), .kind = VMARENA_FAULT_OVERRUN);
    VMARENA_EXPECT_FAULT_LIKE(poke(copy + 5, 0), .distance = 1);
    VMARENA_EXPECT_FAULT_LIKE(peek(copy + 12), .kind = VMARENA_FAULT_OVERRUN, .distance = 8, .object = copy,
                              .object_size = 5, .access = told(VMARENA_ACCESS_READ), .address = copy + 12,
                              .signo = auto_guard_signal());
    vmarena_fenced_free(copy);
}

static void test_expectations_nest(void **state) {
    (void)state;
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_START);
    struct vmarena_fault fault;
    struct vmarena_scope *top = vmarena_scope_top();
    VMARENA_EXPECT_NO_FAULT(assert_int_equal(vmarena_try(poke_body, copy - 1, &fault), 1));
    assert_int_equal(fault.distance, -1);
    assert_ptr_equal(vmarena_scope_top(), top);
    vmarena_fenced_free(copy);
}

static void test_failures_say_what_happened(void **state) {
    (void)state;
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_END);
    char words[200];
    int line;
    assert_fails(VMARENA_EXPECT_FAULT(peek(copy)), "peek(copy): expected a fault, but nothing faulted");
    line = __LINE__ + 1;
    assert_fails(VMARENA_EXPECT_NO_FAULT(peek(copy + 5)), ": peek(copy + 5): expected no fault, but got: overrun: read "
                                                          "1 byte past the end of a 5-byte object at ");
    snprintf(words, sizeof words, "%s:%d: peek", __FILE__, line);
    assert_ptr_equal(strstr(kept, words), kept);
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(poke(copy + 5, 1), .kind = VMARENA_FAULT_UNDERRUN),
                 "poke(copy + 5, 1): expected an underrun, but got: overrun: write 1 byte past");
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(poke(copy + 5, 1), .distance = -1),
                 "expected a fault at distance -1, but got: overrun: write 1 byte past");
    snprintf(words, sizeof words, "expected an overrun at distance +1 of an object of 6 bytes at %p, but got: overrun",
             (void *)copy);
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(poke(copy + 5, 1), .kind = VMARENA_FAULT_OVERRUN, .distance = 1,
                                           .object = copy, .object_size = 6),
                 words);
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(peek(copy), .kind = VMARENA_FAULT_USE_AFTER_FREE),
                 "expected a use after free, but nothing faulted");
    int other_signo = auto_guard_signal() == SIGBUS ? SIGSEGV : SIGBUS;
    snprintf(words, sizeof words, "expected a fault, by signal %d, but got", other_signo);
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(peek(copy + 5), .signo = other_signo), words);
    snprintf(words, sizeof words, "expected a fault, touching %p, but got", (void *)copy);
    assert_fails(VMARENA_EXPECT_FAULT_LIKE(peek(copy + 5), .address = copy), words);
    if (fault_access_known())
        assert_fails(VMARENA_EXPECT_FAULT_LIKE(peek(copy + 5), .access = VMARENA_ACCESS_WRITE),
                     "expected a fault by a write, but got: overrun: read 1 byte past");
    vmarena_fenced_free(copy);
}

/* As cmocka does around each test, but more often. */
static void test_handlers_displaced_often(void **state) {
    (void)state;
    for (volatile int i = 0; i < 40; i++) {
        signal(SIGSEGV, SIG_DFL);
        VMARENA_EXPECT_FAULT_LIKE(poke(NULL, 1), .kind = VMARENA_FAULT_UNMAPPED);
    }
}

static void child_aborts(void *unused) {
    (void)unused;
    int errors[2];
    char text[64] = "";
    CHECK(pipe(errors) == 0 && dup2(errors[1], 2) == 2);
    pid_t child = fork();
    if (child == 0) vmarena_testing_abort_("the words");
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(read(errors[0], text, sizeof text - 1) == 10 && strcmp(text, "the words\n") == 0);
}

static void test_by_default_a_failure_aborts(void **state) {
    (void)state;
    assert_runs(child_aborts, NULL);
}

/* An ordinary test, which expects no fault. What follows the report is a sanitizer's, where there is one. */
static void child_overruns(void *unused) {
    (void)unused;
    int errors[2];
    char text[512] = "";
    CHECK(pipe(errors) == 0 && dup2(errors[1], 2) == 2);
    unsigned char *copy = vmarena_fenced_copy("abcd", 4, VMARENA_FENCE_END);
    pid_t child = fork();
    if (child == 0) {
        vmarena_testing_begin();
        poke(copy + 4, 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status != 0);
    CHECK(read(errors[0], text, sizeof text - 1) > 0);
    CHECK(strncmp(text, "vmarena: overrun: ", 18) == 0 && strstr(text, " past the end of a 4-byte object at ") != NULL);
    vmarena_fenced_free(copy);
}

static void test_unexpected_faults_are_reported(void **state) {
    (void)state;
    assert_runs(child_overruns, NULL);
}

/* An assertion that jumps out of an expectation leaves its scope open on a stack that is gone. */
static sigjmp_buf out;
static void test_begin_closes_scopes(void **state) {
    (void)state;
    struct vmarena_scope *outside = vmarena_scope_top();
    if (sigsetjmp(out, 1) == 0) VMARENA_EXPECT_NO_FAULT(siglongjmp(out, 1));
    assert_ptr_not_equal(vmarena_scope_top(), outside);
    vmarena_testing_begin();
    assert_null(vmarena_scope_top());
}

/* ---- fenced copies ----------------------------------------------------------------------------------------------- */

static void copy_at(size_t length, enum vmarena_fence side) {
    unsigned char bytes[3 * 4096 + 2];
    assert_true(length <= sizeof bytes);
    for (size_t i = 0; i < length; i++) bytes[i] = (unsigned char)(i * 7 + 1);
    unsigned char *copy = vmarena_fenced_copy(bytes, length, side);
    assert_memory_equal(copy, bytes, length);
    memset(copy, 0, length);
    if (side == VMARENA_FENCE_END)
        VMARENA_EXPECT_FAULT_LIKE(peek(copy + length), .kind = VMARENA_FAULT_OVERRUN, .distance = 1, .object = copy,
                                  .object_size = length, .address = copy + length);
    else
        VMARENA_EXPECT_FAULT_LIKE(poke(copy - 1, 1), .kind = VMARENA_FAULT_UNDERRUN, .distance = -1, .object = copy,
                                  .object_size = length, .address = copy - 1);
    vmarena_fenced_free(copy);
}

static void test_copies_lie_flush(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    static const size_t lengths[] = {1, 2, 15, 16, 17, 4095, 4096, 4097, 8192, 12289};
    size_t maps = 0;
    for (int round = 0; round < 2; round++) { /* the second time nothing new is mapped */
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            copy_at(lengths[i], VMARENA_FENCE_END);
            copy_at(lengths[i], VMARENA_FENCE_START);
        }
        if (round == 0) maps = count_maps();
    }
    assert_maps(maps);
    assert_true(page >= 4096);
}

static void empty_copy(enum vmarena_fence side) {
    unsigned char *copy = vmarena_fenced_copy("", 0, side);
    VMARENA_EXPECT_FAULT_LIKE(peek(copy), .kind = VMARENA_FAULT_OVERRUN, .distance = 1, .address = copy);
    VMARENA_EXPECT_FAULT_LIKE(peek(copy - 1), .kind = VMARENA_FAULT_PROTECTED, .address = copy - 1);
    vmarena_fenced_free(copy);
}

static void test_empty_copies(void **state) {
    (void)state;
    empty_copy(VMARENA_FENCE_END);
    empty_copy(VMARENA_FENCE_START);
}

static void test_copies_of_nothing_are_zero(void **state) {
    (void)state;
    static const unsigned char zeroes[100];
    unsigned char *copy = vmarena_fenced_copy(NULL, 100, VMARENA_FENCE_START);
    assert_memory_equal(copy, zeroes, 100);
    vmarena_fenced_free(copy);
    vmarena_fenced_free(NULL);
}

static void test_copies_that_cannot_be(void **state) {
    (void)state;
    assert_fails(assert_null(vmarena_fenced_copy(NULL, SIZE_MAX, VMARENA_FENCE_END)),
                 "no fenced copy of 18446744073709551615 bytes: ");
    assert_fails(assert_null(vmarena_fenced_copy("x", 1, VMARENA_FENCE_OFF)),
                 "no fenced copy of 1 bytes: the side is neither end nor start");
}

static void test_writes_beside_a_copy_are_found(void **state) {
    (void)state;
    char words[100];
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_END);
    poke(copy - 3, 0);
    snprintf(words, sizeof words, "slack overwritten: byte -3 of the 5-byte object at %p", (void *)copy);
    assert_fails(vmarena_fenced_free(copy), words);
    copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_START);
    poke(copy + 5, 0);
    snprintf(words, sizeof words, "slack overwritten: byte +1 of the 5-byte object at %p", (void *)copy);
    assert_fails(vmarena_fenced_free(copy), words);
}

static void test_only_the_start_frees(void **state) {
    (void)state;
    unsigned char *copy = vmarena_fenced_copy("bytes", 5, VMARENA_FENCE_END);
    assert_fails(vmarena_fenced_free(copy + 1), "is not the start of a fenced copy");
    assert_int_equal(copy[4], 's');
    vmarena_fenced_free(copy);
}

/* ---- both sides -------------------------------------------------------------------------------------------------- */

static void sum(unsigned char *copy, size_t length, void *arg) {
    unsigned *total = arg;
    for (size_t i = 0; i < length; i++) *total += copy[i];
}

static void read_at(unsigned char *copy, size_t length, void *arg) {
    (void)length;
    (void)peek(copy + *(ptrdiff_t *)arg);
}

static void write_at(unsigned char *copy, size_t length, void *arg) {
    (void)length;
    poke(copy + *(ptrdiff_t *)arg, 0);
}

static void test_runner(void **state) {
    (void)state;
    unsigned total = 0;
    ptrdiff_t end = 4, before = -1;
    VMARENA_RUN_FENCED(sum, "\1\2\3\4", 4, &total);
    assert_int_equal(total, 20);
    assert_fails(VMARENA_RUN_FENCED(read_at, "\1\2\3\4", 4, &end),
                 "the body, with its input ending at a guard: expected no fault, but got: overrun: read 1 byte past");
    assert_fails(VMARENA_RUN_FENCED(read_at, "\1\2\3\4", 4, &before),
                 "the body, with its input starting at a guard: expected no fault, but got: underrun: read 1 byte ");
    assert_int_equal(vmarena_scope_top() == NULL, 1);
}

/* A write that the guard on one side does not catch is found when the slack is checked. */
static void test_runner_checks_the_other_side(void **state) {
    (void)state;
    ptrdiff_t before = -1;
    kept_count = 0;
    keeping = 1;
    VMARENA_RUN_FENCED(write_at, "\1\2\3\4", 4, &before);
    keeping = 0;
    assert_int_equal(kept_count, 2);
    assert_non_null(strstr(kept, "underrun: write 1 byte before"));
}

static void test_runner_with_nothing(void **state) {
    (void)state;
    unsigned total = 0;
    ptrdiff_t at = 0;
    VMARENA_RUN_FENCED(sum, NULL, 0, &total);
    kept_count = 0;
    keeping = 1;
    VMARENA_RUN_FENCED(read_at, NULL, 0, &at);
    keeping = 0;
    assert_int_equal(kept_count, 2);
}

/* ---- a heap for one test ----------------------------------------------------------------------------------------- */

static void test_heap_without_errors(void **state) {
    (void)state;
    struct vmarena_testing_heap test;
    struct vmarena_heap *heap = vmarena_testing_heap_begin(&test, NULL);
    char *object = vmarena_heap_alloc(heap, 20, 0), *other = vmarena_heap_alloc(heap, 20, 0);
    memset(object, 1, 20);
    VMARENA_EXPECT_FAULT_LIKE(peek(object + 32), .kind = VMARENA_FAULT_OVERRUN, .distance = 13, .object = object);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    other[19] = 1; /* left live: not an error */
    vmarena_testing_heap_end(&test);
    vmarena_testing_heap_end(&test); /* nothing is left to end */
}

static void test_heap_checks_at_its_end(void **state) {
    (void)state;
    struct vmarena_testing_heap test;
    struct vmarena_heap *heap = vmarena_testing_heap_begin(&test, NULL);
    (void)vmarena_heap_alloc(heap, 8, 0);
    unsigned char *object = vmarena_heap_alloc(heap, 20, 0);
    char words[200];
    poke(object + 21, 0);
    snprintf(
        words, sizeof words,
        "slack overwritten: byte +2 of the 20-byte object at %p in \"test\" holds 0x00; it was allocation 2, at 0x",
        (void *)object);
    assert_fails(vmarena_testing_heap_end(&test), words);
    assert_null(strstr(kept, "errors"));
}

static void test_heap_tells_the_first_error(void **state) {
    (void)state;
    struct vmarena_testing_heap test;
    struct vmarena_heap_options options = {.side = VMARENA_HEAP_START, .align = 1, .name = "mine"};
    struct vmarena_heap *heap = vmarena_testing_heap_begin(&test, &options);
    unsigned char *object = vmarena_heap_alloc(heap, 20, 0);
    char words[200];
    VMARENA_EXPECT_FAULT_LIKE(peek(object - 1), .kind = VMARENA_FAULT_UNDERRUN, .distance = -1, .object = object);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_int_equal(vmarena_heap_free(heap, words), -EINVAL);
    snprintf(words, sizeof words, "2 errors, the first: double free: the 20-byte object at %p in \"mine\"",
             (void *)object);
    assert_fails(vmarena_testing_heap_end(&test), words);
    assert_non_null(strstr(kept, "; it was allocation 1, at 0x"));
    assert_non_null(strstr(kept, ", freed at 0x"));
}

static void test_heap_that_cannot_be(void **state) {
    (void)state;
    struct vmarena_testing_heap test;
    struct vmarena_heap_options options = {.align = 3};
    assert_fails(assert_null(vmarena_testing_heap_begin(&test, &options)),
                 "no heap for the test: options.align: 3 is no power of two");
    vmarena_testing_heap_end(&test);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fault_is_expected),
        cmocka_unit_test(test_a_fault_is_like_this),
        cmocka_unit_test(test_expectations_nest),
        cmocka_unit_test(test_failures_say_what_happened),
        cmocka_unit_test(test_handlers_displaced_often),
        cmocka_unit_test(test_by_default_a_failure_aborts),
        cmocka_unit_test(test_begin_closes_scopes),
        cmocka_unit_test(test_copies_lie_flush),
        cmocka_unit_test(test_empty_copies),
        cmocka_unit_test(test_copies_of_nothing_are_zero),
        cmocka_unit_test(test_copies_that_cannot_be),
        cmocka_unit_test(test_writes_beside_a_copy_are_found),
        cmocka_unit_test(test_only_the_start_frees),
        cmocka_unit_test(test_runner),
        cmocka_unit_test(test_runner_checks_the_other_side),
        cmocka_unit_test(test_runner_with_nothing),
        cmocka_unit_test(test_unexpected_faults_are_reported),
        cmocka_unit_test(test_heap_without_errors),
        cmocka_unit_test(test_heap_checks_at_its_end),
        cmocka_unit_test(test_heap_tells_the_first_error),
        cmocka_unit_test(test_heap_that_cannot_be),
    };
    return cmocka_run_group_tests_name("testing", tests, NULL, NULL);
}
