/* SPDX-License-Identifier: MIT */
/*
 * Handlers: earlier ones get the signals that nobody claims, and are restored. Each test runs in a child that starts with
 * default handlers and none of the library's. "Recovery N" names the entry of the list in README.md.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "vmarena.h"

#include <cmocka.h>

#include "support.h"

/* ---- sigaction(2) and sigaltstack(2) that fail on demand -------------------------------------------------------------- */

#if !UNDER_TSAN                            /* which is in their place itself */
static int fail_set_signo, fail_set_error; /* setting this signal's handler gives this error */
static int fail_stack_error;

int sigaction(int signo, const struct sigaction *restrict action, struct sigaction *restrict before) {
    static int (*real)(int, const struct sigaction *, struct sigaction *);
    if (real == NULL) *(void **)(void *)&real = dlsym(RTLD_NEXT, "sigaction");
    if (action == NULL || fail_set_error == 0 || signo != fail_set_signo) return real(signo, action, before);
    errno = fail_set_error;
    return -1;
}

int sigaltstack(const stack_t *restrict stack, stack_t *restrict before) {
    static int (*real)(const stack_t *, stack_t *);
    if (real == NULL) *(void **)(void *)&real = dlsym(RTLD_NEXT, "sigaltstack");
    if (stack == NULL || fail_stack_error == 0) return real(stack, before);
    errno = fail_stack_error;
    return -1;
}

#endif

/* ---- in the child ------------------------------------------------------------------------------------------------------- */

static struct vmarena *arena;
static char *object;    /* 24 bytes, flush against its guard */
static int guard_signo; /* what that guard raises */
static char *foreign;   /* a page without access that is not the library's */

static void open_arena(void) {
    struct vmarena_options options = {.reserve = 64 * vmarena_page_size(), .fence = VMARENA_FENCE_END};
    CHECK(vmarena_create(&arena, &options) == 0);
    object = vmarena_alloc(arena, 24, 1);
    foreign = mmap(NULL, vmarena_page_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(object != NULL && foreign != MAP_FAILED);
}

/* A fault in our memory is caught, with a complete record. */
static void check_catches(void) {
    struct vmarena_fault fault;
    CHECK(vmarena_try(poke_body, object + 24, &fault) == 1);
    CHECK(fault.signo == guard_signo && fault.address == object + 24 && fault.object == object);
    CHECK(fault.distance == 1 && fault.object_size == 24 && fault.kind == VMARENA_FAULT_OVERRUN);
    CHECK(fault.access == told(VMARENA_ACCESS_WRITE) && fault.owner == arena);
}

/* What an earlier handler saw. */
static struct seen {
    volatile int calls;
    volatile int signo, code;
    void *volatile address;
    volatile bool blocks_itself, blocks_usr1, has_context;
} seen;

static void look(int signo) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    seen.calls = seen.calls + 1;
    seen.signo = signo;
    seen.blocks_itself = sigismember(&mask, signo) == 1;
    seen.blocks_usr1 = sigismember(&mask, SIGUSR1) == 1;
    errno = 55; /* which the interrupted code must not see */
}

static void plain_handler(int signo) {
    look(signo);
    mprotect(foreign, vmarena_page_size(), PROT_READ | PROT_WRITE);
}

static void info_handler(int signo, siginfo_t *info, void *context) {
    plain_handler(signo);
    seen.code = info->si_code;
    seen.address = info->si_addr;
    seen.has_context = context != NULL;
}

static void idle_handler(int signo, siginfo_t *info, void *context) {
    (void)info, (void)context;
    look(signo);
}

/* Sets an earlier handler for both signals: with SA_SIGINFO in flags info, otherwise plain_handler. */
static void set_handler(int flags, void (*info)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_flags = flags};
    if (flags & SA_SIGINFO) action.sa_sigaction = info;
    else action.sa_handler = plain_handler;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
}

static void close_foreign(void) { CHECK(mprotect(foreign, vmarena_page_size(), PROT_NONE) == 0); }

/* ---- recovery 25: signals that somebody sent ------------------------------------------------------------------------------ */

static void send_by_raise(void *signo) { raise(*(int *)signo); }
static void send_by_kill(void *signo) { kill(getpid(), *(int *)signo); }
static void send_by_sigqueue(void *signo) {
    /* si_value lies where si_addr does: an address of ours in it must not be taken for a fault's. */
    sigqueue(getpid(), *(int *)signo, (union sigval){.sival_ptr = object + 24});
}

