/* SPDX-License-Identifier: MIT */
/* What the handler writes about a fault that nobody claims, and that the process dies as it would have otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

#include <pthread.h>

/* What the child writes to `fd`, the end of a pipe, and how it ends. */
struct outcome {
    int status;
    char text[8192];
};

static int report_to;   /* in the child */
static int guard_signo; /* what the guards raise */
static void *subject;   /* what the child prepared before, for its reader to know */

static void run(struct outcome *outcome, void (*body)(void *), void *arg) {
    int ends[2];
    size_t length = 0;
    assert_int_equal(pipe(ends), 0);
    report_to = ends[1];
    outcome->status = run_child(body, arg);
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], outcome->text + length, sizeof outcome->text - 1 - length)) > 0;)
        length += (size_t)got;
    close(ends[0]);
    outcome->text[length] = '\0';
}

/* The text is `expected`, in which # stands for a decimal number and @ for a hexadecimal one. */
static bool matches(const char *text, const char *expected) {
    for (; *expected != '\0'; expected++) {
        if (*expected == '#' || *expected == '@') {
            const char *digits = *expected == '#' ? "0123456789" : "0123456789abcdefx";
            size_t count = strspn(text, digits);
            if (count == 0) return false;
            text += count;
        } else if (*text++ != *expected) return false;
    }
    return *text == '\0';
}

static void assert_report(const char *text, const char *expected) {
    if (!matches(text, expected)) fail_msg("the report is\n%s\nand not\n%s", text, expected);
}

#define SIZE 24
#define LINE_2 "\n  thread #, at pc @\n"

/* ---- arenas ------------------------------------------------------------------------------------------------------------ */

static char *fenced_object(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 1 << 20, .fence = VMARENA_FENCE_END, .name = "tokens"};
    CHECK(vmarena_create(&arena, &options) == 0);
    char *object = vmarena_alloc(arena, SIZE, 1);
    CHECK(object != NULL);
    return object;
}

static void overruns(void *arg) {
    (void)arg;
    char *object = fenced_object();
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(object + SIZE, 1);
}

static void test_overrun(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns, NULL);
    assert_status(outcome.status, guard_signo);
    char expected[200];
    snprintf(expected, sizeof expected,
             "vmarena: overrun: %s 1 byte past the end of a 24-byte object at @ in \"tokens\" (%s at @)" LINE_2,
             fault_access_known() ? "write" : "access", signal_name(guard_signo));
    assert_report(outcome.text, expected);
}

static void overruns_unreported(void *arg) {
    (void)arg;
    char *object = fenced_object();
    CHECK(vmarena_report_faults(report_to) == 0 && vmarena_report_faults(-1) == 0);
    poke(object + SIZE, 1);
}

static void test_turned_off(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns_unreported, NULL);
    assert_status(outcome.status, guard_signo);
    assert_string_equal(outcome.text, "");
}

/* ---- whose faults --------------------------------------------------------------------------------------------------------- */

static bool make_readable(const struct vmarena_fault *fault, void *arg) {
    (void)arg;
    return vmarena_protect(subject, VMARENA_READ) == 0 && fault->signo == SIGSEGV;
}

static void has_its_faults_claimed(void *arg) {
    struct vmarena *arena;
    struct vmarena_fault fault;
    (void)arg;
    char *object = fenced_object();
    CHECK(vmarena_report_faults(report_to) == 0);
    CHECK(vmarena_try(poke_body, object + SIZE, &fault) == 1);
    CHECK(vmarena_create(&arena, NULL) == 0);
    char *bytes = vmarena_alloc(arena, 1, 1);
    CHECK(bytes != NULL && vmarena_protect(arena, VMARENA_NONE) == 0);
    subject = arena;
    CHECK(vmarena_on_fault(arena, make_readable, NULL) == 0);
    (void)peek(bytes);
}

