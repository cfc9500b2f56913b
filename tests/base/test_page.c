/* SPDX-License-Identifier: MIT */
/* Pages and capabilities, compared with what the system says elsewhere if it does. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmarena.h"

#include "support.h"

/* ---- what the system says ---- */

static bool read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got < 0) return false;
    text[got] = '\0';
    return true;
}

/* -1 if there is no such file. */
static long long read_number(const char *path) {
    char text[64];
    return read_text(path, text, sizeof text) ? atoll(text) : -1;
}

static size_t maps_lines(void) {
    char text[4096];
    size_t lines = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++) lines += text[i] == '\n';
    close(fd);
    return lines;
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- pages ---- */

static void page_size_is_the_systems(void **state) {
    (void)state;
    assert_int_equal(vmarena_page_size(), sysconf(_SC_PAGESIZE));
    assert_int_equal(vmarena_page_size(), getauxval(AT_PAGESZ));
}

static void rounding_up(void **state) {
    (void)state;
    size_t page = vmarena_page_size();
    assert_int_equal(vmarena_page_round_up(0), 0);
    assert_int_equal(vmarena_page_round_up(1), page);
    assert_int_equal(vmarena_page_round_up(page - 1), page);
    assert_int_equal(vmarena_page_round_up(page), page);
    assert_int_equal(vmarena_page_round_up(page + 1), 2 * page);
    assert_int_equal(vmarena_page_round_up(SIZE_MAX / 2), SIZE_MAX / 2 + 1);
    assert_true(vmarena_page_round_up(SIZE_MAX - page) == SIZE_MAX - page + 1);
    assert_true(vmarena_page_round_up(SIZE_MAX - page + 1) == SIZE_MAX - page + 1);
}

static void rounding_that_overflows_is_0(void **state) {
    (void)state;
    assert_int_equal(vmarena_page_round_up(SIZE_MAX - vmarena_page_size() + 2), 0);
    assert_int_equal(vmarena_page_round_up(SIZE_MAX - 1), 0);
    assert_int_equal(vmarena_page_round_up(SIZE_MAX), 0);
}

/* ---- huge pages ---- */

static void huge_page_sizes_are_those_of_sysfs(void **state) {
    (void)state;
    size_t sizes[32], count = vmarena_huge_page_sizes(sizes, 32), listed = 0;
    assert_true(count <= 32);
    for (size_t i = 0; i < count; i++) {
        char path[96];
        snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages", sizes[i] / 1024);
        assert_true(read_number(path) >= 0);
        if (i > 0) assert_true(sizes[i] > sizes[i - 1]);
    }
    /* Counted by another program, so that a size that we miss is noticed. */
    FILE *ls = popen("ls -d /sys/kernel/mm/hugepages/hugepages-*kB 2>/dev/null", "r");
    assert_non_null(ls);
    for (int c; (c = fgetc(ls)) != EOF;) listed += c == '\n';
    pclose(ls);
    assert_int_equal(count, listed);
}

static void huge_page_sizes_fill_what_there_is_room_for(void **state) {
    (void)state;
    size_t all[32], count = vmarena_huge_page_sizes(all, 32);
    assert_int_equal(vmarena_huge_page_sizes(NULL, 0), count);
    for (size_t room = 0; room < count; room++) {
        size_t some[33];
        for (size_t i = 0; i < 33; i++) some[i] = 7;
        assert_int_equal(vmarena_huge_page_sizes(some, room), count);
        for (size_t i = 0; i < room; i++) assert_int_equal(some[i], all[i]);
        assert_int_equal(some[room], 7);
    }
}

/* ---- the first call, in processes that have not made it yet: these tests run first ---- */