static void (*const senders[])(void *) = {send_by_raise, send_by_kill, send_by_sigqueue};
static const int sender_codes[] = {SI_TKILL, SI_USER, SI_QUEUE};
static const int both[] = {SIGSEGV, SIGBUS};

struct sending {
    size_t sender;
    int signo;
};

static void send_by_default(void *arg) {
    struct sending *sending = arg;
    open_arena();
    check_catches();
    (void)vmarena_try_any(senders[sending->sender], &sending->signo, NULL);
    _exit(98);
}

static void test_sent_default_kills(void **state) {
    (void)state;
    skip_under_valgrind("what was sent has other codes, and does not kill");
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++) assert_dies(send_by_default, (&(struct sending){i, both[k]}), both[k]);
}

static void sent_is_chained(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    for (int round = 0; round < 6; round++) {
        int signo = both[round % 2];
        check_catches();
        seen.calls = 0;
        errno = 7;
        CHECK(vmarena_try_any(senders[round / 2], &signo, NULL) == 0);
        CHECK(errno == 7);
        CHECK(seen.calls == 1 && seen.signo == signo && seen.code == sender_codes[round / 2]);
    }
    check_catches();
}

static void sent_is_ignored(void *arg) {
    (void)arg;
    signal(SIGSEGV, SIG_IGN);
    signal(SIGBUS, SIG_IGN);
    open_arena();
    for (int round = 0; round < 6; round++) {
        int signo = both[round % 2];
        CHECK(vmarena_try_any(senders[round / 2], &signo, NULL) == 0);
        check_catches();
    }
}

static void real_is_not_ignored(void *arg) {
    (void)arg;
    signal(SIGSEGV, SIG_IGN);
    signal(SIGBUS, SIG_IGN);
    open_arena();
    check_catches();
    (void)peek(foreign);
    _exit(98);
}

static void test_sent_chained(void **state) {
    (void)state;
    skip_under_valgrind("what was sent has other codes");
    assert_runs(sent_is_chained, NULL);
}

static void test_ignored(void **state) {
    (void)state;
    assert_runs(sent_is_ignored, NULL);
    assert_dies(real_is_not_ignored, NULL, SIGSEGV);
}

/* ---- recovery 26: earlier handlers, as the kernel would have called them ----------------------------------------------------- */

static void check_chained(int flags) {
    for (int round = 0; round < 3; round++) {
        check_catches();
        close_foreign();
        memset(&seen, 0, sizeof seen);
        errno = 7;
        CHECK(vmarena_try(poke_body, foreign + 3, NULL) == 0); /* mended by the handler, and so retried */
        CHECK(errno == 7);
        CHECK(seen.calls == 1 && seen.signo == SIGSEGV);
        if (!UNDER_TSAN) CHECK(seen.blocks_usr1 && seen.blocks_itself == !(flags & SA_NODEFER)); /* it blocks all */
        if (flags & SA_SIGINFO) CHECK(seen.code == SEGV_ACCERR && seen.address == foreign + 3 && seen.has_context);
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(sigismember(&mask, SIGUSR1) == 0 && sigismember(&mask, SIGSEGV) == 0);
}

static void real_is_chained(void *arg) {
    int flags = *(int *)arg;
    set_handler(flags, info_handler);
    open_arena();
    check_chained(flags);
}

static void test_earlier_handlers(void **state) {
    (void)state;
    int flags[] = {0, SA_SIGINFO, SA_NODEFER, SA_SIGINFO | SA_NODEFER, SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) assert_runs(real_is_chained, &flags[i]);
}

static void bus_handler(int signo, siginfo_t *info, void *context) {
    (void)context;
    if (signo != SIGBUS || info->si_code != BUS_ADRERR || info->si_addr != foreign + 5) _exit(95);
    seen.calls = seen.calls + 1;
    if (seen.calls == 5) _exit(50);
}

/* Recovery 31: a handler that repairs nothing is called once for each fault, until it does something else. */
static void bus_is_chained(void *arg) {
    set_handler(SA_SIGINFO, bus_handler);
    open_arena();
    check_catches();
    int fd = nameless_file();
    foreign = mmap(NULL, vmarena_page_size(), PROT_READ, MAP_SHARED, fd, 0);
    (void)arg;
    (void)vmarena_try(peek_body, foreign + 5, NULL);
    _exit(98);
}

static void die_by_bus(void *arg) {
    (void)arg;
    open_arena();
    check_catches();
    int fd = nameless_file();
    (void)vmarena_try(peek_body, mmap(NULL, vmarena_page_size(), PROT_READ, MAP_SHARED, fd, 0), NULL);
    _exit(98);
}

static void test_sigbus_chained(void **state) {
    (void)state;
    assert_exits(bus_is_chained, NULL, 50);
    assert_dies(die_by_bus, NULL, SIGBUS);
}

static void reset_hand_sent(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO | (int)SA_RESETHAND, info_handler);
    open_arena();
    check_catches();
    raise(SIGSEGV);
    CHECK(seen.calls == 1);
    check_catches();
    raise(SIGBUS); /* each signal has its own */
    CHECK(seen.calls == 2);
    check_catches();
    raise(SIGSEGV);
    _exit(98);
}

