/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_PRIM_CPU_STACK_POINTER_H
#define VMARENA_PRIM_CPU_STACK_POINTER_H

#include <stdint.h>

/*
 * An address below everything that the calling function has on the stack (stacks grow down wherever we run), so that
 * vmarena_prim_leave may put a frame there. One instruction where we know which; elsewhere the frame of a function called
 * for it.
 */
#if defined(__x86_64__)
static inline uintptr_t vmarena_prim_stack_below(void) {
    uintptr_t here;
    __asm__ volatile("mov %%rsp, %0" : "=r"(here));
    return here;
}
#elif defined(__aarch64__)
static inline uintptr_t vmarena_prim_stack_below(void) {
    uintptr_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    return here;
}
#else
__attribute__((noinline, unused)) static uintptr_t vmarena_prim_stack_below(void) {
    return (uintptr_t)__builtin_frame_address(0);
}
#endif

#endif