/* ThreadSanitizer maps shadow memory of its own for every page that is mapped. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define SHADOW_MOVES true
#else
#define SHADOW_MOVES false
#endif

static bool asked_before;
static struct vmarena_caps *seen_when_locked;

static void first_call(void *unused) {
    struct vmarena_caps caps;
    struct sigaction before[2], after[2];
    size_t lines = maps_lines();
    int descriptors = open_descriptors();
    sigset_t mask_before, mask_after;
    memset(&mask_before, 0, sizeof mask_before), memset(&mask_after, 0, sizeof mask_after);
    sigaction(SIGSEGV, NULL, &before[0]), sigaction(SIGBUS, NULL, &before[1]);
    sigprocmask(SIG_BLOCK, NULL, &mask_before);
    int error = vmarena_caps(&caps);
    sigprocmask(SIG_BLOCK, NULL, &mask_after);
    sigaction(SIGSEGV, NULL, &after[0]), sigaction(SIGBUS, NULL, &after[1]);
    (void)unused;
    if (error != 0) _exit(1);
    if (open_descriptors() != descriptors) _exit(2);
    if (!SHADOW_MOVES && maps_lines() != lines) _exit(3);
    if (before[0].sa_handler != after[0].sa_handler || before[1].sa_handler != after[1].sa_handler) _exit(4);
    if (memcmp(&mask_before, &mask_after, sizeof mask_before) != 0) _exit(5);
    if (waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD) _exit(6);
}

static void first_call_leaves_no_trace(void **state) {
    (void)state;
    skip_under_valgrind("some mappings are its own");
    assert_false(asked_before);
    assert_runs(first_call, NULL);
    if (SHADOW_MOVES) print_message("the count of mappings was not compared under ThreadSanitizer\n");
}

#define THREADS 4
static pthread_barrier_t together;
static struct vmarena_caps seen[THREADS];
static int errors[THREADS];

static void *ask(void *arg) {
    size_t i = (size_t)(uintptr_t)arg;
    pthread_barrier_wait(&together);
    errors[i] = vmarena_caps(&seen[i]);
    return NULL;
}

static void first_calls_at_once(void *arg) {
    pthread_t threads[THREADS];
    (void)arg;
    pthread_barrier_init(&together, NULL, THREADS);
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, ask, (void *)(uintptr_t)i) != 0) _exit(1);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++) {
        if (errors[i] != 0) _exit(2);
        if (seen[i].page_size != (size_t)sysconf(_SC_PAGESIZE)) _exit(3);
        if (memcmp(&seen[i], &seen[0], sizeof seen[0]) != 0) _exit(4);
    }
}

static void first_calls_of_4_threads_agree(void **state) {
    (void)state;
    assert_false(asked_before);
    for (int round = 0; round < 20; round++) assert_runs(first_calls_at_once, NULL);
}

/* Capabilities that take a descriptor to find are absent, the others are found, and nothing fails. */
static void without_descriptors(void *arg) {
    struct vmarena_caps caps;
    struct rlimit limit;
    (void)arg;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(4);
    limit.rlim_cur = 0;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(4);
    if (vmarena_caps(&caps) != 0) _exit(1);
    if (caps.procmap_query || caps.pagemap_scan || caps.userfaultfd || caps.perf_counters) _exit(2);
    if (caps.page_size != (size_t)sysconf(_SC_PAGESIZE)) _exit(3);
}

static void no_descriptor_left_is_no_error(void **state) {
    (void)state;
    assert_false(asked_before);
    assert_runs(without_descriptors, NULL);
}

/* If every page is populated from the start, nothing faults, which must not be taken for a missing capability. Only guard
 * markers are really refused in locked memory (madvise(2)). */
static void with_all_memory_locked(void *arg) {
    struct vmarena_caps caps;
    (void)arg;
    unsigned char resident = 0;
    if (mlockall(MCL_FUTURE) != 0) _exit(77);
    char *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || mincore(page, 1, &resident) != 0 || (resident & 1) == 0)
        _exit(77); /* sanitizers: ignored */
    if (vmarena_caps(&caps) != 0) _exit(1);
    if (caps.guard_markers || caps.vectored_madvise) _exit(2);
    seen_when_locked[0] = caps;
    _exit(0);
}

static struct vmarena_caps asked(void);

