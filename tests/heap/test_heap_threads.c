/* SPDX-License-Identifier: MIT */
/* The guarded heap in many threads, and in the child of a fork that found them at work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "vmarena.h"

#include "support.h"

#include "heap_support.h"

#define THREADS 8
#define PLACES 4096 /* where threads leave objects for others */

static size_t operations(void) {
    const char *text = getenv("VMARENA_TEST_OPERATIONS"); /* in all; the default suits a quick run */
    return text != NULL ? strtoul(text, NULL, 10) : UNDER_SANITIZER ? 80000 : 1000000;
}

struct party {
    struct vmarena_heap *heap;
    size_t operations; /* each thread's */
    _Atomic(char *) places[PLACES];
    _Atomic size_t allocs, frees, moves, errors;
    _Atomic bool stop;
};

/* An object carries its own size and a byte in each page that follows from its address. */
static void sign(char *object, size_t size) {
    memcpy(object, &size, sizeof size);
    for (size_t at = sizeof size; at < size; at += 512) object[at] = (char)(size + at);
    object[size - 1] = (char)(size * 3);
}

static bool is_signed(const char *object) {
    size_t size;
    memcpy(&size, object, sizeof size);
    if (object[size - 1] != (char)(size * 3)) return false;
    for (size_t at = sizeof size; at < size - 1; at += 512)
        if (object[at] != (char)(size + at)) return false;
    return true;
}

static size_t any_size(unsigned *random) {
    *random = *random * 1664525u + 1013904223u;
    unsigned kind = *random >> 24, value = (*random >> 8) & 0xffff;
    if (kind < 200) return 16 + value % 500;
    if (kind < 250) return 16 + value % 20000;
    return kind < 255 ? 16 + value * 8 : 1000000 + value;
}

/* Takes what another thread left, checks it, frees or resizes it, and leaves a new one. */
static void one_operation(struct party *party, unsigned *random) {
    size_t size = any_size(random);
    _Atomic(char *) *place = &party->places[(*random >> 5) % PLACES];
    char *object = vmarena_heap_alloc(party->heap, size, 0), *other;
    if (object == NULL) {
        party->errors++;
        return;
    }
    party->allocs++;
    sign(object, size);
    other = atomic_exchange(place, object);
    if (other == NULL) return;
    if (!is_signed(other)) party->errors++;
    if (size % 8 == 0) {
        char *moved = vmarena_heap_realloc(party->heap, other, vmarena_heap_usable_size(party->heap, other) + 100);
        party->moves++;
        if (moved == NULL || !is_signed(moved)) party->errors++;
        other = moved;
    }
    if (vmarena_heap_free(party->heap, other) != 0) party->errors++;
    party->frees++;
}

static void *work(void *arg) {
    struct party *party = arg;
    static _Atomic unsigned seed;
    unsigned random = atomic_fetch_add(&seed, 7919) * 2654435761u + 1;
    for (size_t i = 0; i < party->operations && !party->stop; i++) one_operation(party, &random);
    return NULL;
}

