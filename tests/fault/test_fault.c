/* SPDX-License-Identifier: MIT */
/*
 * Faults caught, explained and survived by one thread. "Recovery N" names the entry of the recovery list in README.md.
 */
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include "prim/prim.h"
#include "region/region.h"
#include "region/registry.h"
#include "support.h"

static size_t page;
static int guard_signo; /* what the guards of make() with VMARENA_GUARD_AUTO raise */

/* cmocka has displaced the handlers before this test. */
static void ready(void) {
    assert_int_equal(vmarena_fault_reassert(), 0);
    if (vmarena_fault_status() == VMARENA_HANDLER_ABSENT) assert_int_equal(vmarena_fault_install(), 0);
    assert_int_equal(vmarena_fault_status(), VMARENA_HANDLER_INSTALLED);
}

static struct vmarena *make(enum vmarena_fence fence, enum vmarena_guard_kind guard_kind) {
    struct vmarena *arena;
    struct vmarena_options options = {
        .reserve = 64 * page, .fence = fence, .guard_kind = guard_kind, .guard = 2 * page, .name = "t"};
    if (vmarena_create(&arena, &options) != 0) fail_msg("%s", vmarena_explain());
    return arena;
}

static char *take(struct vmarena *arena, size_t size) {
    char *object = vmarena_alloc(arena, size, 1);
    if (object == NULL) fail_msg("%s", vmarena_explain());
    return object;
}

/* The fault of a read or a write, which must fault, caught by the callback form. */
static struct vmarena_fault fault_of(void *address, bool write) {
    struct vmarena_fault fault;
    memset(&fault, 0xee, sizeof fault);
    assert_int_equal(vmarena_try(write ? poke_body : peek_body, address, &fault), 1);
    return fault;
}

static struct vmarena_fault any_fault_of(void *address, bool write) {
    struct vmarena_fault fault;
    memset(&fault, 0xee, sizeof fault);
    assert_int_equal(vmarena_try_any(write ? poke_body : peek_body, address, &fault), 1);
    return fault;
}

static enum vmarena_access access_of(bool write) { return write ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ; }

/* ---- nothing faults ---------------------------------------------------------------------------------------------------- */

static void count_body(void *arg) { ++*(int *)arg; }

static void test_no_fault(void **state) {
    (void)state;
    int count = 0;
    struct vmarena_fault fault;
    memset(&fault, 0xee, sizeof fault);
    ready();
    assert_int_equal(vmarena_try(count_body, &count, &fault), 0);
    assert_int_equal(vmarena_try_any(count_body, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_null(vmarena_scope_top());
    unsigned char untouched[sizeof fault];
    memset(untouched, 0xee, sizeof untouched);
    assert_memory_equal(&fault, untouched, sizeof fault);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    int count = 0;
    struct vmarena_fault fault;
    assert_int_equal(vmarena_try(NULL, NULL, &fault), -EINVAL);
    assert_string_equal(vmarena_explain(), "vmarena_try: no body");
    assert_int_equal(vmarena_try_any(NULL, NULL, &fault), -EINVAL);
    assert_int_equal(vmarena_try_in(NULL, count_body, &count, &fault), -EBADF);
    assert_int_equal(vmarena_on_fault(NULL, NULL, NULL), -EBADF);
    assert_int_equal(count, 0);
    assert_null(vmarena_scope_top());
}

/* ---- what a fault record says --------------------------------------------------------------------------------------------------- */

/* Recovery 2: two faults in a row, then a hundred. Recovery 3: the exact address, also at odd offsets. */
static void test_exact_address_again_and_again(void **state) {
    (void)state;
    static const size_t offsets[] = {0, 1, 2, 3, 7, 13, 63, 65, 4095};
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    ready();
    for (int round = 0; round < 100; round++) {
        size_t offset = offsets[(size_t)round % (sizeof offsets / sizeof offsets[0])];
        struct vmarena_fault fault = fault_of(object + 24 + offset, round % 2);
        assert_fault(&fault, .signo = guard_signo, .address = object + 24 + offset, .access = access_of(round % 2),
                     .kind = VMARENA_FAULT_OVERRUN, .object = object, .object_size = 24,
                     .distance = (ptrdiff_t)offset + 1);
        assert_ptr_equal(fault.owner, arena);
        assert_string_equal(fault.owner_name, "t");
        assert_non_null(fault.pc);
    }
    vmarena_destroy(arena);
}

/* Recovery 8: the first and the last byte of the guards before and after, for both fences and each back end. */
static void check_fence(enum vmarena_fence fence, enum vmarena_guard_kind kind, bool write) {
    struct vmarena *arena = make(fence, kind);
    size_t size = 2 * page; /* fills its pages, so that both sides are byte-exact */
    char *object = take(arena, size), *next = take(arena, size);
    assert_int_equal(next - object, 4 * page);
    struct {
        char *address;
        enum vmarena_fault_kind kind;
        char *object;
        ptrdiff_t distance;
    } edges[] = {
        {object - 1, VMARENA_FAULT_UNDERRUN, object, -1},
        {object - (ptrdiff_t)(2 * page), VMARENA_FAULT_UNDERRUN, object, -(ptrdiff_t)(2 * page)},
        {object + size, VMARENA_FAULT_OVERRUN, object, 1},
        {object + size + page - 1, VMARENA_FAULT_OVERRUN, object, (ptrdiff_t)page},
        {next - 1, VMARENA_FAULT_UNDERRUN, next, -1},
        {next - (ptrdiff_t)page + 1, VMARENA_FAULT_UNDERRUN, next, -(ptrdiff_t)page + 1},
        {next + size, VMARENA_FAULT_OVERRUN, next, 1},
        {next + size + 2 * page - 1, VMARENA_FAULT_OVERRUN, next, (ptrdiff_t)(2 * page)},
    };
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        struct vmarena_fault fault = fault_of(edges[i].address, write);
        assert_fault(&fault, .signo = SIGSEGV, .address = edges[i].address, .access = access_of(write),
                     .kind = edges[i].kind, .object = edges[i].object, .object_size = size,
                     .distance = edges[i].distance);
    }
    poke(object, 1);
    poke(object + size - 1, 1);
    assert_int_equal(vmarena_check(arena), 0);
    vmarena_destroy(arena);
}

static void test_guard_edges(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    ready();
    for (int write = 0; write < 2; write++) {
        check_fence(VMARENA_FENCE_END, VMARENA_GUARD_PROTECT, write);
        check_fence(VMARENA_FENCE_START, VMARENA_GUARD_PROTECT, write);
        if (caps.guard_markers) check_fence(VMARENA_FENCE_END, VMARENA_GUARD_MARKER, write);
        if (caps.guard_markers) check_fence(VMARENA_FENCE_START, VMARENA_GUARD_MARKER, write);
    }
}

static void test_bump_edges(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    char *base = take(arena, 100);
    ready();
    for (int write = 0; write < 2; write++) {
        struct {
            char *address;
            enum vmarena_fault_kind kind;
            ptrdiff_t distance;
        } edges[] = {
            {base - 1, VMARENA_FAULT_UNDERRUN, -1},
            {base - (ptrdiff_t)(2 * page), VMARENA_FAULT_UNDERRUN, -(ptrdiff_t)(2 * page)},
            {base + 64 * page, VMARENA_FAULT_OVERRUN, (ptrdiff_t)(64 * page) - 99},
            {base + 66 * page - 1, VMARENA_FAULT_OVERRUN, (ptrdiff_t)(66 * page) - 100},
        };
        for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
            struct vmarena_fault fault = fault_of(edges[i].address, write);
            assert_fault(&fault, .signo = SIGSEGV, .address = edges[i].address, .access = access_of(write),
                         .kind = edges[i].kind, .object = base, .object_size = 100, .distance = edges[i].distance);
        }
    }
    vmarena_destroy(arena);
}

