/* SPDX-License-Identifier: MIT */
/* Rounding sizes and addresses. Signal-safe. */
#ifndef VMARENA_ROUNDING_H
#define VMARENA_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

/* Returns size rounded up to a multiple of unit (any number but 0), or 0 if the result does not fit. */
static inline size_t vmarena_round_up(size_t size, size_t unit) {
    return size > SIZE_MAX - (unit - 1) ? 0 : (size + unit - 1) / unit * unit;
}

/* The same for an address and a power of two; the caller ensures that the result fits. */
static inline uintptr_t vmarena_align_up(uintptr_t address, size_t align) {
    return (address + align - 1) & ~(uintptr_t)(align - 1);
}

static inline uintptr_t vmarena_align_down(uintptr_t address, size_t align) {
    return address & ~(uintptr_t)(align - 1);
}

#endif
