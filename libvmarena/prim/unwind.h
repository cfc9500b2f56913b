/* SPDX-License-Identifier: MIT */
/*
 * Call stacks, cheap enough for every malloc and safe in one: no lock, no allocation, no call into the dynamic linker
 * that takes either. Return addresses only; naming them is somebody else's work, later.
 */
#ifndef VMARENA_PRIM_UNWIND_H
#define VMARENA_PRIM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a walk starts. pc is exact (an interrupted instruction), or a return address, which is where the call ends. */
struct vmarena_prim_frame {
    uintptr_t pc, sp, fp;
    bool exact;
};

/*
 * The caller of the function that uses this, whose own frame has to have a frame pointer (-fno-omit-frame-pointer): so
 * the walk starts with no step to take.
 */
#define vmarena_prim_frame_of_caller(frame)                                                                            \
    vmarena_prim_frame_from((frame), (uintptr_t)__builtin_frame_address(0), (uintptr_t)__builtin_return_address(0))
void vmarena_prim_frame_from(struct vmarena_prim_frame *frame, uintptr_t frame_address, uintptr_t return_address);

/* The interrupted frame of a signal handler's third argument. Signal-safe. */
void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context);

/*
 * Writes up to count program counters, innermost first, the frame's own first, and returns how many. They are return
 * addresses, but for an exact first one. Ends where the unwind tables end. Any thread; signal-safe.
 *
 * x86-64: by the .eh_frame tables, which programs built without frame pointers have too; the rule for a program counter
 * is worked out once and remembered, and so are whole walks. Elsewhere: by the frame pointers. The stack is read as by vmarena_prim_peek().
 */
size_t vmarena_prim_unwind(const struct vmarena_prim_frame *from, void **pcs, size_t count);

/*
 * Reads the word at address, a multiple of its size; false where nothing can be read. Signal-safe. It is one load
 * instruction: the process's handler for SIGSEGV and SIGBUS must ask vmarena_prim_peek_faulted() first. true: the load
 * was that one, the saved context was mended, and the handler returns.
 */
bool vmarena_prim_peek(uintptr_t address, uintptr_t *value);
bool vmarena_prim_peek_faulted(void *context);

#endif
