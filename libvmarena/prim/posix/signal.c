/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <stdatomic.h>

/*
 * SA_SIGINFO: the handler needs siginfo_t, which has the address of the fault.
 * SA_ONSTACK: a stack overflow leaves no stack to run on, and the Go runtime refuses handlers without this flag.
 * SA_NODEFER, with an empty mask: the jump out of a body restores no signal mask, so that a blocked signal would stay
 * blocked and the next fault would kill the process. And a fault inside the handler must reach the outer scope.
 * SA_RESTART: after a fault that we decline, the host's interrupted system calls go on, as Go expects.
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
    /* "Action optional": the kernel found the memory error by itself, and no access will fault again. */
    if (info->si_signo == SIGBUS && info->si_code == BUS_MCEERR_AO) return true;
#endif
    return false;
}

/* After the handler returns, the faulting instruction runs again and meets the default action. A signal that somebody
 * sent does not come again by itself. */
static void die_by_default(int signo, bool sent) {
    (void)sigaction(signo, by_default(), NULL);
    if (sent) (void)raise(signo);
}

/* The mask and SA_NODEFER as the kernel would have applied them: the earlier handler may rely on either. */
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
    /* The kernel resets the action before it calls the handler. Of two threads that fault at once only one finds it
     * set. */
    if ((earlier->sa_flags & (int)SA_RESETHAND) && atomic_exchange(&action->spent, true)) earlier = by_default();
    if (earlier->sa_handler == SIG_IGN && sent) return;
    if (earlier->sa_handler == SIG_IGN || earlier->sa_handler == SIG_DFL) die_by_default(signo, sent);
    else call_earlier(signo, info, context, earlier);
}
