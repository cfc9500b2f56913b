/* SPDX-License-Identifier: MIT */
/*
 * What the test programs share: children and exactly how they end, single accesses that the compiler leaves alone,
 * memory that faults, and a fault held against the one expected. Include after <cmocka.h> and vmarena.h.
 */
#ifndef VMARENA_TESTS_SUPPORT_H
#define VMARENA_TESTS_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmarena.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

/* TSan blocks every signal while a handler runs, so that a fault in one kills. */
#define skip_under_tsan(reason)                                                                                        \
    do {                                                                                                               \
        if (UNDER_TSAN) {                                                                                              \
            print_message("skip: under TSan " reason "\n");                                                            \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* For what Valgrind emulates otherwise than the CPU or the kernel does. "meson test --setup valgrind" sets the variable. */
#define skip_under_valgrind(reason)                                                                                    \
    do {                                                                                                               \
        if (getenv("VMARENA_TEST_WRAPPER") != NULL && strstr(getenv("VMARENA_TEST_WRAPPER"), "valgrind") != NULL) {    \
            print_message("skip: under Valgrind " reason "\n");                                                        \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ASan and Valgrind are given red zones between objects to watch: an arena's figures and layout are others then. */
static inline bool objects_are_apart(void) {
    struct vmarena *arena;
    struct vmarena_stats stats = {.annotated = true};
    if (vmarena_create(&arena, &(struct vmarena_options){.reserve = 1}) != 0) return true;
    vmarena_stats(arena, &stats);
    vmarena_destroy(arena);
    return stats.annotated;
}
#define skip_where_annotated()                                                                                         \
    do {                                                                                                               \
        if (objects_are_apart()) {                                                                                     \
            print_message("skip: under ASan and Valgrind objects do not lie side by side\n");                          \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- children -------------------------------------------------------------------------------------------------------- */

/* In a child: cmocka's assertions would go on with the parent's tests there. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #condition);                              \
            _exit(97);                                                                                                 \
        }                                                                                                              \
    } while (0)

/* For where stdio is not allowed: code that says where the test stopped. */
#define CHECK_QUIETLY(condition, code)                                                                                 \
    do {                                                                                                               \
        if (!(condition)) _exit(code);                                                                                 \
    } while (0)

/* cmocka 1.1.5 puts its own handlers around every test; a child that is to die must not die by them. */
static inline void default_handlers(void) {
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
}

/* Runs body(arg) in a child with default handlers, which ends by _exit(0) after it. Gives its wait status. */
static inline int run_child(void (*body)(void *), void *arg) {
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        default_handlers();
        alarm(100); /* what loops for ever dies by another signal than the one expected */
        body(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* The exact ends a child can have. RUNS: body returned. */
#define assert_status(status, expected)                                                                                \
    do {                                                                                                               \
        int status_ = (status);                                                                                        \
        if ((status_ & ~0x80) != (expected)) /* 0x80: a core was dumped */                                             \
            fail_msg("the child %s %d", WIFSIGNALED(status_) ? "died by signal" : "exited with",                       \
                     WIFSIGNALED(status_) ? WTERMSIG(status_) : WEXITSTATUS(status_));                                 \
    } while (0)
#define assert_runs(body, arg) assert_status(run_child((body), (arg)), 0)
#define assert_exits(body, arg, code) assert_status(run_child((body), (arg)), (code) << 8)
#define assert_dies(body, arg, signo) assert_status(run_child((body), (arg)), (signo))

/* ---- accesses ------------------------------------------------------------------------------------------------------------ */

#ifdef __clang__
#define UNCHECKED_ACCESS __attribute__((unused, noinline, no_sanitize("address", "thread", "undefined")))
#else
#define UNCHECKED_ACCESS                                                                                               \
    __attribute__((unused, noinline, no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

UNCHECKED_ACCESS static unsigned char peek(const volatile void *address) {
    return *(const volatile unsigned char *)address;
}
UNCHECKED_ACCESS static void poke(volatile void *address, unsigned char byte) {
    *(volatile unsigned char *)address = byte;
}

/* Bodies for vmarena_try. */
static inline void peek_body(void *address) { (void)peek(address); }
static inline void poke_body(void *address) { poke(address, 0x5a); }

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */

/* Anonymous pages, not registered with the library. */
static inline char *map_pages(size_t count, int prot) {
    void *pages = mmap(NULL, count * vmarena_page_size(), prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    return pages;
}

/* An address where nothing is mapped, with a hole of a page on either side. */
static inline char *hole(void) {
    size_t page = vmarena_page_size();
    char *pages = map_pages(3, PROT_NONE);
    munmap(pages, 3 * page);
    return pages + page;
}

static inline bool memory_files_work(void) {
    int fd = memfd_create("vmarena-test", MFD_CLOEXEC);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

/* For what VMARENA_MEMFD, or the table of regions that other processes read, is needed for. */
#define skip_without_memory_files()                                                                                    \
    do {                                                                                                               \
        if (!memory_files_work()) {                                                                                    \
            print_message("skip: this system has no memory files (memfd_create(2))\n");                                \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* An empty file without a name: in memory, or on disk where there are no memory files. -1: it cannot be made. */
static inline int nameless_file(void) {
    char path[] = "/tmp/vmarena-test-XXXXXX";
    int fd = memfd_create("vmarena-test", MFD_CLOEXEC);
    if (fd >= 0) return fd;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

/* `pages` mapped pages of a file of `bytes` bytes, each 'f'; flags is MAP_SHARED or MAP_PRIVATE. *fd is to be closed. */
static inline char *map_file(size_t pages, size_t bytes, int flags, int *fd) {
    *fd = nameless_file();
    assert_true(*fd >= 0);
    char *content = malloc(bytes + 1);
    assert_non_null(content);
    memset(content, 'f', bytes + 1);
    assert_int_equal(pwrite(*fd, content, bytes, 0), bytes);
    free(content);
    void *map = mmap(NULL, pages * vmarena_page_size(), PROT_READ | PROT_WRITE, flags, *fd, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

static inline size_t count_maps(void) {
    size_t lines = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
    fclose(maps);
    return lines;
}

/* TSan's shadow takes map entries of its own as memory is used: the count means nothing there. */
#define assert_maps(expected)                                                                                          \
    do {                                                                                                               \
        if (!UNDER_TSAN) assert_int_equal(count_maps(), (expected));                                                   \
    } while (0)

/* Sanitizers take mlock(2) and do nothing. */
#define skip_where_nothing_is_locked()                                                                                 \
    do {                                                                                                               \
        if (UNDER_SANITIZER) {                                                                                         \
            print_message("skip: a sanitizer keeps memory from being locked\n");                                       \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- faults ---------------------------------------------------------------------------------------------------------------- */

static inline bool fault_access_known(void) {
    struct vmarena_caps caps;
    return vmarena_caps(&caps) == 0 && caps.fault_access;
}

/* Where the CPU tells nothing of the access, UNKNOWN is what is expected. */
static inline enum vmarena_access told(enum vmarena_access access) {
    return fault_access_known() ? access : VMARENA_ACCESS_UNKNOWN;
}

/* signo, address, access, kind, object, object_size and distance, each exactly. */
#define assert_fault(fault, ...) assert_fault_((fault), &(struct vmarena_fault){__VA_ARGS__}, __FILE__, __LINE__)
/* What a closed page raises: SIGBUS if it is userfaultfd's, SIGSEGV otherwise and at a reservation's edges, which are
 * PROT_NONE always. */
static inline int guard_signal(const void *address, enum vmarena_guard_kind obtained) {
    struct vmarena_mapping mapping;
    if (obtained != VMARENA_GUARD_USERFAULT) return SIGSEGV;
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)address, &mapping, NULL, 0), 0);
    return mapping.prot == VMARENA_NONE ? SIGSEGV : SIGBUS;
}

/* What the guard behind an object raises here where no kind of guards was asked for. */
static inline int auto_guard_signal(void) {
    struct vmarena *arena;
    struct vmarena_stats stats;
    assert_int_equal(vmarena_create(&arena, &(struct vmarena_options){.reserve = 1, .fence = VMARENA_FENCE_END}), 0);
    vmarena_stats(arena, &stats);
    vmarena_destroy(arena);
    return stats.guard_kind == VMARENA_GUARD_USERFAULT ? SIGBUS : SIGSEGV;
}

static inline const char *signal_name(int signo) { return signo == SIGBUS ? "SIGBUS" : "SIGSEGV"; }

/* Whether guards of that kind can be had here; if not, the reason is printed, for a test that skips then. */
static inline bool guards_work(enum vmarena_guard_kind kind) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 1 << 20, .fence = VMARENA_FENCE_END, .guard_kind = kind};
    int error = vmarena_create(&arena, &options);
    if (error == 0) vmarena_destroy(arena);
    if (error == -EOPNOTSUPP) print_message("skip: %s\n", vmarena_explain());
    else assert_int_equal(error, 0);
    return error == 0;
}

static inline void assert_fault_(const struct vmarena_fault *got, const struct vmarena_fault *want, const char *file,
                                 int line) {
    char text[300];
    enum vmarena_access access = told(want->access);
    if (got->signo == want->signo && got->address == want->address && got->access == access &&
        got->kind == want->kind && got->object == want->object && got->object_size == want->object_size &&
        got->distance == want->distance)
        return;
    vmarena_fault_describe(got, text, sizeof text);
    print_message("got:      signo %d address %p access %d kind %d object %p size %zu distance %td: %s\n", got->signo,
                  got->address, (int)got->access, (int)got->kind, got->object, got->object_size, got->distance, text);
    print_message("expected: signo %d address %p access %d kind %d object %p size %zu distance %td\n", want->signo,
                  want->address, (int)access, (int)want->kind, want->object, want->object_size, want->distance);
    _fail(file, line);
}

#endif