static void start(struct party *party, pthread_t *threads) {
    for (size_t i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, party), 0);
}
static void join(pthread_t *threads) {
    for (size_t i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static size_t empty(struct party *party) {
    size_t left = 0;
    for (size_t i = 0; i < PLACES; i++) {
        char *object = atomic_exchange(&party->places[i], NULL);
        if (object == NULL) continue;
        if (!is_signed(object) || vmarena_heap_free(party->heap, object) != 0) party->errors++;
        left++;
    }
    return left;
}

static void hand_over(struct vmarena_heap *heap, size_t all) {
    static struct party party;
    pthread_t threads[THREADS];
    memset(&party, 0, sizeof party);
    party.heap = heap;
    party.operations = all / THREADS;
    start(&party, threads);
    join(threads);
    size_t left = empty(&party);
    assert_int_equal(party.errors, 0);
    assert_int_equal(party.allocs, party.operations * THREADS);
    assert_int_equal(party.allocs, party.frees + left);
    struct vmarena_heap_stats stats = stats_of(heap);
    assert_int_equal(stats.live, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.page_bytes, 0);
    assert_int_equal(stats.allocs, stats.frees);
    assert_int_equal(stats.errors, 0);
    assert_int_equal(stats.failed, 0);
    assert_true(stats.allocs >= party.allocs);
    assert_int_equal(reports.count, 0);
    vmarena_heap_destroy(heap);
}

static void test_handing_over(void **state) {
    (void)state;
    hand_over(new_heap(.quarantine_count = 10000), operations());
}

static void test_handing_over_random_reuse(void **state) {
    (void)state;
    hand_over(new_heap(.quarantine_count = 100, .reuse = VMARENA_HEAP_RANDOM, .side = VMARENA_HEAP_ALTERNATE),
              operations() / 8);
}

static void test_checks_meanwhile(void **state) {
    (void)state;
    hand_over(new_heap(.quarantine_count = 1000, .check_interval = 20000), operations() / 8);
}

/* One thread allocates and another frees: what the second has for reuse must get back to the first. */
struct pipeline {
    struct vmarena_heap *heap;
    _Atomic(char *) ring[256];
    size_t count;
    _Atomic size_t errors;
};

static void *consume(void *arg) {
    struct pipeline *pipeline = arg;
    for (size_t i = 0; i < pipeline->count; i++) {
        char *object;
        while ((object = atomic_exchange(&pipeline->ring[i % 256], NULL)) == NULL) sched_yield();
        if (vmarena_heap_free(pipeline->heap, object) != 0) pipeline->errors++;
    }
    return NULL;
}

static void test_one_allocates_another_frees(void **state) {
    static struct pipeline pipeline;
    pthread_t consumer;
    (void)state;
    pipeline.heap = new_heap(.quarantine_count = 100);
    pipeline.count = operations() / 10;
    assert_int_equal(pthread_create(&consumer, NULL, consume, &pipeline), 0);
    for (size_t i = 0; i < pipeline.count; i++) {
        char *object = new_object(pipeline.heap, 24, 0), *none = NULL;
        while (!atomic_compare_exchange_weak(&pipeline.ring[i % 256], &none, object)) {
            none = NULL;
            sched_yield();
        }
    }
    assert_int_equal(pthread_join(consumer, NULL), 0);
    assert_int_equal(pipeline.errors, 0);
    /* 256 on the way, 100 in quarantine, what two shards and the class keep: 4 chunks hold 1,024 objects. */
    assert_true(stats_of(pipeline.heap).committed <= 4 * 512 * vmarena_page_size());
    vmarena_heap_destroy(pipeline.heap);
}

/* ---- one object, many threads -------------------------------------------------------------------------------------------- */

struct race {
    struct vmarena_heap *heap;
    pthread_barrier_t barrier;
    char *object;
    size_t rounds;
    _Atomic size_t freed, already, other;
};

static void *free_the_same(void *arg) {
    struct race *race = arg;
    for (size_t i = 0; i < race->rounds; i++) {
        if (pthread_barrier_wait(&race->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            race->object = vmarena_heap_alloc(race->heap, 24, 0);
        pthread_barrier_wait(&race->barrier);
        int error = vmarena_heap_free(race->heap, race->object);
        if (error == 0) race->freed++;
        else if (error == -EALREADY) race->already++;
        else race->other++;
    }
    return NULL;
}

static void count_report(const struct vmarena_heap_report *report, void *arg) {
    _Atomic size_t *count = arg;
    if (report->kind == VMARENA_HEAP_DOUBLE_FREE) ++*count;
}

static void test_exactly_one_frees(void **state) {
    static _Atomic size_t told;
    struct race race = {.rounds = UNDER_SANITIZER ? 500 : 3000};
    pthread_t threads[THREADS];
    (void)state;
    race.heap = new_heap(.report = count_report, .report_arg = (void *)&told);
    pthread_barrier_init(&race.barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, free_the_same, &race), 0);
    join(threads);
    assert_int_equal(race.freed, race.rounds);
    assert_int_equal(race.already, race.rounds * (THREADS - 1));
    assert_int_equal(race.other, 0);
    assert_int_equal(told, race.already);
    pthread_barrier_destroy(&race.barrier);
    vmarena_heap_destroy(race.heap);
}

static void *free_it(void *arg) {
    struct race *race = arg;
    race->other = (size_t)(vmarena_heap_free(race->heap, race->object) != 0);
    return NULL;
}

static void test_threads_are_told(void **state) {
    struct race race = {.heap = new_heap(.align = 1)};
    struct vmarena_heap_object object;
    pthread_t thread;
    (void)state;
    race.object = new_object(race.heap, 24, 0);
    assert_int_equal(pthread_create(&thread, NULL, free_it, &race), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(race.other, 0);
    assert_int_equal(vmarena_heap_find(race.heap, race.object, &object), 0);
    assert_int_equal(object.alloc_thread, (uint32_t)getpid());
    assert_int_not_equal(object.free_thread, 0);
    assert_int_not_equal(object.free_thread, (uint32_t)getpid());
    struct vmarena_fault fault = fault_at(race.object, VMARENA_ACCESS_WRITE);
    assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
    vmarena_heap_destroy(race.heap);
}

/* Faults while others allocate and free: each report names its own object. */
static void *fault_often(void *arg) {
    struct party *party = arg;
    struct vmarena_fault fault;
    for (size_t i = 0; i < party->operations / 50; i++) {
        char *object = vmarena_heap_alloc(party->heap, 64, 16);
        if (object == NULL || vmarena_try(poke_body, object + 64, &fault) != 1 || fault.object != object ||
            fault.distance != 1 || fault.kind != VMARENA_FAULT_OVERRUN)
            party->errors++;
        if (vmarena_heap_free(party->heap, object) != 0) party->errors++;
        if (vmarena_try(peek_body, object + 10, &fault) != 1 || fault.object != object || fault.distance != 0 ||
            fault.kind != VMARENA_FAULT_USE_AFTER_FREE)
            party->errors++;
    }
    return NULL;
}

static void test_faults_meanwhile(void **state) {
    static struct party party;
    pthread_t threads[THREADS], faulting[2];
    (void)state;
    party.heap = new_heap(.quarantine_count = 100000);
    party.operations = operations() / THREADS / 4;
    start(&party, threads);
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&faulting[i], NULL, fault_often, &party), 0);
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_join(faulting[i], NULL), 0);
    join(threads);
    (void)empty(&party);
    assert_int_equal(party.errors, 0);
    vmarena_heap_destroy(party.heap);
}

/* ---- fork ------------------------------------------------------------------------------------------------------------------- */

/* In the child: what was live is there, what was freed is not, and the heap works. */
static void use_in_child(void *arg) {
    struct party *party = arg;
    struct vmarena_heap *heap = party->heap;
    struct vmarena_heap_stats stats;
    struct vmarena_heap_object object;
    unsigned random = 1;
    CHECK(vmarena_fault_reassert() == 0);
    vmarena_heap_stats(heap, &stats);
    CHECK(stats.forked);
    for (size_t i = 0; i < PLACES; i++) {
        char *left = party->places[i];
        if (left == NULL) continue;
        CHECK(is_signed(left));
    }
    size_t errors = party->errors;
    for (int i = 0; i < 2000; i++) one_operation(party, &random);
    CHECK(party->errors == errors);
    char *start_ = vmarena_heap_alloc(heap, 24, 8);
    CHECK(start_ != NULL);
    struct vmarena_fault fault;
    CHECK(vmarena_try(poke_body, start_ + 24, &fault) == 1 && fault.object == start_);
    CHECK(vmarena_heap_find(heap, start_, &object) == 0 && object.alloc_thread == (uint32_t)getpid());
    CHECK(vmarena_heap_free(heap, start_) == 0);
    CHECK(vmarena_try(poke_body, start_, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
    CHECK(vmarena_heap_check(heap) == 0);
    struct vmarena_heap *own = NULL;
    CHECK(vmarena_heap_create(&own, NULL) == 0);
    CHECK(vmarena_heap_free(own, vmarena_heap_alloc(own, 1000, 0)) == 0);
    vmarena_heap_destroy(own);
}

static void test_fork_in_the_middle(void **state) {
    static struct party party;
    pthread_t threads[THREADS];
    (void)state;
    party.heap = new_heap(.quarantine_count = 1000, .check_interval = 50000);
    party.operations = SIZE_MAX;
    start(&party, threads);
    for (int i = 0; i < (UNDER_SANITIZER ? 3 : 10); i++) {
        assert_runs(use_in_child, &party);
        usleep(1000);
    }
    party.stop = true;
    join(threads);
    (void)empty(&party);
    assert_int_equal(party.errors, 0);
    assert_false(stats_of(party.heap).forked);
    vmarena_heap_destroy(party.heap);
}

/* A report may fork, to have symbols found by another program; even out of a check that holds its lock. */
static void fork_in_report(const struct vmarena_heap_report *report, void *arg) {
    int status;
    struct vmarena_heap *const *heap = arg;
    (void)report;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char *object = vmarena_heap_alloc(*heap, 100, 0);
        _exit(object != NULL && vmarena_heap_free(*heap, object) == 0 ? 33 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_status(status, 33 << 8);
    reports.count++;
}

static void test_report_forks(void **state) {
    struct vmarena_heap *heap = NULL;
    (void)state;
    heap = new_heap(.report = fork_in_report, .report_arg = &heap);
    char *object = new_object(heap, 24, 0);
    object[-1] = 0;
    assert_int_equal(vmarena_heap_check(heap), -EILSEQ);
    assert_int_equal(reports.count, 1);
    object[-1] = 0;
    assert_int_equal(vmarena_heap_check_object(heap, object), -EILSEQ);
    assert_int_equal(reports.count, 2);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_int_equal(reports.count, 3);
    vmarena_heap_destroy(heap);
}

/* A report that uses the heap, and checks it again. */
static void busy_report(const struct vmarena_heap_report *report, void *arg) {
    struct vmarena_heap *heap = *(struct vmarena_heap **)arg;
    struct vmarena_heap_object object;
    assert_int_equal(vmarena_heap_find(heap, report->object.start, &object), 0);
    assert_int_equal(object.state, report->object.state);
    assert_int_equal(vmarena_heap_free(heap, new_object(heap, 100, 0)), 0);
    assert_int_equal(vmarena_heap_check(heap), 0);
    if (report->bad != NULL) assert_int_equal(*report->bad, report->found);
    reports.count++;
}

static void test_report_uses_the_heap(void **state) {
    struct vmarena_heap *heap = NULL;
    (void)state;
    heap = new_heap(.report = busy_report, .report_arg = &heap);
    char *object = new_object(heap, 24, 0);
    object[-1] = 0;
    assert_int_equal(vmarena_heap_check(heap), -EILSEQ);
    assert_int_equal(vmarena_heap_free(heap, object + 3), -EINVAL);
    assert_int_equal(reports.count, 2);
    vmarena_heap_destroy(heap);
}

/* A report of one heap's check checks a second one, whose report checks the first one again, and forks. */
static struct {
    struct vmarena_heap *first, *second;
    char *object;
    size_t reports;
} nest;

static void nested_report(const struct vmarena_heap_report *report, void *arg) {
    int status;
    (void)report;
    nest.reports++;
    if (arg == &nest.first) {
        CHECK(vmarena_heap_check(nest.second) == -EILSEQ);
        return;
    }
    CHECK(vmarena_heap_check(nest.first) == 0);
    CHECK(vmarena_heap_check_object(nest.first, nest.object) == -EBUSY);
    pid_t child = fork();
    if (child == 0) _exit(vmarena_heap_check_object(nest.first, nest.object) == -EBUSY ? 33 : 1);
    CHECK(waitpid(child, &status, 0) == child && status == 33 << 8);
}

static void nest_checks(void *arg) {
    struct vmarena_heap_options first = {.report = nested_report, .report_arg = &nest.first},
                                second = {.report = nested_report, .report_arg = &nest.second};
    (void)arg;
    alarm(20);
    CHECK(vmarena_heap_create(&nest.first, &first) == 0 && vmarena_heap_create(&nest.second, &second) == 0);
    nest.object = vmarena_heap_alloc(nest.first, 24, 0);
    char *other = vmarena_heap_alloc(nest.second, 24, 0);
    nest.object[-1] = other[-1] = 0;
    CHECK(vmarena_heap_check(nest.first) == -EILSEQ);
    CHECK(nest.reports == 2);
    CHECK(vmarena_heap_check(nest.first) == 0 && vmarena_heap_check(nest.second) == 0);
}

static void test_checks_of_two_heaps_nest(void **state) {
    (void)state;
    assert_runs(nest_checks, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handing_over),
        cmocka_unit_test(test_handing_over_random_reuse),
        cmocka_unit_test(test_checks_meanwhile),
        cmocka_unit_test(test_one_allocates_another_frees),
        cmocka_unit_test(test_exactly_one_frees),
        cmocka_unit_test(test_threads_are_told),
        cmocka_unit_test(test_faults_meanwhile),
        cmocka_unit_test(test_fork_in_the_middle),
        cmocka_unit_test(test_report_forks),
        cmocka_unit_test(test_report_uses_the_heap),
        cmocka_unit_test(test_checks_of_two_heaps_nest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
