/* SPDX-License-Identifier: MIT */
/* CPUs and systems whose saved context we do not rewrite: the handler is left by a jump. */
#include "prim/prim.h"

#if !defined(__linux__) || !(defined(__x86_64__) || defined(__i386__) || defined(__aarch64__))

#include "prim/internal.h"

#ifdef __OpenBSD__
#define SAVED_MASK(context) ((sigset_t){(unsigned)(context)->sc_mask}) /* its ucontext_t is a struct sigcontext */
#else
#define SAVED_MASK(context) ((context)->uc_sigmask)
#endif

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
#if defined(__linux__) && defined(__riscv)
    fault->pc = (void *)(uintptr_t)((const ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
#else
    (void)fault, (void)context;
#endif
}

bool vmarena_prim_context_has_access(void) { return false; }

void vmarena_prim_leave_handler(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    const ucontext_t *saved = context;
    sigset_t mask = SAVED_MASK(saved);
    (void)stack;
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    landing(argument);
}

#endif
