/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#include <signal.h>

#include "prim/internal.h"

bool vmarena_prim_fault_is_access(int signo, const siginfo_t *info) {
    /* Named one by one: a signal that was sent carries a pid where the address would be, and SI_KERNEL (a non-canonical
     * address on x86-64) carries no address. */
    if (signo == SIGSEGV) {
        switch (info->si_code) {
        case SEGV_MAPERR:
        case SEGV_ACCERR: return true;
#ifdef SEGV_PKUERR
        case SEGV_PKUERR: return true;
#endif
        default: return false;
        }
    }
    if (signo == SIGBUS) {
        switch (info->si_code) {
        case BUS_ADRALN:
        case BUS_ADRERR:
        case BUS_OBJERR: return true;
#ifdef BUS_MCEERR_AR
        case BUS_MCEERR_AR: return true;
#endif
        default: return false;
        }
    }
    return false;
}

bool vmarena_prim_fault_is_unnamed(int signo, int code) {
#if defined(SI_KERNEL) && (defined(__x86_64__) || defined(__i386__))
    /* The general-protection and stack-segment exceptions, for which the CPU keeps no address (Intel SDM volume 3, 6.15).
     * Which of the two depends on the register that the compiler chose: rsp and rbp go by the stack segment. */
    return (signo == SIGSEGV || signo == SIGBUS) && code == SI_KERNEL;
#else
    return (void)signo, (void)code, false;
#endif
}

enum vmarena_fault_kind vmarena_prim_fault_kind(int signo, int code) {
    if (signo == SIGSEGV && code == SEGV_MAPERR) return VMARENA_FAULT_UNMAPPED;
    if (signo == SIGSEGV && code == SEGV_ACCERR) return VMARENA_FAULT_PROTECTED;
#ifdef SEGV_PKUERR
    if (signo == SIGSEGV && code == SEGV_PKUERR) return VMARENA_FAULT_PROTECTED;
#endif
    if (signo == SIGBUS && code == BUS_ADRERR) return VMARENA_FAULT_PAST_END_OF_FILE;
#ifdef BUS_MCEERR_AR
    if (signo == SIGBUS && code == BUS_MCEERR_AR) return VMARENA_FAULT_HARDWARE;
#endif
    return VMARENA_FAULT_OTHER;
}

void vmarena_prim_fault_read(struct vmarena_fault *fault, int signo, const siginfo_t *info, const void *context) {
    *fault = (struct vmarena_fault){.signo = signo, .code = info->si_code, .address = info->si_addr};
    vmarena_prim_read_context(fault, context);
}

/*
 * The frames between the fault and the landing are gone, but what AddressSanitizer poisoned in them stays poisoned, and
 * Valgrind holds what lies below the landing's stack pointer for out of bounds. Both are told before anything runs there.
 */
void vmarena_prim_forget_frames(uintptr_t fault_stack, uintptr_t top) {
    uintptr_t low = fault_stack < top ? fault_stack : top;
    if (top - low > (uintptr_t)64 << 20) low = top; /* the fault was on another stack */
    vmarena_prim_unpoison((const void *)(low - VMARENA_RED_ZONE), top + sizeof(void *) - (low - VMARENA_RED_ZONE));
}
