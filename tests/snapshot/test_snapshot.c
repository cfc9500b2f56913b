/* SPDX-License-Identifier: MIT */
/* Arenas restored to a snapshot and compared with a plain copy of their bytes, with each way of tracking. */
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <setjmp.h>

#include "support.h"

static size_t page;

static const enum vmarena_tracking ways[] = {VMARENA_TRACK_FILE, VMARENA_TRACK_SCAN, VMARENA_TRACK_PROTECT,
                                             VMARENA_TRACK_COMPARE};
enum { WAYS = sizeof ways / sizeof ways[0] };
static const char *const names[] = {"auto", "file", "scan", "protect", "compare"};

static int begin(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

static void ready(void) { assert_int_equal(vmarena_fault_reassert(), 0); }

static struct vmarena *make(enum vmarena_tracking way, size_t reserve) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = reserve,
                                      .name = "s",
                                      .flags = way == VMARENA_TRACK_FILE ? VMARENA_MEMFD : 0,
                                      .huge = VMARENA_HUGE_NEVER};
    if (vmarena_create(&arena, &options) != 0) fail_msg("%s", vmarena_explain());
    return arena;
}

static unsigned char *take(struct vmarena *arena, size_t size) {
    unsigned char *object = vmarena_alloc(arena, size, 1);
    if (object == NULL) fail_msg("%s", vmarena_explain());
    return object;
}

static struct vmarena_snapshot *snap(struct vmarena *arena, enum vmarena_tracking way) {
    struct vmarena_snapshot *snapshot;
    struct vmarena_snapshot_info info;
    if (vmarena_snapshot(&snapshot, arena, way) != 0) fail_msg("%s: %s", names[way], vmarena_explain());
    assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
    if (way != VMARENA_TRACK_AUTO) assert_int_equal(info.tracking, way);
    return snapshot;
}

/* Which ways of tracking work depends on the system. */
static bool can(enum vmarena_tracking way) {
    struct vmarena_snapshot *snapshot;
    if (way == VMARENA_TRACK_FILE && !memory_files_work()) {
        print_message("not here: file: this system has no memory files (memfd_create(2))\n");
        return false;
    }
    struct vmarena *arena = make(way, 16 * page);
    take(arena, 1);
    int error = vmarena_snapshot(&snapshot, arena, way);
    if (error == 0) vmarena_snapshot_free(snapshot);
    else print_message("not here: %s: %s\n", names[way], vmarena_explain());
    vmarena_destroy(arena);
    return error == 0;
}

#define skip_unless_scanned()                                                                                          \
    do {                                                                                                               \
        if (!can(VMARENA_TRACK_SCAN)) {                                                                                \
            print_message("skip: the kernel cannot track writes here\n");                                              \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static uint64_t seed = 1;
static size_t random_below(size_t limit) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (size_t)(seed >> 11) % limit;
}

/* Unchecked, as are copies and comparisons of a whole arena: under ASan there are red zones between objects. */
UNCHECKED_ACCESS static void fill(unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)random_below(256);
}

static void restore(struct vmarena *arena, struct vmarena_snapshot *snapshot) {
    if (vmarena_restore(arena, snapshot) != 0) fail_msg("%s", vmarena_explain());
}

static size_t used(struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats.used;
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

static void scribble(unsigned char *bytes, size_t size) {
    for (size_t writes = random_below(8); writes > 0; writes--) {
        size_t at = random_below(size), length = random_below(size - at < 3 * page ? size - at : 3 * page) + 1;
        fill(bytes + at, length < size - at ? length : size - at);
    }
}

static void check_rounds(enum vmarena_tracking way, unsigned rounds) {
    size_t size = 60 * page + 123;
    struct vmarena *arena = make(way, 256 * page);
    unsigned char *bytes = take(arena, size), *copy = malloc(size);
    assert_non_null(copy);
    fill(bytes, size / 2); /* the rest was never touched */
    memcpy(copy, bytes, size);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    assert_memory_equal(bytes, copy, size);
    for (unsigned i = 0; i < rounds; i++) {
        scribble(bytes, size);
        if (i % 3 == 0) memset(take(arena, random_below(20 * page) + 1), 0xaa, 1);
        restore(arena, snapshot);
        assert_int_equal(used(arena), size);
        if (memcmp(bytes, copy, size) != 0) fail_msg("%s: other bytes after round %u", names[way], i);
    }
    struct vmarena_snapshot_info info;
    assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
    assert_int_equal(info.restores, rounds);
    assert_int_equal(info.used, size);
    vmarena_snapshot_free(snapshot);
    scribble(bytes, size);
    vmarena_destroy(arena);
    free(copy);
}

static void test_ten_thousand_rounds(void **state) {
    (void)state;
    unsigned checked = 0,
             rounds = UNDER_SANITIZER ? 1000 : 10000; /* of bytes that a sanitizer would look at one by one */
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_rounds(ways[i], rounds), checked++;
    assert_true(checked >= 2); /* protect and compare work everywhere */
}

/* Snapshots of snapshots, restored in any order, each against its own copy. */
static void check_many(enum vmarena_tracking way) {
    enum { SNAPSHOTS = 6 };
    size_t sizes[SNAPSHOTS] = {0};
    unsigned char *copies[SNAPSHOTS] = {NULL};
    struct vmarena_snapshot *snapshots[SNAPSHOTS] = {NULL};
    struct vmarena *arena = make(way, 512 * page);
    unsigned char *base = take(arena, 40 * page);
    fill(base, 40 * page);
    for (unsigned round = 0; round < 600; round++) {
        size_t which = random_below(SNAPSHOTS);
        scribble(base, used(arena));
        if (random_below(3) == 0 && used(arena) < 400 * page) fill(take(arena, random_below(5 * page) + 1), 1);
        if (snapshots[which] == NULL) {
            sizes[which] = used(arena);
            copies[which] = malloc(sizes[which]);
            assert_int_equal(vmarena_copy(copies[which], base, sizes[which], NULL), sizes[which]);
            snapshots[which] = snap(arena, way);
        } else if (random_below(4) != 0) {
            restore(arena, snapshots[which]);
            assert_int_equal(used(arena), sizes[which]);
            if (vmarena_compare(base, copies[which], sizes[which], NULL) != sizes[which])
                fail_msg("%s: other bytes in round %u", names[way], round);
        } else {
            vmarena_snapshot_free(snapshots[which]);
            free(copies[which]);
            snapshots[which] = NULL;
            copies[which] = NULL;
        }
    }
    vmarena_destroy(arena); /* before its snapshots, which is fine */
    for (size_t i = 0; i < SNAPSHOTS; i++) {
        vmarena_snapshot_free(snapshots[i]);
        free(copies[i]);
    }
}

static void test_many_snapshots(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_many(ways[i]);
}

/* ---- which pages were written ------------------------------------------------------------------------------------------ */

enum { RUNS = 64 };
struct runs {
    size_t count;
    struct vmarena_pages run[RUNS];
};

static int add_run(const struct vmarena_pages *pages, void *arg) {
    struct runs *runs = arg;
    assert_true(runs->count < RUNS);
    assert_int_equal(pages->state, VMARENA_PAGE_DIRTY);
    runs->run[runs->count++] = *pages;
    return 0;
}

static void assert_dirty(struct vmarena *arena, struct vmarena_snapshot *snapshot, const unsigned char *base,
                         size_t count, const size_t (*runs)[2]) {
    struct runs got = {.count = 0};
    assert_int_equal(vmarena_dirty_pages(arena, snapshot, add_run, &got), 0);
    assert_int_equal(got.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got.run[i].start, (uintptr_t)base + runs[i][0] * page);
        assert_int_equal(got.run[i].end, (uintptr_t)base + runs[i][1] * page);
    }
}

