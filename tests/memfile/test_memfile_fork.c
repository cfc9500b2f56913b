/* SPDX-License-Identifier: MIT */
/*
 * fork(2) in one thread while the owner of a memory-file arena, in another, is in the middle of a call. Each operation is
 * run once to count its system calls, and then again for each of them, with a fork just before it and just after it. The
 * fork either happens there or waits for the owner; the test goes on when one of the two is certain.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <setjmp.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "support.h"

static size_t page;

/* ---- system calls of the owner ------------------------------------------------------------------------------------------- */

static _Thread_local bool is_owner, is_forker;
static unsigned calls;         /* by the owner, since the operation began */
static unsigned target;        /* act before call (target / 2), or after it where target is odd */
static void (*action)(void);   /* NULL: only count */
static atomic_bool fork_waits; /* the forking thread is about to wait for a lock */
static bool fail_atfork;       /* registrations to refuse */

static void at_point(unsigned point) {
    if (!is_owner || action == NULL || point != target) return;
    void (*act)(void) = action;
    action = NULL;
    is_owner = false; /* what the action calls is not the owner's */
    act();
    is_owner = true;
}

#define AT_A_CALL(type, call)                                                                                          \
    do {                                                                                                               \
        unsigned ordinal = is_owner ? calls++ : 0;                                                                     \
        at_point(2 * ordinal);                                                                                         \
        type result = call;                                                                                            \
        int error = errno;                                                                                             \
        at_point(2 * ordinal + 1);                                                                                     \
        errno = error;                                                                                                 \
        return result;                                                                                                 \
    } while (0)

#define WRAP(type, name, parameters, arguments)                                                                        \
    type __real_##name parameters;                                                                                     \
    type __wrap_##name parameters;                                                                                     \
    type __wrap_##name parameters { AT_A_CALL(type, __real_##name arguments); }

/* The declarations of the C library may rename mmap to mmap64; which of the two the library calls depends on the system. */
WRAP(void *, mmap, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
     (at, size, prot, flags, fd, offset))
#ifdef __GLIBC__
WRAP(void *, mmap64, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
     (at, size, prot, flags, fd, offset))
#endif
WRAP(int, munmap, (void *at, size_t size), (at, size))
WRAP(int, mprotect, (void *at, size_t size, int prot), (at, size, prot))
WRAP(int, madvise, (void *at, size_t size, int advice), (at, size, advice))
WRAP(void *, mremap, (void *at, size_t size, size_t new_size, int flags, void *to), (at, size, new_size, flags, to))

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (size_t i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    AT_A_CALL(long, __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (!is_forker) return __real_pthread_mutex_lock(mutex);
    if (pthread_mutex_trylock(mutex) == 0) return 0;
    atomic_store(&fork_waits, true);
    return __real_pthread_mutex_lock(mutex);
}

int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    if (fail_atfork) return ENOMEM;
    return __real_pthread_atfork(before, parent, child);
}

/* ---- the fork ---------------------------------------------------------------------------------------------------------------- */

enum { PAGES = 20 };

struct scene {
    struct vmarena *arena;
    unsigned char *bytes; /* PAGES pages: the number of the page, plus 1 */
    struct vmarena_snapshot *snapshot;
};
static struct scene scene;

static struct {
    pthread_t thread;
    bool forked;
    atomic_bool done;
    pid_t child;
    int to_child[2];
} forker;

static unsigned char pattern(size_t index) { return (unsigned char)(index + 1); }

static bool may_read(const unsigned char *byte) {
    struct vmarena_fault fault;
    return vmarena_try_any(peek_body, (void *)(uintptr_t)byte, &fault) == 0;
}
static bool may_write(unsigned char *byte) {
    struct vmarena_fault fault;
    return vmarena_try_any(poke_body, byte, &fault) == 0;
}

/* The first page is one that no operation here changes. Its contents must stay what they were at the fork. */
static void be_child(void) {
    unsigned char *first = scene.bytes, byte;
    if (*first != pattern(0)) _exit(1);
    if (read(forker.to_child[0], &byte, 1) != 1) _exit(2); /* the parent has written there */
    if (*first != pattern(0)) _exit(3);
    if (vmarena_protect(scene.arena, VMARENA_READ | VMARENA_WRITE) != 0) _exit(4);
    *first = 99;
    _exit(*first == 99 ? 0 : 5);
}

static void *fork_once(void *unused) {
    (void)unused;
    is_forker = true;
    forker.child = fork();
    if (forker.child == 0) be_child();
    atomic_store(&forker.done, true);
    return NULL;
}

