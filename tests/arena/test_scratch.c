/* SPDX-License-Identifier: MIT */
/* Scratch arenas: two a thread, given back at the thread's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

#include <pthread.h>

static size_t used(const struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats.used;
}

static void test_scopes_nest(void **state) {
    (void)state;
    struct vmarena_scratch outer = vmarena_scratch_begin(NULL);
    assert_non_null(outer.arena);
    assert_int_equal(used(outer.arena), 0);
    char *kept = vmarena_alloc(outer.arena, 100, 1);
    strcpy(kept, "kept");
    struct vmarena_scratch inner = vmarena_scratch_begin(NULL);
    assert_ptr_equal(inner.arena, outer.arena);
    assert_non_null(vmarena_alloc(inner.arena, 5000, 1));
    size_t before = used(outer.arena);
    assert_true(before >= 5100);
    assert_int_equal(vmarena_scratch_end(inner), 0);
    assert_int_equal(used(outer.arena), 100);
    assert_string_equal(kept, "kept");
    assert_int_equal(vmarena_scratch_end(outer), 0);
    assert_int_equal(used(outer.arena), 0);
}

static void test_conflicts(void **state) {
    (void)state;
    struct vmarena_scratch one = vmarena_scratch_begin(NULL), two = vmarena_scratch_begin(one.arena);
    assert_non_null(two.arena);
    assert_ptr_not_equal(one.arena, two.arena);
    struct vmarena_scratch again = vmarena_scratch_begin(two.arena);
    assert_ptr_equal(again.arena, one.arena);
    struct vmarena *other = NULL;
    assert_int_equal(vmarena_create(&other, &(struct vmarena_options){.reserve = 4096}), 0);
    struct vmarena_scratch any = vmarena_scratch_begin(other);
    assert_ptr_equal(any.arena, one.arena);
    vmarena_destroy(other);
    assert_int_equal(vmarena_scratch_end(any) | vmarena_scratch_end(again), 0);
    assert_int_equal(vmarena_scratch_end(two) | vmarena_scratch_end(one), 0);
}

static void test_out_of_order(void **state) {
    (void)state;
    struct vmarena_scratch outer = vmarena_scratch_begin(NULL);
    assert_non_null(vmarena_alloc(outer.arena, 10, 1));
    struct vmarena_scratch inner = vmarena_scratch_begin(NULL);
    assert_int_equal(vmarena_scratch_end(outer), 0);
    assert_non_null(vmarena_alloc(outer.arena, 20, 1));
    assert_int_equal(vmarena_scratch_end(inner), -ESTALE);
    assert_int_equal(vmarena_scratch_end((struct vmarena_scratch){.arena = NULL}), -EBADF);
    assert_int_equal(vmarena_reset(outer.arena, SIZE_MAX), 0);
}

static void *in_a_thread(void *arg) {
    struct vmarena **mine = arg;
    struct vmarena_scratch scratch = vmarena_scratch_begin(NULL), other = vmarena_scratch_begin(scratch.arena);
    if (scratch.arena == NULL || other.arena == NULL) return (void *)1;
    mine[0] = scratch.arena;
    mine[1] = other.arena;
    char *object = vmarena_alloc(scratch.arena, 100000, 1);
    if (object == NULL || vmarena_alloc(other.arena, 10, 1) == NULL) return (void *)2;
    memset(object, 1, 100000);
    return vmarena_scratch_end(other) != 0 || vmarena_scratch_end(scratch) != 0 ? (void *)3 : NULL;
}

/* Map entries are the same after each thread, and its arenas are another's. */
static void test_freed_at_the_threads_end(void **state) {
    (void)state;
    skip_under_valgrind("some mappings are its own");
    struct vmarena_scratch here = vmarena_scratch_begin(NULL);
    size_t maps = 0;
    for (int i = 0; i < 20; i++) {
        struct vmarena *mine[2];
        pthread_t thread;
        void *wrong;
        assert_int_equal(pthread_create(&thread, NULL, in_a_thread, mine), 0);
        assert_int_equal(pthread_join(thread, &wrong), 0);
        assert_null(wrong);
        assert_ptr_not_equal(mine[0], here.arena);
        assert_null(vmarena_alloc(mine[0], 1, 1)); /* destroyed */
        assert_null(vmarena_alloc(mine[1], 1, 1));
        if (i == 1) maps = count_maps(); /* the C library keeps a thread's stack, and count_maps a buffer */
        if (i > 1) assert_maps(maps);
    }
    assert_int_equal(vmarena_scratch_end(here), 0);
}