static void check_dirty(enum vmarena_tracking way) {
    struct vmarena *arena = make(way, 256 * page);
    unsigned char *bytes = take(arena, 100 * page);
    fill(bytes, 100 * page);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    assert_dirty(arena, snapshot, bytes, 0, NULL);
    (void)peek(bytes + 3 * page); /* reading is no writing */
    bytes[5 * page + 7]++;
    bytes[6 * page]++;
    bytes[70 * page - 1]++;
    bytes[99 * page]++;
    assert_dirty(arena, snapshot, bytes, 3, (size_t[][2]){{5, 7}, {69, 70}, {99, 100}});
    assert_dirty(arena, snapshot, bytes, 3, (size_t[][2]){{5, 7}, {69, 70}, {99, 100}}); /* asking changes nothing */
    /* A second snapshot starts with no written pages, and does not change the first one's. */
    struct vmarena_snapshot *second = snap(arena, way);
    assert_dirty(arena, second, bytes, 0, NULL);
    bytes[20 * page]++;
    assert_dirty(arena, second, bytes, 1, (size_t[][2]){{20, 21}});
    assert_dirty(arena, snapshot, bytes, 4, (size_t[][2]){{5, 7}, {20, 21}, {69, 70}, {99, 100}});
    restore(arena, snapshot);
    assert_dirty(arena, snapshot, bytes, 0, NULL);
    assert_dirty(arena, second, bytes, way == VMARENA_TRACK_COMPARE || way == VMARENA_TRACK_FILE ? 3 : 4,
                 way == VMARENA_TRACK_COMPARE || way == VMARENA_TRACK_FILE
                     ? (size_t[][2]){{5, 7}, {69, 70}, {99, 100}, {0, 0}}
                     : (size_t[][2]){{5, 7}, {20, 21}, {69, 70}, {99, 100}});
    vmarena_snapshot_free(second);
    (void)take(arena, 3 * page); /* allocated since: counts as written */
    assert_dirty(arena, snapshot, bytes, 1, (size_t[][2]){{100, 103}});
    bytes[99 * page]++;
    assert_dirty(arena, snapshot, bytes, 1, (size_t[][2]){{99, 103}});
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_dirty(arena, snapshot, bytes, 0, NULL);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_dirty_pages(void **state) {
    (void)state;
    skip_where_annotated();
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_dirty(ways[i]);
}

/* Restoring writes the pages that were written since, and no others. */
static void test_cost_of_restoring(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        struct vmarena_snapshot_info info;
        if (!can(ways[i])) continue;
        struct vmarena *arena = make(ways[i], 1024 * page);
        unsigned char *bytes = take(arena, 1000 * page);
        memset(bytes, 1, 1000 * page);
        struct vmarena_snapshot *snapshot = snap(arena, ways[i]);
        assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
        assert_int_equal(info.copied, ways[i] == VMARENA_TRACK_FILE ? 0 : 1000 * page);
        for (size_t j = 0; j < 1000; j += 100) bytes[j * page] = 2;
        restore(arena, snapshot);
        assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
        assert_int_equal(info.restored, 10 * page);
        restore(arena, snapshot);
        assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
        assert_int_equal(info.restored, 0);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

/* The pages of a memory file may exist without being mapped: all are compared, and other tracking is refused. */
static void test_memory_file_compared(void **state) {
    (void)state;
    skip_without_memory_files();
    skip_where_annotated();
    enum vmarena_tracking refused[] = {VMARENA_TRACK_SCAN, VMARENA_TRACK_PROTECT};
    size_t size = 20 * page;
    struct vmarena_snapshot *snapshot;
    struct vmarena *arena = make(VMARENA_TRACK_FILE, 64 * page), *clone;
    unsigned char *bytes = take(arena, size), *copy = malloc(size);
    fill(bytes, size);
    memcpy(copy, bytes, size);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(vmarena_snapshot(&snapshot, arena, refused[i]), -EOPNOTSUPP);
        assert_string_equal(vmarena_explain(), "an arena made with VMARENA_MEMFD is tracked by its file or not at all");
    }
    snapshot = snap(arena, VMARENA_TRACK_COMPARE);
    bytes[3 * page]++;
    struct vmarena_snapshot *by_file = snap(arena, VMARENA_TRACK_FILE);
    bytes[4 * page]++;
    restore(arena, snapshot);
    assert_memory_equal(bytes, copy, size);
    restore(arena, by_file);
    assert_int_equal(bytes[3 * page], (unsigned char)(copy[3 * page] + 1));
    assert_int_equal(vmarena_clone(&clone, snapshot), 0);
    assert_memory_equal(take(clone, 1) - size, copy, size);
    vmarena_destroy(clone);
    vmarena_snapshot_free(snapshot);
    vmarena_snapshot_free(by_file);
    vmarena_destroy(arena);
    free(copy);
}

/* The kernel writes to pages that it brings in; no other pages count as written for that. */
static void test_prefault_after_a_snapshot(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        struct vmarena_snapshot_info info;
        if (!can(ways[i])) continue;
        struct vmarena *arena = make(ways[i], 1024 * page);
        unsigned char *bytes = take(arena, 99 * page + 1); /* and the next object begins in the last page */
        memset(bytes, 1, 99 * page + 1);
        struct vmarena_snapshot *snapshot = snap(arena, ways[i]);
        bytes[5 * page] = 2;
        assert_int_equal(vmarena_prefault(arena, 100 * page), 0);
        memset(take(arena, 100 * page), 3, 100 * page);
        restore(arena, snapshot);
        assert_int_equal(bytes[5 * page], 1);
        assert_int_equal(bytes[99 * page], 1);
        assert_int_equal(vmarena_snapshot_info(snapshot, &info), 0);
        if (ways[i] != VMARENA_TRACK_FILE) assert_int_equal(info.restored, 2 * page);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

/* If nobody else holds the file, the written pages go to it; otherwise all pages are copied. */
static void test_second_snapshot_of_a_file(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_snapshot_info info;
    struct vmarena *arena = make(VMARENA_TRACK_FILE, 1024 * page);
    unsigned char *bytes = take(arena, 100 * page);
    memset(bytes, 1, 50 * page);
    vmarena_snapshot_free(snap(arena, VMARENA_TRACK_FILE));
    bytes[3 * page] = 2;
    struct vmarena_snapshot *second = snap(arena, VMARENA_TRACK_FILE);
    assert_int_equal(vmarena_snapshot_info(second, &info), 0);
    assert_int_equal(info.copied, page);
    struct vmarena_snapshot *same = snap(arena, VMARENA_TRACK_FILE); /* nothing written since */
    assert_int_equal(vmarena_snapshot_info(same, &info), 0);
    assert_int_equal(info.copied, 0);
    bytes[4 * page] = 3;
    struct vmarena_snapshot *third = snap(arena, VMARENA_TRACK_FILE);
    assert_int_equal(vmarena_snapshot_info(third, &info), 0);
    assert_int_equal(info.copied, 50 * page); /* the zero pages stay holes */
    restore(arena, second);
    assert_int_equal(bytes[3 * page], 2);
    assert_int_equal(bytes[4 * page], 1);
    restore(arena, third);
    assert_int_equal(bytes[4 * page], 3);
    vmarena_snapshot_free(second);
    vmarena_snapshot_free(same);
    vmarena_snapshot_free(third);
    vmarena_destroy(arena);
}

/* ---- clones ------------------------------------------------------------------------------------------------------------------ */

static void check_clones(enum vmarena_tracking way) {
    struct vmarena *arena = make(way, 256 * page), *clones[3];
    size_t size = 50 * page + 5;
    unsigned char *bytes = take(arena, size), *copy = malloc(size), *cloned[3];
    fill(bytes, size);
    memcpy(copy, bytes, size);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    bytes[1]++; /* after the snapshot: no clone sees it */
    for (int i = 0; i < 3; i++) {
        if (vmarena_clone(&clones[i], snapshot) != 0) fail_msg("%s", vmarena_explain());
        struct vmarena_stats stats, of_arena;
        vmarena_stats(clones[i], &stats);
        vmarena_stats(arena, &of_arena);
        assert_int_equal(stats.used, size);
        assert_int_equal(stats.reserved, of_arena.reserved);
        assert_int_equal(stats.prot, VMARENA_READ | VMARENA_WRITE);
        unsigned char *next = take(clones[i], 10);
        cloned[i] = next - size;
        assert_memory_equal(cloned[i], copy, size);
        next[0] = (unsigned char)i;
        cloned[i][2 * page] = (unsigned char)i;
    }
    for (int i = 0; i < 3; i++) assert_int_equal(cloned[i][2 * page], i);
    assert_int_equal(bytes[2 * page], copy[2 * page]);
    /* A clone of the kernel's kind can be brought back by the same snapshot; the others are arenas of their own. */
    int error = vmarena_restore(clones[1], snapshot);
    assert_int_equal(error, way == VMARENA_TRACK_FILE ? 0 : -EINVAL);
    if (error == 0) {
        assert_memory_equal(cloned[1], copy, size);
        assert_int_equal(used(clones[1]), size);
        assert_int_equal(cloned[2][2 * page], 2);
    }
    struct vmarena_snapshot *of_clone = snap(clones[2], way);
    cloned[2][0]++;
    restore(clones[2], of_clone);
    assert_int_equal(cloned[2][0], copy[0]);
    assert_int_equal(cloned[2][2 * page], 2);
    vmarena_snapshot_free(of_clone);
    vmarena_destroy(arena);
    vmarena_destroy(clones[0]);
    /* The snapshot is enough. */
    assert_int_equal(vmarena_clone(&clones[0], snapshot), 0);
    assert_memory_equal(take(clones[0], 1) - size, copy, size);
    vmarena_snapshot_free(snapshot);
    assert_int_equal(cloned[2][2 * page], 2);
    for (int i = 0; i < 3; i++) vmarena_destroy(clones[i]);
    free(copy);
}

static void test_clones(void **state) {
    (void)state;
    skip_where_annotated();
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_clones(ways[i]);
}

/* The clone is an arena like any: guards, names, marks, zeroed memory, faults. */
static void test_clone_is_an_arena(void **state) {
    (void)state;
    skip_without_memory_files();
    skip_where_annotated();
    struct vmarena *arena = make(VMARENA_TRACK_FILE, 64 * page), *clone;
    unsigned char *bytes = take(arena, 5 * page);
    memset(take(arena, 3 * page), 0x77, 3 * page); /* taken back again, and dirty */
    struct vmarena_snapshot *snapshot;
    memset(bytes, 0x55, 5 * page);
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_ptr_equal(take(arena, 5 * page), bytes);
    snapshot = snap(arena, VMARENA_TRACK_FILE);
    assert_int_equal(vmarena_clone(&clone, snapshot), 0);
    unsigned char *zeroed = vmarena_alloc_zeroed(clone, 4 * page, 1);
    assert_non_null(zeroed);
    for (size_t i = 0; i < 4 * page; i++) assert_int_equal(zeroed[i], 0);
    ready();
    struct vmarena_fault fault;
    unsigned char *base = zeroed - 5 * page;
    assert_int_equal(vmarena_try_in(clone, peek_body, base - 1, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = base - 1, .access = VMARENA_ACCESS_READ,
                 .kind = VMARENA_FAULT_UNDERRUN, .object = base, .object_size = 9 * page, .distance = -1);
    assert_string_equal(fault.owner_name, "s");
    struct vmarena_mark mark = vmarena_mark(clone);
    take(clone, 1);
    assert_int_equal(vmarena_rewind(clone, mark), 0);
    assert_int_equal(vmarena_rewind(arena, mark), -EINVAL);
    assert_null(vmarena_alloc(clone, 64 * page, 1));
    vmarena_destroy(clone);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

/* ---- the arena's own state ------------------------------------------------------------------------------------------------------- */

static void test_marks(void **state) {
    (void)state;
    skip_where_annotated();
    struct vmarena *arena = make(VMARENA_TRACK_COMPARE, 64 * page);
    struct vmarena_mark start = vmarena_mark(arena);
    take(arena, 100);
    struct vmarena_mark older = vmarena_mark(arena);
    take(arena, 100);
    struct vmarena_snapshot *snapshot = snap(arena, VMARENA_TRACK_COMPARE);
    take(arena, 100);
    struct vmarena_mark newer = vmarena_mark(arena);
    take(arena, 100);
    restore(arena, snapshot);
    assert_int_equal(used(arena), 200);
    take(arena, 300);
    assert_int_equal(vmarena_rewind(arena, newer), -ESTALE);
    assert_int_equal(vmarena_rewind(arena, older), 0);
    assert_int_equal(used(arena), 100);
    restore(arena, snapshot); /* forwards, too */
    assert_int_equal(used(arena), 200);
    assert_int_equal(vmarena_rewind(arena, older), 0); /* nothing went below it */
    assert_int_equal(vmarena_rewind(arena, start), 0);
    take(arena, 50);
    restore(arena, snapshot);
    assert_int_equal(used(arena), 200);
    assert_int_equal(vmarena_rewind(arena, older), -ESTALE); /* this time something did */
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void check_given_back(enum vmarena_tracking way) {
    struct vmarena *arena = make(way, 64 * page);
    unsigned char *bytes = take(arena, 20 * page);
    memset(bytes, 1, 20 * page);
    /* Before any snapshot, a memory file must give back zeroes as well. */
    assert_int_equal(vmarena_discard(arena, bytes + page, page), 0);
    assert_int_equal(bytes[page], 0);
    assert_int_equal(bytes[2 * page], 1);
    memset(bytes, 1, 20 * page);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    assert_int_equal(vmarena_discard(arena, bytes + 4 * page, 2 * page), 0);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], i / page != 4 && i / page != 5);
    restore(arena, snapshot);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], 1);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    unsigned char *zeroed = vmarena_alloc_zeroed(arena, 20 * page, 1);
    assert_ptr_equal(zeroed, bytes);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], 0);
    restore(arena, snapshot);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], 1);
    vmarena_snapshot_free(snapshot);
    assert_int_equal(vmarena_reset(arena, 0), 0);
    zeroed = vmarena_alloc_zeroed(arena, 20 * page, 1);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(zeroed[i], 0);
    vmarena_destroy(arena);
}