/* Recovery 9: inaccessible, read-only and unmapped memory, and NULL; read and written. */
static void check_protection(enum vmarena_fence fence) {
    struct vmarena *arena = make(fence, VMARENA_GUARD_AUTO);
    char *object = take(arena, page);
    poke(object + 5, 77);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(vmarena_try(peek_body, object + 5, NULL), 0);
    assert_int_equal(peek(object + 5), 77);
    struct vmarena_fault fault = fault_of(object + 5, true);
    assert_fault(&fault, .signo = SIGSEGV, .address = object + 5, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_PROTECTED, .object = object, .object_size = page);
    assert_int_equal(fault.code, SEGV_ACCERR);
    assert_int_equal(peek(object + 5), 77);
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    for (int write = 0; write < 2; write++) {
        fault = fault_of(object + page - 1, write);
        assert_fault(&fault, .signo = SIGSEGV, .address = object + page - 1, .access = access_of(write),
                     .kind = VMARENA_FAULT_PROTECTED, .object = object, .object_size = page);
        assert_int_equal(fault.code, SEGV_ACCERR);
    }
    assert_int_equal(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE), 0);
    assert_int_equal(peek(object + 5), 77);
    vmarena_destroy(arena);
}

static void test_protections(void **state) {
    (void)state;
    ready();
    check_protection(VMARENA_FENCE_OFF);
    check_protection(VMARENA_FENCE_END);
    check_protection(VMARENA_FENCE_START);
}

static void test_foreign_memory(void **state) {
    (void)state;
    char *none = map_pages(1, PROT_NONE), *readonly = map_pages(1, PROT_READ);
    ready();
    for (int write = 0; write < 2; write++) {
        struct vmarena_fault fault = any_fault_of(NULL, write);
        assert_fault(&fault, .signo = SIGSEGV, .address = NULL, .access = access_of(write),
                     .kind = VMARENA_FAULT_UNMAPPED);
        assert_int_equal(fault.code, SEGV_MAPERR);
        fault = any_fault_of((void *)(uintptr_t)9, write);
        assert_fault(&fault, .signo = SIGSEGV, .address = (void *)(uintptr_t)9, .access = access_of(write),
                     .kind = VMARENA_FAULT_UNMAPPED);
        fault = any_fault_of(none + 3, write);
        assert_fault(&fault, .signo = SIGSEGV, .address = none + 3, .access = access_of(write),
                     .kind = VMARENA_FAULT_PROTECTED);
        assert_int_equal(fault.code, SEGV_ACCERR);
        char *unmapped = hole() + 1;
        fault = any_fault_of(unmapped, write);
        assert_int_equal(fault.signo, SIGSEGV);
        assert_int_equal(fault.code, SEGV_MAPERR);
        assert_int_equal(fault.kind, VMARENA_FAULT_UNMAPPED);
        assert_int_equal(fault.access, told(access_of(write)));
        assert_ptr_equal(fault.address, unmapped);
    }
    struct vmarena_fault fault = any_fault_of(readonly, true);
    assert_fault(&fault, .signo = SIGSEGV, .address = readonly, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_PROTECTED);
    munmap(none, page);
    munmap(readonly, page);
}

static void never_asked(const struct vmarena_region *region, struct vmarena_fault *fault) {
    (void)region;
    fault->object = fault->address;
}

/* A region whose record another thread takes anew, and zeroes, after a handler has found it. */
static void test_nearest_region_is_being_released(void **state) {
    (void)state;
    static struct vmarena_region region; /* as a pool's: never unmapped */
    struct vmarena_fault fault;
    char *nowhere = hole();
    ready();
    region = (struct vmarena_region){
        .outer = nowhere + 2 * page, .outer_size = page, .owner = &region, .attribute = never_asked, .name = "gone"};
    assert_int_equal(vmarena_registry_add((uintptr_t)region.outer, (uintptr_t)region.outer + page, &region), 0);
    assert_int_equal(vmarena_try_any(poke_body, nowhere, &fault), 1);
    assert_ptr_equal(fault.object, nowhere);
    region.attribute = NULL;
    assert_int_equal(vmarena_try_any(poke_body, nowhere, &fault), 1);
    vmarena_registry_remove((uintptr_t)nowhere + 2 * page, (uintptr_t)nowhere + 3 * page);
    assert_fault(&fault, .signo = SIGSEGV, .address = nowhere, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_UNMAPPED);
    assert_null(fault.owner);
    assert_string_equal(fault.owner_name, "");
}

