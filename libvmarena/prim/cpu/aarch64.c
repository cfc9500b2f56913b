/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#if defined(__linux__) && defined(__aarch64__)

#include <ucontext.h>

#include "prim/internal.h"

/* The kernel saves the syndrome register in a record: arch/arm64/include/uapi/asm/sigcontext.h. Emulators may not. */
#define ESR_RECORD 0x45535201u
struct record {
    uint32_t magic, size;
};
struct esr_record {
    struct record head;
    uint64_t esr;
};

static const struct esr_record *find_esr(const ucontext_t *context) {
    const unsigned char *at =
        (const void *)context->uc_mcontext.__reserved; /* the member's type differs between C libraries */
    const unsigned char *end = at + sizeof context->uc_mcontext.__reserved;
    while (at + sizeof(struct record) <= end) {
        const struct record *head = (const struct record *)(const void *)at;
        if (head->magic == ESR_RECORD) return (const struct esr_record *)(const void *)at;
        if (head->magic == 0 || head->size < sizeof *head) break;
        at += head->size;
    }
    return NULL;
}

void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context) {
    const ucontext_t *saved = context;
    fault->pc = (void *)(uintptr_t)saved->uc_mcontext.pc;
    const struct esr_record *record = find_esr(saved);
    if (record == NULL) return;
    /* Arm ARM, D17.2.37: the exception class; for data aborts WnR (bit 6), which means nothing where CM (bit 8) is
     * set. */
    unsigned class = (unsigned)(record->esr >> 26) & 63;
    if (class == 0x20 || class == 0x21) fault->access = VMARENA_ACCESS_EXEC;
    else if ((class == 0x24 || class == 0x25) && (record->esr & (1u << 8)) == 0)
        fault->access = record->esr & (1u << 6) ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ;
}

bool vmarena_prim_context_has_access(void) { return true; }

void vmarena_prim_leave_handler(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    uintptr_t top = (stack - VMARENA_RED_ZONE) & ~(uintptr_t)15; /* AAPCS64 6.4.5: 16-byte aligned */
    vmarena_prim_forget_frames((uintptr_t)saved->uc_mcontext.sp, top);
    saved->uc_mcontext.sp = top;
    saved->uc_mcontext.regs[0] = (uintptr_t)argument;
    saved->uc_mcontext.pc = (uintptr_t)landing;
    saved->uc_mcontext.pstate &= ~(UINT64_C(3) << 10); /* BTYPE 0: the landing is not entered by an indirect branch */
}

#endif