static void test_memory_given_back(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_given_back(ways[i]);
}

/* What a restore brings back above the allocated part, down to the rest of its last page, is known not to be zero. */
static void check_zeroed_after_restoring(enum vmarena_tracking way) {
    struct vmarena *arena = make(way, 64 * page);
    size_t kept = 2 * page + 100, zeroed = 18 * page;
    unsigned char *bytes = take(arena, 20 * page);
    memset(bytes, 1, 20 * page);
    assert_int_equal(vmarena_reset(arena, SIZE_MAX), 0);
    assert_ptr_equal(take(arena, kept), bytes);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(vmarena_reset(arena, 0), 0);
        restore(arena, snapshot);
        for (size_t i = 0; i < kept; i++) assert_int_equal(bytes[i], 1);
        unsigned char *next = vmarena_alloc_zeroed(arena, zeroed, 1);
        assert_ptr_equal(next, bytes + kept);
        for (size_t i = 0; i < zeroed; i++)
            if (next[i] != 0) fail_msg("%s: byte %zu of zeroed memory is %u", names[way], i, next[i]);
    }
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_zeroed_after_restoring(void **state) {
    (void)state;
    skip_where_annotated();
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_zeroed_after_restoring(ways[i]);
}

/* Frozen memory is zeroed by writing: where that is not allowed, nothing is changed. */
static void test_discard_of_protected_memory(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        if (!can(ways[i])) continue;
        struct vmarena *arena = make(ways[i], 64 * page);
        unsigned char *bytes = take(arena, 20 * page);
        int expected = ways[i] == VMARENA_TRACK_FILE ? -EACCES : 0;
        memset(bytes, 1, 20 * page);
        struct vmarena_snapshot *snapshot = snap(arena, ways[i]);
        assert_int_equal(vmarena_protect_range(arena, bytes + 7 * page, page, VMARENA_READ), 0);
        assert_int_equal(vmarena_discard(arena, bytes + 5 * page, 5 * page), expected);
        for (size_t j = 0; j < 20 * page; j++)
            assert_int_equal(bytes[j], expected == 0 && j / page >= 5 && j / page < 10 ? 0 : 1);
        assert_int_equal(vmarena_reset(arena, 0), expected);
        assert_int_equal(used(arena), expected == 0 ? 0 : 20 * page);
        assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
        assert_int_equal(vmarena_reset(arena, 0), 0);
        restore(arena, snapshot);
        for (size_t j = 0; j < 20 * page; j++) assert_int_equal(bytes[j], 1);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

/* Once a range has the arena's protection again, everything is as before it was protected. */
static void test_range_protected_and_brought_back(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        if (!can(ways[i])) continue;
        struct vmarena_snapshot_info info;
        struct vmarena *arena = make(ways[i], 64 * page);
        unsigned char *bytes = take(arena, 20 * page);
        memset(bytes, 1, 20 * page);
        struct vmarena_snapshot *first = snap(arena, ways[i]);
        assert_int_equal(vmarena_protect_range(arena, bytes + 5 * page, 2 * page, VMARENA_NONE), 0);
        assert_int_equal(vmarena_protect_range(arena, bytes + 5 * page, 2 * page, VMARENA_READ | VMARENA_WRITE), 0);
        restore(arena, first);
        bytes[3 * page] = 2;
        struct vmarena_snapshot *second = snap(arena, ways[i]);
        bytes[3 * page] = 3;
        bytes[6 * page] = 3;
        restore(arena, second);
        assert_int_equal(vmarena_snapshot_info(second, &info), 0);
        assert_int_equal(info.restored, 2 * page); /* tracked page by page, and not by the arena */
        assert_int_equal(bytes[3 * page], 2);
        assert_int_equal(bytes[6 * page], 1);
        restore(arena, first);
        assert_int_equal(bytes[3 * page], 1);
        vmarena_snapshot_free(first);
        vmarena_snapshot_free(second);
        vmarena_destroy(arena);
    }
}

