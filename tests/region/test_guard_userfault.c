/* SPDX-License-Identifier: MIT */
/*
 * Guards by userfaultfd(2) where they are weak: in a child of fork(2), and after the program closed the descriptor. Each
 * in both modes, poisoned and missing pages; where the kernel has both, the first is made absent for the second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "region/guard.h"
#include "vmarena.h"

#include "kernels/absent.h"
#include "support.h"

#define PAGES 16
#define UNSUPPORTED 77

struct fixture {
    struct vmarena_region region;
    struct vmarena_guards guards;
    size_t page;
};

static void no_attribution(const struct vmarena_region *region, struct vmarena_fault *fault) {
    (void)region, (void)fault;
}

static char *page_at(const struct fixture *at, size_t index) { return at->region.base + index * at->page; }

/* By a system call, which returns EFAULT where an access would fault. */
static bool is_open(const struct fixture *at, size_t index) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    bool readable = write(ends[1], page_at(at, index), 1) == 1;
    CHECK(readable || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return readable;
}

/* Page 2 is open and holds 0x5a; all others are closed. */
static void set_up(struct fixture *at) {
    *at = (struct fixture){.page = vmarena_page_size()};
    at->region.owner = at;
    at->region.attribute = no_attribution;
    struct vmarena_region_plan plan = {
        .size = PAGES * at->page, .align = at->page, .guard = at->page, .policy = VMARENA_COMMIT_PROTECT};
    CHECK(vmarena_region_reserve(&at->region, &plan) == 0);
    if (vmarena_guards_init(&at->guards, &at->region, VMARENA_GUARD_USERFAULT, 0) != 0) _exit(UNSUPPORTED);
    CHECK(at->guards.kind == VMARENA_GUARD_USERFAULT);
    CHECK(vmarena_guards_cover(&at->guards, at->region.size) == 0);
    CHECK(vmarena_guards_open(&at->guards, (uintptr_t)page_at(at, 2), at->page) == 0);
    poke(page_at(at, 2), 0x5a);
}

static void check_as_set_up(const struct fixture *at) {
    for (size_t i = 0; i < PAGES; i++) CHECK(is_open(at, i) == (i == 2));
    CHECK(peek(page_at(at, 2)) == 0x5a);
}

/* What an owner does, with guards on all sides of it. */
static void check_open_and_close(struct fixture *at) {
    CHECK(vmarena_guards_open(&at->guards, (uintptr_t)page_at(at, 6), 2 * at->page) == 0);
    CHECK(is_open(at, 6) && is_open(at, 7) && !is_open(at, 5) && !is_open(at, 8));
    CHECK(peek(page_at(at, 6)) == 0 && peek(page_at(at, 7) + at->page - 1) == 0);
    poke(page_at(at, 6), 0x77);
    CHECK(vmarena_guards_close(&at->guards, (uintptr_t)page_at(at, 6), at->page) == 0);
    CHECK(!is_open(at, 6) && is_open(at, 7));
    CHECK(vmarena_guards_close(&at->guards, (uintptr_t)page_at(at, 7), at->page) == 0);
}

static void wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

/* The number of the library's descriptor. */
static int find_descriptor(void) {
    for (int fd = 3; fd < 2000; fd++) {
        char path[32], name[64] = "";
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof name - 1) > 0 && strcmp(name, "anon_inode:[userfaultfd]") == 0) return fd;
    }
    return -1;
}

/* ---- bodies, each in a process of its own ------------------------------------------------------------------------------ */

static void a_fault_is_told(void *unused) {
    struct fixture at;
    struct vmarena_fault fault;
    (void)unused;
    set_up(&at);
    CHECK(vmarena_try(poke_body, page_at(&at, 3) + 5, &fault) == 1);
    CHECK(fault.signo == SIGBUS && fault.address == page_at(&at, 3) + 5);
    CHECK(!fault_access_known() || fault.access == VMARENA_ACCESS_WRITE);
    CHECK(vmarena_try(peek_body, page_at(&at, 1), &fault) == 1);
    CHECK(fault.signo == SIGBUS && fault.address == page_at(&at, 1));
    CHECK(vmarena_try(poke_body, page_at(&at, 2), &fault) == 0);
}

static void a_child_has_them(void *unused) {
    struct fixture at;
    (void)unused;
    set_up(&at);
    pid_t child = fork();
    if (child == 0) {
        check_as_set_up(&at);
        check_open_and_close(&at);
        CHECK(vmarena_guards_close(&at.guards, (uintptr_t)page_at(&at, 2), at.page) == 0);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            for (size_t i = 0; i < PAGES; i++) CHECK(!is_open(&at, i));
            check_open_and_close(&at);
            _exit(0);
        }
        wait_for(grandchild);
        _exit(0);
    }
    wait_for(child);
    check_as_set_up(&at); /* nothing that the child did was done to its parent */
    check_open_and_close(&at);
}

/* By the system call, so that no handler of fork(3) runs: its first call of ours makes the child safe. */
static void a_raw_child_leaves_its_parent_alone(void *unused) {
    struct fixture at;
    (void)unused;
    set_up(&at);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        CHECK(vmarena_guards_close(&at.guards, (uintptr_t)page_at(&at, 2), at.page) == 0);
        check_open_and_close(&at);
        for (size_t i = 0; i < PAGES; i++) CHECK(!is_open(&at, i));
        _exit(0);
    }
    wait_for(child);
    check_as_set_up(&at);
}

