/* SPDX-License-Identifier: MIT */
/* What the files of prim/ share with each other and with nobody else. */
#ifndef VMARENA_PRIM_INTERNAL_H
#define VMARENA_PRIM_INTERNAL_H

#include <sys/mman.h>
#include <sys/types.h>

#include "prim/prim.h"

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* mmap(2), with the system's protections and flags. out may be NULL. (posix/map.c) */
int vmarena_prim_mmap(void *address, size_t size, int prot, int flags, int fd, uint64_t offset, void **out);

/* pwrite(2) that no sanitizer intercepts where the system allows that. */
ssize_t vmarena_prim_write_at(int fd, const void *from, size_t size, uint64_t offset);

/* The number by which the system knows the calling thread. */
uint32_t vmarena_prim_new_thread_id(void);

/* The bytes that the kernel itself needs on a signal stack; 0: not known. */
size_t vmarena_prim_least_signal_stack(void);

/* The part of a mapping that is stack: [low, high). */
struct vmarena_prim_bounds {
    uintptr_t low, high;
};

/* The stack that address lies on; false where the system does not tell. Preserves errno. Signal-safe. */
bool vmarena_prim_find_stack(uintptr_t address, struct vmarena_prim_bounds *found);

/* ---- cpu/ ---- */

/* Fills pc and access from a signal handler's third argument, where this CPU and system tell them. */
void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context);

/* Whether vmarena_prim_read_context() tells a read from a write. */
bool vmarena_prim_context_has_access(void);

/* What the System V ABI for AMD64 lets a function use below its stack pointer (3.2.2); harmless elsewhere. */
#define VMARENA_RED_ZONE 128u

/* Tells AddressSanitizer and Valgrind that the frames between a fault and its landing are gone. (posix/fault_signal.c) */
void vmarena_prim_forget_frames(uintptr_t fault_stack, uintptr_t top);

#endif