static void check_protection(enum vmarena_tracking way) {
    struct vmarena *arena = make(way, 64 * page);
    unsigned char *bytes = take(arena, 20 * page);
    struct vmarena_fault fault;
    memset(bytes, 1, 20 * page);
    struct vmarena_snapshot *snapshot = snap(arena, way);
    bytes[3 * page] = 2;
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(vmarena_try(poke_body, bytes, &fault), 1);
    assert_int_equal(fault.kind, VMARENA_FAULT_PROTECTED);
    assert_int_equal(vmarena_restore(arena, snapshot), way == VMARENA_TRACK_FILE ? 0 : -EACCES);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    bytes[4 * page] = 2;
    restore(arena, snapshot);
    for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], 1);
    /* Parts keep their own protection, and what was tracked is tracked. */
    assert_int_equal(vmarena_protect_range(arena, bytes + 7 * page, 2 * page, VMARENA_READ), 0);
    bytes[6 * page] = bytes[9 * page] = 3;
    assert_int_equal(vmarena_try(poke_body, bytes + 8 * page, &fault), 1);
    int error = vmarena_restore(arena, snapshot);
    if (error == 0)
        for (size_t i = 0; i < 20 * page; i++) assert_int_equal(bytes[i], 1);
    else assert_int_equal(error, -EACCES); /* all is to be written, and a part cannot */
    assert_int_equal(vmarena_try(poke_body, bytes + 8 * page, &fault), 1);
    assert_int_equal(vmarena_try(poke_body, bytes + 9 * page, &fault), 0);
    vmarena_snapshot_free(snapshot);
    assert_int_equal(vmarena_try(poke_body, bytes + 8 * page, &fault), 1);
    vmarena_destroy(arena);
}

