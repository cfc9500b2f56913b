/* SPDX-License-Identifier: MIT */
/* Faults in many threads, on alternate stacks, and beside installs. "Recovery N" names the entry of the list in README.md. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/auxv.h>

#include "vmarena.h"

#include <cmocka.h>

#include "support.h"

#define THREADS 4
/* Recovery 42 wants 10^5 faults in each thread; under a sanitizer a fault takes a hundred times as long. */
#define FAULTS (UNDER_SANITIZER ? 1000 : RUNNING_SLOWLY ? 500 : 100000)
#define RUNNING_SLOWLY (getenv("VMARENA_TEST_WRAPPER") != NULL)

static size_t page;
static int guard_signo; /* what the guards of make_fenced() raise */

/* cmocka has displaced the handlers before this test. */
static void begin(void) { assert_int_equal(vmarena_fault_reassert(), 0); }

static void *run_thread(void *(*body)(void *), void *arg) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, body, arg), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

static struct vmarena *make_fenced(char **object, size_t size) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 64 * page, .fence = VMARENA_FENCE_END};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    *object = vmarena_alloc(arena, size, 1);
    assert_non_null(*object);
    return arena;
}

/* A sanitizer gives each thread an alternate stack, and at the thread's end unmaps the one that is set then. */
static stack_t put_stack_away(void) {
    stack_t none = {.ss_flags = SS_DISABLE}, before;
    CHECK(sigaltstack(&none, &before) == 0);
    return before;
}

static void put_stack_back(const stack_t *before) {
    if ((before->ss_flags & SS_DISABLE) == 0) CHECK(sigaltstack(before, NULL) == 0);
}

/* ---- recovery 42: exact counts in N threads ---------------------------------------------------------------------------- */

struct worker {
    char *object; /* of 24 bytes */
    size_t count, caught, wrong;
    bool own_stack, macros;
};

static bool is_expected(const struct vmarena_fault *fault, const struct worker *worker, size_t offset) {
    return fault->signo == guard_signo && fault->address == worker->object + 24 + offset &&
           fault->object == worker->object && fault->object_size == 24 && fault->distance == (ptrdiff_t)offset + 1 &&
           fault->kind == VMARENA_FAULT_OVERRUN && fault->access != VMARENA_ACCESS_EXEC;
}

/* Each thread uses bytes of its own in memory of its own. */
static void fault_often(struct worker *worker) {
    for (size_t i = 0; i < worker->count; i++) {
        struct vmarena_fault fault;
        size_t offset = i * 7 % page;
        int result = vmarena_try(i % 2 ? poke_body : peek_body, worker->object + 24 + offset, &fault);
        worker->caught += result == 1;
        worker->wrong += result == 1 && !is_expected(&fault, worker, offset);
    }
}

static void fault_often_by_macro(struct worker *worker) {
    struct vmarena_scope scope;
    for (volatile size_t i = 0; i < worker->count; i = i + 1) {
        size_t offset = i * 7 % page;
        VMARENA_TRY(&scope) { poke(worker->object + 24 + offset, 1); }
        VMARENA_CATCH(fault) {
            worker->caught++;
            worker->wrong += !is_expected(fault, worker, offset);
        }
    }
}

static void *work(void *arg) {
    struct worker *worker = arg;
    stack_t stack = {.ss_size = 64 * 1024}, before;
    if (worker->own_stack) {
        before = put_stack_away();
        stack.ss_sp = malloc(stack.ss_size);
        if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0) return NULL;
    }
    if (worker->macros) fault_often_by_macro(worker);
    else fault_often(worker);
    if (worker->own_stack) {
        (void)put_stack_away();
        put_stack_back(&before);
        free(stack.ss_sp);
    }
    return worker;
}

static void check_workers(bool own_stack, bool macros, size_t count) {
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    struct vmarena *arenas[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.count = count, .own_stack = own_stack, .macros = macros};
        arenas[i] = make_fenced(&workers[i].object, 24);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &workers[i]);
        assert_int_equal(workers[i].caught, workers[i].count);
        assert_int_equal(workers[i].wrong, 0);
        vmarena_destroy(arenas[i]);
    }
}

static void test_threads(void **state) {
    (void)state;
    begin();
    check_workers(false, false, FAULTS);
    check_workers(false, true, FAULTS / 10);
}

