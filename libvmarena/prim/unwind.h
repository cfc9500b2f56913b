/* SPDX-License-Identifier: MIT */
/*
 * What a walk over a call stack needs from the CPU and the system: where it starts, a way to read words that may not be
 * there, one step by the frame pointer, and the unwind table of a program counter. No function here locks or allocates.
 */
#ifndef VMARENA_PRIM_UNWIND_H
#define VMARENA_PRIM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* pc is exact (an interrupted instruction), or a return address, which lies just behind its call instruction. */
struct vmarena_prim_frame {
    uintptr_t pc, sp, fp;
    bool exact;
};

/*
 * The caller of the function that uses this macro. That function must have a frame pointer of its own
 * (-fno-omit-frame-pointer), so that finding its caller takes no unwinding.
 */
#define vmarena_prim_frame_of_caller(frame)                                                                            \
    vmarena_prim_frame_from((frame), (uintptr_t)__builtin_frame_address(0), (uintptr_t)__builtin_return_address(0))
void vmarena_prim_frame_from(struct vmarena_prim_frame *frame, uintptr_t frame_address, uintptr_t return_address);

/* The interrupted frame, from a signal handler's third argument. All zero where the registers are not known. Signal-safe. */
void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context);

/*
 * Replaces *frame, which stands at the first instruction of the signal trampoline, by the frame that the signal
 * interrupted. False, with *frame unchanged, where its registers cannot be read. Signal-safe.
 */
bool vmarena_prim_frame_behind_signal(struct vmarena_prim_frame *frame);

/*
 * Replaces *frame by its caller's, found by the frame pointer. False, with *frame unchanged, where the frame pointer does
 * not point to a plausible frame further up. Signal-safe.
 */
bool vmarena_prim_frame_by_pointer(struct vmarena_prim_frame *frame);

struct vmarena_prim_word {
    uintptr_t value;
    uintptr_t present; /* 0: nothing could be read at the address, and value is 0 */
};

/*
 * Reads the word at address, a multiple of its size. The read is one load instruction, which faults where nothing is
 * mapped: the process's handler for SIGSEGV and SIGBUS must call vmarena_prim_peek_faulted() first. True from there means
 * that this load faulted and that the saved context was corrected, so that the handler has only to return. Where the CPU
 * is not known, every read fails. Signal-safe.
 */
struct vmarena_prim_word vmarena_prim_probe(uintptr_t address) __attribute__((visibility("hidden")));
bool vmarena_prim_peek_faulted(void *context);

/* The same with the value by pointer; false where nothing can be read. Signal-safe. */
bool vmarena_prim_peek(uintptr_t address, uintptr_t *value);

/*
 * 1: .eh_frame tables are found without a lock (_dl_find_object, glibc 2.35) and their DWARF register numbers are known.
 * 0: walks go by the frame pointers.
 */
#if defined(__linux__) && defined(__x86_64__) && (__GLIBC__ > 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 35))
#define VMARENA_PRIM_HAS_UNWIND_TABLES 1
#else
#define VMARENA_PRIM_HAS_UNWIND_TABLES 0
#endif

/* DWARF register numbers of x86-64 (System V ABI for AMD64, figure 3.36). */
#define VMARENA_PRIM_DWARF_FP 6
#define VMARENA_PRIM_DWARF_SP 7
#define VMARENA_PRIM_DWARF_PC 16

/* The .eh_frame_hdr section of the module that holds pc; NULL: there is none. Signal-safe. */
const uint8_t *vmarena_prim_unwind_table(uintptr_t pc);

#endif