static void test_protection(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) check_protection(ways[i]);
}

/* Parts protected before the mapping of a memory file becomes a private one. */
static void test_parts_of_a_file(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena *arena = make(VMARENA_TRACK_FILE, 64 * page);
    unsigned char *bytes = take(arena, 20 * page);
    struct vmarena_fault fault;
    memset(bytes, 1, 20 * page);
    assert_int_equal(vmarena_protect_range(arena, bytes + 7 * page, 2 * page, VMARENA_READ), 0);
    assert_int_equal(vmarena_protect_range(arena, bytes + 12 * page, page, VMARENA_NONE), 0);
    struct vmarena_snapshot *snapshot = snap(arena, VMARENA_TRACK_FILE);
    ready();
    assert_int_equal(vmarena_try(poke_body, bytes + 7 * page, &fault), 1);
    assert_int_equal(vmarena_try(peek_body, bytes + 12 * page, &fault), 1);
    assert_int_equal(vmarena_try(peek_body, bytes + 8 * page, &fault), 0);
    assert_int_equal(vmarena_try(poke_body, bytes + 9 * page, &fault), 0);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

/* ---- by protection: what the handler does --------------------------------------------------------------------------------------------- */

static bool never(const struct vmarena_fault *fault, void *arg) {
    (void)fault;
    ++*(unsigned *)arg;
    return false;
}

static void test_protect_is_invisible(void **state) {
    (void)state;
    unsigned calls = 0;
    struct vmarena_fault fault;
    struct vmarena *arena = make(VMARENA_TRACK_PROTECT, 64 * page);
    unsigned char *bytes = take(arena, 20 * page);
    struct vmarena_snapshot *snapshot = snap(arena, VMARENA_TRACK_PROTECT);
    ready();
    assert_int_equal(vmarena_on_fault(arena, never, &calls), 0);
    assert_int_equal(vmarena_try(poke_body, bytes + 3, &fault), 0);
    assert_int_equal(bytes[3], 0x5a);
    assert_int_equal(calls, 0);
    /* Past the arena it is a fault like any. */
    assert_int_equal(vmarena_try(poke_body, bytes + 64 * page, &fault), 1);
    assert_int_equal(fault.kind, VMARENA_FAULT_OVERRUN);
    assert_int_equal(calls, 1);
    /* A system call fails at a page that was not written yet, as the header says. */
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, bytes + 5 * page, 10), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(read(fd, bytes, 10), 10);
    close(fd);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_system_calls_write_where_the_kernel_tracks(void **state) {
    (void)state;
    skip_unless_scanned();
    struct vmarena *arena = make(VMARENA_TRACK_SCAN, 64 * page);
    unsigned char *bytes = take(arena, 20 * page);
    memset(bytes, 1, 20 * page);
    struct vmarena_snapshot *snapshot = snap(arena, VMARENA_TRACK_SCAN);
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, bytes + 5 * page, 10), 10);
    close(fd);
    assert_dirty(arena, snapshot, bytes, 1, (size_t[][2]){{5, 6}});
    restore(arena, snapshot);
    assert_int_equal(bytes[5 * page], 1);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

