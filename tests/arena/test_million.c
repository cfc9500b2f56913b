/* SPDX-License-Identifier: MIT */
/* A million live objects in one fenced arena: no map entries spent, and a one-byte overrun of any of them is caught. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

#define COUNT ((size_t)1000000)
static char *objects[COUNT];
static enum vmarena_guard_kind kind;

static uint64_t random_state = 1;
static uint64_t draw(void) {
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return random_state >> 24;
}

static void assert_overrun(char *object, size_t size, bool writes) {
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(writes ? poke_body : peek_body, object + size, &fault), 1);
    assert_fault(&fault, .signo = guard_signal(object + size, kind), .address = object + size,
                 .access = writes ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ, .kind = VMARENA_FAULT_OVERRUN,
                 .object = object, .object_size = size, .distance = 1);
}

static size_t available_memory(void) {
    char line[128];
    size_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1) break;
    if (file != NULL) fclose(file);
    return kib << 10;
}

static void skip_without_memory(void) {
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's shadow of a million pages takes more memory than there is\n");
        skip();
    }
    if (available_memory() >= COUNT * (vmarena_page_size() + 200)) return;
    print_message("skip: not as much memory is available as a page for each of a million objects takes\n");
    skip();
}

/* A sanitizer maps its shadow as memory is touched. */
static void assert_few_maps(size_t added) { assert_true(added <= 16 || UNDER_SANITIZER); }

static void run(size_t size, size_t align) {
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .guard_kind = kind};
    struct vmarena_fault fault;
    assert_int_equal(vmarena_fault_reassert(), 0);
    assert_int_equal(vmarena_try(peek_body, objects, &fault), 0); /* the signal stack is mapped from here on */
    if (!guards_work(kind)) skip();
    /* records stay: they are mapped from here on, too */
    size_t before = count_maps();
    assert_int_equal(vmarena_create(&arena, &options), 0);
    for (size_t i = 0; i < COUNT; i++) {
        objects[i] = vmarena_alloc(arena, size, align);
        if (objects[i] == NULL) fail_msg("object %zu: %s", i, vmarena_explain());
    }
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    assert_int_equal(stats.objects, COUNT);
    size_t added = count_maps() - before;
    print_message("%zu map entries for %zu objects of %zu bytes\n", added, COUNT, size);
    assert_few_maps(added);
    for (int i = 0; i < 10000; i++) assert_overrun(objects[draw() % COUNT], size, i % 2 == 0);
    assert_overrun(objects[0], size, true);
    assert_overrun(objects[COUNT - 1], size, true);
    char *same = objects[draw() % COUNT];
    for (int i = 0; i < 100; i++) assert_overrun(same, size, true);
    assert_few_maps(count_maps() - before);
    assert_int_equal(vmarena_check(arena), 0);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    for (int i = 0; i < 1000; i++) {
        char *gone = objects[draw() % COUNT];
        assert_int_equal(vmarena_try(peek_body, gone, &fault), 1);
        assert_fault(&fault, .signo = guard_signal(gone, kind), .address = gone, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_USE_AFTER_FREE, .object = gone, .object_size = size, .distance = 0);
    }
    vmarena_destroy(arena);
    assert_maps(before);
}

static void test_objects_of_a_page(void **state) {
    kind = *(const enum vmarena_guard_kind *)*state;
    /* Never touched: with markers they take no memory but for the tables. */
    if (kind == VMARENA_GUARD_USERFAULT) skip_without_memory();
    run(vmarena_page_size(), 1);
}

static void test_small_objects(void **state) {
    kind = *(const enum vmarena_guard_kind *)*state;
    skip_without_memory();
    run(24, 8);
}

static enum vmarena_guard_kind markers = VMARENA_GUARD_MARKER, by_userfaultfd = VMARENA_GUARD_USERFAULT;

int main(void) {
    const struct CMUnitTest tests[] = {
        {"test_objects_of_a_page (markers)", test_objects_of_a_page, NULL, NULL, &markers},
        {"test_objects_of_a_page (userfaultfd)", test_objects_of_a_page, NULL, NULL, &by_userfaultfd},
        {"test_small_objects (markers)", test_small_objects, NULL, NULL, &markers},
        {"test_small_objects (userfaultfd)", test_small_objects, NULL, NULL, &by_userfaultfd},
    };
    return cmocka_run_group_tests_name("million", tests, NULL, NULL);
}