static void test_threads_with_stacks_of_their_own(void **state) {
    (void)state;
    begin();
    check_workers(true, false, FAULTS / 2);
}

/* ---- recovery 23: a scope is its thread's ------------------------------------------------------------------------------------ */

static void *peek_thread(void *address) {
    (void)peek(address);
    return address;
}

static void fault_elsewhere(void *address) {
    struct vmarena_scope scope;
    pthread_t thread;
    CHECK(vmarena_fault_reassert() == 0);
    VMARENA_TRY_ANY(&scope) {
        CHECK(pthread_create(&thread, NULL, peek_thread, address) == 0);
        pthread_join(thread, NULL);
    }
    VMARENA_CATCH(fault) { _exit(96); }
    _exit(98);
}

static void test_scope_of_another_thread(void **state) {
    (void)state;
    char *object;
    struct vmarena *arena = make_fenced(&object, 24);
    begin();
    assert_dies(fault_elsewhere, object + 24, guard_signo);
    vmarena_destroy(arena);
}

/* ---- alternate stacks ---------------------------------------------------------------------------------------------------------- */

#define CANARY 0xc5

static void *fault_on_a_host_stack(void *object) {
    size_t size = 64 * 1024;
    unsigned char *memory = malloc(size + 2 * page);
    stack_t stack = {.ss_sp = memory + page, .ss_size = size}, now, before = put_stack_away();
    assert_non_null(memory);
    memset(memory, CANARY, size + 2 * page);
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    for (int i = 0; i < 10; i++) assert_int_equal(vmarena_try(peek_body, (char *)object + 24, NULL), 1);
    assert_int_equal(sigaltstack(NULL, &now), 0);
    assert_ptr_equal(now.ss_sp, stack.ss_sp);
    assert_int_equal(now.ss_size, size);
    assert_int_equal(now.ss_flags, 0); /* neither on it nor disabled */
    size_t used = 0;
    for (size_t i = 0; i < page; i++) assert_int_equal(memory[i], CANARY);
    for (size_t i = 0; i < page; i++) assert_int_equal(memory[page + size + i], CANARY);
    for (size_t i = 0; i < size; i++) used += memory[page + i] != CANARY;
    assert_in_range(used, 500, size); /* the handler did run there */
    (void)put_stack_away();
    put_stack_back(&before);
    free(memory);
    return NULL;
}

/* Recovery 6: an alternate stack that the program has set is used, and nothing is written beside it. */
static void test_host_stack_is_used(void **state) {
    (void)state;
    char *object;
    struct vmarena *arena = make_fenced(&object, 24);
    begin();
    run_thread(fault_on_a_host_stack, object);
    vmarena_destroy(arena);
}

/* The line of /proc/self/maps that holds address: its permissions, and its bounds. */
static void find_map(const void *address, char permissions[5], uintptr_t *start, uintptr_t *end) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    permissions[0] = '\0';
    while (fgets(line, sizeof line, maps) != NULL) {
        char found[5];
        unsigned long low, high;
        if (sscanf(line, "%lx-%lx %4s", &low, &high, found) != 3) continue;
        if ((uintptr_t)address < low || (uintptr_t)address >= high) continue;
        memcpy(permissions, found, sizeof found);
        *start = low;
        *end = high;
    }
    fclose(maps);
}

struct stack_facts {
    char *object;
    stack_t stack;
};

static void *look_at_our_stack(void *arg) {
    struct stack_facts *facts = arg;
    char permissions[5];
    uintptr_t start = 0, end = 0;
    stack_t *now = &facts->stack, before = put_stack_away();
    assert_int_equal(vmarena_try(peek_body, facts->object + 24, NULL), 1);
    assert_int_equal(sigaltstack(NULL, now), 0);
    assert_int_equal(now->ss_flags, 0);
    assert_true(now->ss_size >= 32 * 1024);
#ifdef AT_MINSIGSTKSZ
    assert_true(now->ss_size >= getauxval(AT_MINSIGSTKSZ) + 16 * 1024);
#endif
    find_map(now->ss_sp, permissions, &start, &end);
    assert_string_equal(permissions, "rw-p");
    find_map((char *)now->ss_sp - 1, permissions, &start, &end);
    assert_string_equal(permissions, "---p");
    assert_int_equal(end, (uintptr_t)now->ss_sp);
    put_stack_back(&before);
    return NULL;
}

