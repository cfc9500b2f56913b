/* SPDX-License-Identifier: MIT */
/*
 * Walks over the stack, compared with the return address that each function knows itself. Walks are cached, so the functions
 * are called repeatedly from different places at the same depth, with frames of different sizes.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "malloc/unwind/unwind.h"
#include "support.h"

#define DEPTH 24

struct shadow {
    void *pcs[DEPTH]; /* return addresses, the outermost first */
    size_t depth;
    unsigned random;
    size_t walks, frames;
};

static unsigned next(struct shadow *shadow) {
    shadow->random = shadow->random * 1664525u + 1013904223u;
    return shadow->random >> 16;
}

#define APART __attribute__((noinline))

/* The walk starts at the caller of this function, as malloc's starts at the caller of malloc. */
APART static void look(struct shadow *shadow, size_t count) {
    struct vmarena_prim_frame frame;
    void *pcs[DEPTH + 8];
    vmarena_prim_frame_of_caller(&frame);
    size_t got = vmarena_unwind(&frame, pcs, count), expected = shadow->depth + 1 < count ? shadow->depth + 1 : count;
    assert_true(got >= expected);
    for (size_t i = 1; i < expected; i++)
        if (pcs[i] != shadow->pcs[shadow->depth - i])
            fail_msg("walk %zu, frame %zu of %zu: %p and not %p", shadow->walks, i, expected, pcs[i],
                     shadow->pcs[shadow->depth - i]);
    shadow->walks++;
    shadow->frames += expected;
}

typedef void function(struct shadow *shadow, int levels);
static function plain, wide, with_rbp;

/* Calls one of several functions at one of several places, or returns. */
#define BODY                                                                                                           \
    shadow->pcs[shadow->depth++] = __builtin_return_address(0);                                                        \
    if (levels == 0) look(shadow, next(shadow) % 4 == 0 ? DEPTH + 8 : 12 + next(shadow) % 2 * 4);                      \
    else switch (next(shadow) % 6) {                                                                                   \
        case 0: plain(shadow, levels - 1); break;                                                                      \
        case 1: wide(shadow, levels - 1); break;                                                                       \
        case 2: with_rbp(shadow, levels - 1); break;                                                                   \
        case 3:                                                                                                        \
            plain(shadow, 0);                                                                                          \
            plain(shadow, levels - 1);                                                                                 \
            break;                                                                                                     \
        case 4:                                                                                                        \
            plain(shadow, levels - 1);                                                                                 \
            plain(shadow, 0);                                                                                          \
            break;                                                                                                     \
        default: look(shadow, 16); break;                                                                              \
        }                                                                                                              \
    shadow->depth--;                                                                                                   \
    __asm__ volatile("" : : : "memory")

APART static void plain(struct shadow *shadow, int levels) { BODY; }
APART static void wide(struct shadow *shadow, int levels) {
    char room[200];
    __asm__ volatile("" : : "r"(room) : "memory");
    BODY;
}
/* The size of this frame is known only at run time, so that it is found by the frame pointer. */
APART static void with_rbp(struct shadow *shadow, int levels) {
    char *room = __builtin_alloca(16 + next(shadow) % 3 * 16);
    __asm__ volatile("" : : "r"(room) : "memory");
    BODY;
}

static void test_walks(void **state) {
    (void)state;
    struct shadow shadow = {.random = 1};
    for (int i = 0; i < 30000; i++) plain(&shadow, (int)(next(&shadow) % (DEPTH - 4)));
    assert_int_equal(shadow.depth, 0);
    assert_true(shadow.walks > 30000);
    if (shadow.frames < 4 * shadow.walks) fail_msg("%zu frames in %zu walks", shadow.frames, shadow.walks);
}

static void *walk_in_thread(void *arg) {
    struct shadow shadow = {.random = *(unsigned *)arg};
    for (int i = 0; i < 10000; i++) plain(&shadow, (int)(next(&shadow) % (DEPTH - 4)));
    return NULL;
}

static void test_walks_in_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    unsigned seeds[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, walk_in_thread, &seeds[i]), 0);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_walks_in_threads),
    };
    return cmocka_run_group_tests_name("unwind", tests, NULL, NULL);
}