static void reset_hand_real(void *arg) {
    set_handler(SA_SIGINFO | (int)SA_RESETHAND, info_handler);
    open_arena();
    check_catches();
    (void)peek(foreign);
    CHECK(seen.calls == 1);
    check_catches();
    close_foreign();
    (void)vmarena_try(peek_body, arg == NULL ? foreign : NULL, NULL);
    _exit(98);
}

static void test_reset_hand(void **state) {
    (void)state;
    int dummy = 0;
    assert_dies(reset_hand_sent, NULL, SIGSEGV);
    assert_dies(reset_hand_real, NULL, SIGSEGV);
    assert_dies(reset_hand_real, &dummy, SIGSEGV);
}

/* ---- recovery 33: earlier handlers that jump away ---------------------------------------------------------------------------- */

static sigjmp_buf back;
static void jumping_handler(int signo, siginfo_t *info, void *context) {
    idle_handler(signo, info, context);
    siglongjmp(back, 1);
}

static void jump_away(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, jumping_handler);
    open_arena();
    for (volatile int round = 0; round < 100; round = round + 1) {
        struct vmarena_scope *volatile top = vmarena_scope_top();
        seen.calls = 0;
        if (sigsetjmp(back, 1) == 0) {
            (void)vmarena_try(peek_body, foreign, NULL);
            _exit(98);
        }
        vmarena_scope_unwind(top);
        CHECK(seen.calls == 1);
        check_catches();
    }
}

static bool faulting_repair(const struct vmarena_fault *fault, void *arg) {
    (void)fault;
    (void)peek(arg);
    return true;
}

static int repaired;
static bool good_repair(const struct vmarena_fault *fault, void *arg) {
    (void)fault, (void)arg;
    repaired++;
    return false;
}

static void catching_handler(int signo) {
    (void)signo;
    check_catches();
}

/* The jump leaves the repair function: the next fault must be treated as if there had been none. */
static void jump_out_of_a_repair_function(void *arg) {
    struct sigaction action = {.sa_flags = SA_ONSTACK};
    (void)arg;
    action.sa_handler = catching_handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    set_handler(SA_SIGINFO, jumping_handler);
    open_arena();
    for (volatile int round = 0; round < 100; round = round + 1) {
        struct vmarena_scope *volatile top = vmarena_scope_top();
        seen.calls = 0;
        CHECK(vmarena_on_fault(arena, faulting_repair, foreign) == 0);
        if (sigsetjmp(back, 1) == 0) {
            (void)vmarena_try(peek_body, object + 24, NULL);
            _exit(98);
        }
        vmarena_scope_unwind(top);
        CHECK(seen.calls == 1);
        CHECK(vmarena_on_fault(arena, good_repair, NULL) == 0);
        repaired = 0;
        check_catches();
        CHECK(repaired == 1);
        /* Deeper on the stack that the function ran on, too. */
        if (sigsetjmp(back, 1) == 0) {
            CHECK(vmarena_on_fault(arena, faulting_repair, foreign) == 0);
            (void)vmarena_try(peek_body, object + 24, NULL);
            _exit(98);
        }
        vmarena_scope_unwind(top);
        CHECK(vmarena_on_fault(arena, good_repair, NULL) == 0);
        raise(SIGUSR1);
        CHECK(repaired == 2);
    }
}

/* The same after a reassertion, with two earlier handlers. */
static struct sigaction below;
static void passing_handler(int signo, siginfo_t *info, void *context) {
    below.sa_sigaction(signo, info, context);
    _exit(94);
}

