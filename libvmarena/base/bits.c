/* SPDX-License-Identifier: MIT */
#include "base/bits.h"

#define WORD_BITS 64

static uint64_t word_of(const _Atomic uint64_t *bits, size_t index) {
    return atomic_load_explicit(&bits[index / WORD_BITS], memory_order_relaxed);
}

static uint64_t mask_of(size_t index) { return UINT64_C(1) << index % WORD_BITS; }

size_t vmarena_bits_bytes(size_t count) { return (count / WORD_BITS + 1) * sizeof(uint64_t); }

bool vmarena_bits_is_set(const _Atomic uint64_t *bits, size_t index) {
    return (word_of(bits, index) & mask_of(index)) != 0;
}

void vmarena_bits_set(_Atomic uint64_t *bits, size_t index) {
    (void)atomic_fetch_or_explicit(&bits[index / WORD_BITS], mask_of(index), memory_order_relaxed);
}

/* The bits of one word in [from, end), which is not empty and does not leave the word. */
static uint64_t mask_between(size_t from, size_t end) {
    uint64_t above = ~UINT64_C(0) << from % WORD_BITS;
    return end % WORD_BITS == 0 ? above : above & ~(~UINT64_C(0) << end % WORD_BITS);
}

void vmarena_bits_clear(_Atomic uint64_t *bits, size_t from, size_t end) {
    for (size_t at = from, next; at < end; at = next) {
        next = (at / WORD_BITS + 1) * WORD_BITS;
        uint64_t mask = mask_between(at, next < end ? next : end);
        if ((word_of(bits, at) & mask) != 0)
            (void)atomic_fetch_and_explicit(&bits[at / WORD_BITS], ~mask, memory_order_relaxed);
    }
}

bool vmarena_bits_next_run(const _Atomic uint64_t *bits, size_t count, size_t *from, size_t *end) {
    size_t i = *from;
    while (i < count && !vmarena_bits_is_set(bits, i))
        i = word_of(bits, i) == 0 ? (i / WORD_BITS + 1) * WORD_BITS : i + 1;
    if (i >= count) return false;
    *from = i;
    while (i < count && vmarena_bits_is_set(bits, i)) i++;
    *end = i;
    return true;
}
