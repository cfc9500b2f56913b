/* SPDX-License-Identifier: MIT */
/* A fault in words, compared letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include "support.h"

#define AT(address) ((void *)(uintptr_t)(address))

static void check(const struct vmarena_fault *fault, const char *line) {
    char text[400];
    memset(text, '#', sizeof text);
    assert_int_equal(vmarena_fault_describe(fault, text, sizeof text), strlen(line));
    assert_string_equal(text, line);
}

static void test_kinds(void **state) {
    (void)state;
    struct vmarena_fault fault = {.signo = SIGSEGV,
                                  .code = SEGV_ACCERR,
                                  .address = AT(0x7f0000002000),
                                  .access = VMARENA_ACCESS_WRITE,
                                  .kind = VMARENA_FAULT_OVERRUN,
                                  .object = AT(0x7f0000001fe8),
                                  .object_size = 24,
                                  .distance = 1,
                                  .owner_name = "tokens"};
    check(&fault, "overrun: write 1 byte past the end of a 24-byte object at 0x7f0000001fe8 in \"tokens\" "
                  "(SIGSEGV at 0x7f0000002000)");
    fault.distance = 8;
    fault.access = VMARENA_ACCESS_READ;
    check(&fault, "overrun: read 8 bytes past the end of a 24-byte object at 0x7f0000001fe8 in \"tokens\" "
                  "(SIGSEGV at 0x7f0000002000)");
    fault.kind = VMARENA_FAULT_UNDERRUN;
    fault.distance = -1;
    fault.owner_name[0] = '\0';
    check(&fault, "underrun: read 1 byte before the start of a 24-byte object at 0x7f0000001fe8 "
                  "(SIGSEGV at 0x7f0000002000)");
    fault.distance = -4096;
    check(&fault, "underrun: read 4096 bytes before the start of a 24-byte object at 0x7f0000001fe8 "
                  "(SIGSEGV at 0x7f0000002000)");
    fault.kind = VMARENA_FAULT_USE_AFTER_FREE;
    fault.distance = 0;
    fault.access = VMARENA_ACCESS_UNKNOWN;
    check(&fault, "use after free: access inside a 24-byte object at 0x7f0000001fe8 (SIGSEGV at 0x7f0000002000)");
    fault.kind = VMARENA_FAULT_PROTECTED;
    fault.access = VMARENA_ACCESS_EXEC;
    check(&fault, "protected memory: execution inside a 24-byte object at 0x7f0000001fe8 (SIGSEGV at 0x7f0000002000)");
    fault.kind = VMARENA_FAULT_HARDWARE;
    fault.signo = SIGBUS;
    check(&fault,
          "hardware memory error: execution inside a 24-byte object at 0x7f0000001fe8 (SIGBUS at 0x7f0000002000)");
}

static void test_without_an_object(void **state) {
    (void)state;
    struct vmarena_fault fault = {.signo = SIGSEGV, .kind = VMARENA_FAULT_UNMAPPED, .access = VMARENA_ACCESS_READ};
    check(&fault, "unmapped memory: read (SIGSEGV at 0x0)");
    /* Near memory of ours: the text says no more than that. */
    fault.address = AT(0x7fff00);
    fault.object = AT(0x7f0000);
    fault.object_size = 100;
    fault.distance = 0xff00 - 99;
    memcpy(fault.owner_name, "near", 5);
    check(&fault, "unmapped memory: read 65181 bytes past the end of a 100-byte object at 0x7f0000, the nearest, "
                  "in \"near\" (SIGSEGV at 0x7fff00)");
    fault = (struct vmarena_fault){.signo = SIGBUS, .kind = VMARENA_FAULT_PAST_END_OF_FILE, .address = AT(0x5000)};
    check(&fault, "past the end of the file: access (SIGBUS at 0x5000)");
    memcpy(fault.owner_name, "data.bin", 9);
    fault.file_offset = UINT64_C(12345678901);
    check(&fault, "past the end of the file: access in \"data.bin\" at file offset 12345678901 (SIGBUS at 0x5000)");
    fault = (struct vmarena_fault){.signo = SIGBUS, .kind = VMARENA_FAULT_OTHER, .address = AT(UINTPTR_MAX)};
    check(&fault, sizeof(void *) == 8 ? "fault: access (SIGBUS at 0xffffffffffffffff)"
                                      : "fault: access (SIGBUS at 0xffffffff)");
    fault.signo = SIGILL;
    fault.address = NULL;
    check(&fault, "fault: access (signal at 0x0)");
}

