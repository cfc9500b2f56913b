/* SPDX-License-Identifier: MIT */
/* System calls that are missing, forbidden or over a limit: the error is the documented one, and nothing is half done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vmarena.h"

#include "prim/prim.h"
#include "seccomp.h"
#include "support.h"

#define MIB ((size_t)1 << 20)

static const struct vmarena_options in_memory_file = {.reserve = 64 * MIB, .flags = VMARENA_MEMFD};

/* ---- memory files ------------------------------------------------------------------------------------------------- */

static void without_memfd(void *arg) {
    struct vmarena *arena = NULL;
    (void)arg;
    if (!fail_call(SYS_memfd_create, ENOSYS)) _exit(NO_SECCOMP);
    CHECK(vmarena_create(&arena, &in_memory_file) == -EOPNOTSUPP);
    CHECK(vmarena_last_error() == -EOPNOTSUPP);
    CHECK(arena == NULL);
}

static void test_no_memfd_is_not_supported(void **state) {
    (void)state;
    skip_under_valgrind("seccomp would forbid Valgrind's own calls");
    int status = run_child(without_memfd, NULL);
    skip_without_seccomp(status);
    assert_status(status, 0);
}

static void limit_files(size_t bytes) { CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY}) == 0); }

static bool is_pending(int signo) {
    sigset_t pending;
    CHECK(sigpending(&pending) == 0);
    return sigismember(&pending, signo) == 1;
}

static bool is_blocked(int signo) {
    sigset_t mask;
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    return sigismember(&mask, signo) == 1;
}

/* SIGXFSZ would kill this child. */
static void file_beyond_the_limit(void *arg) {
    struct vmarena *arena = NULL;
    (void)arg;
    limit_files(MIB);
    CHECK(vmarena_create(&arena, &in_memory_file) == -EFBIG);
    CHECK(arena == NULL);
    CHECK(!is_pending(SIGXFSZ) && !is_blocked(SIGXFSZ));
    limit_files(64 * MIB);
    CHECK(vmarena_create(&arena, &in_memory_file) == 0);
    vmarena_destroy(arena);
}

static void test_a_memory_file_beyond_the_limit(void **state) {
    (void)state;
    skip_without_memory_files();
    assert_runs(file_beyond_the_limit, NULL);
}

/* Somebody else's signal, pending before the call, is pending after it. */
static void signal_that_was_pending(void *arg) {
    struct vmarena *arena = NULL;
    sigset_t signals;
    (void)arg;
    sigemptyset(&signals);
    sigaddset(&signals, SIGXFSZ);
    CHECK(sigprocmask(SIG_BLOCK, &signals, NULL) == 0);
    raise(SIGXFSZ);
    limit_files(MIB);
    CHECK(vmarena_create(&arena, &in_memory_file) == -EFBIG);
    CHECK(is_pending(SIGXFSZ) && is_blocked(SIGXFSZ));
}

static void test_a_signal_that_was_pending_stays(void **state) {
    (void)state;
    skip_without_memory_files();
    assert_runs(signal_that_was_pending, NULL);
}

static volatile sig_atomic_t xfsz_calls;
static void count_xfsz(int signo) {
    (void)signo;
    xfsz_calls++;
}

/* A host that handles the signal is not told of ours. */
static void host_with_a_handler(void *arg) {
    struct vmarena *arena;
    (void)arg;
    signal(SIGXFSZ, count_xfsz);
    limit_files(MIB);
    CHECK(vmarena_create(&arena, &in_memory_file) == -EFBIG);
    CHECK(xfsz_calls == 0);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(vmarena_create(&arena, &in_memory_file) == -EFBIG);
    CHECK(!is_pending(SIGXFSZ));
}

static void test_handlers_of_the_host_are_not_called(void **state) {
    (void)state;
    skip_without_memory_files();
    assert_runs(host_with_a_handler, NULL);
}

/* What fits below the limit is written. */
static void write_beyond_the_limit(void *arg) {
    static char bytes[MIB], read_back[MIB];
    int fd;
    size_t got;
    (void)arg;
    CHECK(vmarena_prim_memory_file(&fd, "test", 2 * MIB) == 0);
    limit_files(MIB);
    memset(bytes, 'x', sizeof bytes);
    CHECK(vmarena_prim_file_write(fd, bytes, MIB, MIB) == -EFBIG);
    CHECK(vmarena_prim_file_write(fd, bytes, MIB, MIB / 2) == -EFBIG);
    CHECK(!is_pending(SIGXFSZ) && !is_blocked(SIGXFSZ));
    CHECK(vmarena_prim_file_read(fd, read_back, MIB / 2, MIB / 2, &got) == 0 && got == MIB / 2);
    CHECK(memcmp(read_back, bytes, MIB / 2) == 0);
    CHECK(vmarena_prim_file_write(fd, bytes, MIB / 2, MIB / 2) == 0);
}

static void test_a_write_beyond_the_limit(void **state) {
    (void)state;
    skip_without_memory_files();
    assert_runs(write_beyond_the_limit, NULL);
}

/* ---- the pagemap -------------------------------------------------------------------------------------------------- */

static int no_run(const struct vmarena_pages *pages, void *arg) {
    (void)pages;
    (void)arg;
    return 77;
}

/* A page that is there, and a pagemap that cannot be read: "nothing is there" would be wrong. */
static void unreadable_pagemap(void *arg) {
    char *page = arg;
    unsigned known = 1;
    if (!fail_call(SYS_pread64, EIO)) _exit(NO_SECCOMP);
    *page = 1;
    CHECK(vmarena_residency(0, (uintptr_t)page, 1, 0, &known, no_run, NULL) == -EIO);
    CHECK(known == 0);
}

static void test_a_pagemap_that_cannot_be_read(void **state) {
    (void)state;
    skip_under_valgrind("seccomp would forbid Valgrind's own calls");
    char *page = map_pages(1, PROT_READ | PROT_WRITE);
    int status = run_child(unreadable_pagemap, page);
    munmap(page, vmarena_page_size());
    skip_without_seccomp(status);
    assert_status(status, 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memfd_is_not_supported),
        cmocka_unit_test(test_a_memory_file_beyond_the_limit),
        cmocka_unit_test(test_a_signal_that_was_pending_stays),
        cmocka_unit_test(test_handlers_of_the_host_are_not_called),
        cmocka_unit_test(test_a_write_beyond_the_limit),
        cmocka_unit_test(test_a_pagemap_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
