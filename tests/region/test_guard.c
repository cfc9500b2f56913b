/* SPDX-License-Identifier: MIT */
/* Guards inside a region, by each back end: what is covered, opened and closed, and what a failure leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "region/guard.h"
#include "vmarena.h"

#include "support.h"

#define PAGES 64

struct fixture {
    struct vmarena_region region;
    struct vmarena_guards guards;
    size_t page;
};

static void no_attribution(const struct vmarena_region *region, struct vmarena_fault *fault) {
    (void)region, (void)fault;
}

static void reserve(struct fixture *at) {
    *at = (struct fixture){.page = vmarena_page_size()};
    at->region.owner = at;
    at->region.attribute = no_attribution;
    struct vmarena_region_plan plan = {
        .size = PAGES * at->page, .align = at->page, .guard = at->page, .policy = VMARENA_COMMIT_PROTECT};
    assert_int_equal(vmarena_region_reserve(&at->region, &plan), 0);
}

/* False, after a printed reason, where this system cannot make such guards. */
static bool set_up(struct fixture *at, enum vmarena_guard_kind kind, unsigned flags) {
    reserve(at);
    if (vmarena_guards_init(&at->guards, &at->region, kind, flags) == 0) {
        assert_int_equal(at->guards.kind, kind);
        return true;
    }
    assert_true(kind == VMARENA_GUARD_MARKER ? !vmarena_prim_has_guard_markers() : kind == VMARENA_GUARD_USERFAULT);
    vmarena_region_release(&at->region);
    print_message("skip: %s\n", vmarena_explain());
    return false;
}

static uintptr_t page_at(const struct fixture *at, size_t index) {
    return (uintptr_t)at->region.base + index * at->page;
}

/* By a system call, which returns EFAULT where an access would fault. */
static bool is_open(const struct fixture *at, size_t index) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bool readable = write(ends[1], (const void *)page_at(at, index), 1) == 1;
    if (!readable) assert_int_equal(errno, EFAULT);
    close(ends[0]);
    close(ends[1]);
    return readable;
}

/* Exactly these pages of the first 16 are open: bit n is page n. */
static void assert_open(const struct fixture *at, unsigned pages) {
    for (size_t i = 0; i < 16; i++) assert_int_equal(is_open(at, i), pages >> i & 1);
}

static const enum vmarena_guard_kind kinds[] = {VMARENA_GUARD_MARKER, VMARENA_GUARD_PROTECT, VMARENA_GUARD_USERFAULT};

/* One test of each kind; cmocka's state points to it. */
#define SET_UP(at, flags)                                                                                              \
    struct fixture at;                                                                                                 \
    if (!set_up(&(at), *(const enum vmarena_guard_kind *)*state, (flags))) skip()

static void test_covered_pages_fault(void **state) {
    SET_UP(at, 0);
    assert_open(&at, 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, 12 * at.page), 0);
    assert_int_equal(at.guards.covered, 12 * at.page);
    assert_open(&at, 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, 8 * at.page), 0); /* covered already */
    assert_int_equal(at.guards.covered, 12 * at.page);
    vmarena_region_release(&at.region);
}

static void test_open_and_close(void **state) {
    SET_UP(at, 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 2), 3 * at.page), 0);
    assert_open(&at, 0x1c);
    memset((void *)page_at(&at, 2), 0x5a, 3 * at.page);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 3), at.page), 0);
    assert_open(&at, 0x14);
    assert_int_equal(peek((void *)page_at(&at, 2)), 0x5a);
    assert_int_equal(peek((void *)page_at(&at, 4)), 0x5a);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 3), at.page), 0); /* closed already */
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 3), 0), 0);
    assert_open(&at, 0x14);
    vmarena_region_release(&at.region);
}

static void test_reopened_pages_are_zero(void **state) {
    SET_UP(at, 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 5), at.page), 0);
    memset((void *)page_at(&at, 5), 0x5a, at.page);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 5), at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 5), at.page), 0);
    for (size_t i = 0; i < at.page; i++) assert_int_equal(peek((char *)page_at(&at, 5) + i), 0);
    assert_false(at.guards.kept);
    vmarena_region_release(&at.region);
}

