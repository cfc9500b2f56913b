/* SPDX-License-Identifier: MIT */
/* Linux on x86: what the exception number and the error code in a ucontext tell (Intel SDM volume 3, 6.15). */
#ifndef VMARENA_PRIM_CPU_X86_PAGE_FAULT_H
#define VMARENA_PRIM_CPU_X86_PAGE_FAULT_H

#include <ucontext.h>

#include "vmarena/types.h"

#define VMARENA_X86_PAGE_FAULT 14  /* #PF */
#define VMARENA_X86_ERROR_WRITE 2  /* W/R in its error code */
#define VMARENA_X86_ERROR_FETCH 16 /* I/D */

static inline enum vmarena_access vmarena_prim_x86_access(const greg_t *registers) {
    if (registers[REG_TRAPNO] != VMARENA_X86_PAGE_FAULT) return VMARENA_ACCESS_UNKNOWN;
    if (registers[REG_ERR] & VMARENA_X86_ERROR_FETCH) return VMARENA_ACCESS_EXEC;
    return registers[REG_ERR] & VMARENA_X86_ERROR_WRITE ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ;
}

#endif