/* More written pages than a process may have map entries: all count as written, and restoring is still right. */
static void test_protect_beyond_the_map_limit(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.map_entry_limit == 0 || caps.map_entry_limit > 100000) {
        print_message("skip: the limit of map entries is out of reach\n");
        skip();
    }
    size_t count = 2 * caps.map_entry_limit;
    struct vmarena *arena = make(VMARENA_TRACK_PROTECT, count * page);
    unsigned char *bytes = take(arena, count * page);
    struct vmarena_snapshot *snapshot = snap(arena, VMARENA_TRACK_PROTECT);
    ready();
    for (size_t i = 0; i < count; i += 2) bytes[i * page] = 1;
    restore(arena, snapshot);
    for (size_t i = 0; i < count; i++)
        if (bytes[i * page] != 0) fail_msg("page %zu was not restored", i);
    bytes[5 * page] = 1;
    assert_dirty(arena, snapshot, bytes, 1, (size_t[][2]){{5, 6}});
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

struct writer {
    unsigned char *bytes;
    size_t from, step;
};

static void *write_some(void *arg) {
    const struct writer *writer = arg;
    for (size_t i = writer->from; i < 400; i += writer->step) writer->bytes[i * page + writer->from]++;
    return NULL;
}

/* Several threads, before and after but not during: the pages are the same for all. */
static void test_threads(void **state) {
    (void)state;
    ready();
    for (unsigned way = 0; way < WAYS; way++) {
        if (!can(ways[way])) continue;
        struct vmarena *arena = make(ways[way], 512 * page);
        unsigned char *bytes = take(arena, 500 * page);
        memset(bytes, 7, 500 * page);
        struct vmarena_snapshot *snapshot = snap(arena, ways[way]);
        for (int round = 0; round < 20; round++) {
            pthread_t threads[4];
            struct writer writers[4];
            for (size_t i = 0; i < 4; i++) {
                writers[i] = (struct writer){bytes, i, i + 1}; /* all of them write to page 0 and to many others */
                assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
            }
            for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
            restore(arena, snapshot);
            for (size_t i = 0; i < 500 * page; i++)
                if (bytes[i] != 7) fail_msg("%s: byte %zu is %u", names[ways[way]], i, bytes[i]);
        }
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

/* ---- fork ------------------------------------------------------------------------------------------------------------------------------ */

struct family {
    struct vmarena *arena;
    struct vmarena_snapshot *snapshot;
    unsigned char *bytes;
};

static void be_child(void *arg) {
    const struct family *family = arg;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(family->bytes[0] == 2);
    family->bytes[0] = 3;
    family->bytes[page] = 3;
    if (family->snapshot != NULL) {
        CHECK(vmarena_restore(family->arena, family->snapshot) == 0);
        for (size_t i = 0; i < 10 * page; i++) CHECK(family->bytes[i] == 1);
        for (size_t i = 0; i < 10 * page; i += 3) family->bytes[i] = 4;
        CHECK(vmarena_restore(family->arena, family->snapshot) == 0);
        for (size_t i = 0; i < 10 * page; i++) CHECK(family->bytes[i] == 1);
    }
    struct vmarena_snapshot *own;
    struct vmarena *clone;
    unsigned char now = family->bytes[page];
    CHECK(vmarena_snapshot(&own, family->arena, VMARENA_TRACK_AUTO) == 0);
    family->bytes[page] = 9;
    CHECK(vmarena_restore(family->arena, own) == 0);
    CHECK(family->bytes[page] == now);
    CHECK(vmarena_clone(&clone, own) == 0);
    vmarena_snapshot_free(own);
    vmarena_destroy(clone);
    vmarena_destroy(family->arena);
    if (family->snapshot != NULL) vmarena_snapshot_free(family->snapshot);
}

static void check_fork(enum vmarena_tracking way, bool with_snapshot) {
    struct family family = {.arena = make(way, 64 * page)};
    family.bytes = take(family.arena, 10 * page);
    memset(family.bytes, 1, 10 * page);
    if (with_snapshot) family.snapshot = snap(family.arena, way);
    family.bytes[0] = 2;
    assert_runs(be_child, &family);
    assert_int_equal(family.bytes[0], 2); /* what the child did stayed there */
    for (size_t i = 1; i < 10 * page; i++) assert_int_equal(family.bytes[i], 1);
    if (with_snapshot) {
        restore(family.arena, family.snapshot);
        assert_int_equal(family.bytes[0], 1);
        vmarena_snapshot_free(family.snapshot);
    }
    /* And after it the parent takes another one, which must not write into a file that the child holds. */
    struct vmarena_snapshot *later = snap(family.arena, way);
    family.bytes[1] = 5;
    restore(family.arena, later);
    assert_int_equal(family.bytes[1], 1);
    vmarena_snapshot_free(later);
    vmarena_destroy(family.arena);
}

static void test_fork(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        if (!can(ways[i])) continue;
        check_fork(ways[i], true);
        check_fork(ways[i], false);
    }
}

/* A child inherits the descriptor that tracks its parent's pages. That must neither end the parent's tracking nor keep it
 * from beginning again. */
static void test_tracking_anew_while_a_child_lives(void **state) {
    (void)state;
    int to_child[2], status;
    char byte = 0;
    skip_unless_scanned();
    struct vmarena *arena = make(VMARENA_TRACK_SCAN, 64 * page);
    unsigned char *bytes = take(arena, 10 * page);
    memset(bytes, 1, 10 * page);
    struct vmarena_snapshot *first = snap(arena, VMARENA_TRACK_SCAN);
    assert_int_equal(pipe(to_child), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        vmarena_snapshot_free(first);
        _exit(read(to_child[0], &byte, 1) == 1 ? 0 : 1);
    }
    memset(take(arena, 10 * page), 1, 10 * page);
    struct vmarena_snapshot *more = snap(arena, VMARENA_TRACK_SCAN);
    bytes[12 * page] = 2;
    assert_dirty(arena, more, bytes, 1, (size_t[][2]){{12, 13}});
    vmarena_snapshot_free(first);
    vmarena_snapshot_free(more);
    struct vmarena_snapshot *again = snap(arena, VMARENA_TRACK_SCAN);
    bytes[5 * page] = 2;
    assert_int_equal(write(to_child[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    bytes[7 * page] = 2;
    assert_dirty(arena, again, bytes, 2, (size_t[][2]){{5, 6}, {7, 8}});
    close(to_child[0]);
    close(to_child[1]);
    vmarena_snapshot_free(again);
    vmarena_destroy(arena);
}

/* The parent goes on writing after its file was frozen for the child. */
static void test_child_keeps_the_file_of_its_parent(void **state) {
    (void)state;
    skip_without_memory_files();
    int to_child[2], to_parent[2], status;
    char byte = 0;
    struct vmarena *arena = make(VMARENA_TRACK_FILE, 64 * page);
    unsigned char *bytes = take(arena, 10 * page);
    memset(bytes, 1, 10 * page);
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(to_parent), 0);
    pid_t child = fork();
    if (child == 0) {
        if (read(to_child[0], &byte, 1) != 1) _exit(1);
        for (size_t i = 0; i < 10 * page; i++)
            if (bytes[i] != 1) _exit(2);
        _exit(0);
    }
    memset(bytes, 2, 10 * page);
    vmarena_snapshot_free(snap(arena, VMARENA_TRACK_FILE));
    bytes[0] = 3;
    vmarena_snapshot_free(snap(arena, VMARENA_TRACK_FILE)); /* would fold into the file if it were alone */
    assert_int_equal(write(to_child[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_parent[i]);
    }
    vmarena_destroy(arena);
}

/* ---- errors -------------------------------------------------------------------------------------------------------------------------------- */

static void test_errors(void **state) {
    (void)state;
    struct vmarena_snapshot *snapshot = NULL, *other;
    struct vmarena_snapshot_info info;
    struct vmarena *arena = make(VMARENA_TRACK_COMPARE, 64 * page), *stranger = make(VMARENA_TRACK_COMPARE, 64 * page),
                   *fenced;
    struct vmarena_options options = {.reserve = 64 * page, .fence = VMARENA_FENCE_END};
    take(arena, 10);
    assert_int_equal(vmarena_snapshot(NULL, arena, VMARENA_TRACK_AUTO), -EINVAL);
    assert_int_equal(vmarena_snapshot(&snapshot, NULL, VMARENA_TRACK_AUTO), -EBADF);
    assert_int_equal(vmarena_snapshot(&snapshot, arena, (enum vmarena_tracking)5), -EINVAL);
    assert_int_equal(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_FILE), -EOPNOTSUPP);
    assert_string_equal(vmarena_explain(), "VMARENA_TRACK_FILE is for arenas made with VMARENA_MEMFD");
    assert_int_equal(vmarena_create(&fenced, &options), 0);
    assert_int_equal(vmarena_snapshot(&snapshot, fenced, VMARENA_TRACK_AUTO), -EOPNOTSUPP);
    vmarena_destroy(fenced);
    assert_null(snapshot);
    ready();
    snapshot = snap(arena, VMARENA_TRACK_PROTECT);
    if (can(VMARENA_TRACK_SCAN)) {
        assert_int_equal(vmarena_snapshot(&other, arena, VMARENA_TRACK_SCAN), -EBUSY);
        other = snap(arena, VMARENA_TRACK_AUTO);
        vmarena_snapshot_free(other);
    }
    assert_int_equal(vmarena_restore(stranger, snapshot), -EINVAL);
    assert_string_equal(vmarena_explain(), "the snapshot is of another arena");
    assert_int_equal(vmarena_dirty_pages(stranger, snapshot, add_run, NULL), -EINVAL);
    assert_int_equal(vmarena_dirty_pages(arena, snapshot, NULL, NULL), -EINVAL);
    assert_int_equal(vmarena_restore(arena, NULL), -EBADF);
    assert_int_equal(vmarena_clone(NULL, snapshot), -EINVAL);
    assert_int_equal(vmarena_clone(&stranger, NULL), -EBADF);
    assert_int_equal(vmarena_snapshot_info(snapshot, NULL), -EINVAL);
    assert_int_equal(vmarena_snapshot_info(NULL, &info), -EBADF);
    vmarena_snapshot_free(snapshot);
    vmarena_snapshot_free(snapshot);
    vmarena_snapshot_free(NULL);
    assert_int_equal(vmarena_restore(arena, snapshot), -EBADF);
    assert_string_equal(vmarena_explain(), "the snapshot was freed");
    vmarena_destroy(arena);
    assert_int_equal(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_AUTO), -EBADF);
    vmarena_destroy(stranger);
    unsigned refused[] = {VMARENA_MEMFD | VMARENA_LOCK, VMARENA_MEMFD | VMARENA_WIPE_ON_FORK};
    for (size_t i = 0; i < 2; i++) {
        options = (struct vmarena_options){.reserve = 64 * page, .flags = refused[i]};
        assert_int_equal(vmarena_create(&arena, &options), -EINVAL);
    }
    options = (struct vmarena_options){.reserve = 64 * page, .flags = VMARENA_MEMFD, .fence = VMARENA_FENCE_START};
    assert_int_equal(vmarena_create(&arena, &options), -EINVAL);
}

/* A limit of the process is not taken for a feature that the kernel lacks; AUTO then falls back. */
static void snap_without_descriptors(void *arg) {
    (void)arg;
    struct vmarena_snapshot *snapshot;
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 64 * page};
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_create(&arena, &options) == 0);
    unsigned char *bytes = vmarena_alloc(arena, 10 * page, 1);
    CHECK(bytes != NULL);
    memset(bytes, 1, 10 * page);
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0}) == 0);
    CHECK(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_SCAN) == -EMFILE);
    CHECK(strstr(vmarena_explain(), "Too many open files") != NULL);
    CHECK(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_AUTO) == 0);
    bytes[3 * page] = 2;
    CHECK(vmarena_restore(arena, snapshot) == 0);
    for (size_t i = 0; i < 10 * page; i++) CHECK(bytes[i] == 1);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_no_descriptors(void **state) {
    (void)state;
    ready();
    skip_unless_scanned();
    assert_runs(snap_without_descriptors, NULL);
}

