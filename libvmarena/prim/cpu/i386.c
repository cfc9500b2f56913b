/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#if defined(__linux__) && defined(__i386__)

#include <ucontext.h>

#include "prim/internal.h"

#define PAGE_FAULT_TRAP 14 /* Intel SDM volume 3, 6.15: #PF, and its error code's bits W/R and I/D */
#define ERROR_WRITE 2
#define ERROR_FETCH 16

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
    const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
    fault->pc = (void *)(uintptr_t)registers[REG_EIP];
    if (registers[REG_TRAPNO] != PAGE_FAULT_TRAP) return;
    if (registers[REG_ERR] & ERROR_FETCH) fault->access = VMARENA_ACCESS_EXEC;
    else if (registers[REG_ERR] & ERROR_WRITE) fault->access = VMARENA_ACCESS_WRITE;
    else fault->access = VMARENA_ACCESS_READ;
}

bool vmarena_prim_context_has_access(void) { return true; }

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    greg_t *registers = saved->uc_mcontext.gregs;
    /* System V ABI, i386: 2.2.2, the argument on the stack at a multiple of 16, above the return address; 2.1.1, the
     * direction flag clear and the x87 stack empty. */
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
