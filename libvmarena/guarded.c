/* SPDX-License-Identifier: MIT */
/*
 * Operations that survive a fault anywhere. This file is compiled so that its loops stay loops: sanitizers intercept
 * memcpy and would report memory that the caller means to probe.
 *
 * Access is a matter of whole pages. So the work goes in pieces that cross no page on either side: a piece that faults
 * was not begun, and the count of what was done before it is exact.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "prim.h"
#include "vmarena/fault.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNCHECKED __attribute__((no_sanitize("address", "thread")))
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define UNCHECKED __attribute__((no_sanitize_address))
#elif defined(__SANITIZE_THREAD__)
#define UNCHECKED __attribute__((no_sanitize_thread))
#endif
#ifndef UNCHECKED
#define UNCHECKED
#endif

typedef uint64_t word __attribute__((may_alias, aligned(1)));

static size_t to_page_end(const void *address) {
    size_t page = vmarena_prim_page_size();
    return page - ((uintptr_t)address & (page - 1));
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

UNCHECKED static void copy_piece(unsigned char *to, const unsigned char *from, size_t length) {
    for (; length >= sizeof(word); length -= sizeof(word), to += sizeof(word), from += sizeof(word))
        *(word *)(void *)to = *(const word *)(const void *)from;
    while (length-- > 0) *to++ = *from++;
}

UNCHECKED static void fill_piece(unsigned char *to, unsigned char byte, size_t length) {
    uint64_t eight = byte * UINT64_C(0x0101010101010101);
    for (; length >= sizeof(word); length -= sizeof(word), to += sizeof(word)) *(word *)(void *)to = eight;
    while (length-- > 0) *to++ = byte;
}

UNCHECKED static size_t compare_piece(const unsigned char *left, const unsigned char *right, size_t length) {
    size_t done = 0;
    for (; length - done >= sizeof(word); done += sizeof(word))
        if (*(const word *)(const void *)(left + done) != *(const word *)(const void *)(right + done)) break;
    while (done < length && left[done] == right[done]) done++;
    return done;
}

enum operation { COPY, FILL, COMPARE, READ, WRITE };

/* One guarded operation; done is what survives a fault. */
struct work {
    enum operation operation;
    unsigned char *to;
    const unsigned char *from;
    unsigned char byte;
    size_t length;
    volatile size_t done;
};

static size_t do_piece(const struct work *work, size_t done, size_t piece) {
    switch (work->operation) {
    case COPY: copy_piece(work->to + done, work->from + done, piece); return piece;
    case FILL: fill_piece(work->to + done, work->byte, piece); return piece;
    default: return compare_piece(work->to + done, work->from + done, piece);
    }
}

static void do_all(void *argument) {
    struct work *work = argument;
    while (work->done < work->length) {
        size_t done = work->done, piece = least(work->length - done, to_page_end(work->to + done));
        if (work->operation != FILL) piece = least(piece, to_page_end(work->from + done));
        size_t got = do_piece(work, done, piece);
        work->done = done + got;
        if (got < piece) return;
    }
}

static size_t guarded(struct work *work, struct vmarena_fault *fault) {
    struct vmarena_fault none = {.signo = 0};
    if (fault != NULL) *fault = none;
    int error = vmarena_try_any(do_all, work, fault);
    if (error < 0 && fault != NULL) fault->code = error;
    return work->done;
}

size_t vmarena_copy(void *to, const void *from, size_t length, struct vmarena_fault *fault) {
    struct work work = {.operation = COPY, .to = to, .from = from, .length = length};
    return guarded(&work, fault);
}

size_t vmarena_fill(void *to, int byte, size_t length, struct vmarena_fault *fault) {
    struct work work = {.operation = FILL, .to = to, .byte = (unsigned char)byte, .length = length};
    return guarded(&work, fault);
}

size_t vmarena_compare(const void *left, const void *right, size_t length, struct vmarena_fault *fault) {
    struct work work = {.operation = COMPARE, .to = (unsigned char *)left, .from = right, .length = length};
    return guarded(&work, fault);
}

/* ---- single accesses ---- */

struct access {
    void *memory;
    size_t size;
    uint64_t value; /* its first size bytes */
};

#define LOAD(type)                                                                                                      \
    {                                                                                                                   \
        type got = *(const volatile type *)access->memory;                                                             \
        memcpy(&access->value, &got, sizeof got);                                                                       \
        break;                                                                                                          \
    }
#define STORE(type)                                                                                                     \
    {                                                                                                                   \
        type put;                                                                                                       \
        memcpy(&put, &access->value, sizeof put);                                                                       \
        *(volatile type *)access->memory = put;                                                                        \
        break;                                                                                                          \
    }

UNCHECKED static void load(void *argument) {
    struct access *access = argument;
    switch (access->size) {
    case 1: LOAD(uint8_t)
    case 2: LOAD(uint16_t)
    case 4: LOAD(uint32_t)
    default: LOAD(uint64_t)
    }
}

UNCHECKED static void store(void *argument) {
    struct access *access = argument;
    switch (access->size) {
    case 1: STORE(uint8_t)
    case 2: STORE(uint16_t)
    case 4: STORE(uint32_t)
    default: STORE(uint64_t)
    }
}

static int check_access(const void *address, const void *value, size_t size) {
    if (value == NULL || (size != 1 && size != 2 && size != 4 && size != 8))
        return vmarena_fail(-EINVAL, "a single access is of 1, 2, 4 or 8 bytes, not %zu", size);
    if (((uintptr_t)address & (size - 1)) != 0)
        return vmarena_fail(-EINVAL, "address %p is not a multiple of %zu", address, size);
    return 0;
}

int vmarena_read(const void *address, void *value, size_t size, struct vmarena_fault *fault) {
    struct access access = {.memory = (void *)(uintptr_t)address, .size = size};
    int error = check_access(address, value, size);
    if (error == 0) error = vmarena_try_any(load, &access, fault);
    if (error == 0) memcpy(value, &access.value, size);
    return error;
}

int vmarena_write(void *address, const void *value, size_t size, struct vmarena_fault *fault) {
    struct access access = {.memory = address, .size = size};
    int error = check_access(address, value, size);
    if (error != 0) return error;
    memcpy(&access.value, value, size);
    return vmarena_try_any(store, &access, fault);
}