/* Ours is large enough for the CPU's state and has a guard below it. */
static void test_our_stack_is_guarded(void **state) {
    (void)state;
    struct stack_facts facts = {.object = NULL};
    struct vmarena *arena = make_fenced(&facts.object, 24);
    begin();
    run_thread(look_at_our_stack, &facts);
    vmarena_destroy(arena);
}

static void *fault_once(void *object) {
    stack_t before = put_stack_away();
    assert_int_equal(vmarena_try(peek_body, (char *)object + 24, NULL), 1);
    put_stack_back(&before);
    return NULL;
}

static void test_threads_leave_no_map_entries(void **state) {
    (void)state;
    char *object;
    struct vmarena *arena = make_fenced(&object, 24);
    begin();
    for (int i = 0; i < 10; i++) run_thread(fault_once, object);
    size_t before = count_maps();
    for (int i = 0; i < 100; i++) run_thread(fault_once, object);
    assert_in_range(count_maps(), 1, before + 4); /* a hundred leaked stacks would be two hundred */
    vmarena_destroy(arena);
}

/* The program sets a stack of its own after ours: its stack is kept, and ours is freed all the same. */
static void *replace_our_stack(void *object) {
    stack_t stack = {.ss_size = 64 * 1024}, now, before = put_stack_away();
    stack.ss_sp = malloc(stack.ss_size);
    assert_int_equal(vmarena_try(peek_body, (char *)object + 24, NULL), 1);
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    assert_int_equal(vmarena_try(peek_body, (char *)object + 24, NULL), 1);
    assert_int_equal(sigaltstack(NULL, &now), 0);
    assert_ptr_equal(now.ss_sp, stack.ss_sp);
    put_stack_back(&before);
    return stack.ss_sp;
}

static void test_host_replaces_our_stack(void **state) {
    (void)state;
    char *object;
    struct vmarena *arena = make_fenced(&object, 24);
    begin();
    for (int i = 0; i < 10; i++) free(run_thread(replace_our_stack, object));
    size_t before = count_maps();
    for (int i = 0; i < 50; i++) free(run_thread(replace_our_stack, object));
    assert_in_range(count_maps(), 1, before + 4);
    vmarena_destroy(arena);
}

/* ---- stack overflow --------------------------------------------------------------------------------------------------------------- */

UNCHECKED_ACCESS static int dig(volatile char *above) {
    volatile char here[1024];
    here[0] = above[0];
    here[1] = 0;
    if (here[0] != 0) here[1] = (char)dig(here); /* always */
    return here[1] + here[0];
}

static void dig_body(void *arg) {
    volatile char first[1] = {1};
    (void)arg;
    (void)dig(first);
}

static void *overflow_in_registered_scope(void *arg) {
    (void)vmarena_try(dig_body, arg, NULL);
    return arg;
}

static volatile uintptr_t overflow_low, overflow_high;
static void overflow_handler(int signo, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t address = (uintptr_t)info->si_addr;
    _exit(signo == SIGSEGV && address >= overflow_low && address < overflow_high ? 60 : 61);
}

static void overflow_in_thread(void *arg) {
    pthread_attr_t attributes;
    pthread_t thread;
    size_t size = 256 * 1024;
    char *stack = map_pages(size / page + 1, PROT_READ | PROT_WRITE);
    CHECK(mprotect(stack, page, PROT_NONE) == 0);
    overflow_low = (uintptr_t)stack;
    overflow_high = (uintptr_t)stack + page;
    if (*(int *)arg) {
        struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
        action.sa_sigaction = overflow_handler;
        sigaction(SIGSEGV, &action, NULL);
    }
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack + page, size) == 0);
    CHECK(pthread_create(&thread, &attributes, overflow_in_registered_scope, NULL) == 0);
    pthread_join(thread, NULL);
    _exit(98);
}

/* A thread overflows its stack in a scope for registered memory: the fault is not claimed, and the handler before ours gets
 * it, on the alternate stack. */
static void test_stack_overflow_declined(void **state) {
    (void)state;
    int with_handler = 1, without = 0;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's own frames overflow first\n");
        skip();
    }
    begin();
    assert_exits(overflow_in_thread, &with_handler, 60);
    assert_dies(overflow_in_thread, &without, SIGSEGV);
}