static void test_nothing_allocated(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        if (!can(ways[i])) continue;
        struct vmarena *arena = make(ways[i], 64 * page), *clone;
        struct vmarena_snapshot *snapshot = snap(arena, ways[i]);
        take(arena, 100)[0] = 1;
        restore(arena, snapshot);
        assert_int_equal(used(arena), 0);
        assert_int_equal(vmarena_clone(&clone, snapshot), 0);
        assert_int_equal(used(clone), 0);
        take(clone, 100)[0] = 1;
        vmarena_destroy(clone);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

/* No descriptor and no mapping stays behind. */
static size_t count_descriptors(void) {
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_nothing_is_left(void **state) {
    (void)state;
    skip_where_annotated();
    size_t maps = 0, descriptors = 0;
    ready();
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < WAYS; i++)
            if (can(ways[i])) check_clones(ways[i]), check_given_back(ways[i]);
        if (round == 1) maps = count_maps(), descriptors = count_descriptors();
    }
    assert_int_equal(count_maps(), maps);
    assert_int_equal(count_descriptors(), descriptors);
}

/* Committed by steps, and sealed. */
static void test_by_steps(void **state) {
    (void)state;
    ready();
    for (unsigned i = 0; i < WAYS; i++) {
        struct vmarena *arena, *clone;
        struct vmarena_options options = {
            .reserve = 256 * page, .commit = 4 * page, .commit_policy = VMARENA_COMMIT_PROTECT};
        if (!can(ways[i])) continue;
        if (ways[i] == VMARENA_TRACK_FILE) options.flags = VMARENA_MEMFD;
        assert_int_equal(vmarena_create(&arena, &options), 0);
        unsigned char *bytes = take(arena, 10 * page);
        memset(bytes, 1, 10 * page);
        struct vmarena_snapshot *snapshot = snap(arena, ways[i]);
        memset(take(arena, 50 * page), 2, 50 * page); /* commits more */
        memset(bytes, 3, page);
        restore(arena, snapshot);
        for (size_t j = 0; j < 10 * page; j++) assert_int_equal(bytes[j], 1);
        memset(take(arena, 100 * page), 2, 100 * page);
        assert_int_equal(vmarena_clone(&clone, snapshot), 0);
        memset(take(clone, 100 * page), 2, 100 * page);
        vmarena_destroy(clone);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
    }
}

