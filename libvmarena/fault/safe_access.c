/* SPDX-License-Identifier: MIT */
/*
 * Operations that survive a fault at any address. This file is compiled so that its loops stay loops: sanitizers intercept
 * memcpy and would report memory that the caller wants to probe.
 *
 * A page is accessible as a whole or not at all. So the work is done in pieces that cross no page boundary on either side,
 * each piece in blocks, in ascending order, one block loaded and stored before the next (volatile keeps the compiler from
 * loading ahead). A piece faults in its first block, unless another thread unmaps the page at that moment. Then the
 * fault's address says which block it was. Either way the count of what was done before is exact.
 */
#include "prim/prim.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "fault/fault.h"
#include "region/guard_layout.h"
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

/* As wide as one instruction of most CPUs loads and stores, at any alignment. */
typedef uint64_t block __attribute__((vector_size(16), may_alias, aligned(1)));
typedef uint64_t word __attribute__((may_alias, aligned(1)));

static size_t to_page_end(const void *address) {
    size_t page = vmarena_prim_page_size();
    return page - ((uintptr_t)address & (page - 1));
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

UNCHECKED static void copy_piece(volatile unsigned char *to, const volatile unsigned char *from, size_t length) {
    for (; length >= sizeof(block); length -= sizeof(block), to += sizeof(block), from += sizeof(block))
        *(volatile block *)(volatile void *)to = *(const volatile block *)(const volatile void *)from;
    while (length-- > 0) *to++ = *from++;
}

UNCHECKED static void fill_piece(volatile unsigned char *to, unsigned char byte, size_t length) {
    uint64_t eight = byte * UINT64_C(0x0101010101010101);
    block all = {eight, eight};
    for (; length >= sizeof(block); length -= sizeof(block), to += sizeof(block))
        *(volatile block *)(volatile void *)to = all;
    while (length-- > 0) *to++ = byte;
}

UNCHECKED static size_t compare_piece(const volatile unsigned char *left, const volatile unsigned char *right,
                                      size_t length) {
    size_t done = 0;
    for (; length - done >= sizeof(word); done += sizeof(word))
        if (*(const volatile word *)(const volatile void *)(left + done) !=
            *(const volatile word *)(const volatile void *)(right + done))
            break;
    while (done < length && left[done] == right[done]) done++;
    return done;
}

enum operation { COPY, FILL, COMPARE };

/* A guarded operation; `done` is volatile to survive a fault. */
struct work {
    enum operation operation;
    unsigned char *to; /* COMPARE: the left one, which is only read */
    const unsigned char *from;
    unsigned char byte;
    size_t length;
    volatile size_t done;
};

static size_t piece_at(const struct work *work, size_t done) {
    size_t piece = least(work->length - done, to_page_end(work->to + done));
    return work->operation == FILL ? piece : least(piece, to_page_end(work->from + done));
}

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
        size_t done = work->done, piece = piece_at(work, done), got = do_piece(work, done, piece);
        work->done = done + got;
        if (got < piece) return;
    }
}

static int try_operands(void (*body)(void *), void *arg, struct vmarena_fault *fault) {
    return vmarena_try_claiming(body, arg, fault, vmarena_claims_operands);
}

/* The kernel gives no address if the CPU refuses an address for its form: then it is the operand's, and nothing can be
 * mapped there. */
static void name_operand(struct vmarena_fault *fault, const void *operand, enum vmarena_access access) {
    fault->signo = SIGSEGV; /* on x86-64 it may have been SIGBUS, depending on the register that the compiler chose */
    fault->address = (void *)(uintptr_t)operand;
    fault->access = access;
    fault->kind = VMARENA_FAULT_UNMAPPED;
}

static bool is_readable(const unsigned char *address);

static void name_either(const struct work *work, struct vmarena_fault *fault) {
    if (!vmarena_prim_fault_is_general_protection(fault->signo, fault->code)) return;
    const unsigned char *to = work->to + work->done, *from = work->from + work->done;
    if (work->operation != FILL && !is_readable(from)) name_operand(fault, from, VMARENA_ACCESS_READ);
    else name_operand(fault, to, work->operation == COMPARE ? VMARENA_ACCESS_READ : VMARENA_ACCESS_WRITE);
}

/* How many bytes of the piece that faulted were done, from the fault's address: whole blocks, or bytes after the last of
 * them. *operand is the side that faulted, at the piece's beginning; NULL: the address is on neither side (for a hardware
 * memory error the kernel gives only the page). */