/* Past the guard the address is in no region: the nearest region is named, and the kind says that it is only near. */
static void test_nearest_owner(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    char *base = take(arena, 100), *address;
    struct vmarena_fault fault;
    ready();
    /* What lies behind the reservation is not ours. */
    for (address = base + 66 * page; vmarena_try_any(peek_body, address, &fault) == 0; address += page) continue;
    if (fault.kind == VMARENA_FAULT_UNMAPPED)
        assert_fault(&fault, .signo = SIGSEGV, .address = address, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_UNMAPPED, .object = base, .object_size = 100,
                     .distance = address - base - 99);
    vmarena_destroy(arena);
    /* A destroyed arena is not named. */
    fault = any_fault_of(base, false);
    assert_fault(&fault, .signo = SIGSEGV, .address = base, .access = VMARENA_ACCESS_READ,
                 .kind = VMARENA_FAULT_UNMAPPED);
}

static void call_body(void *address) {
    void (*function)(void);
    memcpy(&function, &address, sizeof function);
    function();
}

static void test_execution(void **state) {
    (void)state;
    skip_under_valgrind("a fault of execution has no error code");
    struct vmarena *arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    char *object = take(arena, 64);
    struct vmarena_fault fault;
    ready();
    assert_int_equal(vmarena_try(call_body, object, &fault), 1);
    assert_fault(&fault, .signo = SIGSEGV, .address = object, .access = VMARENA_ACCESS_EXEC,
                 .kind = VMARENA_FAULT_PROTECTED, .object = object, .object_size = 64);
    assert_ptr_equal(fault.pc, object);
    vmarena_destroy(arena);
}

/* Recovery 11 and 12, by a file mapped here: SIGBUS on the page past the end. 13: the tail of the last page is no fault. */
static void test_truncated_file(void **state) {
    (void)state;
    static const int flags[] = {MAP_SHARED, MAP_PRIVATE};
    ready();
    for (size_t i = 0; i < 2; i++) {
        int fd;
        char *map = map_file(3, 3 * page, flags[i], &fd);
        assert_int_equal(ftruncate(fd, (off_t)page + 10), 0);
        assert_int_equal(peek(map + page + 9), 'f');
        assert_int_equal(vmarena_try_any(peek_body, map + page + 10, NULL), 0);
        assert_int_equal(peek(map + 2 * page - 1), 0);
        for (int write = 0; write < 2; write++) {
            struct vmarena_fault fault = any_fault_of(map + 2 * page + 3, write);
            assert_fault(&fault, .signo = SIGBUS, .address = map + 2 * page + 3, .access = access_of(write),
                         .kind = VMARENA_FAULT_PAST_END_OF_FILE);
            assert_int_equal(fault.code, BUS_ADRERR);
        }
        /* Recovery 14: grown again, the access succeeds. */
        assert_int_equal(ftruncate(fd, 3 * (off_t)page), 0);
        assert_int_equal(vmarena_try_any(peek_body, map + 2 * page + 3, NULL), 0);
        munmap(map, 3 * page);
        close(fd);
    }
}

/* ---- whose fault it is ---------------------------------------------------------------------------------------------------- */

static void die_non_canonical(void *arg) {
    (void)arg;
    struct vmarena_fault fault;
    CHECK(vmarena_fault_reassert() == 0);
    (void)vmarena_try_any(peek_body, (void *)(uintptr_t)0x5a5a5a5a5a5a5a5a, &fault);
    _exit(98);
}

/* Recovery 10: the kernel gives no address, so that no scope claims the fault, not even one that claims any address. */
static void test_non_canonical_declined(void **state) {
    (void)state;
#ifndef __x86_64__
    print_message(
        "skip: the kernel names every address (with 32 bits all are canonical; arm64 ignores the top byte)\n");
    skip();
#endif
    ready();
    assert_dies(die_non_canonical, NULL, SIGSEGV);
}

static void die_without_scope(void *address) {
    CHECK(vmarena_fault_reassert() == 0);
    (void)peek(address);
    _exit(98);
}

static void die_after_scope(void *address) {
    int count = 0;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_try(count_body, &count, NULL) == 0);
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) { count++; }
    VMARENA_CATCH(fault) { _exit(96); }
    CHECK(count == 2 && vmarena_scope_top() == NULL);
    (void)peek(address);
    _exit(98);
}

static void die_out_of_scope(void *address) {
    CHECK(vmarena_fault_reassert() == 0);
    (void)vmarena_try(peek_body, address, NULL);
    _exit(98);
}

/* Recovery 20: no scope. Recovery 21: a scope that was closed. And memory of others, in a scope for registered memory. */
static void test_declined_without_scope(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24), *foreign = map_pages(1, PROT_NONE);
    ready();
    assert_dies(die_without_scope, object + 24, guard_signo);
    assert_dies(die_after_scope, object + 24, guard_signo);
    assert_dies(die_out_of_scope, NULL, SIGSEGV);
    assert_dies(die_out_of_scope, foreign, SIGSEGV);
    munmap(foreign, page);
    vmarena_destroy(arena);
}

