/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#if defined(__linux__) && defined(__i386__)

#include "prim/cpu/x86_page_fault.h"
#include "prim/internal.h"

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
    const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
    fault->pc = (void *)(uintptr_t)registers[REG_EIP];
    fault->access = vmarena_prim_x86_access(registers);
}

bool vmarena_prim_context_has_access(void) { return true; }

void vmarena_prim_leave_handler(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    greg_t *registers = saved->uc_mcontext.gregs;
    /* System V ABI, i386, 2.2.2: the argument is on the stack at a multiple of 16, above the return address. 2.1.1: the
     * direction flag is clear and the x87 stack empty. */
    void **slot = (void **)((stack - VMARENA_RED_ZONE) & ~(uintptr_t)15);
    uintptr_t top = (uintptr_t)slot - sizeof(void *);
    vmarena_prim_forget_frames((uintptr_t)registers[REG_ESP], top);
    *slot = argument;
    registers[REG_ESP] = (greg_t)top;
    registers[REG_EIP] = (greg_t)(uintptr_t)landing;
    registers[REG_EFL] &= ~(greg_t)0x400;
    if (saved->uc_mcontext.fpregs == NULL) return;
    saved->uc_mcontext.fpregs->tag = 0xffff;
    saved->uc_mcontext.fpregs->sw &= ~0x3800ul; /* the top of the stack */
}

#endif
