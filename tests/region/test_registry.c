/* SPDX-License-Identifier: MIT */
/* The registry of regions: which one an address belongs to, and the nearest, against a plain list. The addresses are
 * made up: the registry never looks at the memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "region/registry.h"
#include "region/region.h"
#include "vmarena.h"

#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

#define RANGES 64
static struct vmarena_region regions[RANGES];
static struct range { uintptr_t start, end; /* 0, 0: none */ } ranges[RANGES];

static uint64_t random_state = 1;
static uint64_t draw(void) {
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return random_state >> 20;
}

static struct vmarena_region *model_find(uintptr_t address) {
    for (size_t i = 0; i < RANGES; i++)
        if (address - ranges[i].start < ranges[i].end - ranges[i].start) return &regions[i];
    return NULL;
}

static struct vmarena_region *model_next(uintptr_t address, int direction) {
    struct vmarena_region *best = NULL;
    uintptr_t nearest = UINTPTR_MAX;
    for (size_t i = 0; i < RANGES; i++) {
        if (ranges[i].end == 0) continue;
        bool beyond = direction > 0 ? ranges[i].start > address : ranges[i].end <= address;
        uintptr_t gap = direction > 0 ? ranges[i].start - address : address - ranges[i].end;
        if (beyond && gap < nearest) nearest = gap, best = &regions[i];
    }
    return best;
}

static bool is_free(uintptr_t start, uintptr_t end) {
    for (size_t i = 0; i < RANGES; i++)
        if (start < ranges[i].end && ranges[i].start < end) return false;
    return true;
}

static void drop(size_t i) {
    if (ranges[i].end == 0) return;
    vmarena_registry_remove(ranges[i].start, ranges[i].end);
    ranges[i] = (struct range){0, 0};
}

static void drop_all(void) {
    for (size_t i = 0; i < RANGES; i++) drop(i);
}

static void assert_agrees(uintptr_t address) {
    assert_ptr_equal(vmarena_registry_find(address), model_find(address));
    if (model_find(address) != NULL) return;
    assert_ptr_equal(vmarena_registry_next(address, 1), model_next(address, 1));
    assert_ptr_equal(vmarena_registry_next(address, -1), model_next(address, -1));
}

/* Ranges of all sizes around an address where blocks of every level meet, looked up at their edges and elsewhere. */
static void run_model(uintptr_t middle, uintptr_t reach, int rounds) {
    size_t page = vmarena_page_size();
    for (int round = 0; round < rounds; round++) {
        size_t i = (size_t)draw() % RANGES;
        drop(i);
        uintptr_t length = ((uintptr_t)draw() << draw() % 24) % reach & ~(uintptr_t)(page - 1);
        uintptr_t start = (middle - reach + (uintptr_t)draw() * page % (2 * reach)) & ~(uintptr_t)(page - 1);
        if (draw() % 4 == 0) start &= ~(((uintptr_t)1 << 21) - 1);
        if (draw() % 4 == 0) length &= ~(((uintptr_t)1 << 21) - 1);
        if (length == 0) length = page;
        if (is_free(start, start + length)) {
            assert_int_equal(vmarena_registry_add(start, start + length, &regions[i]), 0);
            ranges[i] = (struct range){start, start + length};
            assert_agrees(start);
            assert_agrees(start - 1);
            assert_agrees(start + length - 1);
            assert_agrees(start + length);
        }
        for (int k = 0; k < 4; k++) assert_agrees(middle - reach + (uintptr_t)draw() % (2 * reach));
    }
    drop_all();
    assert_agrees(middle);
    assert_agrees(middle - 1);
}

static void test_against_a_list(void **state) {
    (void)state;
    uintptr_t page = vmarena_page_size();
    run_model((uintptr_t)1 << 46, 40 * page, 5000);
    run_model((uintptr_t)1 << 46, page << 9, 5000);
    run_model((uintptr_t)3 << 39, page << 18, 5000);
    run_model(((uintptr_t)1 << 39) + ((uintptr_t)1 << 30), page << 20, 5000);
}

static void test_whole_levels(void **state) {
    (void)state;
    uintptr_t page = vmarena_page_size(), size = page << 18, base = (uintptr_t)1 << 45;
    assert_int_equal(vmarena_registry_add(base, base + size, &regions[0]), 0);
    ranges[0] = (struct range){base, base + size};
    for (uintptr_t at = base; at < base + size; at += size / 64) assert_agrees(at);
    assert_agrees(base + size);
    assert_agrees(base - 1);
    assert_int_equal(vmarena_registry_add(base - page, base, &regions[1]), 0);
    ranges[1] = (struct range){base - page, base};
    assert_agrees(base);
    assert_agrees(base - 1);
    assert_agrees(base - page - 1);
    drop_all();
}

static void test_addresses_of_nobody(void **state) {
    (void)state;
    assert_null(vmarena_registry_find(0));
    assert_null(vmarena_registry_find(1));
    assert_null(vmarena_registry_find(UINTPTR_MAX));
    assert_null(vmarena_registry_find(UINTPTR_MAX / 2 + 1));
    assert_null(vmarena_registry_find((uintptr_t)&random_state));
    for (unsigned bit = 47; bit < sizeof(uintptr_t) * 8; bit++) assert_null(vmarena_registry_find((uintptr_t)1 << bit));
    (void)vmarena_registry_next(UINTPTR_MAX, 1);
    (void)vmarena_registry_next(UINTPTR_MAX, -1);
    (void)vmarena_registry_next(0, 1);
    (void)vmarena_registry_next(0, -1);
}