/* Recovery 25: only a signal that the kernel raised for an access of this thread is considered. */
static void test_signal_codes(void **state) {
    (void)state;
    static const struct {
        int signo, code;
        bool access;
        enum vmarena_fault_kind kind;
    } codes[] = {
        {SIGSEGV, SEGV_MAPERR, true, VMARENA_FAULT_UNMAPPED},
        {SIGSEGV, SEGV_ACCERR, true, VMARENA_FAULT_PROTECTED},
#ifdef SEGV_PKUERR
        {SIGSEGV, SEGV_PKUERR, true, VMARENA_FAULT_PROTECTED},
#endif
        {SIGBUS, BUS_ADRERR, true, VMARENA_FAULT_PAST_END_OF_FILE},
        {SIGBUS, BUS_ADRALN, true, VMARENA_FAULT_OTHER},
#ifdef BUS_MCEERR_AR
        {SIGBUS, BUS_MCEERR_AR, true, VMARENA_FAULT_HARDWARE},
        {SIGBUS, BUS_MCEERR_AO, false, VMARENA_FAULT_OTHER}, /* of memory that nobody touched yet */
#endif
        {SIGSEGV, SI_USER, false, VMARENA_FAULT_OTHER},
        {SIGSEGV, SI_QUEUE, false, VMARENA_FAULT_OTHER},
        {SIGSEGV, SI_TKILL, false, VMARENA_FAULT_OTHER},
        {SIGSEGV, SI_KERNEL, false, VMARENA_FAULT_OTHER},
        {SIGBUS, SI_USER, false, VMARENA_FAULT_OTHER},
        {SIGBUS, SI_KERNEL, false, VMARENA_FAULT_OTHER},
        {SIGILL, SEGV_MAPERR, false, VMARENA_FAULT_OTHER},
        {SIGFPE, BUS_ADRERR, false, VMARENA_FAULT_OTHER},
    };
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct vmarena_scope scope;
    ucontext_t context;
    ready();
    memset(&context, 0, sizeof context);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        siginfo_t info = {.si_signo = codes[i].signo, .si_code = codes[i].code};
        info.si_addr = object + 24;
        if (vmarena_prim_fault_has_address(codes[i].signo, &info) != codes[i].access)
            fail_msg("signal %d, code %d", codes[i].signo, codes[i].code);
        assert_int_equal(vmarena_prim_fault_kind(codes[i].signo, codes[i].code), codes[i].kind);
        if (codes[i].access) continue;
        VMARENA_TRY_ANY(&scope) {
            assert_false(vmarena_handle_signal(codes[i].signo, &info, &context));
            assert_ptr_equal(vmarena_scope_top(), &scope);
        }
        VMARENA_CATCH(fault) { fail(); }
    }
    vmarena_destroy(arena);
}

static void die_by_division(void *arg) {
    volatile int zero = 0;
    (void)arg;
    *(volatile int *)arg = 1 / zero;
}

static void die_by_fpe(void *arg) {
    int result;
    (void)arg;
    CHECK(vmarena_fault_reassert() == 0);
    signal(SIGFPE, SIG_DFL);
    (void)vmarena_try_any(die_by_division, &result, NULL);
    raise(SIGFPE); /* where division by zero does not trap */
}

/* Recovery 22: no signal but these two is ever claimed. */
static void test_sigfpe_declined(void **state) {
    (void)state;
    ready();
    assert_dies(die_by_fpe, NULL, SIGFPE);
}

static void die_wrong_arena(void *arg) {
    void **pair = arg;
    CHECK(vmarena_fault_reassert() == 0);
    (void)vmarena_try_in(pair[0], peek_body, pair[1], NULL);
    _exit(98);
}

static void test_scope_by_arena(void **state) {
    (void)state;
    struct vmarena *one = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    struct vmarena *other = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    char *in_one = take(one, 24), *in_other = take(other, 24);
    struct vmarena_fault fault;
    ready();
    assert_int_equal(vmarena_try_in(one, peek_body, in_one + 24, &fault), 1);
    assert_ptr_equal(fault.owner, one);
    assert_int_equal(vmarena_try_in(other, peek_body, in_other - 1, &fault), 1);
    assert_ptr_equal(fault.owner, other);
    assert_dies(die_wrong_arena, ((void *[]){one, in_other - 1}), SIGSEGV);
    assert_dies(die_wrong_arena, ((void *[]){other, in_one + 24}), guard_signo);
    assert_dies(die_wrong_arena, ((void *[]){one, NULL}), SIGSEGV);
    vmarena_destroy(one);
    vmarena_destroy(other);
}

/* ---- nesting ---------------------------------------------------------------------------------------------------------------- */

struct nest {
    struct vmarena *inner, *outer;
    char *address;
    int inner_result, after;
    struct vmarena_fault fault;
};

static void nest_body(void *arg) {
    struct nest *nest = arg;
    nest->inner_result = vmarena_try_in(nest->inner, peek_body, nest->address, &nest->fault);
    nest->after++;
}

/* Recovery 30: the inner scope catches its own faults, the outer scope the others. */
static void test_nested_scopes(void **state) {
    (void)state;
    struct vmarena *one = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    struct vmarena *other = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *in_one = take(one, 24), *in_other = take(other, 24);
    struct vmarena_fault fault;
    ready();
    for (int round = 0; round < 10; round++) {
        struct nest nest = {.inner = one, .outer = other, .address = in_one + 24, .inner_result = -1};
        assert_int_equal(vmarena_try_in(other, nest_body, &nest, &fault), 0);
        assert_int_equal(nest.inner_result, 1);
        assert_int_equal(nest.after, 1);
        assert_ptr_equal(nest.fault.owner, one);
        nest = (struct nest){.inner = one, .outer = other, .address = in_other + 25, .inner_result = -1};
        assert_int_equal(vmarena_try_in(other, nest_body, &nest, &fault), 1);
        assert_int_equal(nest.inner_result, -1);
        assert_int_equal(nest.after, 0);
        assert_fault(&fault, .signo = guard_signo, .address = in_other + 25, .access = VMARENA_ACCESS_READ,
                     .kind = VMARENA_FAULT_OVERRUN, .object = in_other, .object_size = 24, .distance = 2);
        assert_null(vmarena_scope_top());
    }
    vmarena_destroy(one);
    vmarena_destroy(other);
}

/* Recovery 30 and 2 with the macros: scopes in one frame; the inner scope's catch block faults, too. */
static void test_nested_macros(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct vmarena_scope outer, inner;
    volatile int steps = 0;
    ready();
    VMARENA_TRY(&outer) {
        VMARENA_TRY(&inner) {
            steps = steps + 1;
            (void)peek(object + 24);
            steps = 100;
        }
        VMARENA_CATCH(fault) {
            assert_ptr_equal(fault, &inner.fault);
            assert_int_equal(fault->distance, 1);
            assert_ptr_equal(vmarena_scope_top(), &outer);
            steps = steps + 10;
            poke(object + 30, 1);
            steps = 200;
        }
        steps = 300;
    }
    VMARENA_CATCH(fault) {
        assert_ptr_equal(fault, &outer.fault);
        assert_fault(fault, .signo = guard_signo, .address = object + 30, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_OVERRUN, .object = object, .object_size = 24, .distance = 7);
        steps = steps + 1000;
    }
    assert_int_equal(steps, 1011);
    assert_null(vmarena_scope_top());
    vmarena_destroy(arena);
}

