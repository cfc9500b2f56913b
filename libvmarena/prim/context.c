/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <setjmp.h>
#include <signal.h>

#if defined(__linux__)
#include <ucontext.h>
#endif

/* ---- what the signal tells ---- */

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

/* ---- what the CPU tells ---- */

#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))

#ifdef __x86_64__
#define PC_REGISTER REG_RIP
#else
#define PC_REGISTER REG_EIP
#endif
#define PAGE_FAULT_TRAP 14 /* Intel SDM volume 3, 6.15: #PF, and its error code's bits W/R and I/D */
#define ERROR_WRITE 2
#define ERROR_FETCH 16

static void read_context(struct vmarena_fault *fault, const ucontext_t *context) {
    const greg_t *registers = context->uc_mcontext.gregs;
    fault->pc = (void *)(uintptr_t)registers[PC_REGISTER];
    if (registers[REG_TRAPNO] != PAGE_FAULT_TRAP) return;
    if (registers[REG_ERR] & ERROR_FETCH) fault->access = VMARENA_ACCESS_EXEC;
    else if (registers[REG_ERR] & ERROR_WRITE) fault->access = VMARENA_ACCESS_WRITE;
    else fault->access = VMARENA_ACCESS_READ;
}

#elif defined(__linux__) && defined(__aarch64__)

/* The kernel adds a record with the syndrome register: arch/arm64/include/uapi/asm/sigcontext.h. Emulators may not. */
#define ESR_RECORD 0x45535201u
struct record {
    uint32_t magic, size;
};
struct esr_record {
    struct record head;
    uint64_t esr;
};

static const struct esr_record *find_esr(const ucontext_t *context) {
    const unsigned char *at = (const void *)context->uc_mcontext.__reserved; /* its type differs between C libraries */
    const unsigned char *end = at + sizeof context->uc_mcontext.__reserved;
    while (at + sizeof(struct record) <= end) {
        const struct record *head = (const struct record *)(const void *)at;
        if (head->magic == ESR_RECORD) return (const struct esr_record *)(const void *)at;
        if (head->magic == 0 || head->size < sizeof *head) break;
        at += head->size;
    }
    return NULL;
}

static void read_context(struct vmarena_fault *fault, const ucontext_t *context) {
    fault->pc = (void *)(uintptr_t)context->uc_mcontext.pc;
    const struct esr_record *record = find_esr(context);
    if (record == NULL) return;
    /* Arm ARM, D17.2.37: exception class, then for data aborts WnR (bit 6), which CM (bit 8) makes meaningless. */
    unsigned class = (unsigned)(record->esr >> 26) & 63;
    if (class == 0x20 || class == 0x21) fault->access = VMARENA_ACCESS_EXEC;
    else if ((class == 0x24 || class == 0x25) && (record->esr & (1u << 8)) == 0)
        fault->access = record->esr & (1u << 6) ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ;
}

#elif defined(__linux__) && defined(__riscv)

static void read_context(struct vmarena_fault *fault, const ucontext_t *context) {
    fault->pc = (void *)(uintptr_t)context->uc_mcontext.__gregs[REG_PC];
}

#else

static void read_context(struct vmarena_fault *fault, const void *context) { (void)fault, (void)context; }

#endif

void vmarena_prim_fault_read(struct vmarena_fault *fault, int signo, const siginfo_t *info, const void *context) {
    *fault = (struct vmarena_fault){.signo = signo, .code = info->si_code, .address = info->si_addr};
    read_context(fault, context);
}

/* ---- leaving the handler ---- */

#define RED_ZONE 128u

/*
 * The frames between the fault and the landing are gone, but what AddressSanitizer poisoned in them stays poisoned, and
 * Valgrind holds what lies below the landing's stack pointer for out of bounds. Both are told before anything runs there.
 */
__attribute__((unused)) static void forget_frames(uintptr_t fault_stack, uintptr_t top) {
    uintptr_t low = fault_stack < top ? fault_stack : top;
    if (top - low > (uintptr_t)64 << 20) low = top; /* the fault was on another stack */
    vmarena_prim_unpoison((const void *)(low - RED_ZONE), top + sizeof(void *) - (low - RED_ZONE));
}

#if defined(__linux__) && defined(__x86_64__)

/* The x87 stack must be empty at a function's entry (System V ABI, AMD64: 3.2.1). A fault in the middle of a long double
 * expression leaves values there, which no siglongjmp takes away: the ninth overflows it. The modes stay. */
static void empty_x87_stack(mcontext_t *machine) {
    if (machine->fpregs == NULL) return;
    machine->fpregs->ftw = 0;
    machine->fpregs->swd &= (uint16_t)~0x3800; /* the top of the stack */
}

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    greg_t *registers = saved->uc_mcontext.gregs;
    /* System V ABI, AMD64: 3.2.2, the red zone of 128 bytes, and a stack pointer of 8 modulo 16 at a function's entry;
     * 3.2.1, the direction flag clear. */
    uintptr_t top = ((stack - RED_ZONE) & ~(uintptr_t)15) - sizeof(void *);
    forget_frames((uintptr_t)registers[REG_RSP], top);
    registers[REG_RSP] = (greg_t)top;
    registers[REG_RDI] = (greg_t)(uintptr_t)argument;
    registers[REG_RIP] = (greg_t)(uintptr_t)landing;
    registers[REG_EFL] &= ~(greg_t)0x400;
    empty_x87_stack(&saved->uc_mcontext);
}

#elif defined(__linux__) && defined(__i386__)

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    greg_t *registers = saved->uc_mcontext.gregs;
    /* System V ABI, i386: 2.2.2, the argument on the stack at a multiple of 16, above the return address; 2.1.1, the
     * direction flag clear and the x87 stack empty. */
    void **slot = (void **)((stack - RED_ZONE) & ~(uintptr_t)15);
    uintptr_t top = (uintptr_t)slot - sizeof(void *);
    forget_frames((uintptr_t)registers[REG_ESP], top);
    *slot = argument;
    registers[REG_ESP] = (greg_t)top;
    registers[REG_EIP] = (greg_t)(uintptr_t)landing;
    registers[REG_EFL] &= ~(greg_t)0x400;
    if (saved->uc_mcontext.fpregs == NULL) return;
    saved->uc_mcontext.fpregs->tag = 0xffff;
    saved->uc_mcontext.fpregs->sw &= ~0x3800ul; /* the top of the stack */
}

#elif defined(__linux__) && defined(__aarch64__)

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    uintptr_t top = (stack - RED_ZONE) & ~(uintptr_t)15; /* AAPCS64 6.4.5: 16-byte aligned */
    forget_frames((uintptr_t)saved->uc_mcontext.sp, top);
    saved->uc_mcontext.sp = top;
    saved->uc_mcontext.regs[0] = (uintptr_t)argument;
    saved->uc_mcontext.pc = (uintptr_t)landing;
    saved->uc_mcontext.pstate &= ~(UINT64_C(3) << 10); /* BTYPE: the landing is no indirect branch's target */
}

#else

void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack) {
    ucontext_t *saved = context;
    (void)stack;
    (void)pthread_sigmask(SIG_SETMASK, &saved->uc_sigmask, NULL);
    landing(argument);
}

#endif
