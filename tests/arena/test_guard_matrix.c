/* SPDX-License-Identifier: MIT */
/*
 * The guard matrix: object sizes around every page boundary × alignment × side × read and write × guard back end. In
 * each cell the object's own bytes work, the first byte past its guarded edge faults with an exact record, and the slack
 * that the alignment and the other side leave is checked to the byte. A failure names the cell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

struct cell {
    enum vmarena_guard_kind guards;
    enum vmarena_fence side;
    enum vmarena_access access;
    size_t size, align;
};

#define CELL_CHECK(cell, condition, ...)                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            print_cell(cell);                                                                                          \
            fail_msg(__VA_ARGS__);                                                                                     \
        }                                                                                                              \
    } while (0)

static void print_cell(const struct cell *cell) {
    print_message("cell: size %zu, align %zu, %s, %s, %s\n", cell->size, cell->align,
                  cell->side == VMARENA_FENCE_END ? "end" : "start",
                  cell->access == VMARENA_ACCESS_READ ? "read" : "write",
                  (const char *[]){"", "markers", "mprotect", "userfaultfd"}[cell->guards]);
}

/* Byte `past`, counted as distances are (+1: the first past the end), faults, and the record says just that. */
static void check_fault(const struct cell *cell, unsigned char *object, ptrdiff_t past) {
    struct vmarena_fault fault;
    char text[300];
    unsigned char *address = object + past + (past > 0 ? (ptrdiff_t)cell->size - 1 : 0);
    bool reads = cell->access == VMARENA_ACCESS_READ;
    int result = vmarena_try(reads ? peek_body : poke_body, address, &fault);
    CELL_CHECK(cell, result == 1, "vmarena_try gave %d where byte %+td is guarded", result, past);
    vmarena_fault_describe(&fault, text, sizeof text);
    CELL_CHECK(cell, fault.signo == guard_signal(address, cell->guards), "signal %d: %s", fault.signo, text);
    CELL_CHECK(cell, fault.address == address, "address %p, not %p: %s", fault.address, (void *)address, text);
    CELL_CHECK(cell, fault.access == told(cell->access), "access %d: %s", (int)fault.access, text);
    CELL_CHECK(cell, fault.kind == (past > 0 ? VMARENA_FAULT_OVERRUN : VMARENA_FAULT_UNDERRUN), "kind %d: %s",
               (int)fault.kind, text);
    CELL_CHECK(cell, fault.object == object && fault.object_size == cell->size, "not the object at %p: %s",
               (void *)object, text);
    CELL_CHECK(cell, fault.distance == past, "distance %td, not %+td: %s", fault.distance, past, text);
}

/* A byte of slack can be reached; if it was written to, the check names it. */
static void check_slack(const struct cell *cell, struct vmarena *arena, unsigned char *object, ptrdiff_t past) {
    char words[120];
    unsigned char *address = object + past + (past > 0 ? (ptrdiff_t)cell->size - 1 : 0), before = peek(address);
    CELL_CHECK(cell, vmarena_check(arena) == 0, "untouched slack: %s", vmarena_explain());
    poke(address, (unsigned char)(before ^ 0x10));
    int result = vmarena_check(arena);
    CELL_CHECK(cell, result == -EILSEQ, "byte %+td was overwritten: the check gave %d", past, result);
    snprintf(words, sizeof words, "byte %+td of the %zu-byte object at %p", past, cell->size, (void *)object);
    CELL_CHECK(cell, strstr(vmarena_explain(), words) != NULL, "not \"%s\": %s", words, vmarena_explain());
    poke(address, before);
    CELL_CHECK(cell, vmarena_check(arena) == 0, "the slack was mended: %s", vmarena_explain());
}

static void check_own_bytes(const struct cell *cell, unsigned char *object) {
    for (size_t i = 0; i < cell->size; i++) poke(object + i, (unsigned char)(i * 31 + 7));
    for (size_t i = 0; i < cell->size; i++)
        CELL_CHECK(cell, peek(object + i) == (unsigned char)(i * 31 + 7), "byte %zu lost its value", i);
}