static void *overflow_in_any_scope(void *arg) {
    size_t *caught = arg;
    for (int i = 0; i < 3; i++) {
        struct vmarena_fault fault;
        if (vmarena_try_any(dig_body, NULL, &fault) != 1) return NULL;
        *caught += fault.signo == SIGSEGV && fault.access == told(VMARENA_ACCESS_WRITE);
    }
    return arg;
}

/* Recovery 7: a scope for any address catches it, again and again: the landing lies above the overflow. */
static void test_stack_overflow_recovered(void **state) {
    (void)state;
    size_t caught = 0;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's own frames overflow first\n");
        skip();
    }
    begin();
    assert_ptr_equal(run_thread(overflow_in_any_scope, &caught), &caught);
    assert_int_equal(caught, 3);
}

/* ---- recovery 36: the ends of threads, installs and faults at the same time --------------------------------------------------------- */

static pthread_key_t late_key;
static _Atomic int late_caught;
static void late_destructor(void *object) { late_caught += vmarena_try(peek_body, (char *)object + 24, NULL) == 1; }

static void *fault_late(void *object) {
    assert_int_equal(pthread_setspecific(late_key, object), 0);
    assert_int_equal(vmarena_try(peek_body, (char *)object + 24, NULL), 1);
    return NULL;
}

/* A scope in another destructor of the thread, before or after ours has freed the alternate stack. */
static void test_scope_at_thread_end(void **state) {
    (void)state;
    char *object;
    struct vmarena *arena = make_fenced(&object, 24);
    begin();
    assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
    for (int i = 1; i <= 20; i++) {
        run_thread(fault_late, object);
        assert_int_equal(late_caught, i);
    }
    assert_int_equal(pthread_key_delete(late_key), 0);
    vmarena_destroy(arena);
}

static _Atomic bool stop;

static void *install_and_uninstall(void *arg) {
    size_t rounds = 0, *done = arg;
    for (; rounds < 10 || !stop; rounds++) {
        int error = vmarena_fault_install();
        if (error == 0) error = vmarena_fault_uninstall();
        if (error != 0) return NULL;
    }
    *done = rounds;
    return arg;
}

static void *create_and_destroy(void *arg) {
    size_t rounds = 0, *done = arg;
    for (; !stop; rounds++) {
        struct vmarena *arena;
        char *object;
        struct vmarena_options options = {.reserve = 64 * page, .fence = VMARENA_FENCE_END};
        struct vmarena_fault fault;
        if (vmarena_create(&arena, &options) != 0 || (object = vmarena_alloc(arena, 24, 1)) == NULL) return NULL;
        if (vmarena_try(peek_body, object + 24, &fault) != 1 || fault.object != object) return NULL;
        vmarena_destroy(arena);
    }
    *done = rounds + 1;
    return arg;
}

/* One install is never undone, so that the handlers stay while other installs come and go. */
static void test_installs_beside_faults(void **state) {
    (void)state;
    pthread_t installers[2], makers[2];
    size_t installed[2] = {0, 0}, made[2] = {0, 0};
    struct worker worker = {.count = FAULTS / 2};
    struct vmarena *arena = make_fenced(&worker.object, 24);
    begin();
    assert_int_equal(vmarena_fault_install(), 0);
    stop = false;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&installers[i], NULL, install_and_uninstall, &installed[i]), 0);
        assert_int_equal(pthread_create(&makers[i], NULL, create_and_destroy, &made[i]), 0);
    }
    assert_ptr_equal(run_thread(work, &worker), &worker);
    stop = true;
    for (size_t i = 0; i < 2; i++) {
        void *result;
        assert_int_equal(pthread_join(installers[i], &result), 0);
        assert_ptr_equal(result, &installed[i]);
        assert_int_equal(pthread_join(makers[i], &result), 0);
        assert_ptr_equal(result, &made[i]);
    }
    assert_int_equal(worker.caught, worker.count);
    assert_int_equal(worker.wrong, 0);
    assert_int_equal(vmarena_fault_status(), VMARENA_HANDLER_INSTALLED);
    assert_int_equal(vmarena_fault_uninstall(), 0);
    vmarena_destroy(arena);
}

