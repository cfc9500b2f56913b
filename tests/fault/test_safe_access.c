/* SPDX-License-Identifier: MIT */
/*
 * Copy, fill, compare, read and write at any address: the count, every byte on both sides of it, and the fault.
 * "Recovery N" names the entry of the list in README.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include "fault/fault.h"
#include "support.h"

static size_t page;
static int guard_signo; /* what the guard of a fenced strip raises */

/* cmocka has displaced the handlers before this test. */
static void begin(void) { assert_int_equal(vmarena_fault_reassert(), 0); }

/* Two readable and writable pages, and memory after them that faults in the given way. */
enum end { NONE, UNMAPPED, TRUNCATED_SHARED, TRUNCATED_PRIVATE, FENCED, ENDS };

struct strip {
    enum end end;
    char *pages;
    struct vmarena *arena;
};

static struct strip make_strip(enum end end) {
    struct strip strip = {.end = end};
    if (end == NONE || end == UNMAPPED) {
        strip.pages = map_pages(3, PROT_READ | PROT_WRITE);
        if (end == NONE) assert_int_equal(mprotect(strip.pages + 2 * page, page, PROT_NONE), 0);
        else assert_int_equal(munmap(strip.pages + 2 * page, page), 0);
    } else if (end == FENCED) {
        struct vmarena_options options = {.reserve = 64 * page, .fence = VMARENA_FENCE_END, .name = "strip"};
        assert_int_equal(vmarena_create(&strip.arena, &options), 0);
        strip.pages = vmarena_alloc(strip.arena, 2 * page, 1);
        assert_non_null(strip.pages);
    } else {
        int fd;
        strip.pages = map_file(3, 3 * page, end == TRUNCATED_SHARED ? MAP_SHARED : MAP_PRIVATE, &fd);
        assert_int_equal(ftruncate(fd, (off_t)(2 * page)), 0);
        close(fd);
    }
    return strip;
}

static void free_strip(struct strip *strip) {
    if (strip->arena != NULL) vmarena_destroy(strip->arena);
    else munmap(strip->pages, 3 * page);
}

/* The expected fault of an access to the byte at `offset` from the end of the strip. */
static void check_fault(const struct strip *strip, const struct vmarena_fault *fault, enum vmarena_access access,
                        size_t offset) {
    static const enum vmarena_fault_kind kinds[ENDS] = {VMARENA_FAULT_PROTECTED, VMARENA_FAULT_UNMAPPED,
                                                        VMARENA_FAULT_PAST_END_OF_FILE, VMARENA_FAULT_PAST_END_OF_FILE,
                                                        VMARENA_FAULT_OVERRUN};
    bool bus = strip->end == TRUNCATED_SHARED || strip->end == TRUNCATED_PRIVATE;
    char *address = strip->pages + 2 * page + offset;
    if (strip->end == FENCED)
        assert_fault(fault, .signo = guard_signo, .address = address, .access = access, .kind = VMARENA_FAULT_OVERRUN,
                     .object = strip->pages, .object_size = 2 * page, .distance = (ptrdiff_t)offset + 1);
    else
        assert_fault(fault, .signo = bus ? SIGBUS : SIGSEGV, .address = address, .access = access,
                     .kind = kinds[strip->end], .object = fault->object, .object_size = fault->object_size,
                     .distance = fault->distance);
}

static void check_bytes(const char *bytes, size_t count, char value, size_t from, size_t cell) {
    for (size_t i = from; i < count; i++)
        if (bytes[i] != value) fail_msg("cell %zu: byte %zu of %zu is 0x%02x", cell, i, count, (unsigned char)bytes[i]);
}

/* ---- recovery 15: from 0 to 33 bytes before the boundary, at every end -------------------------------------------------- */

static void copy_out_of(struct strip *strip, size_t before, size_t length, size_t shift) {
    char buffer[128];
    struct vmarena_fault fault;
    size_t expected = length < before ? length : before;
    const char *from = strip->pages + 2 * page - before;
    for (size_t i = 0; i < before; i++) strip->pages[2 * page - before + i] = (char)(i + 1);
    memset(buffer, 0x77, sizeof buffer);
    memset(&fault, 0xee, sizeof fault);
    assert_int_equal(vmarena_copy(buffer + shift, from, length, &fault), expected);
    assert_memory_equal(buffer + shift, from, expected);
    check_bytes(buffer, shift, 0x77, 0, before);
    check_bytes(buffer, sizeof buffer, 0x77, shift + expected, before);
    if (expected < length) check_fault(strip, &fault, VMARENA_ACCESS_READ, 0);
    else assert_int_equal(fault.signo, 0);
}

