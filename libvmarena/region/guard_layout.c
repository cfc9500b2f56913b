/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/guard_layout.h"

#include <errno.h>
#include <string.h>

#include "base/rounding.h"

int vmarena_place_object(struct vmarena_placement *place, size_t size, size_t align, enum vmarena_fence side,
                         size_t page) {
    place->pages = vmarena_round_up(size, page);
    if (place->pages < size) return -EOVERFLOW;
    place->offset = side == VMARENA_FENCE_END ? (place->pages - size) & ~(align - 1) : 0;
    return 0;
}

/*
 * Eight bytes of pattern, as they lie in memory at a multiple of eight. An odd multiplier (2^64 divided by the golden ratio)
 * gives neighbouring words unlike bytes. Each is odd, above 0x80 and without the bit 0x10: so that it is none of those that
 * programs write most, and a single one of them is always seen: zero, small numbers, ASCII, 0xff.
 */
#define SPREAD UINT64_C(0x9E3779B97F4A7C15)
#define SET UINT64_C(0x8181818181818181)
#define CLEAR UINT64_C(0x1010101010101010)
#define SHAPED(words) (((words) | SET) & ~CLEAR)

static uint64_t pattern(uintptr_t word) { return SHAPED((uint64_t)word * SPREAD); }

unsigned char vmarena_pattern_byte(uintptr_t address) {
    uint64_t word = pattern(address & ~(uintptr_t)7);
    unsigned char bytes[sizeof word];
    memcpy(bytes, &word, sizeof word);
    return bytes[address & 7];
}

/*
 * The pattern of 64 bytes at once, for the CPU's vector unit: most of an object's pages is slack, filled once and checked
 * once. From one block to the next each word grows by the same amount, so that none is multiplied. Four variables, as
 * compilers keep a vector wider than the CPU's in memory.
 */
typedef uint64_t pair __attribute__((vector_size(16)));
#define BLOCK ((size_t)64)
#define GROWTH (BLOCK * SPREAD)

static pair pair_at(uintptr_t at) { return (pair){(uint64_t)at * SPREAD, (uint64_t)(at + 8) * SPREAD}; }
static void store(uintptr_t at, pair value) {
    value = SHAPED(value);
    memcpy((void *)at, &value, sizeof value);
}
static pair load(uintptr_t at) {
    pair value;
    memcpy(&value, (const void *)at, sizeof value);
    return value;
}

static uintptr_t fill_blocks(uintptr_t at, uintptr_t end) {
    pair a = pair_at(at), b = pair_at(at + 16), c = pair_at(at + 32), d = pair_at(at + 48);
    for (; end - at >= BLOCK; at += BLOCK, a += GROWTH, b += GROWTH, c += GROWTH, d += GROWTH) {
        store(at, a);
        store(at + 16, b);
        store(at + 32, c);
        store(at + 48, d);
    }
    return at;
}

/* Returns the end of the blocks that hold the pattern. The caller checks what follows byte by byte. */
static uintptr_t check_blocks(uintptr_t at, uintptr_t end) {
    pair a = pair_at(at), b = pair_at(at + 16), c = pair_at(at + 32), d = pair_at(at + 48);
    for (; end - at >= BLOCK; at += BLOCK, a += GROWTH, b += GROWTH, c += GROWTH, d += GROWTH) {
        pair left = (load(at) ^ SHAPED(a)) | (load(at + 16) ^ SHAPED(b));
        pair right = (load(at + 32) ^ SHAPED(c)) | (load(at + 48) ^ SHAPED(d));
        pair any = left | right;
        if ((any[0] | any[1]) != 0) break;
    }
    return at;
}

void vmarena_pattern_fill(uintptr_t start, uintptr_t end) {
    uintptr_t at = start;
    for (; at < end && (at & 7) != 0; at++) *(unsigned char *)at = vmarena_pattern_byte(at);
    at = fill_blocks(at, end);
    for (; end - at >= 8; at += 8) *(uint64_t *)at = pattern(at);
    for (; at < end; at++) *(unsigned char *)at = vmarena_pattern_byte(at);
}

uintptr_t vmarena_pattern_check(uintptr_t start, uintptr_t end) {
    uintptr_t at = start;
    for (; at < end && (at & 7) != 0; at++)
        if (*(const unsigned char *)at != vmarena_pattern_byte(at)) return at;
    at = check_blocks(at, end);
    for (; end - at >= 8 && *(const uint64_t *)at == pattern(at); at += 8) {}
    for (; at < end; at++)
        if (*(const unsigned char *)at != vmarena_pattern_byte(at)) return at;
    return end;
}

void vmarena_slack_fill_pattern(const struct vmarena_slack *slack) {
    vmarena_pattern_fill(slack->before, slack->start);
    vmarena_pattern_fill(slack->end, slack->after);
}

static uintptr_t find_damage(uintptr_t start, uintptr_t end, size_t *length) {
    uintptr_t bad = vmarena_pattern_check(start, end), last = bad;
    if (bad == end) return 0;
    for (uintptr_t at = bad + 1; at < end; at++)
        if (vmarena_pattern_check(at, at + 1) == at) last = at;
    *length = last - bad + 1;
    return bad;
}

uintptr_t vmarena_slack_find_damage(const struct vmarena_slack *slack, uintptr_t from, size_t *length) {
    uintptr_t bad = from < slack->start ? find_damage(from, slack->start, length) : 0;
    if (bad != 0) return bad;
    return find_damage(from > slack->end ? from : slack->end, slack->after, length);
}

ptrdiff_t vmarena_object_distance(uintptr_t start, size_t size, uintptr_t address) {
    if (address < start) return -(ptrdiff_t)(start - address);
    if (address - start < size) return 0;
    return (ptrdiff_t)(address - start - size) + 1;
}

size_t vmarena_object_gap(uintptr_t start, size_t size, uintptr_t address) {
    ptrdiff_t distance = vmarena_object_distance(start, size, address);
    return distance < 0 ? (size_t)-distance : (size_t)distance;
}

void vmarena_attribute_kind(struct vmarena_fault *fault, enum vmarena_fault_kind kind) {
    if (fault->kind != VMARENA_FAULT_HARDWARE || kind != VMARENA_FAULT_PROTECTED) fault->kind = kind;
}

void vmarena_attribute_object(struct vmarena_fault *fault, uintptr_t start, size_t size) {
    fault->object = (void *)start;
    fault->object_size = size;
    fault->distance = vmarena_object_distance(start, size, (uintptr_t)fault->address);
}

void vmarena_attribute(struct vmarena_fault *fault, uintptr_t start, size_t size, bool live) {
    vmarena_attribute_object(fault, start, size);
    if (!live) vmarena_attribute_kind(fault, VMARENA_FAULT_USE_AFTER_FREE);
    else if (fault->distance > 0) vmarena_attribute_kind(fault, VMARENA_FAULT_OVERRUN);
    else vmarena_attribute_kind(fault, fault->distance < 0 ? VMARENA_FAULT_UNDERRUN : VMARENA_FAULT_PROTECTED);
}
