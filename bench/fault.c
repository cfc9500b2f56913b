/* SPDX-License-Identifier: MIT */
/* What fault scopes and recovered faults cost, against what the C library and the kernel take by themselves. */
#include "bench.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmarena.h>

#include "prim/prim.h"
#include "region/region.h"
#include "region/registry.h"

/* ---- a scope in which nothing faults ------------------------------------------------------------------------------- */

static void nothing(void *arg) { (void)bench_keep(arg); }

/* A counter that outlives sigsetjmp must be volatile, which costs what is measured: so eight to a round. */
#define EIGHT(statement) statement statement statement statement statement statement statement statement

static double scopes(void *arg, size_t count) {
    struct vmarena_fault fault;
    double start = bench_now();
    for (volatile size_t i = 0; i < count; i += 8) {
        EIGHT(bench_must(vmarena_try(nothing, arg, &fault) == 0, "vmarena_try");)
    }
    return bench_now() - start;
}

static double macros(void *arg, size_t count) {
    struct vmarena_scope scope;
    double start = bench_now();
    for (volatile size_t i = 0; i < count; i += 8) {
        EIGHT(
            VMARENA_TRY(&scope) { nothing(arg); } VMARENA_CATCH(fault) { bench_must(fault == NULL, "VMARENA_TRY"); })
    }
    return bench_now() - start;
}

/* Without a body, so that there is nothing in it but the one call. */
static double setjmps(void *arg, size_t count) {
    sigjmp_buf landing;
    double start = bench_now();
    (void)arg;
    for (volatile size_t i = 0; i < count; i += 8) { EIGHT(if (sigsetjmp(landing, 0) != 0) return 0;) }
    return bench_now() - start;
}

/* With one, called as vmarena_try calls its own. */
static double setjmps_and_body(void *arg, size_t count) {
    void (*volatile body)(void *) = nothing;
    sigjmp_buf landing;
    double start = bench_now();
    for (volatile size_t i = 0; i < count; i += 8) { EIGHT(if (sigsetjmp(landing, 0) != 0) return 0; body(arg);) }
    return bench_now() - start;
}

/* ---- a fault that is recovered from --------------------------------------------------------------------------------- */

/* Called, as a guarded body is: what a compiler sees through it may take for an access that cannot jump. */
__attribute__((noinline)) static void touch(void *address) {
    *(volatile char *)address = 1;
    __asm__ volatile("" : : : "memory");
}
static void (*volatile body)(void *) = touch;

static double recovered(void *address, size_t count) {
    struct vmarena_fault fault;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) bench_must(vmarena_try(body, address, &fault) == 1, "the fault");
    return bench_now() - start;
}

/*
 * The least that a handler can do: change the saved program counter and return. It lands in a function, as the least
 * that there is in C, and that jumps back without the C library: a few nanoseconds.
 */
static void *landing[5];
static uintptr_t landing_stack;

static void land(void *unused) {
    (void)unused;
    __builtin_longjmp(landing, 1);
}

static void bare_handler(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info;
    vmarena_prim_leave_handler(context, land, NULL, landing_stack);
}

__attribute__((noinline)) static void bare_fault(void *address) {
    landing_stack = vmarena_prim_frame_address();
    if (__builtin_setjmp(landing) == 0) body(address);
}

static double bare(void *address, size_t count) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, before;
    action.sa_sigaction = bare_handler;
    bench_must(sigaction(SIGSEGV, &action, &before) == 0, "sigaction");
    double start = bench_now();
    for (size_t i = 0; i < count; i++) bare_fault(address);
    double took = bench_now() - start;
    bench_must(sigaction(SIGSEGV, &before, NULL) == 0, "sigaction");
    return took;
}

/* ---- among many arenas and objects ------------------------------------------------------------------------------------ */

/*
 * With one and with many is measured in two processes that wait for each other's turn, since to make and unmake the many
 * would take longer than the measurement.
 */
#define SPOTS 4096

struct worker {
    void *spots[SPOTS]; /* just past the end of an object */
    size_t spot_count;
    int ask, answer;
};

struct request {
    bool classify; /* the library's part alone */
    size_t count;
};

static double fault_at_spots(const struct worker *worker, size_t count) {
    struct vmarena_fault fault;
    double start = bench_now();
    for (size_t i = 0; i < count; i++)
        bench_must(vmarena_try(body, worker->spots[i % worker->spot_count], &fault) == 1, "the fault");
    return bench_now() - start;
}