static void locked_memory_hides_nothing(void **state) {
    (void)state;
    assert_false(asked_before);
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    seen_when_locked = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(seen_when_locked != MAP_FAILED);
    int status = run_child(with_all_memory_locked, NULL);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        munmap(seen_when_locked, size);
        print_message("skip: this process may not lock its memory\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    struct vmarena_caps locked = seen_when_locked[0], caps = asked();
    munmap(seen_when_locked, size);
    assert_int_equal(locked.populate, caps.populate);
    assert_int_equal(locked.pagemap_scan, caps.pagemap_scan);
    assert_int_equal(locked.procmap_query, caps.procmap_query);
    assert_int_equal(locked.perf_counters, caps.perf_counters);
    assert_int_equal(locked.userfaultfd, caps.userfaultfd);
    assert_int_equal(locked.wipe_on_fork, caps.wipe_on_fork);
    assert_int_equal(locked.seal, caps.seal);
}

/* ---- capabilities ---- */

static struct vmarena_caps asked(void) {
    struct vmarena_caps caps;
    memset(&caps, 0xff, sizeof caps);
    asked_before = true;
    assert_int_equal(vmarena_caps(&caps), 0);
    return caps;
}

static void null_is_an_error_with_a_sentence(void **state) {
    (void)state;
    assert_int_equal(vmarena_caps(NULL), -EINVAL);
    assert_string_equal(vmarena_explain(), "vmarena_caps: the pointer to the result is NULL");
}

static void twice_is_the_same(void **state) {
    (void)state;
    struct vmarena_caps once = asked(), again = asked();
    assert_memory_equal(&once, &again, sizeof once);
}

static void figures_are_those_of_proc_and_sys(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    long long limit = read_number("/proc/sys/vm/max_map_count");
    long long huge = read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    long long free_2m = read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    long long free_1g = read_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    assert_int_equal(caps.page_size, sysconf(_SC_PAGESIZE));
    assert_int_equal(caps.map_entry_limit, limit < 0 ? 0 : limit);
    assert_int_equal(caps.huge_page_size, huge < 0 ? 0 : huge);
    assert_int_equal(caps.hugetlb_2m_free, free_2m < 0 ? 0 : free_2m);
    assert_int_equal(caps.hugetlb_1g_free, free_1g < 0 ? 0 : free_1g);
    assert_int_equal(caps.strict_overcommit, read_number("/proc/sys/vm/overcommit_memory") == 2);
}

static void thp_mode_is_that_of_sysfs(void **state) {
    (void)state;
    static const char *const marked[] = {
        [VMARENA_THP_NEVER] = "[never]", [VMARENA_THP_MADVISE] = "[madvise]", [VMARENA_THP_ALWAYS] = "[always]"};
    struct vmarena_caps caps = asked();
    char text[128];
    if (!read_text("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text)) {
        assert_int_equal(caps.thp, VMARENA_THP_ABSENT);
        return;
    }
    assert_int_not_equal(caps.thp, VMARENA_THP_ABSENT);
    assert_non_null(strstr(text, marked[caps.thp]));
}

static void thp_sizes_are_those_of_sysfs(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    for (unsigned shift = 12; shift < 40; shift++) {
        char path[96], text[128];
        snprintf(path, sizeof path, "/sys/kernel/mm/transparent_hugepage/hugepages-%llukB/enabled",
                 1ULL << (shift - 10));
        if (!read_text(path, text, sizeof text)) continue;
        bool offered = strstr(text, "[never]") == NULL;
        if (strstr(text, "[inherit]") != NULL) offered = caps.thp >= VMARENA_THP_MADVISE;
        assert_int_equal(caps.thp_sizes >> shift & 1, offered);
    }
    assert_int_equal(caps.thp_sizes & ((1u << 12) - 1), 0);
}

/* A guard marker that works kills the child; without one the child ends normally. */
static void touch(void *page) { *(volatile char *)page = 1; }

static void guard_markers_as_a_touch_tells(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    char *page = map_pages(1, PROT_READ | PROT_WRITE);
    bool installed = madvise(page, (size_t)sysconf(_SC_PAGESIZE), 102 /* MADV_GUARD_INSTALL */) == 0;
    int status = run_child(touch, page);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
    assert_int_equal(caps.guard_markers, installed && killed);
    if (!caps.guard_markers) assert_false(caps.vectored_madvise);
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

static void must_be_zero(void *page) { _exit(*(volatile char *)page == 0 ? 0 : 1); }

static void wipe_on_fork_as_a_child_tells(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    char *page = map_pages(1, PROT_READ | PROT_WRITE);
    (void)madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK);
    *page = 1;
    int status = run_child(must_be_zero, page);
    assert_true(WIFEXITED(status));
    assert_int_equal(caps.wipe_on_fork, WEXITSTATUS(status) == 0);
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

static void populate_as_mincore_tells(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char resident = 0;
    char *page = map_pages(1, PROT_READ | PROT_WRITE);
    (void)madvise(page, size, 23 /* MADV_POPULATE_WRITE */);
    assert_int_equal(mincore(page, size, &resident), 0);
    assert_int_equal(caps.populate, resident & 1);
    munmap(page, size);
}

/* A sealed page cannot be unmapped, so a child seals it and takes it along when it ends. */
static void seal_and_unmap(void *page) {
    (void)syscall(462 /* mseal */, page, sysconf(_SC_PAGESIZE), 0);
    bool refused = munmap(page, (size_t)sysconf(_SC_PAGESIZE)) != 0 && errno == EPERM;
    _exit(refused ? 0 : 1);
}

static void seal_as_munmap_tells(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    char *page = map_pages(1, PROT_READ | PROT_WRITE);
    int status = run_child(seal_and_unmap, page);
    assert_true(WIFEXITED(status));
    assert_int_equal(caps.seal, WEXITSTATUS(status) == 0);
    munmap(page, (size_t)sysconf(_SC_PAGESIZE));
}

static void protection_keys_can_all_be_had(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    int keys[64];
    size_t count = 0;
    while (count < 64 && (keys[count] = pkey_alloc(0, PKEY_DISABLE_ACCESS)) >= 0) count++;
    for (size_t i = 0; i < count; i++) pkey_free(keys[i]);
    assert_int_equal(caps.protection_keys, count);
}

static void what_builds_on_something_needs_it(void **state) {
    (void)state;
    struct vmarena_caps caps = asked();
    if (caps.userfaultfd_wp) assert_true(caps.userfaultfd);
    if (caps.perf_tlb) assert_true(caps.perf_counters);
    if (caps.vectored_madvise) assert_true(caps.guard_markers);
    if (caps.collapse) assert_int_not_equal(caps.huge_page_size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_call_leaves_no_trace),
        cmocka_unit_test(first_calls_of_4_threads_agree),
        cmocka_unit_test(no_descriptor_left_is_no_error),
        cmocka_unit_test(locked_memory_hides_nothing),
        cmocka_unit_test(page_size_is_the_systems),
        cmocka_unit_test(rounding_up),
        cmocka_unit_test(rounding_that_overflows_is_0),
        cmocka_unit_test(huge_page_sizes_are_those_of_sysfs),
        cmocka_unit_test(huge_page_sizes_fill_what_there_is_room_for),
        cmocka_unit_test(null_is_an_error_with_a_sentence),
        cmocka_unit_test(twice_is_the_same),
        cmocka_unit_test(figures_are_those_of_proc_and_sys),
        cmocka_unit_test(thp_mode_is_that_of_sysfs),
        cmocka_unit_test(thp_sizes_are_those_of_sysfs),
        cmocka_unit_test(guard_markers_as_a_touch_tells),
        cmocka_unit_test(wipe_on_fork_as_a_child_tells),
        cmocka_unit_test(populate_as_mincore_tells),
        cmocka_unit_test(seal_as_munmap_tells),
        cmocka_unit_test(protection_keys_can_all_be_had),
        cmocka_unit_test(what_builds_on_something_needs_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
