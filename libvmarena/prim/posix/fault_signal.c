/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "prim/internal.h"

bool vmarena_prim_fault_has_address(int signo, const siginfo_t *info) {
    /* Only these codes come with an address: a signal that was sent has the sender's pid in its place, and SI_KERNEL (a
     * non-canonical address on x86-64) has none. */
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

bool vmarena_prim_fault_is_general_protection(int signo, int code) {
#if defined(SI_KERNEL) && (defined(__x86_64__) || defined(__i386__))
    /* The CPU keeps no address for these exceptions (Intel SDM volume 3, 6.15). An access through rsp or rbp raises the
     * stack-segment exception, which becomes a SIGBUS; others raise the general-protection exception. */
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
