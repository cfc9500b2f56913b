/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <sys/resource.h>

#include "prim/internal.h"

static bool is_pending(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1;
}

/* The signal is raised in the thread whose call fails, so that blocking it in this thread is enough. */
void vmarena_prim_file_limit_begin(struct vmarena_prim_file_limit *limit) {
    struct rlimit size = {.rlim_cur = 0};
    sigset_t signals;
    limit->blocked = getrlimit(RLIMIT_FSIZE, &size) != 0 || size.rlim_cur != RLIM_INFINITY;
    if (!limit->blocked) return;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGXFSZ);
    (void)pthread_sigmask(SIG_BLOCK, &signals, &limit->mask);
    limit->was_pending = is_pending();
}

/* What is pending now, and was not before, comes from the call in between: sigwait(3) takes it away. */
void vmarena_prim_file_limit_end(const struct vmarena_prim_file_limit *limit) {
    int saved = errno, signo;
    sigset_t signals;
    if (!limit->blocked) return;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGXFSZ);
    if (!limit->was_pending && is_pending()) (void)sigwait(&signals, &signo);
    (void)pthread_sigmask(SIG_SETMASK, &limit->mask, NULL);
    errno = saved;
}