static void an_absent_region_is_left_out_in_a_child(void *unused) {
    struct fixture at;
    (void)unused;
    set_up(&at);
    at.region.absent_in_child = true;
    CHECK(vmarena_prim_advise(at.region.base, at.region.size, VMARENA_PRIM_DONT_FORK) == 0);
    pid_t child = fork();
    if (child == 0) {
        /* Somebody else's memory by now: it must stay as it is anywhere. */
        void *memory = mmap(at.region.base, at.page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        struct fixture other;
        CHECK(memory == at.region.base);
        set_up(&other);
        for (int fd; (fd = find_descriptor()) >= 0;) CHECK(close(fd) == 0); /* its own, and its parent's */
        check_open_and_close(&other);
        check_as_set_up(&other);
        CHECK(peek(memory) == 0);
        _exit(0);
    }
    wait_for(child);
    check_as_set_up(&at);
}

static void the_program_closes_the_descriptor(void *unused) {
    struct fixture at, next;
    (void)unused;
    set_up(&at);
    int fd = find_descriptor();
    CHECK(fd >= 0 && close(fd) == 0);
    check_open_and_close(&at);
    check_as_set_up(&at);
    set_up(&next);
    check_as_set_up(&next);
}

/* The number is another file's by then, which must not be closed. */
static void the_program_takes_the_number(void *unused) {
    struct fixture at;
    (void)unused;
    set_up(&at);
    int fd = find_descriptor(), own = open("/dev/null", O_RDWR);
    CHECK(fd >= 0 && own >= 0 && dup2(own, fd) == fd);
    check_open_and_close(&at);
    check_as_set_up(&at);
    CHECK(write(fd, "x", 1) == 1);
    CHECK(fcntl(fd, F_GETFD) == 0);
}

static void the_program_has_a_userfaultfd_of_its_own(void *unused) {
    struct fixture at;
    (void)unused;
    set_up(&at);
    int fd = find_descriptor(), own = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1);
    if (own < 0) _exit(UNSUPPORTED);
    CHECK(fd >= 0 && dup2(own, fd) == fd);
    check_open_and_close(&at);
    check_as_set_up(&at);
}

static void no_descriptor_can_be_had(void *unused) {
    struct fixture at = {.page = vmarena_page_size()};
    (void)unused;
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    at.region.owner = &at;
    at.region.attribute = no_attribution;
    struct vmarena_region_plan plan = {
        .size = PAGES * at.page, .align = at.page, .guard = at.page, .policy = VMARENA_COMMIT_PROTECT};
    CHECK(vmarena_region_reserve(&at.region, &plan) == 0);
    CHECK(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_USERFAULT, 0) == -EOPNOTSUPP);
    CHECK(strstr(vmarena_explain(), "userfaultfd") != NULL);
    CHECK(vmarena_guards_init(&at.guards, &at.region, VMARENA_GUARD_AUTO, 0) == 0);
    CHECK(at.guards.kind != VMARENA_GUARD_USERFAULT);
}

/* ---- in both modes ------------------------------------------------------------------------------------------------------- */

static void (*current)(void *);

static void with_missing_pages(void *unused) {
    (void)unused;
    if (make_absent("poison") != 0) _exit(UNSUPPORTED);
    current(NULL);
}

static void in_mode(void (*body)(void *), bool poison) {
    skip_under_valgrind("Valgrind does not know userfaultfd");
    current = body;
    int status = run_child(poison ? body : with_missing_pages, NULL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNSUPPORTED) {
        print_message("skip: userfaultfd guards%s do not work here\n", poison ? "" : " by missing pages");
        skip();
    }
    assert_status(status, 0);
}

#define IN_BOTH_MODES(name)                                                                                            \
    static void test_##name##_poisoned(void **state) {                                                                 \
        (void)state;                                                                                                   \
        in_mode(name, true);                                                                                           \
    }                                                                                                                  \
    static void test_##name##_missing(void **state) {                                                                  \
        (void)state;                                                                                                   \
        in_mode(name, false);                                                                                          \
    }
IN_BOTH_MODES(a_fault_is_told)
IN_BOTH_MODES(a_child_has_them)
IN_BOTH_MODES(a_raw_child_leaves_its_parent_alone)
IN_BOTH_MODES(an_absent_region_is_left_out_in_a_child)
IN_BOTH_MODES(the_program_closes_the_descriptor)
IN_BOTH_MODES(the_program_takes_the_number)
IN_BOTH_MODES(the_program_has_a_userfaultfd_of_its_own)
IN_BOTH_MODES(no_descriptor_can_be_had)

#define both(name) cmocka_unit_test(test_##name##_poisoned), cmocka_unit_test(test_##name##_missing)

int main(void) {
    const struct CMUnitTest tests[] = {
        both(a_fault_is_told),
        both(a_child_has_them),
        both(a_raw_child_leaves_its_parent_alone),
        both(an_absent_region_is_left_out_in_a_child),
        both(the_program_closes_the_descriptor),
        both(the_program_takes_the_number),
        both(the_program_has_a_userfaultfd_of_its_own),
        both(no_descriptor_can_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
