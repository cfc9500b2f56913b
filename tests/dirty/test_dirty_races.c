/* SPDX-License-Identifier: MIT */
/*
 * Threads that write while their arena's owner gives up tracking by protection. A fault that tracking caused is never
 * reported, whatever the handler finds by the time it looks; and no handler that comes late makes a page writable that the
 * owner has closed since. The moments are forced: the owner is held in its mprotect(2), the writer in the signal handler,
 * which is the test's own (vmarena_fault_host), or in the handler's mprotect(2).
 */
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>

#include "support.h"

static size_t page;

/* ---- what is held ---------------------------------------------------------------------------------------------------------- */

static _Thread_local bool is_owner, is_writer;
static void (*at_owners_protect)(void);  /* before the owner's next mprotect(2) */
static void (*at_writers_protect)(void); /* before the writer's: its handler is making a page writable */
static void (*at_fault)(void);           /* in the writer's handler, before the library sees the fault */
static atomic_uint faults;               /* of the writer */
static atomic_bool owner_is_done, owner_waits, writer_is_held;
static bool fail_atfork;

static void once(void (**hook)(void)) {
    void (*act)(void) = *hook;
    *hook = NULL;
    if (act != NULL) act();
}

int __real_mprotect(void *at, size_t size, int prot);
int __wrap_mprotect(void *at, size_t size, int prot);
int __wrap_mprotect(void *at, size_t size, int prot) {
    if (is_owner) once(&at_owners_protect);
    if (is_writer) once(&at_writers_protect);
    return __real_mprotect(at, size, prot);
}

int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void) {
    if (is_owner) atomic_store(&owner_waits, true);
    return __real_sched_yield();
}

int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    return fail_atfork ? ENOMEM : __real_pthread_atfork(before, parent, child);
}

enum { REPORTED = 50 };

static void handler(int signo, siginfo_t *info, void *context) {
    if (is_writer) {
        (void)atomic_fetch_add(&faults, 1);
        once(&at_fault);
    }
    if (!vmarena_handle_signal(signo, info, context)) _exit(REPORTED);
}

/* ---- the scene --------------------------------------------------------------------------------------------------------------- */

static struct vmarena *arena;
static struct vmarena_snapshot *snapshot;
static unsigned char *bytes;
static pthread_t writer;

static void set_scene_without_tracking(void) {
    struct vmarena_options options = {.reserve = 64 * page};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    CHECK(vmarena_fault_host(true) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(vmarena_create(&arena, &options) == 0);
    bytes = vmarena_alloc(arena, 20 * page, page);
    CHECK(bytes != NULL);
    memset(bytes, 1, 20 * page);
}

static void set_scene(void) {
    set_scene_without_tracking();
    CHECK(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_PROTECT) == 0);
    is_owner = true;
}

static void *write_a_page(void *unused) {
    (void)unused;
    is_writer = true;
    poke(bytes + 5 * page, 0x5a); /* in no scope: a fault that is reported ends the process */
    return NULL;
}

static void start_writer(void) { CHECK(pthread_create(&writer, NULL, write_a_page, NULL) == 0); }

/* ---- what ends the tracking ---------------------------------------------------------------------------------------------------- */

static void keep_protection(void) { CHECK(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE) == 0); }
static void protect_elsewhere(void) { CHECK(vmarena_protect_range(arena, bytes + 9 * page, page, VMARENA_READ) == 0); }
static void free_the_snapshot(void) {
    vmarena_snapshot_free(snapshot);
    snapshot = NULL;
}
static void (*const ends[])(void) = {keep_protection, protect_elsewhere, free_the_snapshot};
enum { ENDS = sizeof ends / sizeof ends[0] };