/* A scope's fault, and one that a repair function mends. */
static void test_claimed_faults_are_not_reported(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, has_its_faults_claimed, NULL);
    assert_status(outcome.status, 0);
    assert_string_equal(outcome.text, "");
}

static void faults_elsewhere(void *arg) {
    (void)arg;
    char *nowhere = hole();
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(nowhere, 1);
}

static void test_memory_of_others_is_not_reported(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, faults_elsewhere, NULL);
    assert_status(outcome.status, SIGSEGV);
    assert_string_equal(outcome.text, "");
}

static void is_sent_a_signal(void *arg) {
    (void)arg;
    CHECK(vmarena_report_faults(report_to) == 0);
    raise(SIGSEGV);
}

static void test_a_sent_signal_is_not_reported(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, is_sent_a_signal, NULL);
    assert_status(outcome.status, SIGSEGV);
    assert_string_equal(outcome.text, "");
}

/* ---- the handler before ours ---------------------------------------------------------------------------------------------- */

static void exit_by_handler(int signo) { _exit(signo == guard_signo ? 41 : 42); }

static void overruns_under_a_handler(void *arg) {
    (void)arg;
    char *object = fenced_object();
    signal(guard_signo, exit_by_handler);
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(object + SIZE, 1);
}

static void test_the_handler_before_ours_is_called(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns_under_a_handler, NULL);
    assert_status(outcome.status, 41 << 8);
    assert_non_null(strstr(outcome.text, "past the end of a 24-byte object"));
}

static volatile sig_atomic_t returns_left = 3;

static void return_three_times(int signo) {
    (void)signo;
    if (--returns_left == 0) _exit(43);
}

static void overruns_again_and_again(void *arg) {
    (void)arg;
    char *object = fenced_object();
    signal(guard_signo, return_three_times);
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(object + SIZE, 1);
}

static void test_a_repeated_fault_is_reported_once(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns_again_and_again, NULL);
    assert_status(outcome.status, 43 << 8);
    const char *first = strstr(outcome.text, "vmarena: ");
    assert_non_null(first);
    assert_null(strstr(first + 1, "vmarena: "));
}

static void host_handler(int signo, siginfo_t *info, void *context) {
    if (!vmarena_handle_signal(signo, info, context)) _exit(44);
}

static void overruns_under_a_host(void *arg) {
    (void)arg;
    char *object = fenced_object();
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    action.sa_sigaction = host_handler;
    CHECK(vmarena_fault_host(true) == 0 && sigaction(guard_signo, &action, NULL) == 0);
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(object + SIZE, 1);
}

static void test_a_host_that_passes_faults_on(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns_under_a_host, NULL);
    assert_status(outcome.status, 44 << 8);
    assert_non_null(strstr(outcome.text, "past the end of a 24-byte object"));
}

/* ---- heaps ----------------------------------------------------------------------------------------------------------------- */

static void uses_after_free(void *arg) {
    struct vmarena_heap *heap;
    struct vmarena_heap_options options = {
        .reserve = (size_t)64 << 20, .stack_depth = *(unsigned *)arg, .name = "jobs"};
    CHECK(vmarena_heap_create(&heap, &options) == 0);
    char *object = vmarena_heap_alloc(heap, SIZE, 1);
    CHECK(object != NULL && vmarena_heap_free(heap, object) == 0);
    CHECK(vmarena_report_faults(report_to) == 0);
    poke(object + 3, 1);
}

static const char *skip_frames(const char *text) {
    while (strncmp(text, "    0x", 6) == 0) text = strchr(text, '\n') + 1;
    return text;
}