static void jump_from_below(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, jumping_handler);
    open_arena();
    check_catches();
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = passing_handler;
    CHECK(sigaction(SIGSEGV, &action, &below) == 0);
    CHECK(vmarena_fault_reassert() == 0);
    for (volatile int round = 0; round < 100; round = round + 1) {
        struct vmarena_scope *volatile top = vmarena_scope_top();
        seen.calls = 0;
        if (sigsetjmp(back, 1) == 0) {
            (void)vmarena_try(peek_body, foreign, NULL);
            _exit(98);
        }
        vmarena_scope_unwind(top);
        CHECK(seen.calls == 1);
        check_catches();
    }
}

static void test_earlier_handler_jumps_away(void **state) {
    (void)state;
    assert_runs(jump_away, NULL);
    assert_runs(jump_from_below, NULL);
}

static void test_earlier_handler_jumps_out_of_a_repair_function(void **state) {
    (void)state;
    skip_under_tsan("a fault in a handler kills");
    assert_runs(jump_out_of_a_repair_function, NULL);
}

/* ---- recovery 27, 28, 35: removing the handlers ------------------------------------------------------------------------------ */

static bool same_action(const struct sigaction *one, const struct sigaction *other) {
    bool same = one->sa_handler == other->sa_handler && one->sa_flags == other->sa_flags;
    for (int signo = 1; signo < 64; signo++)
        same = same && sigismember(&one->sa_mask, signo) == sigismember(&other->sa_mask, signo);
    return same;
}

static void uninstall_restores(void *arg) {
    struct sigaction segv, bus, now;
    set_handler(arg == NULL ? SA_SIGINFO | SA_RESTART : 0, info_handler);
    signal(SIGBUS, SIG_IGN);
    CHECK(sigaction(SIGSEGV, NULL, &segv) == 0 && sigaction(SIGBUS, NULL, &bus) == 0);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    CHECK(vmarena_fault_uninstall() == -EINVAL);
    CHECK(strcmp(vmarena_explain(), "the fault handlers are not installed") == 0);
    for (int round = 0; round < 20; round++) {
        CHECK(vmarena_fault_install() == 0 && vmarena_fault_install() == 0);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
        CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && !same_action(&now, &segv));
        CHECK(vmarena_fault_uninstall() == 0); /* the first of two */
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
        CHECK(vmarena_fault_uninstall() == 0);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
        CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && same_action(&now, &segv));
        CHECK(sigaction(SIGBUS, NULL, &now) == 0 && same_action(&now, &bus));
        CHECK(vmarena_fault_uninstall() == -EINVAL);
    }
}

static void use_after_uninstall(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    for (int round = 0; round < 10; round++) {
        check_catches(); /* the first scope installs, uncounted */
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
        CHECK(vmarena_fault_uninstall() == 0);
        close_foreign();
        seen.calls = 0;
        (void)peek(foreign);
        CHECK(seen.calls == 1);
    }
    default_handlers(); /* another handler than the last time is the one before, the next time */
    check_catches();
    CHECK(vmarena_fault_uninstall() == 0);
    struct sigaction now;
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    (void)peek(object + 24);
    _exit(98);
}

static void uninstall_in_scope(void *arg) {
    struct vmarena_scope scope;
    (void)arg;
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    VMARENA_TRY(&scope) {
        CHECK(vmarena_fault_uninstall() == -EBUSY);
        CHECK(strcmp(vmarena_explain(), "a fault scope is open in this thread") == 0);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
        (void)peek(object + 24);
    }
    VMARENA_CATCH(fault) {
        CHECK(fault->distance == 1);
        CHECK(vmarena_fault_uninstall() == 0);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
        _exit(51);
    }
}

static void uninstall_displaced(void *arg) {
    struct sigaction now;
    (void)arg;
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    set_handler(SA_SIGINFO, info_handler);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
    CHECK(vmarena_fault_uninstall() == -EBUSY);
    CHECK(strcmp(vmarena_explain(), "somebody displaced the fault handlers and may call them") == 0);
    CHECK(vmarena_fault_install() == -EAGAIN);
    CHECK(strstr(vmarena_explain(), "vmarena_fault_reassert()") != NULL);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == info_handler);
    CHECK(sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction == info_handler);
    /* One of the two is enough. */
    CHECK(vmarena_fault_reassert() == 0 && vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
    signal(SIGBUS, SIG_IGN);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
    CHECK(vmarena_fault_uninstall() == -EBUSY);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction != info_handler);
    CHECK(vmarena_fault_reassert() == 0 && vmarena_fault_uninstall() == 0);
    /* The handlers that ours were set on top of are restored: nobody loses one. */
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == info_handler);
    CHECK(sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
}

