/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#if defined(__linux__) && defined(__x86_64__)

#include "prim/cpu/x86_page_fault.h"
#include "prim/internal.h"

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
    const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
    fault->pc = (void *)(uintptr_t)registers[REG_RIP];
    fault->access = vmarena_prim_x86_access(registers);
}

bool vmarena_prim_context_has_access(void) { return true; }

/* The x87 stack must be empty at a function's entry (System V ABI, AMD64: 3.2.1). A fault in the middle of a long
 * double expression leaves values there, and siglongjmp does not remove them: after eight, the stack overflows. The
 * control word stays. */
static void empty_x87_stack(mcontext_t *machine) {
    if (machine->fpregs == NULL) return;
    machine->fpregs->ftw = 0;
    machine->fpregs->swd &= (uint16_t)~0x3800; /* the top of the stack */
}

void vmarena_prim_leave_handler(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    greg_t *registers = saved->uc_mcontext.gregs;
    /* System V ABI, AMD64, 3.2.2: the red zone of 128 bytes; the stack pointer is 8 modulo 16 at a function's entry.
     * 3.2.1: the direction flag is clear. */
    uintptr_t top = ((stack - VMARENA_RED_ZONE) & ~(uintptr_t)15) - sizeof(void *);
    vmarena_prim_forget_frames((uintptr_t)registers[REG_RSP], top);
    registers[REG_RSP] = (greg_t)top;
    registers[REG_RDI] = (greg_t)(uintptr_t)argument;
    registers[REG_RIP] = (greg_t)(uintptr_t)landing;
    registers[REG_EFL] &= ~(greg_t)0x400;
    empty_x87_stack(&saved->uc_mcontext);
}

#endif
