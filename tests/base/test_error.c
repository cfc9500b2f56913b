/* SPDX-License-Identifier: MIT */
/* The last failure in a sentence: worded only when it is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/error.h"
#include "vmarena.h"

#include "seccomp.h"
#include "support.h"

/* From now on this process dies of SIGSYS when it opens a file. */
static bool forbid_open(void) { return filter_call(SYS_openat, SECCOMP_RET_KILL_PROCESS); }

/* An arena under RLIMIT_DATA commits by steps, of which one fails. */
static struct vmarena *limited_arena(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = (size_t)1 << 30, .commit_policy = VMARENA_COMMIT_PROTECT};
    CHECK(vmarena_create(&arena, &options) == 0);
    CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){(size_t)64 << 20, (size_t)64 << 20}) == 0);
    return arena;
}

static void fails_without_a_file(void *arg) {
    (void)arg;
    struct vmarena *arena = limited_arena();
    if (!forbid_open()) _exit(NO_SECCOMP);
    while (vmarena_alloc(arena, (size_t)1 << 20, 1) != NULL) {}
    CHECK_QUIETLY(vmarena_last_error() == -ENOMEM, 1);
    for (int i = 0; i < 1000; i++) CHECK_QUIETLY(vmarena_alloc(arena, (size_t)64 << 20, 1) == NULL, 2);
}

/* Counts nothing: the process dies if a failing allocation opens /proc/self/maps, or any other file. */
static void test_failing_opens_no_file(void **state) {
    (void)state;
    skip_under_valgrind("seccomp would forbid Valgrind's own calls");
    int status = run_child(fails_without_a_file, NULL);
    skip_without_seccomp(status);
    assert_status(status, 0);
}

static void asks_for_the_sentence(void *arg) {
    (void)arg;
    struct vmarena *arena = limited_arena();
    while (vmarena_alloc(arena, (size_t)1 << 20, 1) != NULL) {}
    if (!forbid_open()) _exit(NO_SECCOMP);
    (void)vmarena_explain();
}

/* The same filter sees vmarena_explain() open it: the test above can fail. */
static void test_the_sentence_opens_one(void **state) {
    (void)state;
    skip_under_valgrind("seccomp would forbid Valgrind's own calls");
    int status = run_child(asks_for_the_sentence, NULL);
    skip_without_seccomp(status);
    assert_status(status, SIGSYS);
}

static void test_sentences_of_calls(void **state) {
    (void)state;
    errno = 77;
    assert_int_equal(vmarena_fail_call(-EACCES, "mprotect", 1234567), -EACCES);
    assert_int_equal(vmarena_last_error(), -EACCES);
    const char *sentence = vmarena_explain();
    assert_string_equal(sentence, "mprotect of 1,234,567 bytes: Permission denied");
    assert_ptr_equal(vmarena_explain(), sentence);
    assert_string_equal(vmarena_explain(), "mprotect of 1,234,567 bytes: Permission denied");
    assert_int_equal(vmarena_fail_call(-ENOMEM, "mmap", 4096), -ENOMEM);
    assert_string_equal(vmarena_explain(),
                        "mmap: out of memory or address space for 4,096 bytes (a limit such as RLIMIT_AS, RLIMIT_DATA "
                        "or strict overcommit may be the reason)");
    assert_int_equal(errno, 77);
}

/* A sentence that nobody asked for gives way to the next failure's, whichever kind either is. */
static void test_the_last_failure_counts(void **state) {
    (void)state;
    assert_int_equal(vmarena_fail_call(-EIO, "pread", 1), -EIO);
    assert_int_equal(vmarena_fail(-EINVAL, "%d is %s", 3, "odd"), -EINVAL);
    assert_string_equal(vmarena_explain(), "3 is odd");
    assert_int_equal(vmarena_last_error(), -EINVAL);
    assert_int_equal(vmarena_fail_call(-EPERM, "mlock", 1), -EPERM);
    assert_string_equal(vmarena_explain(), "mlock of 1 byte: Operation not permitted");
    assert_int_equal(vmarena_last_error(), -EPERM);
    assert_int_equal(vmarena_fail_call(-EINVAL, "sigaction", 0), -EINVAL);
    assert_string_equal(vmarena_explain(), "sigaction: Invalid argument");
}

static void test_long_sentences_are_cut(void **state) {
    (void)state;
    char name[1000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(vmarena_fail_call(-EIO, name, 1), -EIO);
    assert_int_equal(strlen(vmarena_explain()), 383);
    assert_int_equal(vmarena_fail(-EIO, "%s", name), -EIO);
    assert_int_equal(strlen(vmarena_explain()), 383);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_opens_no_file),  cmocka_unit_test(test_the_sentence_opens_one),
        cmocka_unit_test(test_sentences_of_calls),     cmocka_unit_test(test_the_last_failure_counts),
        cmocka_unit_test(test_long_sentences_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