/* ---- many threads, little space ---------------------------------------------------------------------------------- */

static pthread_barrier_t all_there;

static void *wait_with_scratch(void *arg) {
    struct vmarena_scratch scratch = vmarena_scratch_begin(NULL);
    struct vmarena_stats stats;
    vmarena_info(scratch.arena, &stats);
    bool works =
        scratch.arena != NULL && vmarena_alloc(scratch.arena, 1000, 1) != NULL && stats.reserved == *(size_t *)arg;
    (void)pthread_barrier_wait(&all_there);
    if (works) works = vmarena_scratch_end(scratch) == 0;
    return works ? NULL : (void *)1;
}

/* Two arenas of the default size for each of a thousand threads would be all of a 47-bit address space. */
static void test_a_thousand_threads(void **state) {
    (void)state;
    enum { THREADS = 1000 };
    skip_under_valgrind("there are at most 500 threads");
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer leaves less address space than they reserve\n");
        skip();
    }
    static pthread_t threads[THREADS];
    pthread_attr_t small;
    void *wrong, *bad = NULL;
    unsigned made = 0;
    size_t reserved = sizeof(void *) > 4 ? (size_t)8 << 30 : (size_t)32 << 20; /* the first has as much as the last */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    assert_int_equal(pthread_barrier_init(&all_there, NULL, THREADS + 1), 0);
    while (made < THREADS && pthread_create(&threads[made], &small, wait_with_scratch, &reserved) == 0) made++;
    if (made < THREADS) {
        print_message("skip: this system gave %u of 1000 threads; they end with the process\n", made);
        skip();
    }
    pthread_barrier_wait(&all_there);
    for (unsigned i = 0; i < made; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        if (wrong != NULL) bad = wrong;
    }
    assert_null(bad);
    pthread_attr_destroy(&small);
}

static void in_little_space(void *unused) {
    (void)unused;
    struct rlimit space = {1u << 30, 1u << 30};
    CHECK(setrlimit(RLIMIT_AS, &space) == 0);
    struct vmarena_scratch one = vmarena_scratch_begin(NULL), two = vmarena_scratch_begin(one.arena);
    CHECK(one.arena != NULL && two.arena != NULL && vmarena_alloc(two.arena, 1 << 20, 1) != NULL);
    CHECK(malloc(100 << 20) != NULL); /* and leaves room for others */
}

static void in_no_space(void *unused) {
    (void)unused;
    struct rlimit space = {60u << 20, 60u << 20};
    size_t maps = count_maps();
    CHECK(setrlimit(RLIMIT_AS, &space) == 0);
    for (int i = 0; i < 3; i++) CHECK(vmarena_scratch_begin(NULL).arena == NULL);
    CHECK(strstr(vmarena_explain(), "memory") != NULL);
    CHECK(count_maps() == maps);
}

static void *in_thread(void *body) {
    ((void (*)(void *))body)(NULL);
    return NULL;
}

/* In a child's thread, which has no scratch arenas yet. */
static void fresh_thread(void *body) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    CHECK(pthread_create(&thread, &small, in_thread, body) == 0 && pthread_join(thread, NULL) == 0);
}

static void test_limited_space(void **state) {
    (void)state;
    skip_under_valgrind("its own memory exceeds the limit");
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's own address space exceeds the limit\n");
        skip();
    }
    assert_runs(fresh_thread, (void *)(uintptr_t)in_little_space);
    assert_runs(fresh_thread, (void *)(uintptr_t)in_no_space);
}

static void uses_it_on(void *arg) {
    struct vmarena_scratch *parents = arg, scratch = vmarena_scratch_begin(NULL);
    CHECK(scratch.arena == parents->arena);
    char *object = vmarena_alloc(scratch.arena, 100, 1);
    CHECK(object != NULL);
    memset(object, 1, 100);
    CHECK(vmarena_scratch_end(scratch) == 0);
}

static void test_fork(void **state) {
    (void)state;
    struct vmarena_scratch scratch = vmarena_scratch_begin(NULL);
    assert_runs(uses_it_on, &scratch);
    assert_int_equal(vmarena_scratch_end(scratch), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limited_space), /* first: this thread's own arenas would count against the limit */
        cmocka_unit_test(test_scopes_nest),        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_out_of_order),       cmocka_unit_test(test_freed_at_the_threads_end),
        cmocka_unit_test(test_a_thousand_threads), cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests_name("scratch", tests, NULL, NULL);
}