/* ---- other ways out of a block ------------------------------------------------------------------------------------------ */

static int leave_by_return(struct vmarena_scope *scope, const char *address) {
    VMARENA_TRY(scope) {
        if (address == NULL) return 1;
        (void)peek(address);
        return 2;
    }
    VMARENA_CATCH(fault) { return fault->distance == 1 ? 3 : 4; }
    return 5;
}

static int leave_by_goto(struct vmarena_scope *scope) {
    VMARENA_TRY(scope) { goto out; }
    VMARENA_CATCH(fault) { return 4; }
    return 5;
out:
    return 6;
}

static void test_break_return_goto(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct vmarena_scope scope;
    volatile int passes = 0, after = 0;
    ready();
    for (int i = 0; i < 5; i++) {
        VMARENA_TRY(&scope) {
            passes = passes + 1;
            if (i % 2 == 0) break;
            passes = passes + 10;
            continue;
        }
        VMARENA_CATCH(fault) { fail(); }
        after = after + 1; /* break and continue leave the block, not the loop around it */
        assert_null(vmarena_scope_top());
    }
    assert_int_equal(passes, 25);
    assert_int_equal(after, 5);
    assert_int_equal(leave_by_return(&scope, NULL), 1);
    assert_null(vmarena_scope_top());
    assert_int_equal(leave_by_return(&scope, object + 24), 3);
    assert_null(vmarena_scope_top());
    assert_int_equal(leave_by_return(&scope, object), 2);
    assert_int_equal(leave_by_goto(&scope), 6);
    assert_null(vmarena_scope_top());
    vmarena_destroy(arena);
}

static struct vmarena_scope *scope_once(struct vmarena_scope *scope, int *count) {
    ++*count;
    return scope;
}

static void test_macro_evaluates_once(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct vmarena_scope scope;
    int count = 0;
    ready();
    VMARENA_TRY_IN(scope_once(&scope, &count), arena) { (void)peek(object + 24); }
    VMARENA_CATCH(fault) { assert_ptr_equal(fault, &scope.fault); }
    assert_int_equal(count, 1);
    vmarena_destroy(arena);
}

/* Recovery 33: a jump of the program's own abandons scopes; then others are opened and used. */
static jmp_buf away;
static void abandon(void *address) {
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) {
        if (address == NULL) longjmp(away, 1);
        abandon(NULL);
    }
    VMARENA_CATCH(fault) { fail(); }
}

static void test_abandoned_scopes(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct vmarena_scope outer;
    volatile int caught = 0;
    ready();
    VMARENA_TRY(&outer) {
        for (volatile int round = 0; round < 100; round = round + 1) {
            struct vmarena_scope *volatile top = vmarena_scope_top();
            assert_ptr_equal(top, &outer);
            if (setjmp(away) == 0) abandon(object);
            assert_ptr_not_equal(vmarena_scope_top(), &outer);
            vmarena_scope_unwind(top);
            assert_ptr_equal(vmarena_scope_top(), &outer);
            assert_int_equal(vmarena_try(peek_body, object + 24, NULL), 1);
        }
        (void)peek(object + 30);
    }
    VMARENA_CATCH(fault) {
        assert_int_equal(fault->distance, 7);
        caught = 1;
    }
    assert_int_equal(caught, 1);
    assert_null(vmarena_scope_top());
    vmarena_destroy(arena);
}

/* ---- what a fault leaves unchanged ----------------------------------------------------------------------------------- */

struct faulting {
    const char *address;
    int error;
};

static void errno_body(void *arg) {
    struct faulting *faulting = arg;
    errno = faulting->error;
    (void)peek(faulting->address);
}

static void mask_body(void *arg) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)peek(arg);
}

/* Recovery 38: errno and the signal mask are those at the moment of the fault. */
static void test_errno_and_mask_kept(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    sigset_t before, after, set;
    ready();
    for (int error = 0; error < 200; error += 33) {
        errno = 5;
        assert_int_equal(vmarena_try(errno_body, &(struct faulting){object + 24, error}, NULL), 1);
        assert_int_equal(errno, error);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(vmarena_try(mask_body, object + 24, NULL), 1);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
        for (int signo = 1; signo < 32; signo++) {
            bool expected = signo == SIGUSR1 || signo == SIGUSR2 || sigismember(&before, signo) == 1;
            if (sigismember(&after, signo) != expected) fail_msg("signal %d: blocked is %d", signo, !expected);
        }
    }
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    vmarena_destroy(arena);
}

#ifdef __x86_64__
static unsigned get_mxcsr(void) {
    unsigned value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}
static unsigned short get_x87(void) {
    unsigned short value;
    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}
static unsigned long get_flags(void) {
    unsigned long value;
    __asm__ volatile("pushfq\n\tpopq %0" : "=r"(value));
    return value;
}

/* Sets modes that nothing else in the process uses, then faults with the direction flag set. */
static void modes_body(void *arg) {
    unsigned mxcsr = 0x1f80 | 0x6000 | 0x8040; /* all masked, towards zero, flush to zero, denormals are zero */
    unsigned short x87 = 0x0c7f;               /* towards zero, single precision */
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    __asm__ volatile("fldcw %0" : : "m"(x87));
    __asm__ volatile("std\n\tmovb (%0), %%al\n\tcld" : : "r"(arg) : "al", "cc");
}

/* Recovery 38: MXCSR and the x87 control word stay as the body set them; the direction flag is clear, as the ABI requires. */
static void test_modes_kept(void **state) {
    (void)state;
    skip_under_valgrind("a handler inherits the direction flag");
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    unsigned mxcsr_before = get_mxcsr(), mxcsr;
    unsigned short x87_before = get_x87(), x87;
    unsigned long flags;
    ready();
    for (int round = 0; round < 3; round++) {
        int result = vmarena_try(modes_body, object + 24, NULL);
        mxcsr = get_mxcsr();
        x87 = get_x87();
        flags = get_flags();
        __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr_before), "m"(x87_before));
        assert_int_equal(result, 1);
        assert_int_equal(mxcsr & ~0x3fu, 0x1f80 | 0x6000 | 0x8040);
        assert_int_equal(x87, 0x0c7f);
        assert_int_equal(flags & 0x400, 0);
    }
    vmarena_destroy(arena);
}