static void test_uninstall(void **state) {
    (void)state;
    int plain = 0;
    assert_runs(uninstall_restores, NULL);
    assert_runs(uninstall_restores, &plain);
    assert_dies(use_after_uninstall, NULL, guard_signo);
    assert_exits(uninstall_in_scope, NULL, 51);
    assert_runs(uninstall_displaced, NULL);
}

/* ---- recovery 29: displaced, and on top again -------------------------------------------------------------------------------------- */

/* Handlers that call the one that they displaced, and list who was called. */
#define LINKS 12
static struct sigaction saved_segv[LINKS], saved_bus[LINKS];
static volatile int order[LINKS + 4], ordered;

static void pass_on(int link, int signo, siginfo_t *info, void *context) {
    order[ordered] = link;
    ordered = ordered + 1;
    if (ordered > LINKS + 2) _exit(93); /* a cycle */
    const struct sigaction *saved = signo == SIGBUS ? &saved_bus[link] : &saved_segv[link];
    if (saved->sa_flags & SA_SIGINFO) saved->sa_sigaction(signo, info, context);
    else if (saved->sa_handler != SIG_DFL) saved->sa_handler(signo);
    else _exit(92);
}

#define LINK(n) static void link_##n(int signo, siginfo_t *info, void *context)
LINK(0) { pass_on(0, signo, info, context); }
LINK(1) { pass_on(1, signo, info, context); }
LINK(2) { pass_on(2, signo, info, context); }
LINK(3) { pass_on(3, signo, info, context); }
LINK(4) { pass_on(4, signo, info, context); }
LINK(5) { pass_on(5, signo, info, context); }
LINK(6) { pass_on(6, signo, info, context); }
LINK(7) { pass_on(7, signo, info, context); }
LINK(8) { pass_on(8, signo, info, context); }
LINK(9) { pass_on(9, signo, info, context); }
static void (*const links[])(int, siginfo_t *, void *) = {link_0, link_1, link_2, link_3, link_4,
                                                          link_5, link_6, link_7, link_8, link_9};

static void displace(int link) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    action.sa_sigaction = links[link];
    CHECK(sigaction(SIGSEGV, &action, &saved_segv[link]) == 0);
    CHECK(sigaction(SIGBUS, &action, &saved_bus[link]) == 0);
}

/* Each calls ours, which calls the one before: all are called once, the latest first. */
static void reassert_without_cycle(void *arg) {
    int count = *(int *)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    CHECK(vmarena_fault_reassert() == 0); /* nothing to do */
    for (int link = 0; link < count; link++) {
        displace(link);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
        ordered = 0;
        check_catches(); /* as the one that displaced ours calls it */
        CHECK(ordered == 1 && order[0] == link);
        CHECK(vmarena_fault_reassert() == 0);
        CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
        for (int round = 0; round < 3; round++) {
            ordered = 0;
            check_catches();
            CHECK(ordered == 0);
            seen.calls = 0;
            close_foreign();
            CHECK(vmarena_try(poke_body, foreign + 9, NULL) == 0);
            CHECK(seen.calls == 1 && seen.address == foreign + 9 && ordered == link + 1);
            for (int i = 0; i <= link; i++) CHECK(order[i] == link - i);
        }
    }
}

static void too_many_displacements(void *arg) {
    int eight = 8;
    (void)arg;
    reassert_without_cycle(&eight);
    displace(8);
    CHECK(vmarena_fault_reassert() == -EOVERFLOW);
    CHECK(strcmp(vmarena_explain(), "the fault handlers were displaced more than 8 times") == 0);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
    struct sigaction now;
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == link_8);
    check_catches(); /* it still calls ours */
    seen.calls = 0;
    ordered = 0;
    close_foreign();
    CHECK(vmarena_try(poke_body, foreign, NULL) == 0);
    CHECK(seen.calls == 1 && ordered == 9);
}

/* A handler that displaces ours again and again, as a test framework's does, is recorded once. */
static void displaced_a_hundred_times(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    for (int round = 0; round < 100; round++) {
        set_handler(SA_SIGINFO, idle_handler);
        CHECK(vmarena_fault_reassert() == 0);
        check_catches();
    }
    set_handler(SA_SIGINFO, info_handler);
    CHECK(vmarena_fault_reassert() == 0);
    seen.calls = 0;
    CHECK(vmarena_try(poke_body, foreign, NULL) == 0);
    CHECK(seen.calls == 1);
    CHECK(vmarena_fault_uninstall() == 0);
    struct sigaction now;
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == info_handler);
}

