/* SPDX-License-Identifier: MIT */
/* What the files of prim/ share with each other and with nobody else. */
#ifndef VMARENA_PRIM_INTERNAL_H
#define VMARENA_PRIM_INTERNAL_H

#include "prim/prim.h"

#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

/* mmap(2), with the system's protections and flags. out may be NULL. (posix/map.c) */
int vmarena_prim_mmap(void *address, size_t size, int prot, int flags, int fd, uint64_t offset, void **out);

/* ---- Linux ---- */

/* Whether a write to the page faults: a system call that writes there fails with EFAULT, where an access of ours would
 * raise SIGSEGV. (linux/madvise.c) */
bool vmarena_prim_write_faults(void *page);

/* Opens a userfaultfd(2) with the features asked for, and sets *features to those that the kernel offers. Returns a
 * descriptor or a negative errno. (linux/userfaultfd.c) */
int vmarena_prim_open_userfaultfd(uint64_t *features);

/* ---- files ---- */

/* pwrite(2) that no sanitizer intercepts, where the system allows that. (linux/file_system.c) */
ssize_t vmarena_prim_write_at(int fd, const void *from, size_t size, uint64_t offset);

/* SIGXFSZ, which a write or ftruncate(2) beyond RLIMIT_FSIZE raises, held back in the calling thread. Between the two
 * calls the file operation fails with EFBIG alone. (posix/file_limit.c) */
struct vmarena_prim_file_limit {
    bool blocked, was_pending;
    sigset_t mask;
};
void vmarena_prim_file_limit_begin(struct vmarena_prim_file_limit *limit);
void vmarena_prim_file_limit_end(const struct vmarena_prim_file_limit *limit); /* preserves errno */

/* ---- threads ---- */

/* The number by which the system knows the calling thread. (linux/thread_system.c) */
uint32_t vmarena_prim_new_thread_id(void);

/* The bytes that the kernel itself needs on a signal stack; 0: not known. (linux/thread_system.c) */
size_t vmarena_prim_min_signal_stack(void);

/* The part of a mapping that is stack: [low, high). */
struct vmarena_prim_bounds {
    uintptr_t low, high;
};

/* Finds the stack that address lies on; false where the system does not tell. Preserves errno. Signal-safe.
 * (linux/stack_bounds.c) */
bool vmarena_prim_find_stack(uintptr_t address, struct vmarena_prim_bounds *found);

/* ---- the CPU (cpu/) ---- */

/* Fills pc and access from a signal handler's third argument, where this CPU and system tell them. */
void vmarena_prim_read_context(struct vmarena_fault *fault, const void *context);

/* Whether vmarena_prim_read_context() tells a read from a write. */
bool vmarena_prim_context_has_access(void);

/* What the System V ABI for AMD64 lets a function use below its stack pointer (3.2.2); harmless elsewhere. */
#define VMARENA_RED_ZONE 128u

/*
 * Tells AddressSanitizer and Valgrind that the frames between a fault and its landing are gone, before anything runs at
 * the landing: what the first poisoned in them would stay poisoned, and the second takes what lies below the landing's
 * stack pointer for out of bounds. (annotate.c)
 */
void vmarena_prim_forget_frames(uintptr_t fault_stack, uintptr_t landing_stack);

#endif