/* The program's handler repairs faults while ours is installed on top of it and removed: no fault is lost in between. */
static _Atomic size_t mended;
static _Thread_local char *closed_page;
static void mending_handler(int signo, siginfo_t *info, void *context) {
    (void)context;
    if (signo != SIGSEGV || info->si_addr != closed_page) _exit(70);
    if (mprotect(closed_page, page, PROT_READ | PROT_WRITE) != 0) _exit(71);
    mended++;
}

static void *fault_for_the_host(void *arg) {
    closed_page = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < *(size_t *)arg; i++) {
        poke(closed_page, 1);
        if (mprotect(closed_page, page, PROT_NONE) != 0) return NULL;
    }
    return arg;
}

static void host_faults_beside_installs(void *arg) {
    size_t count = FAULTS / 10, installed = 0;
    pthread_t faulting[2], installer;
    void *result;
    struct sigaction action = {.sa_flags = SA_SIGINFO}, now;
    (void)arg;
    action.sa_sigaction = mending_handler;
    CHECK(vmarena_fault_reassert() == 0);
    while (vmarena_fault_uninstall() == 0) continue;
    CHECK(vmarena_fault_install() == 0 && vmarena_fault_uninstall() == 0); /* there was another before the host's */
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    stop = false;
    for (size_t i = 0; i < 2; i++) CHECK(pthread_create(&faulting[i], NULL, fault_for_the_host, &count) == 0);
    CHECK(pthread_create(&installer, NULL, install_and_uninstall, &installed) == 0);
    for (size_t i = 0; i < 2; i++) CHECK(pthread_join(faulting[i], &result) == 0 && result == &count);
    stop = true;
    CHECK(pthread_join(installer, &result) == 0 && result == &installed && installed > 0);
    CHECK(mended == 2 * count);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == mending_handler);
}

static void start_anew(void *arg) {
    execl("/proc/self/exe", "test_fault_threads", (char *)arg, (char *)NULL);
    _exit(96);
}

static void test_host_faults_beside_installs(void **state) {
    (void)state;
    assert_runs(host_faults_beside_installs, NULL); /* cmocka has displaced ours */
    assert_runs(start_anew, "host");                /* nobody has */
}

/* ---- recovery 40: fork in one of many threads -------------------------------------------------------------------------------------------- */

static void *fork_while_others_fault(void *arg) {
    struct worker *worker = arg;
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            struct vmarena *arena;
            struct vmarena_fault fault;
            CHECK_QUIETLY(vmarena_try(peek_body, worker->object + 24, &fault) == 1 && fault.distance == 1, 80);
            CHECK_QUIETLY(vmarena_create(&arena, NULL) == 0, 81); /* the lock was not left held */
            CHECK_QUIETLY(vmarena_fault_install() == 0 && vmarena_fault_uninstall() == 0, 82);
            _exit(83);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 83 << 8) return NULL;
    }
    return arg;
}

static void test_fork_among_threads(void **state) {
    (void)state;
    pthread_t threads[2];
    size_t made[2] = {0, 0};
    struct worker worker = {.count = 1};
    struct vmarena *arena = make_fenced(&worker.object, 24);
    begin();
    assert_int_equal(vmarena_fault_install(), 0);
    stop = false;
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, create_and_destroy, &made[i]), 0);
    assert_ptr_equal(run_thread(fork_while_others_fault, &worker), &worker);
    stop = true;
    for (size_t i = 0; i < 2; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &made[i]);
    }
    assert_int_equal(vmarena_fault_uninstall(), 0);
    vmarena_destroy(arena);
}

int main(int argc, char **argv) {
    page = vmarena_page_size();
    guard_signo = auto_guard_signal();
    if (argc == 2 && strcmp(argv[1], "host") == 0) return host_faults_beside_installs(NULL), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_with_stacks_of_their_own),
        cmocka_unit_test(test_scope_of_another_thread),
        cmocka_unit_test(test_host_stack_is_used),
        cmocka_unit_test(test_our_stack_is_guarded),
        cmocka_unit_test(test_threads_leave_no_map_entries),
        cmocka_unit_test(test_host_replaces_our_stack),
        cmocka_unit_test(test_stack_overflow_declined),
        cmocka_unit_test(test_stack_overflow_recovered),
        cmocka_unit_test(test_scope_at_thread_end),
        cmocka_unit_test(test_installs_beside_faults),
        cmocka_unit_test(test_host_faults_beside_installs),
        cmocka_unit_test(test_fork_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
