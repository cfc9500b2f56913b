/* SPDX-License-Identifier: MIT */
/* The bump allocator that people write by hand: it checks that the object fits, and nothing else. */
#ifndef BUMP_H
#define BUMP_H

#include <stddef.h>
#include <stdint.h>

struct bump {
    uintptr_t start, at, end;
};

static inline void *bump_alloc(struct bump *bump, size_t size, size_t align) {
    uintptr_t start = (bump->at + align - 1) & ~(uintptr_t)(align - 1);
    if (__builtin_expect(start + size > bump->end, 0)) return NULL;
    bump->at = start + size;
    return (void *)start;
}

#endif
