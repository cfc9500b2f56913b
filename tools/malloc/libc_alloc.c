/* SPDX-License-Identifier: MIT */
/*
 * Objects that are not guarded come from the C library's own allocator, by the names that glibc exports for malloc
 * replacements. Each has a seal in front, which tells it from a pointer that nobody allocated.
 */
#include <errno.h>
#include <string.h>

#include "state.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *pointer);

/* The C library's alignment, and so the smallest size of what is put in front. */
#define UNIT ((size_t)16)

struct seal {
    uint64_t mark; /* depends on the address, so that a copy of these bytes elsewhere is no seal */
    uint64_t size; /* in the low 56 bits; above them, the binary logarithm of the alignment */
};
#define SIZE_BITS 56

static uint64_t mark_for(const void *pointer) { return (uintptr_t)pointer ^ UINT64_C(0x76a6d3c1b85e2f90); }

static struct seal *seal_of(const void *pointer) { return (struct seal *)((uintptr_t)pointer - sizeof(struct seal)); }

static unsigned shift_of(size_t align) { return (unsigned)__builtin_ctzl(align); }

/* block: from the C library, with `front` bytes before the object. */
static void *seal(void *block, size_t front, size_t size, size_t align) {
    if (block == NULL) return NULL;
    void *pointer = (char *)block + front;
    *seal_of(pointer) = (struct seal){mark_for(pointer), size | (uint64_t)shift_of(align) << SIZE_BITS};
    return pointer;
}

static size_t front_for(size_t align) { return align > UNIT ? align : UNIT; }

static bool too_large(size_t size, size_t front) {
    if (size <= PTRDIFF_MAX - front && size >> (SIZE_BITS - 1) == 0) return false;
    errno = ENOMEM;
    return true;
}

void *vmarena_libc_alloc(size_t size, size_t align, void *unused) {
    (void)unused;
    size_t front = front_for(align);
    if (too_large(size, front)) return NULL;
    if (front == UNIT) return seal(__libc_malloc(size + front), front, size, UNIT);
    return seal(__libc_memalign(align, size + front), front, size, align);
}

void *vmarena_libc_calloc(size_t size, size_t align, void *unused) {
    size_t front = front_for(align);
    if (front > UNIT) {
        void *pointer = vmarena_libc_alloc(size, align, unused);
        return pointer == NULL ? NULL : memset(pointer, 0, size);
    }
    return too_large(size, front) ? NULL : seal(__libc_calloc(1, size + front), front, size, UNIT);
}

static size_t align_of(const void *pointer) { return (size_t)1 << (seal_of(pointer)->size >> SIZE_BITS); }

size_t vmarena_libc_usable_size(const void *pointer, void *unused) {
    (void)unused;
    return seal_of(pointer)->size & (((uint64_t)1 << SIZE_BITS) - 1);
}

static void *open_seal(void *pointer) {
    void *block = (char *)pointer - front_for(align_of(pointer));
    seal_of(pointer)->mark = 0;
    return block;
}

static void *move(void *pointer, size_t size) {
    size_t old = vmarena_libc_usable_size(pointer, NULL);
    void *moved = vmarena_libc_alloc(size, align_of(pointer), NULL);
    if (moved == NULL) return NULL;
    memcpy(moved, pointer, old < size ? old : size);
    vmarena_libc_free(pointer, NULL);
    return moved;
}

void *vmarena_libc_realloc(void *pointer, size_t size, void *unused) {
    (void)unused;
    if (align_of(pointer) > UNIT) return move(pointer, size);
    if (too_large(size, UNIT)) return NULL;
    struct seal before = *seal_of(pointer);
    void *block = __libc_realloc(open_seal(pointer), size + UNIT);
    if (block == NULL) *seal_of(pointer) = before;
    return seal(block, UNIT, size, UNIT);
}

void vmarena_libc_free(void *pointer, void *unused) {
    (void)unused;
    if (pointer != NULL) __libc_free(open_seal(pointer));
}

bool vmarena_libc_owns(const void *pointer, void *unused) {
    (void)unused;
    uintptr_t mark, at = (uintptr_t)seal_of(pointer);
    return (uintptr_t)pointer % UNIT == 0 && (uintptr_t)pointer >= sizeof(struct seal) &&
           vmarena_prim_peek(at, &mark) && mark == mark_for(pointer);
}