/* The first handler gets the fault, once, and the one that displaced ours `times`. */
static void check_passed_on(int times) {
    ordered = 0;
    seen.calls = 0;
    close_foreign();
    poke(foreign + 9, 1);
    CHECK(seen.calls == 1 && seen.address == foreign + 9 && ordered == times);
}

/* Recovery 27: a handler that displaced ours, and was displaced by a reassertion, is on top when ours is removed. It still
 * calls ours, which cannot know that it was not the kernel; the first handler is reached all the same, also after another
 * install. */
static void uninstall_after_reassert(void *arg) {
    struct sigaction now;
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    displace(0);
    CHECK(vmarena_fault_reassert() == 0);
    for (int round = 0; round < 20; round++) {
        check_passed_on(1);
        CHECK(vmarena_fault_uninstall() == 0);
        CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == links[0]);
        check_passed_on(2);
        CHECK(vmarena_fault_install() == 0);
        ordered = 0;
        check_catches();
        CHECK(ordered == 0);
    }
}

/* As Python's faulthandler does: restores the handler that was there before it, and raises the signal for that one. */
static struct sigaction before_raising;
static volatile int raised;
static void raising_handler(int signo, siginfo_t *info, void *context) {
    (void)info, (void)context;
    raised = raised + 1;
    if (raised > 2) _exit(94); /* a cycle */
    if (sigaction(signo, &before_raising, NULL) != 0 || raise(signo) != 0) _exit(95);
}

static void displaced_by_one_that_raises(void *arg) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    action.sa_sigaction = raising_handler;
    CHECK(sigaction(SIGSEGV, &action, &before_raising) == 0);
    CHECK(vmarena_fault_reassert() == 0);
    if (arg != NULL) CHECK(vmarena_fault_uninstall() == 0);
    seen.calls = 0;
    close_foreign();
    poke(foreign + 9, 1);
    CHECK(seen.calls == 1 && seen.code == SI_TKILL && raised == (arg != NULL ? 2 : 1));
    check_catches();
}

/* The mask is a part of a handler: with another mask it is another handler. */
static void displaced_with_another_mask(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = info_handler;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(vmarena_fault_reassert() == 0);
    seen.blocks_usr1 = true;
    CHECK(vmarena_try(poke_body, foreign, NULL) == 0);
    CHECK(seen.calls == 1 && !seen.blocks_usr1);
}

static void test_reassert(void **state) {
    (void)state;
    int counts[] = {1, 2, 8};
    for (size_t i = 0; i < 3; i++) assert_runs(reassert_without_cycle, &counts[i]);
    assert_runs(too_many_displacements, NULL);
    assert_runs(displaced_a_hundred_times, NULL);
    assert_runs(uninstall_after_reassert, NULL);
}

static void test_reassert_above_one_that_raises(void **state) {
    (void)state;
    skip_under_tsan("a signal raised in a handler waits for its end");
    skip_under_valgrind("what was sent has other codes");
    assert_runs(displaced_by_one_that_raises, NULL);
    assert_runs(displaced_by_one_that_raises, "and comes back");
}

static void test_reassert_with_another_mask(void **state) {
    (void)state;
    skip_under_tsan("every handler has every signal blocked");
    assert_runs(displaced_with_another_mask, NULL);
}

/* A handler that sets the default action and returns, as Rust's does for faults that it does not know, removes ours; a
 * reassertion sets it again. */
static void defaulting_handler(int signo, siginfo_t *info, void *context) {
    idle_handler(signo, info, context);
    signal(signo, SIG_DFL);
}

static void displaced_by_an_earlier_handler(void *arg) {
    (void)arg;
    set_handler(SA_SIGINFO, defaulting_handler);
    open_arena();
    check_catches();
    raise(SIGSEGV);
    CHECK(seen.calls == 1);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
    CHECK(vmarena_fault_reassert() == 0);
    check_catches();
    raise(SIGSEGV);
    _exit(98);
}

static void test_earlier_handler_sets_the_default(void **state) {
    (void)state;
    assert_dies(displaced_by_an_earlier_handler, NULL, SIGSEGV);
}

/* ---- recovery 34: an install that fails ----------------------------------------------------------------------------------------------- */

#if !UNDER_TSAN
static void count_body(void *arg) { ++*(int *)arg; }