static void test_use_after_free_with_stacks(void **state) {
    (void)state;
    struct outcome outcome;
    unsigned frames = 8;
    if (!fault_access_known()) {
        print_message("skip: the CPU does not tell reads from writes\n");
        skip();
    }
    run(&outcome, uses_after_free, &frames);
    assert_status(outcome.status, guard_signo);
    char *allocated = strstr(outcome.text, "  allocated by"), *freed = strstr(outcome.text, "  freed by");
    assert_non_null(allocated);
    assert_non_null(freed);
    allocated[-1] = freed[-1] = '\0';
    char expected[200];
    snprintf(expected, sizeof expected,
             "vmarena: use after free: write inside a 24-byte object at @ in \"jobs\" (%s at @)\n  thread #, at pc @",
             signal_name(guard_signo));
    assert_report(outcome.text, expected);
    const char *frames_of_allocation = strchr(allocated, '\n') + 1, *frames_of_free = strchr(freed, '\n') + 1;
    assert_true(strncmp(frames_of_allocation, "    0x", 6) == 0);
    assert_true(strncmp(frames_of_free, "    0x", 6) == 0);
    assert_string_equal(skip_frames(frames_of_free), "");
    allocated[strcspn(allocated, "\n")] = freed[strcspn(freed, "\n")] = '\0';
    assert_true(matches(allocated, "  allocated by thread # at:"));
    assert_true(matches(freed, "  freed by thread # at:"));
}

/* ---- views ------------------------------------------------------------------------------------------------------------------- */

static void reads_past_the_end_of_a_file(void *arg) {
    struct vmarena_view *view;
    size_t page = vmarena_page_size();
    (void)arg;
    int fd = nameless_file();
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(2 * page)) == 0);
    CHECK(vmarena_view_open_fd(&view, fd, &(struct vmarena_view_options){.name = "log"}) == 0);
    CHECK(ftruncate(fd, (off_t)page) == 0 && vmarena_report_faults(report_to) == 0);
    (void)peek((char *)view->data + page + 5);
}

static void test_past_the_end_of_a_file(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, reads_past_the_end_of_a_file, NULL);
    assert_status(outcome.status, SIGBUS);
    assert_non_null(strstr(outcome.text, "vmarena: past the end of the file: "));
    assert_non_null(strstr(outcome.text, " in \"log\" at file offset "));
}

/* ---- arguments ------------------------------------------------------------------------------------------------------------- */

static void test_errors(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(vmarena_report_faults(-2), -EINVAL);
    assert_non_null(strstr(vmarena_explain(), "-2"));
    assert_int_equal(vmarena_report_faults(ends[0]), -EBADF);
    assert_non_null(strstr(vmarena_explain(), "not open for writing"));
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(vmarena_report_faults(ends[1]), -EBADF);
    assert_int_equal(vmarena_report_faults(-1), 0);
}

/* In a thread that never opened a scope: a handler needs no stack of its own for a fault that is no stack overflow. */
static void *overrun_in_thread(void *object) {
    poke((char *)object + SIZE, 1);
    return NULL;
}

static void overruns_in_another_thread(void *arg) {
    (void)arg;
    pthread_t thread;
    char *object = fenced_object();
    CHECK(vmarena_report_faults(report_to) == 0);
    CHECK(pthread_create(&thread, NULL, overrun_in_thread, object) == 0);
    pthread_join(thread, NULL);
}

static void test_another_thread(void **state) {
    (void)state;
    struct outcome outcome;
    run(&outcome, overruns_in_another_thread, NULL);
    assert_status(outcome.status, guard_signo);
    assert_non_null(strstr(outcome.text, "past the end of a 24-byte object"));
}

int main(void) {
    guard_signo = auto_guard_signal();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overrun),
        cmocka_unit_test(test_turned_off),
        cmocka_unit_test(test_claimed_faults_are_not_reported),
        cmocka_unit_test(test_memory_of_others_is_not_reported),
        cmocka_unit_test(test_a_sent_signal_is_not_reported),
        cmocka_unit_test(test_the_handler_before_ours_is_called),
        cmocka_unit_test(test_a_repeated_fault_is_reported_once),
        cmocka_unit_test(test_a_host_that_passes_faults_on),
        cmocka_unit_test(test_use_after_free_with_stacks),
        cmocka_unit_test(test_past_the_end_of_a_file),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
