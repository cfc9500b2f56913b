/* SPDX-License-Identifier: MIT */
/* A function and its argument, replaced while others read them: always a pair that was set together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "region/fault_hook.h"
#include "vmarena.h"

#include "support.h"

#include <pthread.h>

static int one, other;

static bool expects_one(const struct vmarena_fault *fault, void *arg) { return (void)fault, arg == &one; }
static bool expects_other(const struct vmarena_fault *fault, void *arg) { return (void)fault, arg == &other; }

static void test_get_what_was_set(void **state) {
    (void)state;
    struct vmarena_fault_hook hook = {.generation = 0};
    vmarena_fault_fn *function;
    void *arg;
    vmarena_fault_hook_get(&hook, &function, &arg);
    assert_null(function);
    vmarena_fault_hook_set(&hook, expects_one, &one);
    vmarena_fault_hook_get(&hook, &function, &arg);
    assert_true(function == expects_one && arg == &one);
    vmarena_fault_hook_set(&hook, expects_other, &other);
    vmarena_fault_hook_get(&hook, &function, &arg);
    assert_true(function == expects_other && arg == &other);
    vmarena_fault_hook_set(&hook, NULL, NULL);
    vmarena_fault_hook_get(&hook, &function, &arg);
    assert_null(function);
}

static struct vmarena_fault_hook shared;
static atomic_bool finished;

static void *replace(void *arg) {
    (void)arg;
    for (int i = 0; i < 200000; i++) {
        if (i % 2 == 0) vmarena_fault_hook_set(&shared, expects_one, &one);
        else vmarena_fault_hook_set(&shared, expects_other, &other);
    }
    atomic_store(&finished, true);
    return NULL;
}

static void test_pairs_stay_together(void **state) {
    (void)state;
    pthread_t writer;
    size_t wrong = 0;
    vmarena_fault_hook_set(&shared, expects_one, &one);
    assert_int_equal(pthread_create(&writer, NULL, replace, NULL), 0);
    while (!atomic_load(&finished)) {
        vmarena_fault_fn *function;
        void *arg;
        vmarena_fault_hook_get(&shared, &function, &arg);
        wrong += function == NULL || !function(NULL, arg);
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(wrong, 0);
}

/* The calling thread's own handler, between the two writes of a pair: the pair before is whole. */
static void test_half_a_pair_is_not_seen(void **state) {
    (void)state;
    struct vmarena_fault_hook hook = {.generation = 0};
    vmarena_fault_fn *function;
    void *arg;
    vmarena_fault_hook_set(&hook, expects_one, &one);
    unsigned next = atomic_load(&hook.generation) + 1;
    atomic_store(&hook.pairs[next & 1].function, expects_other); /* as far as _set has come */
    vmarena_fault_hook_get(&hook, &function, &arg);
    assert_true(function == expects_one && arg == &one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_what_was_set),
        cmocka_unit_test(test_pairs_stay_together),
        cmocka_unit_test(test_half_a_pair_is_not_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
