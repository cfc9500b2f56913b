/* SPDX-License-Identifier: MIT */
/*
 * What is registered with the C library once in a process: fork handlers, and the key that runs functions at a thread's
 * end. A registration that fails is an error of the call that needed it, and the next call tries again. The linker puts
 * the two functions here in front of the C library's (--wrap).
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vmarena.h"

#include "prim/prim.h"
#include "support.h"

static int atfork_failures, key_failures;
static int atfork_calls, key_calls;

/* With pauses, the thread that has just registered fork handlers waits before it can make a note of it. */
static bool pauses;
static sem_t paused, resumed;

int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    atfork_calls++;
    if (atfork_failures > 0 && atfork_failures-- > 0) return ENOMEM;
    int error = __real_pthread_atfork(before, parent, child);
    if (pauses) {
        sem_post(&paused);
        sem_wait(&resumed);
    }
    return error;
}

int __real_pthread_key_create(pthread_key_t *key, void (*destroy)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *)) {
    key_calls++;
    if (key_failures > 0 && key_failures-- > 0) return EAGAIN;
    return __real_pthread_key_create(key, destroy);
}

static void create_arena(void *arg) {
    struct vmarena *arena = NULL;
    (void)arg;
    atfork_failures = 1;
    CHECK(vmarena_create(&arena, NULL) == -ENOMEM);
    CHECK(vmarena_last_error() == -ENOMEM);
    CHECK(arena == NULL && atfork_calls == 1);
    CHECK(vmarena_create(&arena, NULL) == 0);
    CHECK(atfork_calls == 2);
    vmarena_destroy(arena);
    CHECK(vmarena_create(&arena, NULL) == 0);
    CHECK(atfork_calls == 2);
}

static void test_an_arena(void **state) {
    (void)state;
    assert_runs(create_arena, NULL);
}

/* A heap registers handlers of its own behind the library's, and guards by userfaultfd one more, when they are tried. */
static void create_heap(void *arg) {
    struct vmarena_heap *heap = NULL;
    int failing = *(int *)arg;
    for (int i = 0; i < failing; i++) {
        atfork_failures = 1;
        CHECK(vmarena_heap_create(&heap, NULL) == -ENOMEM);
        CHECK(heap == NULL && atfork_failures == 0);
    }
    CHECK(vmarena_heap_create(&heap, NULL) == 0);
    struct vmarena_heap_stats stats;
    vmarena_heap_stats(heap, &stats);
    CHECK(atfork_calls == failing + (stats.guard_kind == VMARENA_GUARD_MARKER ? 2 : 3));
}

static void test_a_heap(void **state) {
    (void)state;
    assert_runs(create_heap, &(int){1});
    assert_runs(create_heap, &(int){3});
}

static void ask_caps(void *arg) {
    struct vmarena_caps caps;
    (void)arg;
    atfork_failures = 1;
    CHECK(vmarena_caps(&caps) == -ENOMEM);
    CHECK(strstr(vmarena_explain(), "pthread_atfork") != NULL);
    CHECK(vmarena_caps(&caps) == 0);
}

static void test_caps(void **state) {
    (void)state;
    assert_runs(ask_caps, NULL);
}

static void install_handlers(void *arg) {
    (void)arg;
    atfork_failures = 2;
    CHECK(vmarena_fault_install() == -ENOMEM);
    CHECK(strstr(vmarena_explain(), "pthread_atfork") != NULL);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    CHECK(vmarena_fault_host(true) == -ENOMEM);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    CHECK(vmarena_fault_install() == 0);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
}

static void test_fault_handlers(void **state) {
    (void)state;
    assert_runs(install_handlers, NULL);
}

/* The signal stack is freed by a function at the thread's end. */
static void open_scope(void *arg) {
    struct vmarena_fault fault;
    stack_t stack;
    (void)arg;
    key_failures = 2;
    for (int i = 0; i < 2; i++) {
        CHECK(vmarena_try(peek_body, &fault, &fault) == -EAGAIN);
        CHECK(strcmp(vmarena_explain(), "pthread_key_create: Resource temporarily unavailable") == 0);
        CHECK(sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE) != 0);
    }
    CHECK(vmarena_try(peek_body, &fault, &fault) == 0);
    CHECK(key_calls == 3);
    CHECK(sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0);
}

static void test_a_scope(void **state) {
    (void)state;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer gives each thread a signal stack of its own\n");
        skip();
    }
    assert_runs(open_scope, NULL);
}

/* ---- vmarena_prim_once -------------------------------------------------------------------------------------------- */

static struct vmarena_prim_once once;
static int attempts;
static int fail_twice(void) { return ++attempts <= 2 ? -EAGAIN : 0; }

static void test_errors_are_not_remembered(void **state) {
    (void)state;
    assert_int_equal(vmarena_prim_once(&once, fail_twice), -EAGAIN);
    assert_int_equal(vmarena_prim_once(&once, fail_twice), -EAGAIN);
    assert_int_equal(vmarena_prim_once(&once, fail_twice), 0);
    assert_int_equal(vmarena_prim_once(&once, fail_twice), 0);
    assert_int_equal(attempts, 3);
}

static void *caps_in_thread(void *arg) {
    struct vmarena_caps caps;
    CHECK(vmarena_caps(&caps) == 0);
    return arg;
}

static void create_and_destroy(void *arg) {
    struct vmarena *arena;
    (void)arg;
    CHECK(vmarena_create(&arena, NULL) == 0);
    vmarena_destroy(arena);
}

/* The child cannot know that the handlers are registered: it registers them again, and goes on to fork. */
static void fork_as_a_child(void *arg) {
    pauses = false;
    create_and_destroy(arg);
    CHECK(atfork_calls == 2);
    CHECK(run_child(create_and_destroy, NULL) == 0);
}

static void fork_in_the_middle(void *arg) {
    pthread_t thread;
    (void)arg;
    CHECK(sem_init(&paused, 0, 0) == 0 && sem_init(&resumed, 0, 0) == 0);
    pauses = true;
    CHECK(pthread_create(&thread, NULL, caps_in_thread, NULL) == 0);
    CHECK(sem_wait(&paused) == 0);
    CHECK(run_child(fork_as_a_child, NULL) == 0);
    pauses = false;
    CHECK(sem_post(&resumed) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    create_and_destroy(NULL);
    CHECK(atfork_calls == 1);
    CHECK(run_child(create_and_destroy, NULL) == 0);
}

static void test_a_fork_in_the_middle(void **state) {
    (void)state;
    skip_under_tsan("a child of several threads may not create any");
    assert_runs(fork_in_the_middle, NULL);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_arena),
        cmocka_unit_test(test_a_heap),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_fault_handlers),
        cmocka_unit_test(test_a_scope),
        cmocka_unit_test(test_errors_are_not_remembered),
        cmocka_unit_test(test_a_fork_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