static void copy_into(struct strip *strip, size_t before, size_t length, size_t shift) {
    char buffer[128], *to = strip->pages + 2 * page - before;
    struct vmarena_fault fault;
    size_t expected = length < before ? length : before;
    for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = (char)(i + 1);
    memset(strip->pages + page, 0x77, page);
    assert_int_equal(vmarena_copy(to, buffer + shift, length, &fault), expected);
    assert_memory_equal(to, buffer + shift, expected);
    check_bytes(strip->pages + page, page - before, 0x77, 0, before);
    check_bytes(to, before, 0x77, expected, before);
    if (expected < length) check_fault(strip, &fault, VMARENA_ACCESS_WRITE, 0);
    else assert_int_equal(fault.signo, 0);
}

static void test_copy_at_the_boundary(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 7, 8, 15, 16, 17, 33, 64};
    begin();
    for (int end = 0; end < ENDS; end++) {
        struct strip strip = make_strip((enum end)end);
        for (size_t before = 0; before <= 33; before++)
            for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                copy_out_of(&strip, before, lengths[i], (before + i) % 9);
                copy_into(&strip, before, lengths[i], (before + i) % 9);
            }
        free_strip(&strip);
    }
}

/* Source and target cross pages in different places, over several pages. */
static void test_copy_of_pages(void **state) {
    (void)state;
    begin();
    for (size_t shift = 1; shift < 20; shift++) {
        struct strip source = make_strip(NONE), target = make_strip(FENCED);
        struct vmarena_fault fault;
        for (size_t i = 0; i < 2 * page; i++) source.pages[i] = (char)(i * 7 + i / page);
        assert_int_equal(vmarena_copy(target.pages + shift, source.pages, 2 * page, &fault), 2 * page - shift);
        assert_memory_equal(target.pages + shift, source.pages, 2 * page - shift);
        check_fault(&target, &fault, VMARENA_ACCESS_WRITE, 0);
        assert_int_equal(vmarena_copy(target.pages, source.pages + shift, SIZE_MAX / 2, &fault), 2 * page - shift);
        assert_memory_equal(target.pages, source.pages + shift, 2 * page - shift);
        check_fault(&source, &fault, VMARENA_ACCESS_READ, 0);
        free_strip(&source);
        free_strip(&target);
    }
}

static void test_fill_at_the_boundary(void **state) {
    (void)state;
    begin();
    for (int end = 0; end < ENDS; end++) {
        struct strip strip = make_strip((enum end)end);
        for (size_t before = 0; before <= 33; before++)
            for (size_t length = 0; length <= 40; length += 1 + before % 3) {
                struct vmarena_fault fault;
                size_t expected = length < before ? length : before;
                memset(strip.pages + page, 0x77, page);
                assert_int_equal(vmarena_fill(strip.pages + 2 * page - before, 0x1a5, length, &fault), expected);
                check_bytes(strip.pages + page, page - before, 0x77, 0, before);
                check_bytes(strip.pages + 2 * page - before, expected, (char)0xa5, 0, before);
                check_bytes(strip.pages + 2 * page - before, before, 0x77, expected, before);
                if (expected < length) check_fault(&strip, &fault, VMARENA_ACCESS_WRITE, 0);
                else assert_int_equal(fault.signo, 0);
            }
        assert_int_equal(vmarena_fill(strip.pages, 1, SIZE_MAX, NULL), 2 * page);
        check_bytes(strip.pages, 2 * page, 1, 0, 0);
        free_strip(&strip);
    }
}