static void test_many_runs(void **state) {
    SET_UP(at, 0);
    struct vmarena_prim_range runs[] = {
        {(void *)page_at(&at, 1), at.page}, {(void *)page_at(&at, 4), 2 * at.page}, {(void *)page_at(&at, 9), at.page}};
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open_many(&at.guards, runs, 3), 0);
    assert_open(&at, 0x232);
    assert_int_equal(vmarena_guards_close_many(&at.guards, runs + 1, 2), 0);
    assert_open(&at, 0x002);
    vmarena_region_release(&at.region);
}

/* Open pages have the region's protection; closed ones fault whatever it is. */
static void test_protection_of_open_pages(void **state) {
    SET_UP(at, 0);
    at.region.prot = VMARENA_READ;
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 0), at.page), 0);
    assert_open(&at, 1);
    struct vmarena_mapping mapping;
    assert_int_equal(vmarena_mapping_at(0, page_at(&at, 0), &mapping, NULL, 0), 0);
    assert_int_equal(mapping.prot, VMARENA_READ);
    assert_int_equal(vmarena_guards_are_protection(&at.guards), at.guards.kind == VMARENA_GUARD_PROTECT);
    vmarena_region_release(&at.region);
}

/* Closed in any order, what is REUSED ends up in one map entry: as many as before the first was opened. */
static void test_closed_pages_merge(void **state) {
    SET_UP(at, VMARENA_GUARDS_REUSED);
    assert_int_equal(vmarena_guards_cover(&at.guards, PAGES / 2 * at.page), 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, PAGES * at.page), 0);
    size_t before = count_maps();
    for (size_t i = 0; i < PAGES; i += 2) {
        assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, i), at.page), 0);
        poke((void *)page_at(&at, i), 1);
    }
    bool spends = at.guards.kind == VMARENA_GUARD_PROTECT;
    assert_maps(before + (spends ? PAGES : 0));
    for (size_t i = 0; i < PAGES; i += 2)
        assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, i * 7 % PAGES), at.page), 0);
    assert_open(&at, 0);
    assert_maps(before);
    vmarena_region_release(&at.region);
}

static void test_closing_unlocks_where_allowed(void **state) {
    skip_where_nothing_is_locked();
    SET_UP(at, VMARENA_GUARDS_MAY_UNLOCK);
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 3), at.page), 0);
    assert_int_equal(mlock((void *)page_at(&at, 3), at.page), 0);
    poke((void *)page_at(&at, 3), 1);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 3), at.page), 0);
    assert_open(&at, 0);
    assert_true(at.guards.unlocked);
    assert_false(at.guards.kept);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 3), at.page), 0);
    assert_int_equal(peek((void *)page_at(&at, 3)), 0);
    vmarena_region_release(&at.region);
}

/* Markers and userfaultfd refuse and leave the page as it was; protection closes it and says that the contents stay. */
static void test_closing_leaves_locks_otherwise(void **state) {
    skip_where_nothing_is_locked();
    SET_UP(at, 0);
    bool refuses = at.guards.kind != VMARENA_GUARD_PROTECT;
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 3), at.page), 0);
    assert_int_equal(mlock((void *)page_at(&at, 3), at.page), 0);
    poke((void *)page_at(&at, 3), 0x5a);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 3), at.page), refuses ? -EINVAL : 0);
    if (refuses) assert_non_null(strstr(vmarena_explain(), "MADV_"));
    assert_open(&at, refuses ? 8 : 0);
    assert_int_equal(at.guards.kept, !refuses);
    assert_false(at.guards.unlocked);
    if (refuses) assert_int_equal(peek((void *)page_at(&at, 3)), 0x5a);
    vmarena_region_release(&at.region);
}

static void test_locked_open_pages(void **state) {
    (void)state;
    skip_where_nothing_is_locked();
    struct fixture at;
    reserve(&at);
    assert_int_equal(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_MARKER, VMARENA_GUARDS_LOCKED),
                     -EOPNOTSUPP);
    assert_int_equal(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, VMARENA_GUARDS_WIPED), 0);
    assert_int_equal(at.guards.kind, VMARENA_GUARD_PROTECT);
    assert_int_equal(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, VMARENA_GUARDS_LOCKED), 0);
    assert_int_equal(at.guards.kind, VMARENA_GUARD_PROTECT);
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_int_equal(vmarena_guards_open(&at.guards, page_at(&at, 0), at.page), 0);
    struct vmarena_mapping mapping;
    assert_int_equal(vmarena_mapping_at(0, page_at(&at, 0), &mapping, NULL, 0), 0);
    assert_int_equal(madvise((void *)page_at(&at, 0), at.page, MADV_DONTNEED), -1); /* locked */
    assert_int_equal(errno, EINVAL);
    poke((void *)page_at(&at, 0), 0x5a);
    assert_int_equal(vmarena_guards_close(&at.guards, page_at(&at, 0), at.page), 0);
    assert_false(at.guards.kept);
    vmarena_region_release(&at.region);
}

