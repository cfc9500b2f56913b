/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "prim/unwind.h"

#include <string.h>

#ifdef __linux__
#include <ucontext.h>
#endif
#if VMARENA_PRIM_HAS_UNWIND_TABLES
#include <dlfcn.h>
#endif

/* ---- a word that may not be there ---- */

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

/* The probe takes the address, and returns both members, in the registers that either ABI uses for such a structure. */
extern const char vmarena_prim_probe_load[] __attribute__((visibility("hidden")));
extern const char vmarena_prim_probe_failed[] __attribute__((visibility("hidden")));

#ifdef __x86_64__
#define PROBE "movl $1, %edx\n vmarena_prim_probe_load:\n movq (%rdi), %rax\n ret\n"
#define PROBE_FAILED "xorl %eax, %eax\n xorl %edx, %edx\n ret\n"
#define PC_OF(context) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_RIP])
#define SP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])
#define FP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.gregs[REG_RBP])
#else
#define PROBE "vmarena_prim_probe_load:\n ldr x0, [x0]\n mov x1, #1\n ret\n"
#define PROBE_FAILED "mov x0, #0\n mov x1, #0\n ret\n"
#define PC_OF(context) (((ucontext_t *)(context))->uc_mcontext.pc)
#define SP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.sp)
#define FP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.regs[29])
#endif

__asm__(".pushsection .text\n"
        ".globl vmarena_prim_probe, vmarena_prim_probe_load, vmarena_prim_probe_failed\n"
        ".hidden vmarena_prim_probe, vmarena_prim_probe_load, vmarena_prim_probe_failed\n"
        ".type vmarena_prim_probe, %function\n"
        ".balign 16\n"
        "vmarena_prim_probe:\n"
        ".cfi_startproc\n" PROBE "vmarena_prim_probe_failed:\n" PROBE_FAILED ".cfi_endproc\n"
        ".size vmarena_prim_probe, . - vmarena_prim_probe\n"
        ".popsection\n");

bool vmarena_prim_peek_faulted(void *context) {
    if ((uintptr_t)PC_OF(context) != (uintptr_t)vmarena_prim_probe_load) return false;
    __typeof__(PC_OF(context)) *pc = &PC_OF(context);
    *pc = (__typeof__(*pc))(uintptr_t)vmarena_prim_probe_failed;
    return true;
}

void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context) {
    *frame = (struct vmarena_prim_frame){.pc = (uintptr_t)PC_OF((void *)(uintptr_t)context),
                                         .sp = (uintptr_t)SP_OF(context),
                                         .fp = (uintptr_t)FP_OF(context),
                                         .exact = true};
}

#else /* no load that may fault: every read fails, so that no walk goes beyond its first frame */

struct vmarena_prim_word vmarena_prim_probe(uintptr_t address) {
    (void)address;
    return (struct vmarena_prim_word){0, 0};
}

bool vmarena_prim_peek_faulted(void *context) {
    (void)context;
    return false;
}

void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context) {
    (void)context;
    *frame = (struct vmarena_prim_frame){.pc = 0};
}

#endif

bool vmarena_prim_peek(uintptr_t address, uintptr_t *value) {
    struct vmarena_prim_word word = vmarena_prim_probe(address);
    *value = word.value;
    return word.present != 0;
}

/* ---- frames ---- */

/* A frame pointer points to the caller's frame pointer, with the return address above it: on x86-64, aarch64 and others. */
void vmarena_prim_frame_from(struct vmarena_prim_frame *frame, uintptr_t frame_address, uintptr_t return_address) {
    uintptr_t outer;
    memcpy(&outer, (const void *)frame_address, sizeof outer); /* the function is running, so its frame is there */
    *frame = (struct vmarena_prim_frame){
        .pc = return_address, .sp = frame_address + 2 * sizeof(void *), .fp = outer, .exact = false};
}

/* No frame is that large: where the register points further away, it holds something other than a frame pointer. */
#define FRAME_MAX ((uintptr_t)1 << 20)

bool vmarena_prim_frame_by_pointer(struct vmarena_prim_frame *frame) {
    if (frame->fp < frame->sp || frame->fp - frame->sp > FRAME_MAX || frame->fp % sizeof(void *) != 0) return false;
    struct vmarena_prim_word outer = vmarena_prim_probe(frame->fp);
    struct vmarena_prim_word pc = vmarena_prim_probe(frame->fp + sizeof(void *));
    if (!outer.present || !pc.present) return false;
    *frame = (struct vmarena_prim_frame){
        .pc = pc.value, .sp = frame->fp + 2 * sizeof(void *), .fp = outer.value, .exact = false};
    return true;
}

#if VMARENA_PRIM_HAS_UNWIND_TABLES

/* At the trampoline's first instruction the stack pointer points to the ucontext_t that the kernel made. */
#define SIGNAL_REGISTER(number) (offsetof(ucontext_t, uc_mcontext) + (number) * sizeof(greg_t))

bool vmarena_prim_frame_behind_signal(struct vmarena_prim_frame *frame) {
    struct vmarena_prim_word pc = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RIP));
    struct vmarena_prim_word sp = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RSP));
    struct vmarena_prim_word fp = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RBP));
    if (!pc.present || !sp.present || !fp.present) return false;
    *frame = (struct vmarena_prim_frame){.pc = pc.value, .sp = sp.value, .fp = fp.value, .exact = true};
    return true;
}

/* _dl_find_object takes no lock and may be called in a signal handler, as its manual says (glibc 2.35). */
const uint8_t *vmarena_prim_unwind_table(uintptr_t pc) {
    struct dl_find_object object;
    return _dl_find_object((void *)pc, &object) == 0 ? object.dlfo_eh_frame : NULL;
}

#else

bool vmarena_prim_frame_behind_signal(struct vmarena_prim_frame *frame) { return (void)frame, false; }
const uint8_t *vmarena_prim_unwind_table(uintptr_t pc) { return (void)pc, NULL; }

#endif
