/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/frames.h"

#include "prim/internal.h"

static _Thread_local struct vmarena_prim_bounds stack; /* that the thread was on when it was last asked for */

static bool on_stack(uintptr_t frame) {
    struct vmarena_prim_bounds found;
    if (frame >= stack.low && frame < stack.high) return true;
    if (!vmarena_prim_find_stack(frame, &found)) return false;
    stack = found;
    return true;
}

#if defined(__has_attribute)
#if __has_attribute(no_sanitize)
__attribute__((no_sanitize("address", "thread")))
#endif
#endif
size_t
vmarena_prim_frames(const void *start, void **frames, size_t depth) {
    uintptr_t frame = (uintptr_t)start;
    size_t count = 0;
    if (depth == 0 || !on_stack(frame)) return 0;
    while (count < depth && frame % sizeof(void *) == 0 && frame <= stack.high - 2 * sizeof(void *)) {
        /* A frame pointer points to the caller's, and above it lies the return address: so on x86-64, arm64, riscv
         * (there shifted by two words, which their ABIs agree on). */
#if defined(__riscv) || defined(__loongarch__)
        void *const *record = (void *const *)frame - 2;
#else
        void *const *record = (void *const *)frame;
#endif
        if (record[1] == NULL) break;
        frames[count++] = record[1];
        if ((uintptr_t)record[0] <= frame) break;
        frame = (uintptr_t)record[0];
    }
    return count;
}