static double classify_spots(const struct worker *worker, size_t count) {
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        struct vmarena_fault fault = {.signo = SIGSEGV, .address = worker->spots[i % worker->spot_count]};
        const struct vmarena_region *region = vmarena_registry_find((uintptr_t)fault.address);
        bench_must(region != NULL, "the look-up");
        region->attribute(region, &fault);
        bench_must(fault.distance == 1, "the classification");
    }
    return bench_now() - start;
}

/* fenced arenas of `objects` pages each, and bump arenas around them. Objects of whole pages have no slack to fill. */
static void populate(struct worker *worker, size_t fenced, size_t objects, size_t bumps) {
    size_t page = vmarena_page_size(), total = fenced * objects, made = 0;
    struct vmarena *arena;
    struct vmarena_options bump = {.reserve = page};
    struct vmarena_options fence = {.reserve = objects * 2 * page + page, .fence = VMARENA_FENCE_END};
    for (size_t i = 0; i < fenced; i++) {
        bench_must(vmarena_create(&arena, &fence) == 0, vmarena_explain());
        for (size_t j = 0; j < objects; j++) {
            char *object = vmarena_alloc(arena, page, 1);
            bench_must(object != NULL, vmarena_explain());
            /* Spread over all, in an order that no cache foresees. */
            size_t spot = made++ * SPOTS / total;
            worker->spots[spot * 1597 % SPOTS] = object + page;
        }
        for (size_t j = 0; j < bumps / fenced; j++) bench_must(vmarena_create(&arena, &bump) == 0, vmarena_explain());
    }
    worker->spot_count = total < SPOTS ? 1 : SPOTS;
}

static void serve(const struct worker *worker) {
    struct request request;
    while (read(worker->ask, &request, sizeof request) == (ssize_t)sizeof request) {
        double took = request.classify ? classify_spots(worker, request.count) : fault_at_spots(worker, request.count);
        bench_must(write(worker->answer, &took, sizeof took) == (ssize_t)sizeof took, "write");
    }
    _exit(0);
}

static void start_worker(struct worker *worker, size_t fenced, size_t objects, size_t bumps) {
    int ask[2], answer[2];
    bench_must(pipe(ask) == 0 && pipe(answer) == 0, "pipe");
    (void)fflush(stdout);
    pid_t child = fork();
    bench_must(child >= 0, "fork");
    if (child == 0) {
        (void)close(ask[1]);
        *worker = (struct worker){.ask = ask[0], .answer = answer[1]};
        populate(worker, fenced, objects, bumps);
        serve(worker);
    }
    (void)close(ask[0]);
    (void)close(answer[1]);
    worker->ask = ask[1];
    worker->answer = answer[0];
}

static double ask_worker(const struct worker *worker, bool classify, size_t count) {
    struct request request = {classify, count};
    double took = 0;
    bench_must(write(worker->ask, &request, sizeof request) == (ssize_t)sizeof request, "write");
    bench_must(read(worker->answer, &took, sizeof took) == (ssize_t)sizeof took, "a worker");
    return took;
}

static double faults_of(void *worker, size_t count) { return ask_worker(worker, false, count); }
static double classes_of(void *worker, size_t count) { return ask_worker(worker, true, count); }

static void among_many(void) {
    static struct worker one, many;
    start_worker(&one, 1, 1, 0);
    start_worker(&many, 100, 10000, 9900);
    bench_compare("fault among 10,000 arenas and 1,000,000 objects", faults_of, &many, "one", faults_of, &one, 1.5);
    bench_compare("of it look-up and owner's answer, caches cold", classes_of, &many, "one", classes_of, &one, 0);
    (void)close(one.ask);
    (void)close(many.ask);
    while (wait(NULL) > 0) continue;
}

int main(int argc, char **argv) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = (size_t)1 << 20, .fence = VMARENA_FENCE_END, .name = "bench"};
    bench_begin(argc, argv);
    bench_must(vmarena_create(&arena, &options) == 0, vmarena_explain());
    char *object = vmarena_alloc(arena, 24, 1);
    bench_must(object != NULL, vmarena_explain());
    bench_compare("vmarena_try, no fault", scopes, object, "sigsetjmp(buf, 0)", setjmps, object, 3);
    bench_compare("vmarena_try, no fault", scopes, object, "sigsetjmp and body", setjmps_and_body, object, 0);
    bench_compare("VMARENA_TRY, no fault", macros, object, "sigsetjmp(buf, 0)", setjmps, object, 3);
    bench_compare("vmarena_try, fault recovered", recovered, object + 24, "PC rewritten", bare, object + 24, 1.25);
    among_many();
    vmarena_destroy(arena);
    return bench_end();
}
