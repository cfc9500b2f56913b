/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "prim/internal.h"

/* The stack that the thread was on when it last asked. */
static _Thread_local struct vmarena_prim_bounds stack;

static bool is_on_stack(uintptr_t frame) {
    struct vmarena_prim_bounds found;
    if (frame >= stack.low && frame < stack.high) return true;
    if (!vmarena_prim_find_stack(frame, &found)) return false;
    stack = found;
    return true;
}

/* What a frame pointer points to: the caller's frame pointer, and above it the return address. On riscv and loongarch
 * the two words lie below the address. */
struct frame_record {
    uintptr_t caller;
    void *return_address;
};
#if defined(__riscv) || defined(__loongarch__)
#define RECORD_AT(frame) ((const struct frame_record *)(frame)-1)
#else
#define RECORD_AT(frame) ((const struct frame_record *)(frame))
#endif

/* The words read are not this function's own: AddressSanitizer and ThreadSanitizer would object. */
#if defined(__has_attribute)
#if __has_attribute(no_sanitize)
__attribute__((no_sanitize("address", "thread")))
#endif
#endif
size_t
vmarena_prim_backtrace(const void *start, void **pcs, size_t depth) {
    uintptr_t frame = (uintptr_t)start;
    size_t count = 0;
    if (depth == 0 || !is_on_stack(frame)) return 0;
    while (count < depth && frame % sizeof(void *) == 0 && frame <= stack.high - sizeof(struct frame_record)) {
        const struct frame_record *record = RECORD_AT(frame);
        if (record->return_address == NULL) break;
        pcs[count++] = record->return_address;
        if (record->caller <= frame) break;
        frame = record->caller;
    }
    return count;
}