static void start_fork(void) {
    forker.forked = true;
    atomic_store(&forker.done, false);
    atomic_store(&fork_waits, false);
    assert_int_equal(pthread_create(&forker.thread, NULL, fork_once, NULL), 0);
    while (!atomic_load(&forker.done) && !atomic_load(&fork_waits)) sched_yield();
}

/* After the operation: parent and child have nothing in common. */
static void end_fork(const char *name) {
    int status;
    unsigned char *first = scene.bytes, byte = 0;
    assert_true(forker.child > 0);
    assert_int_equal(vmarena_protect(scene.arena, VMARENA_READ | VMARENA_WRITE), 0);
    *first = 77;
    assert_int_equal(write(forker.to_child[1], &byte, 1), 1);
    assert_int_equal(waitpid(forker.child, &status, 0), forker.child);
    if (status != 0) fail_msg("%s, fork at point %u: the child ended with 0x%x", name, target, status);
    if (*first != 77) fail_msg("%s, fork at point %u: the child wrote to its parent's memory", name, target);
}

/* ---- the operations ------------------------------------------------------------------------------------------------------------ */

struct operation {
    const char *name;
    void (*prepare)(void); /* NULL: nothing */
    int (*run)(void);
    bool (*good)(void); /* what must hold afterwards, a fork or not */
};

static bool holds(size_t from, size_t end) {
    for (size_t i = from; i < end; i++)
        if (!may_read(scene.bytes + i * page) || scene.bytes[i * page] != pattern(i)) return false;
    return true;
}
static bool is_writable(size_t from, size_t end) {
    for (size_t i = from; i < end; i++)
        if (!may_write(scene.bytes + i * page + 1)) return false;
    return true;
}
static bool is_untouched(void) { return holds(0, PAGES) && is_writable(0, PAGES); }

static unsigned char *more;
static int commit(void) {
    more = vmarena_alloc(scene.arena, 40 * page, 1);
    return more != NULL ? 0 : vmarena_last_error();
}
static bool is_committed(void) {
    for (size_t i = 0; i < 40; i++)
        if (!may_write(more + i * page)) return false;
    return is_untouched();
}

static int close_all(void) { return vmarena_protect(scene.arena, VMARENA_READ); }
static bool is_closed(void) {
    for (size_t i = 0; i < PAGES; i++)
        if (may_write(scene.bytes + i * page)) return false;
    return holds(0, PAGES);
}

static void close_first(void) { assert_int_equal(close_all(), 0); }
static int open_all(void) { return vmarena_protect(scene.arena, VMARENA_READ | VMARENA_WRITE); }

static int close_some(void) {
    return vmarena_protect_range(scene.arena, scene.bytes + 3 * page, 2 * page, VMARENA_READ);
}
static bool is_range_closed(void) {
    return holds(0, PAGES) && is_writable(0, 3) && is_writable(5, PAGES) && !may_write(scene.bytes + 3 * page) &&
           !may_write(scene.bytes + 4 * page);
}

static void close_range_first(void) { assert_int_equal(close_some(), 0); }
static int open_range(void) {
    return vmarena_protect_range(scene.arena, scene.bytes + 3 * page, 2 * page, VMARENA_READ | VMARENA_WRITE);
}
/* The arena closed and a range of it open: the owner writes there while the fork replaces what lies around it. */
static void open_range_of_closed(void) {
    assert_int_equal(close_all(), 0);
    assert_int_equal(open_range(), 0);
}
static int close_more(void) { return vmarena_protect_range(scene.arena, scene.bytes + 8 * page, page, VMARENA_NONE); }
static bool is_window_open(void) {
    return is_writable(3, 5) && holds(0, 8) && !may_write(scene.bytes + 2 * page) && !may_read(scene.bytes + 8 * page);
}

static int discard(void) { return vmarena_discard(scene.arena, scene.bytes + 6 * page, 4 * page); }
static bool is_discarded(void) {
    for (size_t i = 6 * page; i < 10 * page; i++)
        if (scene.bytes[i] != 0) return false;
    return holds(0, 6) && holds(10, PAGES) && is_writable(0, PAGES);
}

static int reset(void) { return vmarena_reset(scene.arena, page); }
static bool is_reset(void) {
    for (size_t i = page; i < PAGES * page; i++)
        if (scene.bytes[i] != 0) return false;
    return holds(0, 1) && is_writable(0, PAGES);
}

static int prefault(void) { return vmarena_prefault(scene.arena, 30 * page); }