/* An address with upper bits that no user address has is not taken for the address without them. */
static void test_upper_bits(void **state) {
    (void)state;
    uintptr_t page = vmarena_page_size(), base = (uintptr_t)1 << 40;
    assert_int_equal(vmarena_registry_add(base, base + page, &regions[0]), 0);
    ranges[0] = (struct range){base, base + page};
    for (unsigned bit = 48; bit < sizeof(uintptr_t) * 8; bit++) {
        assert_null(vmarena_registry_find(base | (uintptr_t)1 << bit));
        struct vmarena_region *below = vmarena_registry_next(base | (uintptr_t)1 << bit, -1);
        assert_true(below == NULL || below == &regions[0]);
    }
    assert_ptr_equal(vmarena_registry_find(base), &regions[0]);
    drop_all();
}

/* ---- readers while it changes ------------------------------------------------------------------------------------ */

static atomic_bool stop;

static void *read_on(void *unused) {
    uintptr_t page = vmarena_page_size(), base = (uintptr_t)1 << 44;
    (void)unused;
    while (!atomic_load(&stop)) {
        for (uintptr_t i = 0; i < 1024; i++) {
            struct vmarena_region *found = vmarena_registry_find(base + i * page);
            if (found != NULL && found != &regions[i / 512]) return (void *)1;
            if (vmarena_registry_find(base - page) != &regions[5]) return (void *)2; /* never changed */
        }
    }
    return NULL;
}

static void test_readers_need_no_lock(void **state) {
    (void)state;
    uintptr_t page = vmarena_page_size(), base = (uintptr_t)1 << 44;
    pthread_t reader;
    void *wrong;
    assert_int_equal(vmarena_registry_add(base - page, base, &regions[5]), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_on, NULL), 0);
    for (int i = 0; i < 20000; i++) {
        uintptr_t half = (uintptr_t)(i & 1), start = base + half * 512 * page + (uintptr_t)(i % 7) * page;
        assert_int_equal(vmarena_registry_add(start, start + 400 * page, &regions[half]), 0);
        vmarena_registry_remove(start, start + 400 * page);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(reader, &wrong), 0);
    assert_null(wrong);
    vmarena_registry_remove(base - page, base);
}

/* ---- without memory -------------------------------------------------------------------------------------------- */

static void out_of_memory(void *unused) {
    (void)unused;
    uintptr_t page = vmarena_page_size(), added = 0;
    struct rlimit space = {300u << 20, 300u << 20};
    CHECK(setrlimit(RLIMIT_AS, &space) == 0);
    int error = 0;
    for (uintptr_t i = 1; error == 0 && i < 1u << 20; i++) {
        uintptr_t start = i << 32; /* far apart: each needs nodes of its own */
        error = vmarena_registry_add(start + page, start + 3 * page, &regions[0]);
        CHECK(vmarena_registry_find(start + page) == (error == 0 ? &regions[0] : NULL));
        CHECK(vmarena_registry_find(start + 2 * page) == (error == 0 ? &regions[0] : NULL));
        added = i;
    }
    CHECK(error == -ENOMEM && added > 1000);
    CHECK(vmarena_registry_next((added << 32) + page, -1) == &regions[0]);
    /* Half of this range lies where there is a node already: it must not be added by half. */
    uintptr_t half = ((added - 1) << 32) + (page << 9);
    CHECK(vmarena_registry_add(half - page, half + page, &regions[1]) == -ENOMEM);
    CHECK(vmarena_registry_find(half - page) == NULL && vmarena_registry_find(half) == NULL);
    struct vmarena *arena = NULL;
    CHECK(vmarena_create(&arena, &(struct vmarena_options){.reserve = 1 << 20}) == -ENOMEM);
    vmarena_registry_remove(((added - 1) << 32) + page, ((added - 1) << 32) + 3 * page);
    CHECK(vmarena_registry_add(((added - 1) << 32) + page, ((added - 1) << 32) + 3 * page, &regions[1]) == 0);
}

static void test_out_of_memory(void **state) {
    (void)state;
    skip_under_valgrind("its own memory exceeds the limit");
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's own address space exceeds the limit\n");
        skip();
    }
    skip_under_valgrind("nothing would be left for Valgrind itself");
    assert_runs(out_of_memory, NULL);
}

/* ---- with arenas ------------------------------------------------------------------------------------------------- */

static void test_thousands_of_arenas(void **state) {
    (void)state;
    enum { COUNT = 10000 };
    static struct vmarena *arenas[COUNT];
    static char *objects[COUNT];
    struct vmarena_options options = {.reserve = 1 << 16};
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(vmarena_create(&arenas[i], &options), 0);
        objects[i] = vmarena_alloc(arenas[i], 100, 1);
    }
    for (size_t i = 0; i < COUNT; i++) {
        struct vmarena_region *region = vmarena_registry_find((uintptr_t)objects[i]);
        assert_non_null(region);
        assert_ptr_equal(region->owner, arenas[i]);
        assert_ptr_equal(vmarena_registry_find((uintptr_t)objects[i] - 1), region); /* the guard */
        assert_ptr_equal(vmarena_registry_find((uintptr_t)objects[i] + (1 << 16)), region);
    }
    for (size_t i = 0; i < COUNT; i += 2) vmarena_destroy(arenas[i]);
    for (size_t i = 0; i < COUNT; i++) {
        struct vmarena_region *region = vmarena_registry_find((uintptr_t)objects[i]);
        assert_ptr_equal(region == NULL ? NULL : region->owner, i % 2 == 0 ? NULL : arenas[i]);
    }
    for (size_t i = 1; i < COUNT; i += 2) vmarena_destroy(arenas[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_list),       cmocka_unit_test(test_whole_levels),
        cmocka_unit_test(test_addresses_of_nobody),  cmocka_unit_test(test_upper_bits),
        cmocka_unit_test(test_readers_need_no_lock), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_thousands_of_arenas),
    };
    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