static void seal_and_restore(void *arg) {
    enum vmarena_tracking way = *(enum vmarena_tracking *)arg;
    struct vmarena *arena;
    struct vmarena_snapshot *snapshot;
    struct vmarena_options options = {.reserve = 64 * page, .flags = way == VMARENA_TRACK_FILE ? VMARENA_MEMFD : 0};
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_create(&arena, &options) == 0);
    unsigned char *bytes = vmarena_alloc(arena, 10 * page, 1);
    CHECK(bytes != NULL);
    memset(bytes, 1, 10 * page);
    CHECK(vmarena_snapshot(&snapshot, arena, way) == 0);
    bytes[0] = 2;
    int error = vmarena_seal(arena);
    if (error == -EOPNOTSUPP) return;
    CHECK(error == 0);
    bytes[page] = 2;
    error = vmarena_restore(arena, snapshot);
    CHECK(error == (way == VMARENA_TRACK_FILE ? -EPERM : 0));
    for (size_t i = 0; i < 10 * page && error == 0; i++) CHECK(bytes[i] == 1);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_sealed(void **state) {
    (void)state;
    for (unsigned i = 0; i < WAYS; i++)
        if (can(ways[i])) assert_runs(seal_and_restore, (void *)(uintptr_t)&ways[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_rounds),
        cmocka_unit_test(test_many_snapshots),
        cmocka_unit_test(test_dirty_pages),
        cmocka_unit_test(test_cost_of_restoring),
        cmocka_unit_test(test_memory_file_compared),
        cmocka_unit_test(test_prefault_after_a_snapshot),
        cmocka_unit_test(test_second_snapshot_of_a_file),
        cmocka_unit_test(test_clones),
        cmocka_unit_test(test_clone_is_an_arena),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_memory_given_back),
        cmocka_unit_test(test_zeroed_after_restoring),
        cmocka_unit_test(test_discard_of_protected_memory),
        cmocka_unit_test(test_range_protected_and_brought_back),
        cmocka_unit_test(test_protection),
        cmocka_unit_test(test_parts_of_a_file),
        cmocka_unit_test(test_protect_is_invisible),
        cmocka_unit_test(test_system_calls_write_where_the_kernel_tracks),
        cmocka_unit_test(test_protect_beyond_the_map_limit),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_tracking_anew_while_a_child_lives),
        cmocka_unit_test(test_child_keeps_the_file_of_its_parent),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_nothing_allocated),
        cmocka_unit_test(test_by_steps),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_nothing_is_left),
    };
    return cmocka_run_group_tests_name("snapshot", tests, begin, NULL);
}
