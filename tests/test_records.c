/* SPDX-License-Identifier: MIT */
/* Records that the library fills: it fills all of them, and their spare members with 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <vmarena.h>
#include <vmarena/heap.h>
#include <vmarena/inspect.h>
#include <vmarena/snapshot.h>
#include <vmarena/view.h>

#include "support.h"

static const uint64_t no_spare[4];

#define assert_fills(record, call)                                                                                     \
    do {                                                                                                               \
        memset(&(record), 0xff, sizeof(record));                                                                       \
        call;                                                                                                          \
        assert_true(sizeof(record).spare >= sizeof no_spare[0] && sizeof(record).spare <= sizeof no_spare);            \
        assert_memory_equal((record).spare, no_spare, sizeof(record).spare);                                           \
    } while (0)

static struct vmarena *make_arena(void) {
    struct vmarena *arena = NULL;
    struct vmarena_options options = {.reserve = 1 << 20, .flags = memory_files_work() ? VMARENA_MEMFD : 0};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    memset(vmarena_alloc(arena, 100, 1), 1, 100);
    return arena;
}

static void test_arena(void **state) {
    (void)state;
    struct vmarena *arena = make_arena();
    struct vmarena_snapshot *snapshot = NULL;
    struct vmarena_stats stats;
    struct vmarena_snapshot_info info;
    assert_int_equal(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_AUTO), 0);
    assert_fills(stats, vmarena_stats(arena, &stats));
    assert_fills(stats, vmarena_info(arena, &stats));
    assert_fills(stats, vmarena_info(NULL, &stats));
    assert_fills(info, assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0));
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_info_is_stats_without_asking(void **state) {
    (void)state;
    struct vmarena *arena = make_arena();
    struct vmarena_stats all, own;
    vmarena_stats(arena, &all);
    memset(&own, 0xff, sizeof own);
    vmarena_info(arena, &own);
    assert_true(all.resident > 0);
    assert_int_equal(own.resident, 0);
    assert_int_equal(own.huge, 0);
    assert_memory_equal(&own, &all, offsetof(struct vmarena_stats, resident));
    size_t rest = offsetof(struct vmarena_stats, guard), end = offsetof(struct vmarena_stats, named);
    assert_memory_equal((char *)&own + rest, (char *)&all + rest, end - rest);
    assert_int_equal(own.used, 100);
    vmarena_info(arena, NULL);
    vmarena_destroy(arena);
}

static void test_heap(void **state) {
    (void)state;
    struct vmarena_heap *heap = NULL;
    struct vmarena_heap_stats stats;
    struct vmarena_heap_object object;
    assert_int_equal(vmarena_heap_create(&heap, NULL), 0);
    void *pointer = vmarena_heap_alloc(heap, 10, 0);
    assert_fills(stats, vmarena_heap_stats(heap, &stats));
    assert_fills(object, assert_int_equal(vmarena_heap_find(heap, pointer, &object), 0));
    assert_fills(object, assert_int_equal(vmarena_heap_find(heap, &stats, &object), -ENOENT));
    vmarena_heap_destroy(heap);
}

static void test_view(void **state) {
    (void)state;
    struct vmarena_view *view = NULL;
    struct vmarena_view_info info;
    assert_int_equal(vmarena_view_open(&view, "/proc/self/exe", VMARENA_VIEW_READ), 0);
    assert_fills(info, assert_int_equal(vmarena_view_info(view, &info), 0));
    vmarena_view_close(view);
}

static void test_process(void **state) {
    (void)state;
    struct vmarena_caps caps;
    struct vmarena_mapping mapping;
    struct vmarena_totals totals;
    uint64_t here = (uintptr_t)&caps;
    assert_fills(caps, assert_int_equal(vmarena_caps(&caps), 0));
    assert_fills(mapping, assert_int_equal(vmarena_mapping_at(0, here, &mapping, NULL, 0), 0));
    assert_fills(totals, assert_int_equal(vmarena_totals(0, &totals), 0));
}

static void test_counters(void **state) {
    (void)state;
    struct vmarena_counters *counters = NULL;
    struct vmarena_counts counts;
    if (vmarena_counters_open(&counters, 0, 0) != 0) {
        print_message("skip: %s\n", vmarena_explain());
        skip();
    }
    assert_fills(counts, assert_int_equal(vmarena_counters_read(counters, &counts), 0));
    vmarena_counters_close(counters);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),   cmocka_unit_test(test_info_is_stats_without_asking),
        cmocka_unit_test(test_heap),    cmocka_unit_test(test_view),
        cmocka_unit_test(test_process), cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