static void test_no_fault(void **state) {
    (void)state;
    struct vmarena_fault none = {.signo = 0, .code = -EPERM};
    check(&none, "no fault");
    check(NULL, "no fault");
    char text[20];
    assert_int_equal(vmarena_fault_explain(NULL, text, sizeof text), 8);
    assert_string_equal(text, "no fault");
    assert_int_equal(vmarena_fault_explain(&none, text, sizeof text), 8);
    assert_string_equal(text, "no fault");
}

/* "a" or "an", by how the number is spoken. */
static void test_articles(void **state) {
    (void)state;
    static const struct {
        size_t size;
        const char *article;
    } cases[] = {{0, "a 0"},
                 {1, "a 1"},
                 {7, "a 7"},
                 {8, "an 8"},
                 {9, "a 9"},
                 {10, "a 10"},
                 {11, "an 11"},
                 {12, "a 12"},
                 {18, "an 18"},
                 {19, "a 19"},
                 {80, "an 80"},
                 {81, "an 81"},
                 {110, "a 110"},
                 {118, "a 118"},
                 {180, "a 180"},
                 {800, "an 800"},
                 {1100, "a 1100"},
                 {1800, "a 1800"},
                 {8192, "an 8192"},
                 {11000, "an 11000"},
                 {18500, "an 18500"},
                 {110000, "a 110000"},
                 {11000000, "an 11000000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[100];
        struct vmarena_fault fault = {.signo = SIGSEGV, .object = AT(16), .object_size = cases[i].size};
        snprintf(line, sizeof line, "fault: access inside %s-byte object at 0x10 (SIGSEGV at 0x0)", cases[i].article);
        check(&fault, line);
    }
}

static void test_extremes(void **state) {
    (void)state;
    struct vmarena_fault fault = {
        .signo = SIGSEGV, .kind = VMARENA_FAULT_OVERRUN, .object = AT(1), .object_size = UINT32_MAX};
    fault.distance = PTRDIFF_MIN;
    char line[200];
    snprintf(line, sizeof line,
             "overrun: access %llu bytes before the start of a 4294967295-byte object at 0x1 "
             "(SIGSEGV at 0x0)",
             (unsigned long long)PTRDIFF_MAX + 1);
    check(&fault, line);
    fault.distance = PTRDIFF_MAX;
    snprintf(line, sizeof line,
             "overrun: access %llu bytes past the end of a 4294967295-byte object at 0x1 "
             "(SIGSEGV at 0x0)",
             (unsigned long long)PTRDIFF_MAX);
    check(&fault, line);
    /* A name of full length is terminated. */
    fault.distance = 1;
    memset(fault.owner_name, 'n', sizeof fault.owner_name - 1);
    check(&fault, "overrun: access 1 byte past the end of a 4294967295-byte object at 0x1 in "
                  "\"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\" (SIGSEGV at 0x0)");
}

/* As snprintf(3): writes nothing past the end, always terminates, returns the whole length. */
static void check_cuts(size_t (*write)(const struct vmarena_fault *, char *, size_t),
                       const struct vmarena_fault *fault) {
    char whole[400], cut[400];
    size_t length = write(fault, whole, sizeof whole);
    assert_int_equal(strlen(whole), length);
    assert_int_equal(write(fault, NULL, 0), length);
    for (size_t size = 0; size <= length + 2; size++) {
        memset(cut, '#', sizeof cut);
        assert_int_equal(write(fault, cut, size), length);
        size_t kept = size == 0 ? 0 : size - 1 < length ? size - 1 : length;
        assert_memory_equal(cut, whole, kept);
        if (size > 0) assert_int_equal(cut[kept], '\0');
        for (size_t i = size == 0 ? 0 : kept + 1; i < sizeof cut; i++) assert_int_equal(cut[i], '#');
    }
}

static void test_cut_short(void **state) {
    (void)state;
    struct vmarena_fault fault = {.signo = SIGSEGV,
                                  .kind = VMARENA_FAULT_OVERRUN,
                                  .object = AT(0x1000),
                                  .object_size = 24,
                                  .distance = 1,
                                  .owner_name = "t",
                                  .pc = AT(0x4444)};
    check_cuts(vmarena_fault_describe, &fault);
    check_cuts(vmarena_fault_explain, &fault);
    check_cuts(vmarena_fault_describe, NULL);
}

static void test_explain(void **state) {
    (void)state;
    char text[400];
    struct vmarena_fault fault = {.signo = SIGSEGV,
                                  .code = 2,
                                  .address = AT(0x2000),
                                  .pc = AT(0x401234),
                                  .access = VMARENA_ACCESS_WRITE,
                                  .kind = VMARENA_FAULT_OVERRUN,
                                  .object = AT(0x1fe8),
                                  .object_size = 24,
                                  .distance = 1,
                                  .owner_name = "tokens"};
    (void)vmarena_fault_explain(&fault, text, sizeof text);
    assert_string_equal(text, "overrun\n"
                              "  signal    SIGSEGV, code 2\n"
                              "  access    write\n"
                              "  address   0x2000, 1 byte past the end of the object\n"
                              "  object    a 24-byte object at 0x1fe8\n"
                              "  in        \"tokens\"\n"
                              "  pc        0x401234");
    fault.distance = 0;
    fault.kind = VMARENA_FAULT_USE_AFTER_FREE;
    fault.pc = NULL;
    fault.code = -6;
    (void)vmarena_fault_explain(&fault, text, sizeof text);
    assert_string_equal(text, "use after free\n"
                              "  signal    SIGSEGV, code -6\n"
                              "  access    write\n"
                              "  address   0x2000, inside the object\n"
                              "  object    a 24-byte object at 0x1fe8\n"
                              "  in        \"tokens\"");
    fault = (struct vmarena_fault){.signo = SIGBUS,
                                   .code = 2,
                                   .address = AT(0x3000),
                                   .kind = VMARENA_FAULT_PAST_END_OF_FILE,
                                   .file_offset = 8192,
                                   .owner_name = "f"};
    (void)vmarena_fault_explain(&fault, text, sizeof text);
    assert_string_equal(text, "past the end of the file\n"
                              "  signal    SIGBUS, code 2\n"
                              "  access    unknown\n"
                              "  address   0x3000\n"
                              "  in        \"f\"\n"
                              "  offset    8192 in the file");
    fault = (struct vmarena_fault){.signo = SIGSEGV,
                                   .kind = VMARENA_FAULT_UNMAPPED,
                                   .owner_name = "g",
                                   .address = AT(0x3000),
                                   .object = AT(0x1000),
                                   .object_size = 8,
                                   .distance = 0xff9};
    (void)vmarena_fault_explain(&fault, text, sizeof text);
    assert_string_equal(text, "unmapped memory\n"
                              "  signal    SIGSEGV, code 0\n"
                              "  access    unknown\n"
                              "  address   0x3000, 4089 bytes past the end of the object\n"
                              "  object    an 8-byte object at 0x1000\n"
                              "  nearest   \"g\"");
}

/* ---- of real faults -------------------------------------------------------------------------------------------------------- */

static void test_real_faults(void **state) {
    (void)state;
    struct vmarena *arena;
    struct vmarena_fault fault;
    char line[300];
    struct vmarena_options options = {
        .reserve = 64 * vmarena_page_size(), .fence = VMARENA_FENCE_END, .name = "a name of more than 31 characters"};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    char *object = vmarena_alloc(arena, 24, 1);
    assert_non_null(object);
    assert_int_equal(vmarena_fault_reassert(), 0);
    assert_int_equal(vmarena_try(poke_body, object + 25, &fault), 1);
    snprintf(line, sizeof line,
             "overrun: %s 2 bytes past the end of a 24-byte object at %p in "
             "\"a name of more than 31 characte\" (%s at %p)",
             fault_access_known() ? "write" : "access", (void *)object, signal_name(auto_guard_signal()),
             (void *)(object + 25));
    check(&fault, line);
    vmarena_destroy(arena);
    assert_int_equal(vmarena_try_any(peek_body, NULL, &fault), 1);
    check(&fault,
          fault_access_known() ? "unmapped memory: read (SIGSEGV at 0x0)" : "unmapped memory: access (SIGSEGV at 0x0)");
}

/* The functions are safe in a signal handler. */
static volatile size_t told_length;
static void describing_handler(int signo, siginfo_t *info, void *context) {
    char text[200];
    struct vmarena_fault fault = {.signo = signo, .code = info->si_code, .address = info->si_addr};
    (void)context;
    told_length = vmarena_fault_describe(&fault, text, sizeof text);
    CHECK_QUIETLY(strcmp(text, "fault: access (SIGSEGV at 0x0)") == 0, 91);
    _exit(77);
}

static void describe_in_handler(void *arg) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = describing_handler;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    (void)peek(arg);
}

static void test_in_a_handler(void **state) {
    (void)state;
    assert_exits(describe_in_handler, NULL, 77);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),    cmocka_unit_test(test_without_an_object), cmocka_unit_test(test_no_fault),
        cmocka_unit_test(test_articles), cmocka_unit_test(test_extremes),          cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_explain),  cmocka_unit_test(test_real_faults),       cmocka_unit_test(test_in_a_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