#endif

#if defined(__x86_64__) || defined(__i386__)
/* Leaves a value on the x87 stack, as a long double expression does that faults half-way. */
static void x87_body(void *arg) { __asm__ volatile("fld1\n\tmovb (%0), %%al\n\tfstp %%st(0)" : : "r"(arg) : "al"); }

/* The x87 stack is empty after a fault, as the ABI requires; otherwise the ninth value would overflow it and become NaN. */
static void test_x87_stack_emptied(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    volatile long double two = 2;
    ready();
    for (int round = 0; round < 20; round++) {
        assert_int_equal(vmarena_try(x87_body, object + 24, NULL), 1);
        assert_true(two * two + two == 6);
    }
    vmarena_destroy(arena);
}
#endif

static void rounding_body(void *arg) {
    fesetround(FE_UPWARD);
    (void)peek(arg);
}

static void test_rounding_kept(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    ready();
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_int_equal(vmarena_try(rounding_body, object + 24, NULL), 1);
    int after = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(after, FE_UPWARD);
    vmarena_destroy(arena);
}

static void die_blocked(void *address) {
    sigset_t set;
    CHECK(vmarena_fault_reassert() == 0);
    sigemptyset(&set);
    sigaddset(&set, guard_signo);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)vmarena_try(peek_body, address, NULL);
    _exit(98);
}

/* Recovery 39: if the thread blocks the signal of a fault, the kernel kills the process. */
static void test_blocked_dies(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    ready();
    assert_dies(die_blocked, take(arena, 24) + 24, guard_signo);
    vmarena_destroy(arena);
}

/* ---- fork ------------------------------------------------------------------------------------------------------------------- */

struct forking {
    char *address;
    pid_t child;
};

static void fork_body(void *arg) {
    struct forking *forking = arg;
    forking->child = fork();
    (void)peek(forking->address);
}

/* Recovery 40: a child that is forked inside a guarded body recovers and opens scopes of its own. */
static void test_fork_in_a_guard(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct forking forking = {object + 24, -1};
    struct vmarena_fault fault;
    int status;
    ready();
    fflush(NULL);
    int result = vmarena_try(fork_body, &forking, &fault);
    if (forking.child == 0) {
        CHECK(result == 1 && fault.distance == 1 && fault.object == object);
        CHECK(vmarena_try(peek_body, object + 25, &fault) == 1 && fault.distance == 2);
        CHECK(vmarena_scope_top() == NULL);
        _exit(42);
    }
    assert_int_equal(result, 1);
    assert_int_equal(fault.distance, 1);
    assert_int_equal(waitpid(forking.child, &status, 0), forking.child);
    assert_status(status, 42 << 8);
    vmarena_destroy(arena);
}

/* ---- system calls ------------------------------------------------------------------------------------------------------------ */

static int repairs;
static bool count_repair(const struct vmarena_fault *fault, void *arg) {
    (void)fault, (void)arg;
    repairs++;
    return false;
}

static void read_zero_body(void *arg) {
    int *fd = arg;
    errno = 0;
    fd[1] = (int)read(fd[0], *(void **)(void *)(fd + 2), 16);
}