static void check_cell(const struct cell *cell, struct vmarena *arena) {
    size_t page = vmarena_page_size(), pages = vmarena_page_round_up(cell->size);
    /* All slack that is left at the guarded side is what the alignment takes. */
    size_t after = cell->side == VMARENA_FENCE_END ? (pages - cell->size) % cell->align : pages - cell->size;
    size_t before = pages - cell->size - after;
    struct vmarena_mark mark = vmarena_mark(arena);
    unsigned char *object = vmarena_alloc(arena, cell->size, cell->align);
    CELL_CHECK(cell, object != NULL, "%s", vmarena_explain());
    CELL_CHECK(cell, (uintptr_t)object % cell->align == 0, "%p is not aligned", (void *)object);
    CELL_CHECK(cell, ((uintptr_t)object - before) % page == 0, "%zu bytes of slack before %p", before, (void *)object);
    check_own_bytes(cell, object);
    check_fault(cell, object, (ptrdiff_t)after + 1);
    check_fault(cell, object, -(ptrdiff_t)before - 1);
    if (after != 0) check_slack(cell, arena, object, 1);
    if (after > 1) check_slack(cell, arena, object, (ptrdiff_t)after);
    if (before != 0) check_slack(cell, arena, object, -1);
    if (before > 1) check_slack(cell, arena, object, -(ptrdiff_t)before);
    CELL_CHECK(cell, vmarena_rewind(arena, mark) == 0, "%s", vmarena_explain());
}

struct attempt {
    const struct cell *cell;
    struct vmarena *arena;
};

static void check_cell_body(void *arg) {
    const struct attempt *attempt = arg;
    check_cell(attempt->cell, attempt->arena);
}

/* What faults where it should not, in the library or here, names the cell, too. */
static void check_cell_caught(const struct cell *cell, struct vmarena *arena) {
    struct attempt attempt = {cell, arena};
    struct vmarena_fault fault;
    char text[300];
    if (vmarena_try_any(check_cell_body, &attempt, &fault) == 0) return;
    vmarena_fault_describe(&fault, text, sizeof text);
    CELL_CHECK(cell, false, "a fault: %s", text);
}

static void check_sizes(struct cell cell, struct vmarena *arena) {
    size_t page = vmarena_page_size();
    for (size_t boundary = 0; boundary <= 3 * page; boundary += page) {
        size_t first = boundary == 0 ? 1 : boundary - 64, last = boundary == 3 * page ? boundary : boundary + 64;
        for (cell.size = first; cell.size <= last; cell.size++) check_cell_caught(&cell, arena);
    }
}

static void check_plane(enum vmarena_guard_kind guards, enum vmarena_fence side, enum vmarena_access access) {
    struct vmarena_options options = {.reserve = 1 << 20, .fence = side, .guard_kind = guards};
    struct vmarena *arena;
    if (!guards_work(guards)) skip();
    vmarena_scope_unwind(NULL);                    /* a test that failed jumped out of one */
    assert_int_equal(vmarena_fault_reassert(), 0); /* cmocka has just set its own */
    for (size_t align = 1; align <= 64; align *= 2) {
        assert_int_equal(vmarena_create(&arena, &options), 0);
        check_sizes((struct cell){guards, side, access, 0, align}, arena);
        vmarena_destroy(arena);
    }
}

#define PLANE(guards, side, access)                                                                                    \
    static void test_##guards##_##side##_##access(void **state) {                                                      \
        (void)state;                                                                                                   \
        check_plane(VMARENA_GUARD_##guards, VMARENA_FENCE_##side, VMARENA_ACCESS_##access);                            \
    }
PLANE(MARKER, END, READ)
PLANE(MARKER, END, WRITE)
PLANE(MARKER, START, READ)
PLANE(MARKER, START, WRITE)
PLANE(PROTECT, END, READ)
PLANE(PROTECT, END, WRITE)
PLANE(PROTECT, START, READ)
PLANE(PROTECT, START, WRITE)
PLANE(USERFAULT, END, READ)
PLANE(USERFAULT, END, WRITE)
PLANE(USERFAULT, START, READ)
PLANE(USERFAULT, START, WRITE)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_MARKER_END_READ),      cmocka_unit_test(test_MARKER_END_WRITE),
        cmocka_unit_test(test_MARKER_START_READ),    cmocka_unit_test(test_MARKER_START_WRITE),
        cmocka_unit_test(test_PROTECT_END_READ),     cmocka_unit_test(test_PROTECT_END_WRITE),
        cmocka_unit_test(test_PROTECT_START_READ),   cmocka_unit_test(test_PROTECT_START_WRITE),
        cmocka_unit_test(test_USERFAULT_END_READ),   cmocka_unit_test(test_USERFAULT_END_WRITE),
        cmocka_unit_test(test_USERFAULT_START_READ), cmocka_unit_test(test_USERFAULT_START_WRITE),
    };
    return cmocka_run_group_tests_name("guard_matrix", tests, NULL, NULL);
}
