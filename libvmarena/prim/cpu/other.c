/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#if !defined(__linux__) || !(defined(__x86_64__) || defined(__i386__) || defined(__aarch64__))

#include <signal.h>

#include "prim/internal.h"

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
#if defined(__linux__) && defined(__riscv)
    fault->pc = (void *)(uintptr_t)((const ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
#else
    (void)fault, (void)context;
#endif
}

bool vmarena_prim_context_has_access(void) { return false; }

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    (void)stack;
    (void)pthread_sigmask(SIG_SETMASK, &saved->uc_sigmask, NULL);
    landing(argument);
}

#endif