static size_t in_piece(const struct work *work, const struct vmarena_fault *fault, const unsigned char **operand) {
    size_t done = work->done, piece = piece_at(work, done);
    size_t unit = work->operation == COMPARE ? sizeof(word) : sizeof(block);
    const unsigned char *to = work->to + done, *from = work->operation == FILL ? to : work->from + done;
    size_t in_to = (uintptr_t)fault->address - (uintptr_t)to, in_from = (uintptr_t)fault->address - (uintptr_t)from;
    size_t reached = least(in_to, in_from);
    *operand = reached >= piece ? NULL : in_to <= in_from ? to : from;
    if (*operand == NULL) return 0;
    return reached < piece / unit * unit ? reached / unit * unit : reached;
}

/*
 * Moves a fault's address back to the first byte of the access. A CPU without an instruction as wide as the access makes
 * it in parts, in the order that the compiler chose, and the kernel names the part.
 */
static void move_to_first_byte(struct vmarena_fault *fault, const void *first) {
    uintptr_t address = (uintptr_t)first;
    uint64_t back = (uintptr_t)fault->address - address;
    if (fault->object != NULL)
        fault->distance = vmarena_object_distance((uintptr_t)fault->object, fault->object_size, address);
    if (fault->file_offset >= back) fault->file_offset -= back; /* 0 where the memory is no file's */
    fault->address = (void *)address;
}

/* Counts what was done of the piece that faulted. */
static void finish_piece(struct work *work, struct vmarena_fault *fault) {
    const unsigned char *operand;
    size_t done = in_piece(work, fault, &operand);
    if (operand != NULL) move_to_first_byte(fault, operand + done);
    work->done += done;
}

static size_t guarded(struct work *work, struct vmarena_fault *fault) {
    struct vmarena_fault own = {.signo = 0};
    int result = try_operands(do_all, work, &own);
    if (result < 0) own.code = result;
    if (result == 1) {
        name_either(work, &own);
        finish_piece(work, &own);
    }
    if (fault != NULL) *fault = own;
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

#define LOAD(type)                                                                                                     \
    {                                                                                                                  \
        type got = *(const volatile type *)access->memory;                                                             \
        memcpy(&access->value, &got, sizeof got);                                                                      \
        break;                                                                                                         \
    }
#define STORE(type)                                                                                                    \
    {                                                                                                                  \
        type put;                                                                                                      \
        memcpy(&put, &access->value, sizeof put);                                                                      \
        *(volatile type *)access->memory = put;                                                                        \
        break;                                                                                                         \
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

static bool is_readable(const unsigned char *address) {
    struct access access = {.memory = (void *)(uintptr_t)address, .size = 1};
    return try_operands(load, &access, NULL) == 0;
}

static int check_access(const void *address, const void *value, size_t size) {
    if (value == NULL || (size != 1 && size != 2 && size != 4 && size != 8))
        return vmarena_fail(-EINVAL, "a single access is of 1, 2, 4 or 8 bytes, not %zu", size);
    if (((uintptr_t)address & (size - 1)) != 0)
        return vmarena_fail(-EINVAL, "address %p is not a multiple of %zu", address, size);
    return 0;
}

static int access_once(void (*body)(void *), struct access *access, struct vmarena_fault *fault) {
    int result = try_operands(body, access, fault);
    if (result != 1 || fault == NULL) return result;
    if (vmarena_prim_fault_is_general_protection(fault->signo, fault->code))
        name_operand(fault, access->memory, body == store ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ);
    else if ((uintptr_t)fault->address - (uintptr_t)access->memory < access->size)
        move_to_first_byte(fault, access->memory);
    return result;
}

int vmarena_read(const void *address, void *value, size_t size, struct vmarena_fault *fault) {
    struct access access = {.memory = (void *)(uintptr_t)address, .size = size};
    int error = check_access(address, value, size);
    if (error == 0) error = access_once(load, &access, fault);
    if (error == 0) memcpy(value, &access.value, size);
    return error;
}

int vmarena_write(void *address, const void *value, size_t size, struct vmarena_fault *fault) {
    struct access access = {.memory = address, .size = size};
    int error = check_access(address, value, size);
    if (error != 0) return error;
    memcpy(&access.value, value, size);
    return access_once(store, &access, fault);
}
