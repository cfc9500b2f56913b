/* SPDX-License-Identifier: MIT */
/*
 * The cache of unwind rules while a writer or a reader is interrupted between any two of its instructions. The CPU's trap
 * flag stops at each instruction in turn, and the handler of SIGTRAP does what another thread, or a signal handler, could do
 * at that moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmarena.h"

#include "malloc/unwind/rule_cache.h"
#include "support.h"

static const struct vmarena_unwind_rule rule_a = {-40, -3, 9, VMARENA_CFA_AT_FP, VMARENA_FP_AT_CFA};
static const struct vmarena_unwind_rule rule_b = {1 << 20, 4, 0, VMARENA_CFA_SP, VMARENA_FP_AT_FP};

static bool is_same(const struct vmarena_unwind_rule *one, const struct vmarena_unwind_rule *other) {
    return one->cfa_offset == other->cfa_offset && one->fp_offset == other->fp_offset &&
           one->cfa_add == other->cfa_add && one->cfa == other->cfa && one->fp == other->fp;
}

/* Another program counter that shares the entry of `pc`. */
static uintptr_t find_rival(uintptr_t pc) {
    struct vmarena_unwind_rule rule;
    for (uintptr_t rival = pc + 16; rival < pc + (1 << 28); rival += 16) {
        vmarena_rule_cache_keep(pc, &rule_a);
        vmarena_rule_cache_keep(rival, &rule_b);
        if (!vmarena_rule_cache_find(pc, &rule)) return rival;
    }
    fail_msg("no program counter shares the entry");
    return 0;
}

static void check_kept(uintptr_t pc, const struct vmarena_unwind_rule *expected, size_t step) {
    struct vmarena_unwind_rule rule;
    if (vmarena_rule_cache_find(pc, &rule) && !is_same(&rule, expected))
        fail_msg("interrupted at instruction %zu: %#zx has the rule of another", step, (size_t)pc);
}

static void test_keeps_and_replaces(void **state) {
    (void)state;
    const uintptr_t a = 0x401000, b = find_rival(a);
    struct vmarena_unwind_rule rule;
    assert_true(vmarena_rule_cache_find(b, &rule));
    assert_true(is_same(&rule, &rule_b));
    vmarena_rule_cache_keep(a, &rule_a);
    assert_true(vmarena_rule_cache_find(a, &rule));
    assert_true(is_same(&rule, &rule_a));
    assert_false(vmarena_rule_cache_find(b, &rule));
}

#if defined(__x86_64__) && defined(__linux__)

#include <ucontext.h>

#define TRAP_FLAG 0x100
static size_t steps, first_at, second_at;
static uintptr_t pc_a, pc_b;

static void on_trap(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info, (void)context;
    if (steps == first_at) vmarena_rule_cache_keep(pc_b, &rule_b);
    if (steps == second_at) vmarena_rule_cache_keep(pc_a, &rule_a);
    steps++;
}

static inline void set_trap_flag(bool on) {
    uintptr_t flags;
    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    flags = on ? flags | TRAP_FLAG : flags & ~(uintptr_t)TRAP_FLAG;
    __asm__ volatile("push %0; popfq" : : "r"(flags) : "memory", "cc");
}

static void start(size_t first, size_t second) {
    steps = 0;
    first_at = first;
    second_at = second;
}

static void set_up_traps(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_trap;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    pc_a = 0x402000;
    pc_b = find_rival(pc_a);
}

static void test_writer_interrupted_by_a_writer(void **state) {
    (void)state;
    set_up_traps();
    for (size_t at = 0; at == 0 || at < steps; at++) {
        start(at, SIZE_MAX);
        set_trap_flag(true);
        vmarena_rule_cache_keep(pc_a, &rule_a);
        set_trap_flag(false);
        check_kept(pc_a, &rule_a, at);
        check_kept(pc_b, &rule_b, at);
    }
    assert_true(steps > 10);
}

/* The entry changes hands twice while it is read: its key is the reader's again at the end. */
static void test_reader_interrupted_by_two_writers(void **state) {
    (void)state;
    struct vmarena_unwind_rule rule;
    set_up_traps();
    for (size_t first = 0, most = 1; first < most; first++)
        for (size_t second = first; second < most; second++) {
            vmarena_rule_cache_keep(pc_a, &rule_a);
            start(first, second);
            set_trap_flag(true);
            bool found = vmarena_rule_cache_find(pc_a, &rule);
            set_trap_flag(false);
            if (steps > most) most = steps;
            if (found && !is_same(&rule, &rule_a))
                fail_msg("interrupted at instructions %zu and %zu: the rule of another was found", first, second);
        }
}

/* What an interrupted writer leaves behind does no harm to those that come later. */
static void test_entry_is_usable_after_interruptions(void **state) {
    (void)state;
    struct vmarena_unwind_rule rule;
    set_up_traps();
    for (size_t at = 0; at == 0 || at < steps; at++) {
        start(at, SIZE_MAX);
        set_trap_flag(true);
        vmarena_rule_cache_keep(pc_a, &rule_a);
        set_trap_flag(false);
        vmarena_rule_cache_keep(pc_b, &rule_b);
        assert_true(vmarena_rule_cache_find(pc_b, &rule));
        assert_true(is_same(&rule, &rule_b));
    }
}

#else

static void skip_here(void) {
    print_message("skip: no trap flag on this processor\n");
    skip();
}
static void test_writer_interrupted_by_a_writer(void **state) { (void)state, skip_here(); }
static void test_reader_interrupted_by_two_writers(void **state) { (void)state, skip_here(); }
static void test_entry_is_usable_after_interruptions(void **state) { (void)state, skip_here(); }

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_and_replaces),
        cmocka_unit_test(test_writer_interrupted_by_a_writer),
        cmocka_unit_test(test_reader_interrupted_by_two_writers),
        cmocka_unit_test(test_entry_is_usable_after_interruptions),
    };
    return cmocka_run_group_tests_name("rule cache", tests, NULL, NULL);
}