static void test_compare(void **state) {
    (void)state;
    char buffer[128];
    struct vmarena_fault fault;
    begin();
    for (int end = 0; end < ENDS; end++) {
        struct strip strip = make_strip((enum end)end);
        memset(strip.pages, 9, 2 * page);
        for (size_t before = 0; before <= 33; before++) {
            const char *edge = strip.pages + 2 * page - before;
            memset(buffer, 9, sizeof buffer);
            /* Either side. */
            assert_int_equal(vmarena_compare(edge, buffer + before % 9, 40, &fault), before);
            check_fault(&strip, &fault, VMARENA_ACCESS_READ, 0);
            assert_int_equal(vmarena_compare(buffer + before % 9, edge, 40, &fault), before);
            check_fault(&strip, &fault, VMARENA_ACCESS_READ, 0);
            assert_int_equal(vmarena_compare(edge, buffer, before, &fault), before);
            assert_int_equal(fault.signo, 0);
            /* The first byte that differs. */
            for (size_t at = 0; at < before; at++) {
                memset(&fault, 0xee, sizeof fault);
                buffer[at] = 8;
                assert_int_equal(vmarena_compare(edge, buffer, 40, &fault), at);
                assert_int_equal(fault.signo, 0);
                buffer[at] = 9;
            }
        }
        free_strip(&strip);
    }
}

static void test_nothing_to_do(void **state) {
    (void)state;
    struct vmarena_fault fault;
    begin();
    memset(&fault, 0xee, sizeof fault);
    assert_int_equal(vmarena_copy(NULL, NULL, 0, &fault), 0);
    assert_int_equal(fault.signo, 0);
    assert_int_equal(vmarena_fill(NULL, 0, 0, NULL), 0);
    assert_int_equal(vmarena_compare(NULL, NULL, 0, &fault), 0);
    assert_int_equal(fault.signo, 0);
    char byte = 1;
    assert_int_equal(vmarena_copy(&byte, NULL, 1, NULL), 0);
    assert_int_equal(byte, 1);
    assert_int_equal(vmarena_copy(NULL, &byte, 1, &fault), 0);
    assert_int_equal(fault.access, told(VMARENA_ACCESS_WRITE));
    assert_null(fault.address);
    assert_null(vmarena_scope_top());
}

/* ---- a page that is unmapped while a piece is copied ---------------------------------------------------------------------- */

/* The first write to the target unmaps the source: in the middle of a piece. */
struct theft {
    struct vmarena *target;
    char *target_page, *source_page;
};

static bool steal(const struct vmarena_fault *fault, void *arg) {
    struct theft *theft = arg;
    if (fault->access == VMARENA_ACCESS_READ) return false;
    return mprotect(theft->source_page, page, PROT_NONE) == 0 &&
           vmarena_protect(theft->target, VMARENA_READ | VMARENA_WRITE) == 0;
}

/* The count is exactly the number of bytes that were written. */
static void test_copy_from_a_page_that_goes(void **state) {
    (void)state;
    begin();
    for (size_t at = 0; at < 40; at++) {
        struct strip source = make_strip(NONE);
        struct theft theft = {.source_page = source.pages + page};
        struct vmarena_options options = {.reserve = 4 * page};
        struct vmarena_fault fault;
        memset(source.pages, 'x', 2 * page);
        assert_int_equal(vmarena_create(&theft.target, &options), 0);
        theft.target_page = vmarena_alloc_zeroed(theft.target, page, page);
        assert_int_equal(vmarena_on_fault(theft.target, steal, &theft), 0);
        assert_int_equal(vmarena_protect(theft.target, VMARENA_READ), 0);
        size_t got = vmarena_copy(theft.target_page, source.pages + page + at, page - at, &fault);
        assert_int_equal(fault.access, told(VMARENA_ACCESS_READ));
        assert_ptr_equal(fault.address, source.pages + page + at + got);
        assert_in_range(got, 1, 64);
        check_bytes(theft.target_page, got, 'x', 0, at);
        check_bytes(theft.target_page, page, 0, got, at);
        vmarena_destroy(theft.target);
        free_strip(&source);
    }
}

/* ---- recovery 17 and 18 --------------------------------------------------------------------------------------------------- */