/* Recovery 5: a system call that meets a guard returns EFAULT; there is no signal. */
static void test_efault_unaffected(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct {
        int fd, got;
        char *address;
    } call = {open("/dev/zero", O_RDONLY | O_CLOEXEC), 0, object + 24};
    ready();
    repairs = 0;
    assert_int_equal(vmarena_on_fault(arena, count_repair, NULL), 0);
    assert_int_equal(vmarena_try(read_zero_body, &call, NULL), 0);
    assert_int_equal(call.got, -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(repairs, 0);
    assert_int_equal(vmarena_try(peek_body, object + 24, NULL), 1);
    assert_int_equal(repairs, 1);
    close(call.fd);
    vmarena_destroy(arena);
}

/* ---- repair and retry ---------------------------------------------------------------------------------------------------------- */

static bool failing_repair(const struct vmarena_fault *fault, void *arg) {
    (void)fault;
    errno = 99;
    return arg != NULL && vmarena_protect(arg, VMARENA_READ | VMARENA_WRITE) == 0;
}

/* Recovery 38: a repair function's errno does not reach the body either, whether it repairs the fault or not. */
static void test_errno_of_a_repair_function(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    ready();
    assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
    assert_int_equal(vmarena_on_fault(arena, failing_repair, NULL), 0);
    assert_int_equal(vmarena_try(errno_body, &(struct faulting){object, 12}, NULL), 1);
    assert_int_equal(errno, 12);
    assert_int_equal(vmarena_on_fault(arena, failing_repair, arena), 0);
    assert_int_equal(vmarena_try(errno_body, &(struct faulting){object, 13}, NULL), 0);
    assert_int_equal(errno, 13);
    vmarena_destroy(arena);
}

struct repair {
    struct vmarena *arena;
    char *page;
    int calls;
    struct vmarena_fault fault;
};

static bool unprotect(const struct vmarena_fault *fault, void *arg) {
    struct repair *repair = arg;
    repair->calls++;
    repair->fault = *fault;
    return vmarena_protect_range(repair->arena, repair->page, page, VMARENA_READ | VMARENA_WRITE) == 0;
}

/* Recovery 1: the function repairs the protection, and the access is retried: one call, and nothing is lost. */
static void test_repair_and_retry(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
    struct repair repair = {.arena = arena};
    repair.page = vmarena_alloc(arena, page, page);
    ready();
    assert_int_equal(vmarena_on_fault(arena, unprotect, &repair), 0);
    for (int round = 1; round <= 10; round++) {
        assert_int_equal(vmarena_protect(arena, VMARENA_NONE), 0);
        poke(repair.page + round, (unsigned char)round); /* outside any scope */
        assert_int_equal(repair.calls, round);
        assert_int_equal(peek(repair.page + round), round);
        assert_int_equal(repair.calls, round);
        assert_fault(&repair.fault, .signo = SIGSEGV, .address = repair.page + round, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_PROTECTED, .object = repair.page, .object_size = page);
    }
    /* In a scope the function is still called first. */
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(vmarena_try(poke_body, repair.page, NULL), 0);
    assert_int_equal(repair.calls, 11);
    /* Without the function the scope gets the fault. */
    assert_int_equal(vmarena_on_fault(arena, NULL, NULL), 0);
    assert_int_equal(vmarena_protect(arena, VMARENA_READ), 0);
    assert_int_equal(vmarena_try(poke_body, repair.page, NULL), 1);
    assert_int_equal(repair.calls, 11);
    vmarena_destroy(arena);
}

/* Recovery 4: of three areas, each with its own function, only the right function is called. */
static void test_three_areas(void **state) {
    (void)state;
    struct repair repairs_of[3] = {{.calls = 0}};
    ready();
    for (size_t i = 0; i < 3; i++) {
        repairs_of[i].arena = make(VMARENA_FENCE_OFF, VMARENA_GUARD_AUTO);
        repairs_of[i].page = vmarena_alloc(repairs_of[i].arena, page, page);
        assert_int_equal(vmarena_on_fault(repairs_of[i].arena, unprotect, &repairs_of[i]), 0);
    }
    for (int round = 0; round < 7; round++) {
        struct repair *mine = &repairs_of[round % 3];
        int calls[3] = {repairs_of[0].calls, repairs_of[1].calls, repairs_of[2].calls};
        assert_int_equal(vmarena_protect(mine->arena, VMARENA_NONE), 0);
        (void)peek(mine->page + round);
        calls[round % 3]++;
        for (int i = 0; i < 3; i++) assert_int_equal(repairs_of[i].calls, calls[i]);
        assert_ptr_equal(mine->fault.address, mine->page + round);
    }
    for (size_t i = 0; i < 3; i++) vmarena_destroy(repairs_of[i].arena);
}

/* Faults at `inner`; if caught is set, first in a scope of its own. */
struct clumsy {
    struct vmarena *arena;
    char *inner;
    int caught;
    int calls;
};

static bool clumsy_repair(const struct vmarena_fault *fault, void *arg) {
    struct clumsy *clumsy = arg;
    clumsy->calls++;
    if (clumsy->caught) {
        struct vmarena_fault own;
        for (int i = 0; i < 3; i++) {
            CHECK_QUIETLY(vmarena_try(peek_body, clumsy->inner, &own) == 1, 90);
            CHECK_QUIETLY(own.address == clumsy->inner && fault->address != clumsy->inner, 91);
        }
        return false;
    }
    (void)peek(clumsy->inner);
    return true;
}

static void fault_with_clumsy_repair(void *arg) {
    struct clumsy *clumsy = arg;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_on_fault(clumsy->arena, clumsy_repair, clumsy) == 0);
    (void)vmarena_try(peek_body, clumsy->inner - 5, NULL);
    _exit(98);
}

/* The address of the second fault, as the handler before ours saw it. */
static char *volatile clumsy_inner;
static void site_handler(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    _exit(info->si_addr == clumsy_inner ? 43 : 44);
}

static void fault_with_clumsy_repair_told(void *arg) {
    struct clumsy *clumsy = arg;
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = site_handler;
    clumsy_inner = clumsy->inner;
    sigaction(guard_signo, &action, NULL);
    fault_with_clumsy_repair(arg);
}

/* Recovery 41: a fault in a repair function is neither repaired nor given to a scope opened before it: the process dies of
 * it. A scope in the function catches it. */
static void test_fault_in_a_repair_function(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct clumsy clumsy = {arena, object + 40, 0, 0};
    ready();
    assert_dies(fault_with_clumsy_repair, &clumsy, guard_signo);
    assert_exits(fault_with_clumsy_repair_told, &clumsy, 43);
    clumsy.caught = 1;
    assert_int_equal(vmarena_on_fault(arena, clumsy_repair, &clumsy), 0);
    for (int round = 1; round <= 3; round++) {
        struct vmarena_fault fault = fault_of(object + 24, true);
        assert_ptr_equal(fault.address, object + 24);
        assert_int_equal(clumsy.calls, round);
    }
    vmarena_destroy(arena);
}

/* Recovery 32: a fault that comes while another is dealt with does not change the other's record. */
static void test_nested_delivery_keeps_the_record(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct clumsy clumsy = {arena, object + 40, 1, 0};
    ready();
    assert_int_equal(vmarena_on_fault(arena, clumsy_repair, &clumsy), 0);
    struct vmarena_fault fault = fault_of(object + 26, true);
    assert_fault(&fault, .signo = guard_signo, .address = object + 26, .access = VMARENA_ACCESS_WRITE,
                 .kind = VMARENA_FAULT_OVERRUN, .object = object, .object_size = 24, .distance = 3);
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) { poke(object + 27, 1); }
    VMARENA_CATCH(caught) {
        assert_ptr_equal(caught, &scope.fault);
        assert_int_equal(caught->distance, 4);
    }
    vmarena_destroy(arena);
}

/* Recovery 32: between a landing and vmarena_scope_fault(), a signal handler may run guarded bodies. */
static void test_bodies_between_landing_and_question(void **state) {
    (void)state;
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24), byte;
    struct vmarena_scope scope;
    ready();
    if (sigsetjmp(scope.landing, 0) == 0) {
        assert_int_equal(vmarena_scope_enter(&scope, vmarena_claims_registered), 0);
        (void)peek(object + 25);
        fail();
    }
    assert_int_equal(vmarena_try(peek_body, object + 28, NULL), 1);
    assert_int_equal(vmarena_try_any(peek_body, NULL, NULL), 1);
    assert_int_equal(vmarena_copy(&byte, object + 29, 1, NULL), 0);
    const struct vmarena_fault *fault = vmarena_scope_fault();
    assert_ptr_equal(fault, &scope.fault);
    assert_int_equal(fault->distance, 2);
    vmarena_destroy(arena);
}