static void finish(void) {
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK(bytes[5 * page] == 0x5a);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

/* ---- the moments ---------------------------------------------------------------------------------------------------------------- */

/* The tracking is not any more, but the page is not writable yet: the writer faults again and again. */
static void let_the_writer_fault(void) {
    start_writer();
    while (atomic_load(&faults) < 3) sched_yield();
}

static void fault_while_it_ends(void *arg) {
    set_scene();
    at_owners_protect = let_the_writer_fault;
    ((void (*const *)(void))arg)[0]();
    finish();
}

/* The writer has faulted, and its handler looks when everything is over. */
static void hold_until_the_owner_is_done(void) {
    atomic_store(&writer_is_held, true);
    while (!atomic_load(&owner_is_done)) sched_yield();
}

static void look_after_it_ended(void *arg) {
    set_scene();
    at_fault = hold_until_the_owner_is_done;
    start_writer();
    while (!atomic_load(&writer_is_held)) sched_yield();
    ((void (*const *)(void))arg)[0]();
    atomic_store(&owner_is_done, true);
    finish();
}

static void test_no_fault_of_ours_is_reported(void **state) {
    (void)state;
    for (size_t i = 0; i < ENDS; i++) {
        assert_runs(fault_while_it_ends, (void *)(uintptr_t)&ends[i]);
        assert_runs(look_after_it_ended, (void *)(uintptr_t)&ends[i]);
    }
}

/* The writer's handler is about to make its page writable, when the owner closes the arena. */
static void hold_until_the_owner_waits(void) {
    atomic_store(&writer_is_held, true);
    while (!atomic_load(&owner_is_done) && !atomic_load(&owner_waits)) sched_yield();
}

static void close_while_a_page_is_opened(void *arg) {
    struct vmarena_fault fault;
    (void)arg;
    set_scene();
    at_writers_protect = hold_until_the_owner_waits;
    start_writer();
    while (!atomic_load(&writer_is_held)) __real_sched_yield();
    CHECK(vmarena_protect(arena, VMARENA_READ) == 0);
    atomic_store(&owner_is_done, true);
    CHECK(pthread_join(writer, NULL) == 0);
    for (size_t i = 0; i < 20; i++) CHECK(vmarena_try(poke_body, bytes + i * page, &fault) == 1);
    CHECK(fault.kind == VMARENA_FAULT_PROTECTED);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_a_closed_arena_stays_closed(void **state) {
    (void)state;
    assert_runs(close_while_a_page_is_opened, NULL);
}

/* A handler that exists in the parent alone is not waited for in the child. */
static void fork_while_a_page_is_opened(void *arg) {
    int status;
    (void)arg;
    set_scene();
    at_writers_protect = hold_until_the_owner_is_done;
    start_writer();
    while (!atomic_load(&writer_is_held)) sched_yield();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct vmarena_fault fault;
        alarm(20);
        if (vmarena_protect(arena, VMARENA_READ) != 0) _exit(1);
        if (vmarena_try(poke_body, bytes + 5 * page, &fault) != 1) _exit(2);
        if (vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE) != 0) _exit(3);
        if (vmarena_restore(arena, snapshot) != 0) _exit(4);
        vmarena_snapshot_free(snapshot);
        vmarena_destroy(arena);
        _exit(0);
    }
    atomic_store(&owner_is_done, true);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    finish();
}

static void test_fork_while_a_page_is_opened(void **state) {
    (void)state;
    assert_runs(fork_while_a_page_is_opened, NULL);
}

static void refuse_the_fork_handler(void *arg) {
    (void)arg;
    set_scene_without_tracking();
    fail_atfork = true;
    CHECK(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_PROTECT) == -ENOMEM);
    fail_atfork = false;
    CHECK(vmarena_snapshot(&snapshot, arena, VMARENA_TRACK_PROTECT) == 0);
    vmarena_snapshot_free(snapshot);
    vmarena_destroy(arena);
}

static void test_fork_handler_refused(void **state) {
    (void)state;
    assert_runs(refuse_the_fork_handler, NULL);
}

static int begin(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_fault_of_ours_is_reported),
        cmocka_unit_test(test_a_closed_arena_stays_closed),
        cmocka_unit_test(test_fork_while_a_page_is_opened),
        cmocka_unit_test(test_fork_handler_refused),
    };
    return cmocka_run_group_tests_name("dirty races", tests, begin, NULL);
}
