/* SPDX-License-Identifier: MIT */
/*
 * Heaps whose system calls are wrapped by the linker: a call is refused, or another thread or a signal handler acts at the
 * very moment of it, so that each race here happens every time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "vmarena.h"

#include "support.h"

#include "heap_support.h"

#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, MADV_GUARD_REMOVE: Linux 6.13 */
#define GUARD_REMOVE 103
#define LARGE ((size_t)70 << 20) /* gets a mapping of its own */

static size_t page;

/* ---- the wrapped calls --------------------------------------------------------------------------------------------------- */

enum call { OPEN, CLOSE, UNMAP, YIELD };
enum moment { BEFORE, AFTER };

/* Called before a system call, which fails with the errno that this returns, and after one that succeeded. */
typedef int hook_fn(enum moment moment, enum call call, char *address, size_t size);
static _Atomic(hook_fn *) hook;
static _Thread_local bool in_hook;

static int call_hook(enum moment moment, enum call call, void *address, size_t size) {
    hook_fn *function = atomic_load(&hook);
    if (function == NULL || in_hook) return 0;
    in_hook = true;
    int error = function(moment, call, address, size);
    in_hook = false;
    return error;
}

#define WRAPPED(call, address, size, real)                                                                             \
    do {                                                                                                               \
        int error_ = call_hook(BEFORE, (call), (address), (size));                                                     \
        if (error_ != 0) return errno = error_, -1;                                                                    \
        int result_ = (real);                                                                                          \
        if (result_ == 0) (void)call_hook(AFTER, (call), (address), (size));                                           \
        return result_;                                                                                                \
    } while (0)

int __real_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice) {
    if (advice != GUARD_INSTALL && advice != GUARD_REMOVE) return __real_madvise(address, size, advice);
    WRAPPED(advice == GUARD_INSTALL ? CLOSE : OPEN, address, size, __real_madvise(address, size, advice));
}

int __real_mprotect(void *address, size_t size, int prot);
int __wrap_mprotect(void *address, size_t size, int prot);
int __wrap_mprotect(void *address, size_t size, int prot) {
    WRAPPED(prot == PROT_NONE ? CLOSE : OPEN, address, size, __real_mprotect(address, size, prot));
}

int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size) { WRAPPED(UNMAP, address, size, __real_munmap(address, size)); }

int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void) { WRAPPED(YIELD, NULL, 0, __real_sched_yield()); }

/* A large object is closed by mapping inaccessible memory over it. With 64-bit offsets the call is mmap64 to glibc. */
typedef void *map_fn(void *address, size_t size, int prot, int flags, int fd, off_t offset);
static void *hooked_map(map_fn *real, void *address, size_t size, int prot, int flags, int fd, off_t offset) {
    bool closes = (flags & MAP_FIXED) != 0 && prot == PROT_NONE;
    int error = closes ? call_hook(BEFORE, CLOSE, address, size) : 0;
    if (error != 0) return errno = error, MAP_FAILED;
    void *result = real(address, size, prot, flags, fd, offset);
    if (closes && result != MAP_FAILED) (void)call_hook(AFTER, CLOSE, address, size);
    return result;
}

map_fn __real_mmap, __wrap_mmap, __real_mmap64 __attribute__((weak)), __wrap_mmap64;
void *__wrap_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset) {
    return hooked_map(__real_mmap, address, size, prot, flags, fd, offset);
}
void *__wrap_mmap64(void *address, size_t size, int prot, int flags, int fd, off_t offset) {
    return hooked_map(__real_mmap64, address, size, prot, flags, fd, offset);
}

static bool refuses_fork_handlers;
int __real_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    return refuses_fork_handlers ? ENOMEM : __real_pthread_atfork(before, parent, child);
}

static int refuse_closing(enum moment moment, enum call call, char *address, size_t size) {
    (void)address, (void)size;
    return moment == BEFORE && call == CLOSE ? ENOMEM : 0;
}

/* ---- what each test works on ----------------------------------------------------------------------------------------------- */

static struct vmarena_heap *heap;
static char *object;
static _Atomic size_t hooked; /* how often the hook did what it is for */