static volatile sig_atomic_t signals_seen;
static char *signal_address;
static void faulting_signal(int signo) {
    (void)signo;
    struct vmarena_fault fault;
    signals_seen = signals_seen + 1;
    CHECK_QUIETLY(vmarena_try(peek_body, signal_address, &fault) == 1, 92);
    CHECK_QUIETLY(fault.address == signal_address, 93);
}

static void signalled_body(void *address) {
    raise(SIGUSR1);
    (void)peek(address);
}

/* Recovery 32: scopes in a handler of another signal, in the middle of a guarded body. */
static void test_scope_in_a_signal_handler(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    char *object = take(arena, 24);
    struct sigaction action = {.sa_flags = SA_ONSTACK}, before;
    ready();
    signal_address = object + 28;
    action.sa_handler = faulting_signal;
    for (int onstack = 0; onstack < 2; onstack++) {
        action.sa_flags = onstack ? SA_ONSTACK : 0;
        assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
        for (int round = 0; round < 5; round++) {
            struct vmarena_fault fault;
            signals_seen = 0;
            assert_int_equal(vmarena_try(signalled_body, object + 24, &fault), 1);
            assert_int_equal(signals_seen, 1);
            assert_ptr_equal(fault.address, object + 24);
        }
        assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    }
    vmarena_destroy(arena);
}

static void interrupted_explain(const struct vmarena_region *region, struct vmarena_fault *fault) {
    raise(SIGUSR1);
    fault->kind = VMARENA_FAULT_OVERRUN;
    fault->object = region->base;
}

static bool count_repair_of_signal(const struct vmarena_fault *fault, void *arg) {
    (void)arg;
    repairs += fault->address == signal_address;
    return false;
}

/* Recovery 32: the same when the signal interrupts the library's handler while it attributes a fault. */
static void test_scope_in_a_signal_handler_within_ours(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    static struct vmarena_region region = {.attribute = interrupted_explain, .owner = &region}; /* never unmapped */
    struct vmarena_region_plan plan = {page, page, page, VMARENA_COMMIT_PROTECT};
    struct vmarena *arena = make(VMARENA_FENCE_END, VMARENA_GUARD_AUTO);
    struct sigaction action = {.sa_flags = 0}, before;
    ready();
    signal_address = take(arena, 24) + 25;
    repairs = 0;
    assert_int_equal(vmarena_on_fault(arena, count_repair_of_signal, NULL), 0);
    assert_int_equal(vmarena_region_reserve(&region, &plan), 0);
    action.sa_handler = faulting_signal;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    for (int round = 1; round <= 5; round++) {
        signals_seen = 0;
        struct vmarena_fault fault = fault_of(region.base + 7, true);
        assert_fault(&fault, .signo = SIGSEGV, .address = region.base + 7, .access = VMARENA_ACCESS_WRITE,
                     .kind = VMARENA_FAULT_OVERRUN, .object = region.base);
        assert_int_equal(signals_seen, 1);
        assert_int_equal(repairs, round);
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    vmarena_region_release(&region);
    vmarena_destroy(arena);
}

static void faulting_explain(const struct vmarena_region *region, struct vmarena_fault *fault) {
    (void)fault;
    (void)peek(region->base + 9);
}

/* The handler before ours records the address of the second fault. */
static void fault_with_faulting_explain(void *arg) {
    struct vmarena_region *region = arg;
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = site_handler;
    clumsy_inner = region->base + 9;
    sigaction(SIGSEGV, &action, NULL);
    CHECK(vmarena_fault_reassert() == 0);
    (void)vmarena_try_any(peek_body, region->base + 7, NULL);
    _exit(98);
}

/* Recovery 41: a fault of the library's own while it attributes one does not recur for ever, and no scope hides it. */
static void test_fault_within_ours(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    static struct vmarena_region region = {.attribute = faulting_explain, .owner = &region};
    struct vmarena_region_plan plan = {page, page, page, VMARENA_COMMIT_PROTECT};
    ready();
    assert_int_equal(vmarena_region_reserve(&region, &plan), 0);
    assert_exits(fault_with_faulting_explain, &region, 43);
    vmarena_region_release(&region);
}

/* ---- the program ---------------------------------------------------------------------------------------------------------------- */

int main(void) {
    page = vmarena_page_size();
    guard_signo = auto_guard_signal();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_fault),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_exact_address_again_and_again),
        cmocka_unit_test(test_guard_edges),
        cmocka_unit_test(test_bump_edges),
        cmocka_unit_test(test_protections),
        cmocka_unit_test(test_foreign_memory),
        cmocka_unit_test(test_nearest_region_is_being_released),
        cmocka_unit_test(test_nearest_owner),
        cmocka_unit_test(test_execution),
        cmocka_unit_test(test_truncated_file),
        cmocka_unit_test(test_non_canonical_declined),
        cmocka_unit_test(test_declined_without_scope),
        cmocka_unit_test(test_signal_codes),
        cmocka_unit_test(test_sigfpe_declined),
        cmocka_unit_test(test_scope_by_arena),
        cmocka_unit_test(test_nested_scopes),
        cmocka_unit_test(test_nested_macros),
        cmocka_unit_test(test_break_return_goto),
        cmocka_unit_test(test_macro_evaluates_once),
        cmocka_unit_test(test_abandoned_scopes),
        cmocka_unit_test(test_errno_and_mask_kept),
#ifdef __x86_64__
        cmocka_unit_test(test_modes_kept),
#endif
#if defined(__x86_64__) || defined(__i386__)
        cmocka_unit_test(test_x87_stack_emptied),
#endif
        cmocka_unit_test(test_rounding_kept),
        cmocka_unit_test(test_blocked_dies),
        cmocka_unit_test(test_fork_in_a_guard),
        cmocka_unit_test(test_efault_unaffected),
        cmocka_unit_test(test_errno_of_a_repair_function),
        cmocka_unit_test(test_repair_and_retry),
        cmocka_unit_test(test_three_areas),
        cmocka_unit_test(test_fault_in_a_repair_function),
        cmocka_unit_test(test_nested_delivery_keeps_the_record),
        cmocka_unit_test(test_bodies_between_landing_and_question),
        cmocka_unit_test(test_scope_in_a_signal_handler),
        cmocka_unit_test(test_scope_in_a_signal_handler_within_ours),
        cmocka_unit_test(test_fault_within_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
