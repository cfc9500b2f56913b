/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#include <errno.h>
#include <stdatomic.h>

/*
 * SIGINFO: the address is in siginfo_t. ONSTACK: a fault by stack overflow must still find a stack, and the Go runtime
 * refuses handlers without it. NODEFER with an empty mask: a body is left by a jump that restores no mask, which would
 * otherwise leave the signal blocked and make the next fault fatal; and a fault inside the handler must reach the outer
 * scope. RESTART: a host's system calls go on after a fault in another thread was declined (Go expects it too).
 */
#define HANDLER_FLAGS (SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART)

int vmarena_prim_signal_get(int signo, struct vmarena_prim_action *action) {
    *action = (struct vmarena_prim_action){.spent = false};
    return sigaction(signo, NULL, &action->system) == 0 ? 0 : -errno;
}

int vmarena_prim_signal_set(int signo, vmarena_prim_handler *handler) {
    struct sigaction action = {.sa_flags = HANDLER_FLAGS};
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    return sigaction(signo, &action, NULL) == 0 ? 0 : -errno;
}

static const struct sigaction *by_default(void) {
    static const struct sigaction action; /* all zero: SIG_DFL, no flags, no mask */
    return &action;
}

int vmarena_prim_signal_restore(int signo, const struct vmarena_prim_action *action) {
    return sigaction(signo, action->spent ? by_default() : &action->system, NULL) == 0 ? 0 : -errno;
}

int vmarena_prim_signal_is(int signo, vmarena_prim_handler *handler) {
    struct sigaction action;
    if (sigaction(signo, NULL, &action) != 0) return -errno;
    return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == handler;
}

bool vmarena_prim_signal_same(const struct vmarena_prim_action *one, const struct vmarena_prim_action *other) {
    if (one->spent != other->spent || one->system.sa_flags != other->system.sa_flags) return false;
    if (one->system.sa_handler != other->system.sa_handler) return false;
    for (int signo = 1; signo < NSIG; signo++)
        if (sigismember(&one->system.sa_mask, signo) != sigismember(&other->system.sa_mask, signo)) return false;
    return true;
}

static bool was_sent(const siginfo_t *info) {
    if (info->si_code <= 0 || info->si_code == SI_USER || info->si_code == SI_QUEUE) return true;
#ifdef BUS_MCEERR_AO
    /* Asynchronous: no access will fault again. */
    if (info->si_signo == SIGBUS && info->si_code == BUS_MCEERR_AO) return true;
#endif
    return false;
}

/* A fault comes again by itself once the default action is set; a signal that was sent does not. */
static void die_by_default(int signo, bool sent) {
    (void)sigaction(signo, by_default(), NULL);
    if (sent) (void)raise(signo);
}

static void call_earlier(int signo, siginfo_t *info, void *context, const struct sigaction *action) {
    sigset_t mask = action->sa_mask, before;
    if ((action->sa_flags & SA_NODEFER) == 0) (void)sigaddset(&mask, signo);
    (void)pthread_sigmask(SIG_BLOCK, &mask, &before);
    if (action->sa_flags & SA_SIGINFO) action->sa_sigaction(signo, info, context);
    else action->sa_handler(signo);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void vmarena_prim_signal_chain(int signo, siginfo_t *info, void *context, struct vmarena_prim_action *action) {
    const struct sigaction *earlier = &action->system;
    bool sent = was_sent(info);
    /* As the kernel does, before the call; and of two threads one gets it. */
    if ((earlier->sa_flags & (int)SA_RESETHAND) && atomic_exchange(&action->spent, true)) earlier = by_default();
    if (earlier->sa_handler == SIG_IGN && sent) return;
    if (earlier->sa_handler == SIG_IGN || earlier->sa_handler == SIG_DFL) die_by_default(signo, sent);
    else call_earlier(signo, info, context, earlier);
}
