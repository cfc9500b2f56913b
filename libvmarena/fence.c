/* SPDX-License-Identifier: MIT */
#include "fence.h"

#include <errno.h>
#include <string.h>

int vmarena_fence_place(struct vmarena_fence_place *place, size_t size, size_t align, enum vmarena_fence side,
                        size_t page) {
    if (size > SIZE_MAX - (page - 1)) return -EOVERFLOW;
    place->pages = (size + page - 1) & ~(page - 1);
    place->offset = side == VMARENA_FENCE_END ? (place->pages - size) & ~(align - 1) : 0;
    return 0;
}

/* Eight bytes of pattern, as they lie in memory at a multiple of eight. An odd multiplier (2^64 divided by the golden
 * ratio) gives neighbouring words unlike bytes; the low bit of each byte is set, so that zeroing is always seen. */
static uint64_t pattern(uintptr_t word) {
    return ((uint64_t)word * UINT64_C(0x9E3779B97F4A7C15)) | UINT64_C(0x0101010101010101);
}

static unsigned char pattern_byte(uintptr_t address) {
    uint64_t word = pattern(address & ~(uintptr_t)7);
    unsigned char bytes[sizeof word];
    memcpy(bytes, &word, sizeof word);
    return bytes[address & 7];
}

void vmarena_fence_fill(uintptr_t start, uintptr_t end) {
    uintptr_t at = start;
    for (; at < end && (at & 7) != 0; at++) *(unsigned char *)at = pattern_byte(at);
    for (; end - at >= 8; at += 8) *(uint64_t *)at = pattern(at);
    for (; at < end; at++) *(unsigned char *)at = pattern_byte(at);
}

uintptr_t vmarena_fence_check(uintptr_t start, uintptr_t end) {
    uintptr_t at = start;
    for (; at < end && (at & 7) != 0; at++)
        if (*(const unsigned char *)at != pattern_byte(at)) return at;
    for (; end - at >= 8 && *(const uint64_t *)at == pattern(at); at += 8) {}
    for (; at < end; at++)
        if (*(const unsigned char *)at != pattern_byte(at)) return at;
    return end;
}

ptrdiff_t vmarena_fence_distance(uintptr_t start, size_t size, uintptr_t address) {
    if (address < start) return -(ptrdiff_t)(start - address);
    if (address - start < size) return 0;
    return (ptrdiff_t)(address - start - size) + 1;
}