static int snap(void) { return vmarena_snapshot(&scene.snapshot, scene.arena, VMARENA_TRACK_FILE); }
static bool is_snapped(void) {
    scene.bytes[2 * page] = 200;
    return vmarena_restore(scene.arena, scene.snapshot) == 0 && is_untouched();
}
static void write_after_a_snapshot(void) {
    scene.bytes[2 * page] = 200;
    assert_int_equal(snap(), 0);
    scene.bytes[2 * page] = pattern(2);
    vmarena_snapshot_free(scene.snapshot);
    scene.snapshot = NULL;
}
static int restore(void) { return vmarena_restore(scene.arena, scene.snapshot); }
static void snap_first(void) {
    assert_int_equal(snap(), 0);
    scene.bytes[2 * page] = 200;
}

static const struct operation operations[] = {
    {"commit", NULL, commit, is_committed},
    {"commit of a private mapping", write_after_a_snapshot, commit, is_committed},
    {"protect", NULL, close_all, is_closed},
    {"unprotect", close_first, open_all, is_untouched},
    {"protect a range", NULL, close_some, is_range_closed},
    {"unprotect a range", close_range_first, open_range, is_untouched},
    {"protect with a range open", open_range_of_closed, close_more, is_window_open},
    {"discard", NULL, discard, is_discarded},
    {"discard from a private mapping", write_after_a_snapshot, discard, is_discarded},
    {"reset", NULL, reset, is_reset},
    {"reset of a private mapping", write_after_a_snapshot, reset, is_reset},
    {"prefault", NULL, prefault, is_untouched},
    {"snapshot", NULL, snap, is_snapped},
    {"second snapshot", write_after_a_snapshot, snap, is_snapped},
    {"restore", snap_first, restore, is_untouched},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void set_scene(void) {
    struct vmarena_options options = {
        .reserve = 256 * page, .commit = 4 * page, .commit_policy = VMARENA_COMMIT_PROTECT, .flags = VMARENA_MEMFD};
    scene = (struct scene){.snapshot = NULL};
    forker.forked = false;
    if (vmarena_create(&scene.arena, &options) != 0) fail_msg("%s", vmarena_explain());
    scene.bytes = vmarena_alloc(scene.arena, PAGES * page, page);
    assert_non_null(scene.bytes);
    for (size_t i = 0; i < PAGES; i++) scene.bytes[i * page] = pattern(i);
}

/* How many calls the operation made. */
static unsigned run(const struct operation *operation, void (*act)(void)) {
    set_scene();
    if (operation->prepare != NULL) operation->prepare();
    calls = 0;
    action = act;
    is_owner = true;
    int error = operation->run();
    is_owner = false;
    action = NULL;
    if (error != 0) fail_msg("%s, fork at point %u: %s", operation->name, target, vmarena_explain());
    if (forker.forked) assert_int_equal(pthread_join(forker.thread, NULL), 0);
    if (!operation->good()) fail_msg("%s, fork at point %u: not as it should be", operation->name, target);
    return calls;
}

static void clear_scene(void) {
    vmarena_snapshot_free(scene.snapshot);
    vmarena_destroy(scene.arena);
}

static void test_fork_at_every_call(void **state) {
    (void)state;
    skip_without_memory_files();
    skip_where_annotated();
    assert_int_equal(vmarena_fault_reassert(), 0);
    unsigned points = 0;
    for (size_t i = 0; i < OPERATIONS; i++) {
        unsigned count = run(&operations[i], NULL);
        clear_scene();
        points += 2 * count;
        for (target = 0; target < 2 * count; target++) {
            run(&operations[i], start_fork);
            if (forker.forked) end_fork(operations[i].name);
            clear_scene();
        }
    }
    assert_true(points > 2 * OPERATIONS); /* the calls were seen */
}

/* ---- the end of an arena ---------------------------------------------------------------------------------------------------------- */

/* As soon as the arena's memory is unmapped it is somebody else's, here the test's; a fork must leave that alone. */
static unsigned char *taken;
static void take_over_and_fork(void) {
    void *place = mmap(scene.bytes, PAGES * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (place == MAP_FAILED) return; /* not unmapped yet */
    taken = place;
    memset(taken, 0x42, PAGES * page);
    start_fork();
}

static void test_fork_while_an_arena_is_destroyed(void **state) {
    (void)state;
    skip_without_memory_files();
    bool ever = false;
    skip_where_annotated();
    for (target = 0; target < 40; target++) {
        int status;
        set_scene();
        taken = NULL;
        calls = 0;
        action = take_over_and_fork;
        is_owner = true;
        vmarena_destroy(scene.arena);
        is_owner = false;
        action = NULL;
        if (taken == NULL) continue;
        ever = true;
        assert_int_equal(pthread_join(forker.thread, NULL), 0);
        kill(forker.child, SIGKILL);
        assert_int_equal(waitpid(forker.child, &status, 0), forker.child);
        assert_true(may_write(taken));
        for (size_t i = 1; i < PAGES * page; i++) assert_int_equal(taken[i], 0x42);
        munmap(taken, PAGES * page);
    }
    assert_true(ever);
}

/* ---- files and forks ---------------------------------------------------------------------------------------------------------------- */

/* Whoever holds the file at the fork: the child may bring it back, so that the parent must not write to it afterwards. */
static void test_file_held_by_a_snapshot_at_a_fork(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_snapshot *second, *third;
    int to_child[2], status;
    char byte = 0;
    set_scene();
    assert_int_equal(snap(), 0);
    scene.bytes[0] = 50;
    assert_int_equal(vmarena_snapshot(&second, scene.arena, VMARENA_TRACK_FILE),
                     0); /* the arena has another file now */
    assert_int_equal(pipe(to_child), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (read(to_child[0], &byte, 1) != 1) _exit(1);
        if (vmarena_restore(scene.arena, scene.snapshot) != 0) _exit(2);
        _exit(scene.bytes[0] == pattern(0) ? 0 : 3);
    }
    assert_int_equal(vmarena_restore(scene.arena, scene.snapshot), 0);
    vmarena_snapshot_free(scene.snapshot);
    vmarena_snapshot_free(second);
    scene.bytes[0] = 51;
    assert_int_equal(vmarena_snapshot(&third, scene.arena, VMARENA_TRACK_FILE), 0);
    assert_int_equal(write(to_child[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(to_child[0]);
    close(to_child[1]);
    vmarena_snapshot_free(third);
    vmarena_destroy(scene.arena);
}

/* In a child, where nothing is registered yet: an arena that fork(2) would share with a child is refused. */
static void register_too_late(void *arg) {
    (void)arg;
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 64 * page, .flags = VMARENA_MEMFD};
    fail_atfork = true;
    int error = vmarena_create(&arena, &options);
    if (error == 0) _exit(10); /* ignored */
    if (error != -ENOMEM) _exit(11);
    fail_atfork = false;
    if (vmarena_create(&arena, &options) != 0) _exit(12); /* and it is tried again */
    volatile unsigned char *byte = vmarena_alloc(arena, 1, 1);
    *byte = 1;
    pid_t child = fork();
    if (child == 0) {
        *byte = 2;
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) _exit(13);
    _exit(*byte == 1 ? 0 : 14);
}

static void test_fork_handler_refused(void **state) {
    (void)state;
    skip_without_memory_files();
    assert_runs(register_too_late, NULL);
}

/* ---- what a fork cannot make private ---------------------------------------------------------------------------------------------------- */

static void fork_beyond_the_limit(void *arg) {
    (void)arg;
    struct vmarena *arena;
    struct vmarena_options options = {
        .reserve = 1024 * page, .flags = VMARENA_MEMFD, .commit_policy = VMARENA_COMMIT_NORESERVE};
    int status;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_create(&arena, &options) == 0);
    unsigned char *bytes = vmarena_alloc(arena, 10 * page, 1);
    CHECK(bytes != NULL);
    memset(bytes, 1, 10 * page);
    CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){1, RLIM_INFINITY}) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct vmarena_fault fault;
        setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
        if (vmarena_try_any(peek_body, bytes, &fault) != 1) _exit(20); /* not shared with the parent */
        if (vmarena_alloc(arena, 5000 * page, 1) != NULL) _exit(21);
        vmarena_destroy(arena);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
    for (size_t i = 0; i < 10 * page; i++) CHECK(bytes[i] == 1);
    /* The next fork finds nothing changed. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(bytes[0] == 1 && (bytes[0] = 2) == 2 ? 0 : 22);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(bytes[0] == 1);
}

static void test_fork_beyond_the_limit(void **state) {
    (void)state;
    skip_without_memory_files();
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's own memory exceeds the limit\n");
        skip();
    }
    assert_int_equal(vmarena_fault_reassert(), 0);
    assert_runs(fork_beyond_the_limit, NULL);
}

static int begin(void **state) {
    (void)state;
    page = vmarena_page_size();
    return pipe(forker.to_child);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_handler_refused), /* first: no handler is registered yet */
        cmocka_unit_test(test_fork_at_every_call),
        cmocka_unit_test(test_fork_while_an_arena_is_destroyed),
        cmocka_unit_test(test_file_held_by_a_snapshot_at_a_fork),
        cmocka_unit_test(test_fork_beyond_the_limit),
    };
    return cmocka_run_group_tests_name("memfile fork", tests, begin, NULL);
}