/* Each access to the same missing page faults anew, and nothing is mapped over it: when the file grows, access works. */
static void test_truncated_again_and_again(void **state) {
    (void)state;
    int fd;
    struct vmarena_fault fault;
    char *map = map_file(4, 4 * page, MAP_SHARED, &fd), *buffer = calloc(4, page);
    assert_non_null(buffer);
    begin();
    for (size_t round = 0; round < 50; round++) {
        size_t length = page * (round % 4) + 13; /* the tail of the last page reads as zeroes: recovery 13 */
        size_t reach = (length + page - 1) / page * page;
        assert_int_equal(ftruncate(fd, (off_t)length), 0);
        assert_int_equal(vmarena_copy(buffer, map, 4 * page, &fault), reach);
        if (reach < 4 * page)
            assert_fault(&fault, .signo = SIGBUS, .address = map + reach, .access = VMARENA_ACCESS_READ,
                         .kind = VMARENA_FAULT_PAST_END_OF_FILE);
        check_bytes(buffer, reach, 0, length, round);
        assert_int_equal(vmarena_fill(map, 'f', 4 * page, &fault), reach);
        assert_int_equal(fault.signo, reach < 4 * page ? SIGBUS : 0);
        assert_int_equal(ftruncate(fd, 4 * (off_t)page), 0);
        assert_int_equal(vmarena_fill(map, 'f', 4 * page, &fault), 4 * page);
        assert_int_equal(fault.signo, 0);
        assert_int_equal(vmarena_copy(buffer, map, 4 * page, &fault), 4 * page);
        check_bytes(buffer, 4 * page, 'f', 0, round);
    }
    free(buffer);
    munmap(map, 4 * page);
    close(fd);
}

/* ---- recovery 19: a probe ----------------------------------------------------------------------------------------------------- */

static void test_read_and_write(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 4, 8};
    uint64_t memory, value;
    struct vmarena_fault fault;
    begin();
    for (size_t i = 0; i < 4; i++) {
        unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8}, got[8];
        memset(&memory, 0x77, sizeof memory);
        assert_int_equal(vmarena_write(&memory, bytes, sizes[i], &fault), 0);
        assert_memory_equal(&memory, bytes, sizes[i]);
        check_bytes((char *)&memory, 8, 0x77, sizes[i], i);
        memset(got, 0x66, sizeof got);
        assert_int_equal(vmarena_read(&memory, got, sizes[i], NULL), 0);
        assert_memory_equal(got, bytes, sizes[i]);
        check_bytes((char *)got, 8, 0x66, sizes[i], i);
    }
    for (size_t i = 0; i < 4; i++)
        for (int end = 0; end < ENDS; end++) {
            struct strip strip = make_strip((enum end)end);
            char *past = strip.pages + 2 * page + sizes[i] * 3;
            value = 5;
            assert_int_equal(vmarena_read(past, &value, sizes[i], &fault), 1);
            check_fault(&strip, &fault, VMARENA_ACCESS_READ, sizes[i] * 3);
            assert_int_equal(value, 5);
            assert_int_equal(vmarena_write(past, &value, sizes[i], &fault), 1);
            check_fault(&strip, &fault, VMARENA_ACCESS_WRITE, sizes[i] * 3);
            assert_int_equal(vmarena_read(past - sizes[i] * 4, &value, sizes[i], &fault), 0);
            free_strip(&strip);
        }
    assert_int_equal(vmarena_read(NULL, &value, 8, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .access = VMARENA_ACCESS_READ, .kind = VMARENA_FAULT_UNMAPPED);
    assert_int_equal(vmarena_write(NULL, &value, 1, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .access = VMARENA_ACCESS_WRITE, .kind = VMARENA_FAULT_UNMAPPED);
}

/* Recovery 16: an access that would not be atomic is refused, at each misalignment. */
static void test_read_and_write_refuse(void **state) {
    (void)state;
    uint64_t memory[3] = {1, 2, 3}, value = 7;
    struct vmarena_fault fault;
    begin();
    for (size_t size = 0; size <= 17; size++)
        for (size_t shift = 0; shift < 8; shift++) {
            bool good = (size == 1 || size == 2 || size == 4 || size == 8) && shift % size == 0;
            int expected = good ? 0 : -EINVAL;
            char *address = (char *)memory + shift;
            value = 7;
            assert_int_equal(vmarena_read(address, &value, size, &fault), expected);
            if (!good) assert_int_equal(value, 7);
            assert_int_equal(vmarena_write(address, address, size, &fault), expected);
        }
    assert_int_equal(vmarena_read(memory, &value, 3, NULL), -EINVAL);
    assert_string_equal(vmarena_explain(), "a single access is of 1, 2, 4 or 8 bytes, not 3");
    char text[100];
    snprintf(text, sizeof text, "address %p is not a multiple of 4", (void *)((char *)memory + 2));
    assert_int_equal(vmarena_write((char *)memory + 2, &value, 4, NULL), -EINVAL);
    assert_string_equal(vmarena_explain(), text);
    assert_int_equal(vmarena_read(memory, NULL, 8, NULL), -EINVAL);
    assert_int_equal(vmarena_write(memory, NULL, 8, NULL), -EINVAL);
    assert_int_equal(memory[0] + memory[1] + memory[2], 6);
}

/* ---- addresses that no memory can have --------------------------------------------------------------------------------------- */

/* In the kernel's half, wrapping round, and (x86-64) non-canonical: for the last the kernel gives no address. */
static void test_any_address(void **state) {
    (void)state;
    static const uint64_t wild[] = {
        UINT64_C(0x5a5a5a5a5a5a5a58), UINT64_C(0xdead000000000000), UINT64_C(0x0100000000000000),
        UINT64_C(0xffff800000000000), UINT64_C(0xfffffffffffffff8), UINT64_C(0xffffffffff600000) - 4096,
    };
    begin();
    for (size_t i = 0; sizeof(void *) == 8 && i < sizeof wild / sizeof wild[0]; i++) {
#ifdef __aarch64__
        if (wild[i] >> 56 != 0xff) continue; /* the top byte is a tag that the CPU ignores */
#endif
        char buffer[64] = "unchanged", *address = (char *)(uintptr_t)wild[i];
        struct vmarena_fault fault;
        uint64_t value = 5;
        memset(&fault, 0xee, sizeof fault);
        assert_int_equal(vmarena_copy(buffer, address, 64, &fault), 0);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_copy(address, buffer, 64, &fault), 0);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_copy(address, address, 64, &fault), 0);
        assert_int_equal(fault.access, told(VMARENA_ACCESS_READ));
        assert_int_equal(vmarena_fill(address, 3, 64, &fault), 0);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_compare(buffer, address, 64, &fault), 0);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_compare(address, buffer, 64, &fault), 0);
        assert_ptr_equal(fault.address, address);
        assert_int_equal(vmarena_read(address, &value, 8, &fault), 1);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_write(address, &value, 8, &fault), 1);
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(vmarena_read(address, &value, 8, NULL), 1);
        assert_int_equal(value, 5);
        assert_string_equal(buffer, "unchanged");
        assert_null(vmarena_scope_top());
    }
}