static void install_fails(void *arg) {
    struct sigaction segv, bus, now;
    struct vmarena_fault fault;
    struct vmarena_scope scope;
    int count = 0;
    volatile int told_code = 0;
    open_arena();
    set_handler(SA_SIGINFO, info_handler);
    CHECK(sigaction(SIGSEGV, NULL, &segv) == 0 && sigaction(SIGBUS, NULL, &bus) == 0);
    fail_set_signo = *(int *)arg;
    fail_set_error = EPERM;
    CHECK(vmarena_fault_install() == -EPERM);
    CHECK(strstr(vmarena_explain(), "sigaction") != NULL);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    CHECK(vmarena_try(count_body, &count, &fault) == -EPERM);
    CHECK(vmarena_on_fault(arena, good_repair, NULL) == -EPERM);
    VMARENA_TRY(&scope) { count++; }
    VMARENA_CATCH(caught) {
        CHECK(caught == &scope.fault && caught->signo == 0);
        told_code = caught->code;
    }
    CHECK(told_code == -EPERM && count == 0 && vmarena_scope_top() == NULL);
    char copied[4] = "";
    CHECK(vmarena_copy(copied, "abc", 4, &fault) == 0);
    CHECK(fault.signo == 0 && fault.code == -EPERM && copied[0] == '\0');
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && same_action(&now, &segv));
    CHECK(sigaction(SIGBUS, NULL, &now) == 0 && same_action(&now, &bus));
    fail_set_error = 0;
    check_catches();
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
    seen.calls = 0;
    CHECK(vmarena_try(poke_body, foreign, NULL) == 0 && seen.calls == 1);
}

/* The handler that displaced ours stays set, and is called once. */
static void reassert_fails(void *arg) {
    struct sigaction now;
    (void)arg;
    set_handler(SA_SIGINFO, info_handler);
    open_arena();
    CHECK(vmarena_fault_install() == 0);
    displace(0);
    fail_set_signo = SIGSEGV;
    fail_set_error = EPERM;
    CHECK(vmarena_fault_reassert() == -EPERM);
    fail_set_error = 0;
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_DISPLACED);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == links[0]);
    ordered = 0;
    seen.calls = 0;
    CHECK(vmarena_try(poke_body, foreign, NULL) == 0);
    CHECK(seen.calls == 1 && ordered == 1);
}

static void stack_fails(void *arg) {
    int count = 0;
    (void)arg;
    open_arena();
    CHECK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) == 0);
    size_t maps = count_maps();
    fail_stack_error = ENOMEM;
    CHECK(vmarena_try(count_body, &count, NULL) == -ENOMEM);
    CHECK(strstr(vmarena_explain(), "sigaltstack") != NULL);
    CHECK(count == 0 && vmarena_scope_top() == NULL && count_maps() == maps);
    fail_stack_error = 0;
    check_catches();
    CHECK(count_maps() > maps);
}

static void test_failed_install_rolls_back(void **state) {
    (void)state;
    int segv = SIGSEGV, bus = SIGBUS;
    assert_runs(install_fails, &segv);
    assert_runs(install_fails, &bus);
    assert_runs(reassert_fails, NULL);
    assert_runs(stack_fails, NULL);
}
#else
static void test_failed_install_rolls_back(void **state) {
    (void)state;
    skip_under_tsan("sigaction cannot be made to fail");
}
#endif

/* ---- recovery 24: a host with a handler of its own -------------------------------------------------------------------------------------- */

static volatile int host_calls, host_declined;
static void host_handler(int signo, siginfo_t *info, void *context) {
    host_calls = host_calls + 1;
    if (vmarena_handle_signal(signo, info, context)) return;
    host_declined = host_declined + 1;
    info_handler(signo, info, context);
}

static void set_host(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    action.sa_sigaction = host_handler;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    CHECK(vmarena_fault_host(true) == 0);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_HOST);
}