/* RLIMIT_MEMLOCK of 0, without the capability that ignores it. */
static void cannot_lock(void *arg) {
    struct fixture *at = arg;
    struct vmarena_prim_range runs[] = {{(void *)page_at(at, 1), at->page}, {(void *)page_at(at, 3), at->page}};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0, 0}) == 0);
    CHECK(geteuid() != 0 || setuid(65534) == 0);
    CHECK(vmarena_guards_open_many(&at->guards, runs, 2) < 0);
    CHECK(strstr(vmarena_explain(), "mlock") != NULL);
    for (size_t i = 0; i < 16; i++) CHECK(!is_open(at, i));
}

static void test_what_cannot_be_locked_stays_closed(void **state) {
    (void)state;
    skip_where_nothing_is_locked();
    struct fixture at;
    reserve(&at);
    assert_int_equal(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, VMARENA_GUARDS_LOCKED), 0);
    assert_int_equal(vmarena_guards_cover(&at.guards, 16 * at.page), 0);
    assert_runs(cannot_lock, &at);
    vmarena_region_release(&at.region);
}

/* mlockall(2): the memory itself refuses markers, wherever they work in general. */
static void all_is_locked(void *arg) {
    struct fixture at;
    (void)arg;
    CHECK(mlockall(MCL_FUTURE) == 0);
    reserve(&at);
    CHECK(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_MARKER, 0) == -EOPNOTSUPP);
    CHECK(vmarena_explain()[0] != '\0');
    CHECK(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, 0) == 0);
    CHECK(at.guards.kind == VMARENA_GUARD_PROTECT);
    if (!vmarena_prim_has_guard_markers()) return;
    CHECK(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, VMARENA_GUARDS_MAY_UNLOCK) == 0);
    CHECK(at.guards.kind == VMARENA_GUARD_MARKER);
    CHECK(at.guards.unlocked);
}

static void test_locked_memory_refuses_markers(void **state) {
    (void)state;
    skip_where_nothing_is_locked();
    assert_runs(all_is_locked, NULL);
}

static void test_auto_chooses_what_works(void **state) {
    (void)state;
    struct fixture at;
    reserve(&at);
    assert_int_equal(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, 0), 0);
    if (vmarena_prim_has_guard_markers()) assert_int_equal(at.guards.kind, VMARENA_GUARD_MARKER);
    else assert_int_not_equal(at.guards.kind, VMARENA_GUARD_MARKER);
    vmarena_region_release(&at.region);
}

#define by_marker(test)                                                                                                \
    { #test " by markers", test, NULL, NULL, (void *)(uintptr_t)&kinds[0] }
#define by_protection(test)                                                                                            \
    { #test " by protection", test, NULL, NULL, (void *)(uintptr_t)&kinds[1] }
#define by_userfault(test)                                                                                             \
    { #test " by userfaultfd", test, NULL, NULL, (void *)(uintptr_t)&kinds[2] }
#define by_each(test) by_marker(test), by_protection(test), by_userfault(test)

int main(void) {
    const struct CMUnitTest tests[] = {
        by_each(test_covered_pages_fault),
        by_each(test_open_and_close),
        by_each(test_reopened_pages_are_zero),
        by_each(test_many_runs),
        by_each(test_protection_of_open_pages),
        by_each(test_closed_pages_merge),
        by_each(test_closing_unlocks_where_allowed),
        by_each(test_closing_leaves_locks_otherwise),
        cmocka_unit_test(test_locked_open_pages),
        cmocka_unit_test(test_what_cannot_be_locked_stays_closed),
        cmocka_unit_test(test_locked_memory_refuses_markers),
        cmocka_unit_test(test_auto_chooses_what_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