#ifdef __x86_64__
/* Addressed by rbp, as a compiler may do: the CPU raises another exception, and the kernel another signal. */
static void through_rbp_body(void *address) {
    __asm__ volatile("push %%rbp\n\tmov %0, %%rbp\n\tmovb (%%rbp), %%al\n\tpop %%rbp"
                     :
                     : "r"(address)
                     : "al", "memory");
}

static void test_any_address_by_any_register(void **state) {
    (void)state;
    skip_under_valgrind("every such address is a SIGSEGV");
    struct vmarena_fault fault;
    begin();
    assert_int_equal(vmarena_try_claiming(through_rbp_body, (void *)(UINTPTR_MAX / 3), &fault, vmarena_claims_operands),
                     1);
    assert_int_equal(fault.signo, SIGBUS);
    assert_int_equal(fault.code, SI_KERNEL);
}
#endif

/* ---- in an outer scope ------------------------------------------------------------------------------------------------------- */

static void copy_in_scope(void *arg) {
    char buffer[8];
    size_t *got = arg;
    *got = vmarena_copy(buffer, NULL, 8, NULL) + vmarena_fill(NULL, 0, 8, NULL) + 100;
}

/* An outer scope gets none of their faults, and stays open. */
static void test_inside_a_scope(void **state) {
    (void)state;
    size_t got = 0;
    begin();
    assert_int_equal(vmarena_try_any(copy_in_scope, &got, NULL), 0);
    assert_int_equal(got, 100);
}

int main(void) {
    page = vmarena_page_size();
    guard_signo = auto_guard_signal();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_at_the_boundary),
        cmocka_unit_test(test_copy_of_pages),
        cmocka_unit_test(test_fill_at_the_boundary),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_copy_from_a_page_that_goes),
        cmocka_unit_test(test_truncated_again_and_again),
        cmocka_unit_test(test_read_and_write),
        cmocka_unit_test(test_read_and_write_refuse),
        cmocka_unit_test(test_any_address),
#ifdef __x86_64__
        cmocka_unit_test(test_any_address_by_any_register),
#endif
        cmocka_unit_test(test_inside_a_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