static void host_deals(void *arg) {
    struct sigaction now;
    struct vmarena_fault fault;
    size_t page = vmarena_page_size();
    (void)arg;
    set_host();
    open_arena();
    for (int round = 1; round <= 10; round++) {
        host_calls = host_declined = 0;
        check_catches();
        CHECK(host_calls == 1 && host_declined == 0);
        CHECK(vmarena_try_in(arena, peek_body, object - page, &fault) == 1);
        CHECK(fault.distance == -(ptrdiff_t)page && fault.access == told(VMARENA_ACCESS_READ));
        CHECK(vmarena_try_any(peek_body, NULL, &fault) == 1);
        CHECK(fault.address == NULL && fault.kind == VMARENA_FAULT_UNMAPPED);
        int fd = nameless_file();
        char *map = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
        CHECK(vmarena_try_any(peek_body, map + 1, &fault) == 1);
        CHECK(fault.signo == SIGBUS && fault.address == map + 1 && fault.kind == VMARENA_FAULT_PAST_END_OF_FILE);
        munmap(map, page);
        close(fd);
        CHECK(vmarena_protect(arena, VMARENA_READ) == 0);
        CHECK(vmarena_try(poke_body, object, &fault) == 1 && fault.kind == VMARENA_FAULT_PROTECTED);
        CHECK(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE) == 0);
        CHECK(host_calls == 5 && host_declined == 0);
        /* Not ours: the host's own affair. */
        close_foreign();
        CHECK(vmarena_try(poke_body, foreign, NULL) == 0);
        CHECK(host_declined == 1 && seen.address == foreign);
        raise(SIGSEGV);
        CHECK(host_declined == 2 && seen.code == SI_TKILL);
        repaired = 0;
        CHECK(vmarena_on_fault(arena, good_repair, NULL) == 0);
        check_catches();
        CHECK(repaired == 1 && vmarena_on_fault(arena, NULL, NULL) == 0);
    }
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == host_handler);
    siginfo_t info = {.si_signo = SIGFPE, .si_code = FPE_INTDIV};
    ucontext_t context;
    memset(&context, 0, sizeof context);
    CHECK(!vmarena_handle_signal(SIGFPE, &info, &context));
}

static void host_and_install(void *arg) {
    (void)arg;
    set_host();
    open_arena();
    CHECK(vmarena_fault_host(true) == 0);
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_fault_uninstall() == -EINVAL);
    /* The calls are counted as always, but nothing is installed. */
    CHECK(vmarena_fault_install() == 0 && vmarena_fault_status() == VMARENA_HANDLER_HOST);
    CHECK(vmarena_fault_uninstall() == 0 && vmarena_fault_uninstall() == -EINVAL);
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_HOST);
    /* After vmarena_fault_host(false) the next scope installs ours, on top of the host's handler. */
    CHECK(vmarena_fault_host(false) == 0 && vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    host_calls = 0;
    check_catches();
    CHECK(host_calls == 0 && vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
    CHECK(vmarena_fault_host(true) == -EBUSY && vmarena_fault_host(false) == -EBUSY);
    CHECK(strcmp(vmarena_explain(), "the library's own fault handlers are installed") == 0);
    CHECK(vmarena_fault_uninstall() == 0 && vmarena_fault_host(true) == 0);
    check_catches();
    CHECK(host_calls == 1);
}

/* Installs made under a host stay counted after vmarena_fault_host(false). */
static void host_gives_up(void *arg) {
    (void)arg;
    set_host();
    open_arena();
    CHECK(vmarena_fault_install() == 0 && vmarena_fault_install() == 0);
    CHECK(vmarena_fault_host(false) == 0);
    check_catches();
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
    CHECK(vmarena_fault_uninstall() == 0 && vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
    CHECK(vmarena_fault_uninstall() == 0 && vmarena_fault_status() == VMARENA_HANDLER_ABSENT);
    CHECK(vmarena_fault_uninstall() == -EINVAL);
}

static void test_host(void **state) {
    (void)state;
    assert_runs(host_deals, NULL);
    assert_runs(host_and_install, NULL);
    assert_runs(host_gives_up, NULL);
}

int main(void) {
    guard_signo = auto_guard_signal();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent_default_kills),
        cmocka_unit_test(test_sent_chained),
        cmocka_unit_test(test_ignored),
        cmocka_unit_test(test_earlier_handlers),
        cmocka_unit_test(test_sigbus_chained),
        cmocka_unit_test(test_reset_hand),
        cmocka_unit_test(test_earlier_handler_jumps_away),
        cmocka_unit_test(test_earlier_handler_jumps_out_of_a_repair_function),
        cmocka_unit_test(test_uninstall),
        cmocka_unit_test(test_reassert),
        cmocka_unit_test(test_reassert_above_one_that_raises),
        cmocka_unit_test(test_reassert_with_another_mask),
        cmocka_unit_test(test_earlier_handler_sets_the_default),
        cmocka_unit_test(test_failed_install_rolls_back),
        cmocka_unit_test(test_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