static const enum vmarena_guard_kind back_ends[] = {VMARENA_GUARD_MARKER, VMARENA_GUARD_PROTECT};
static const size_t sizes[] = {100, LARGE};

/* Runs a test for each back end and for both kinds of objects. */
static void for_each_kind(void (*test)(enum vmarena_guard_kind, size_t)) {
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t size = 0; size < 2; size++)
            if (back_ends[kind] != VMARENA_GUARD_MARKER || has_markers()) {
                hooked = 0;
                test(back_ends[kind], sizes[size]);
            }
}

static enum vmarena_heap_state state_of(const void *address) {
    struct vmarena_heap_object found;
    (void)vmarena_heap_find(heap, address, &found);
    return found.state;
}

/* ---- fork handlers: first, as a process registers them once ------------------------------------------------------------------ */

static void create_without_fork_handlers(void *arg) {
    struct vmarena_heap_stats stats;
    int status;
    (void)arg;
    refuses_fork_handlers = true;
    CHECK(vmarena_heap_create(&heap, NULL) == -ENOMEM);
    CHECK(strstr(vmarena_explain(), "pthread_atfork") != NULL);
    CHECK(vmarena_heap_create(&heap, NULL) == -ENOMEM);
    refuses_fork_handlers = false;
    CHECK(vmarena_heap_create(&heap, NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        vmarena_heap_stats(heap, &stats);
        _exit(stats.forked ? 33 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 33 << 8);
}

static void test_fork_handlers_refused(void **state) {
    (void)state;
    assert_runs(create_without_fork_handlers, NULL);
}

/* ---- a system that refuses to close pages ------------------------------------------------------------------------------------- */

static void rearm_refused(enum vmarena_guard_kind kind, size_t size) {
    heap = new_heap(.guard_kind = kind, .align = 1);
    object = new_object(heap, size, 0);
    assert_int_equal(vmarena_heap_expose(heap, object + size), 0);
    poke(object + size, 1);
    hook = refuse_closing;
    assert_int_equal(vmarena_heap_rearm(heap), -ENOMEM);
    hook = NULL;
    assert_int_equal(peek(object + size), 1);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    struct vmarena_fault fault = fault_at(object + size, VMARENA_ACCESS_WRITE);
    assert_ptr_equal(fault.object, object);
    vmarena_heap_destroy(heap);
}

static void test_rearm_is_tried_again(void **state) {
    (void)state;
    for_each_kind(rearm_refused);
}

static void free_refused(enum vmarena_guard_kind kind, size_t size) {
    heap = new_heap(.guard_kind = kind);
    object = new_object(heap, size, 0);
    memset(object, 1, 100);
    hook = refuse_closing;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    hook = NULL;
    struct vmarena_heap_stats stats = stats_of(heap);
    assert_int_equal(stats.frees, 1);
    assert_int_equal(stats.live, 0);
    assert_int_equal(stats.live_bytes, 0);
    assert_int_equal(stats.quarantined, 1);
    assert_int_equal(stats.unfenced, 1);
    assert_int_equal(reports.count, 0);
    assert_int_equal(peek(object), 0); /* its memory went back to the system */
    assert_int_equal(vmarena_heap_free(heap, object), -EALREADY);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    struct vmarena_fault fault = fault_at(object, VMARENA_ACCESS_READ);
    assert_int_equal(fault.kind, VMARENA_FAULT_USE_AFTER_FREE);
    assert_ptr_equal(fault.object, object);
    vmarena_heap_destroy(heap);
}

static void test_free_is_a_free(void **state) {
    (void)state;
    for_each_kind(free_refused);
}

/* The pages that stayed open are closed before the slot holds another object: here one of a page less. */
static void reuse_after_refused(enum vmarena_guard_kind kind, size_t unused) {
    (void)unused;
    heap = new_heap(.guard_kind = kind, .flags = VMARENA_HEAP_NO_QUARANTINE);
    object = new_object(heap, 10 * page, 0);
    hook = refuse_closing;
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    hook = NULL;
    assert_ptr_equal(new_object(heap, 9 * page, 0), object);
    struct vmarena_fault fault = fault_at(object + 9 * page, VMARENA_ACCESS_WRITE);
    assert_ptr_equal(fault.object, object);
    assert_int_equal(fault.distance, 1);
    vmarena_heap_destroy(heap);
}

static void test_reuse_after_refused(void **state) {
    (void)state;
    for_each_kind(reuse_after_refused);
}

/* ---- rearming while others work ------------------------------------------------------------------------------------------------- */

/* A freed object is a freed one while its pages are closed again. */
static int look_at_freed(enum moment moment, enum call call, char *address, size_t size) {
    (void)moment, (void)address, (void)size;
    if (call != CLOSE) return 0;
    assert_int_equal(state_of(object), VMARENA_HEAP_FREED);
    assert_int_equal(vmarena_heap_usable_size(heap, object), 0);
    hooked++;
    return 0;
}

static void rearm_freed(enum vmarena_guard_kind kind, size_t size) {
    heap = new_heap(.guard_kind = kind);
    object = new_object(heap, size, 0);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_expose(heap, object), 0);
    hook = look_at_freed;
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    hook = NULL;
    assert_int_equal(hooked, 2);
    assert_int_equal(fault_at(object, VMARENA_ACCESS_READ).kind, VMARENA_FAULT_USE_AFTER_FREE);
    vmarena_heap_destroy(heap);
}

static void test_rearmed_object_stays_freed(void **state) {
    (void)state;
    for_each_kind(rearm_freed);
}

/* An allocation has opened the pages and not yet finished; another thread's fault exposes one, and the heap is rearmed. */
static int rearm_meanwhile(enum moment moment, enum call call, char *address, size_t size) {
    (void)size;
    if (moment != AFTER || call != OPEN || hooked++ != 0) return 0;
    assert_int_equal(vmarena_heap_expose(heap, address), 0);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    return 0;
}

static void rearm_during_alloc(enum vmarena_guard_kind kind, size_t unused) {
    (void)unused;
    heap = new_heap(.guard_kind = kind);
    assert_non_null(vmarena_heap_alloc(heap, 24, 0)); /* the next one need not cut a span */
    hook = rearm_meanwhile;
    object = new_object(heap, 24, 0);
    hook = NULL;
    assert_true(hooked >= 1);
    poke(object, 7);
    assert_int_equal(vmarena_heap_rearm(heap), 0);
    assert_int_equal(peek(object), 7);
    assert_ptr_equal(fault_at(object + 32, VMARENA_ACCESS_WRITE).object, object);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(reports.count, 0);
    vmarena_heap_destroy(heap);
}

static void test_rearm_during_alloc(void **state) {
    (void)state;
    for_each_kind(rearm_during_alloc);
}

/*
 * One thread rearms a freed large object and is about to map over it. Another frees, which takes the heap over its cap:
 * the object must not be unmapped now, as the address may become somebody else's.
 */
static sem_t closing, may_close;
static char *foreign;

static void map_foreign(char *address) {
    if (object < address || foreign != NULL) return;
    foreign = mmap(object, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(foreign, object);
    *foreign = 42;
}

static int evict_meanwhile(enum moment moment, enum call call, char *address, size_t size) {
    bool there = object >= address && object < address + size;
    if (call == CLOSE && moment == BEFORE && there && hooked++ == 0) {
        sem_post(&closing);
        sem_wait(&may_close);
    }
    if (call == UNMAP && moment == AFTER && there) map_foreign(address);
    if (call == YIELD || (call == UNMAP && moment == AFTER && there)) sem_post(&may_close);
    return 0;
}

static void *rearm_in_thread(void *arg) {
    *(int *)arg = vmarena_heap_rearm(heap);
    return NULL;
}

static void test_rearm_during_eviction(void **state) {
    pthread_t thread;
    int result = 1;
    (void)state;
    heap = new_heap(.quarantine_count = 1);
    char *other = new_object(heap, 100, 0);
    object = new_object(heap, LARGE, 0);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    assert_int_equal(vmarena_heap_expose(heap, object), 0);
    sem_init(&closing, 0, 0);
    sem_init(&may_close, 0, 0);
    foreign = NULL;
    hooked = 0;
    hook = evict_meanwhile;
    assert_int_equal(pthread_create(&thread, NULL, rearm_in_thread, &result), 0);
    sem_wait(&closing);
    assert_int_equal(vmarena_heap_free(heap, other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    hook = NULL;
    assert_int_equal(result, 0);
    assert_int_equal(vmarena_try(peek_body, object, NULL), 0);
    assert_ptr_equal(foreign, object);
    assert_int_equal(*foreign, 42);
    munmap(foreign, page);
    vmarena_heap_destroy(heap);
}

/* A fault exposes a page of a large object that is evicted at this moment: it must not open somebody else's memory. */
static int evict_during_expose(enum moment moment, enum call call, char *address, size_t size) {
    if (call == OPEN && moment == BEFORE && address == object && hooked++ == 0) {
        in_hook = false; /* the free below shall be hooked, too */
        assert_int_equal(vmarena_heap_free(heap, foreign), 0);
        in_hook = true;
    }
    if (call == UNMAP && moment == AFTER && object >= address && object < address + size) hooked = 100;
    return 0;
}

static void test_expose_during_eviction(void **state) {
    (void)state;
    heap = new_heap(.quarantine_count = 1);
    foreign = new_object(heap, 100, 0);
    object = new_object(heap, LARGE, 0);
    assert_int_equal(vmarena_heap_free(heap, object), 0);
    hooked = 0;
    hook = evict_during_expose;
    assert_int_equal(vmarena_heap_expose(heap, object), 0);
    hook = NULL;
    assert_int_equal(hooked, 1); /* it was not unmapped */
    assert_int_equal(peek(object), 0);
    assert_int_equal(state_of(object), VMARENA_HEAP_FREED);
    assert_int_equal(stats_of(heap).quarantined, 2); /* until the next free */
    assert_int_equal(vmarena_heap_free(heap, new_object(heap, 100, 0)), 0);
    assert_int_equal(stats_of(heap).quarantined, 1);
    vmarena_heap_destroy(heap);
}

/* ---- signal handlers that interrupt an allocation ----------------------------------------------------------------------------------- */

static struct {
    char *allocated, *freed;
    int free_result;
    pid_t child;
} handled;

/* Interrupts an allocation that holds the shard's, the class's and the growing lock. */
static void use_heap_in_handler(int signo) {
    (void)signo;
    handled.allocated = vmarena_heap_alloc(heap, 100, 0);
    handled.free_result = vmarena_heap_free(heap, handled.freed);
    CHECK(vmarena_heap_check_object(heap, handled.freed) == -EBUSY);
    CHECK(vmarena_heap_rearm(heap) == -EBUSY);
    handled.child = fork();
    CHECK(handled.child >= 0);
}

static int raise_when_cutting(enum moment moment, enum call call, char *address, size_t size) {
    (void)address;
    if (moment == BEFORE && call == CLOSE && size >= 512 * page && hooked++ == 0) raise(SIGUSR1);
    return 0;
}

static void *plain_alloc(size_t size, size_t align, void *arg) {
    return (void)arg, aligned_alloc(align, (size + align - 1) / align * align);
}
static void *plain_calloc(size_t size, size_t align, void *arg) { return (void)align, (void)arg, calloc(1, size); }
static void *plain_realloc(void *pointer, size_t size, void *arg) { return (void)arg, realloc(pointer, size); }
static void plain_free(void *pointer, void *arg) { (void)arg, free(pointer); }
static size_t plain_size(const void *pointer, void *arg) { return (void)pointer, (void)arg, 0; }
static const struct vmarena_heap_fallback plain = {plain_alloc, plain_calloc, plain_realloc, plain_free,
                                                   plain_size,  NULL,         NULL};

/* The interrupted call goes on in both processes, and the heap works in both. */
static void interrupt_alloc(void *arg) {
    bool unguarded = *(const bool *)arg;
    struct vmarena_heap_options options = {.guard_kind = VMARENA_GUARD_PROTECT,
                                           .full = unguarded ? VMARENA_HEAP_UNGUARDED : VMARENA_HEAP_FAIL,
                                           .fallback = &plain};
    struct vmarena_fault fault;
    int status;
    alarm(20);
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_heap_create(&heap, &options) == 0);
    handled.freed = vmarena_heap_alloc(heap, 24, 0);
    CHECK(handled.freed != NULL && signal(SIGUSR1, use_heap_in_handler) != SIG_ERR);
    hooked = 0;
    hook = raise_when_cutting;
    object = vmarena_heap_alloc(heap, 3 * page, 0); /* the first of its class */
    hook = NULL;
    CHECK(hooked == 1 && object != NULL && handled.free_result == 0);
    CHECK((handled.allocated != NULL) == unguarded && !vmarena_heap_owns(heap, handled.allocated));
    CHECK(vmarena_try(peek_body, handled.freed, &fault) == 1 && fault.kind == VMARENA_FAULT_USE_AFTER_FREE);
    CHECK(vmarena_heap_free(heap, handled.freed) == -EALREADY);
    CHECK(vmarena_heap_free(heap, object) == 0);
    struct vmarena_heap_stats stats;
    vmarena_heap_stats(heap, &stats);
    CHECK(stats.live == 0 && stats.quarantined == 2 && stats.forked == (handled.child == 0));
    for (size_t i = 1; i < 20; i++) CHECK(vmarena_heap_alloc(heap, i * page, 0) != NULL);
    CHECK(vmarena_heap_check(heap) == 0);
    if (handled.child == 0) _exit(33);
    CHECK(waitpid(handled.child, &status, 0) == handled.child && status == 33 << 8);
}

static void test_handler_interrupts_alloc(void **state) {
    bool unguarded = false;
    (void)state;
    skip_under_tsan("a signal is delivered after the interrupted call");
    assert_runs(interrupt_alloc, &unguarded);
    unguarded = true;
    assert_runs(interrupt_alloc, &unguarded);
}

/* A report, or a handler that interrupts a check, frees the object that this very thread is checking. */
static void free_what_is_checked(const struct vmarena_heap_report *report, void *arg) {
    (void)arg;
    CHECK(report->kind == VMARENA_HEAP_SLACK_BEFORE);
    CHECK(vmarena_heap_free(heap, report->object.start) == -EDEADLK);
    CHECK(vmarena_heap_realloc(heap, report->object.start, 7000) == NULL);
    hooked++;
}

static void check_and_free(void *arg) {
    struct vmarena_heap_options options = {.report = free_what_is_checked};
    (void)arg;
    alarm(20);
    hooked = 0;
    CHECK(vmarena_heap_create(&heap, &options) == 0);
    object = vmarena_heap_alloc(heap, 24, 0);
    object[-1] = 0;
    CHECK(vmarena_heap_check(heap) == -EILSEQ && hooked == 1);
    CHECK(vmarena_heap_free(heap, object) == 0);
}

static void test_report_frees_its_object(void **state) {
    (void)state;
    assert_runs(check_and_free, NULL);
}

static int setup(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

static int unhook(void **state) {
    (void)state;
    hook = NULL; /* which a test that failed leaves */
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_fork_handlers_refused, unhook),
        cmocka_unit_test_teardown(test_rearm_is_tried_again, unhook),
        cmocka_unit_test_teardown(test_free_is_a_free, unhook),
        cmocka_unit_test_teardown(test_reuse_after_refused, unhook),
        cmocka_unit_test_teardown(test_rearmed_object_stays_freed, unhook),
        cmocka_unit_test_teardown(test_rearm_during_alloc, unhook),
        cmocka_unit_test_teardown(test_rearm_during_eviction, unhook),
        cmocka_unit_test_teardown(test_expose_during_eviction, unhook),
        cmocka_unit_test_teardown(test_handler_interrupts_alloc, unhook),
        cmocka_unit_test_teardown(test_report_frees_its_object, unhook),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
