/* SPDX-License-Identifier: MIT */
/*
 * What the files of the preloaded malloc share.
 *
 *      malloc.c         the malloc family: each call goes to the heap, or to the C library's own allocator
 *      init.c           from the environment to a heap; exit, and the figures
 *      fork_gate.c      threads kept out of the heap while one forks
 *      deferred_free.c  objects freed where the heap cannot be entered
 *      libc_alloc.c     objects that are not guarded, from the C library's allocator
 *      signals.c        the fault handler, and the program's own behind it
 *      report_writer.c  errors made into reports
 *      syscalls.c       the buffers given to read(2), write(2) and the like
 *      dlopen.c         libraries loaded while the program runs
 *      unwind/          call stacks
 *
 * Nothing here allocates from the program's malloc. Reports go into memory shared with `vmarena guard`, or, without it,
 * to standard error.
 */
#ifndef VMARENA_MALLOC_STATE_H
#define VMARENA_MALLOC_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guard/options.h"
#include "guard/record.h"
#include "malloc/fork_gate.h"
#include "malloc/unwind/unwind.h"
#include "vmarena/heap.h"

/* Only what this library replaces is visible outside it, because the program may use libvmarena itself. */
#define VMARENA_REPLACES __attribute__((visibility("default")))

enum vmarena_malloc_mode {
    VMARENA_MALLOC_NEW,       /* nothing is set up yet */
    VMARENA_MALLOC_STARTING,  /* one thread sets up; others, and its own calls, are served by the C library */
    VMARENA_MALLOC_UNGUARDED, /* nothing more is guarded in this process; its heap, if it has one, must not be entered */
    VMARENA_MALLOC_GUARDING,
};

struct vmarena_malloc_state {
    _Atomic int mode;
    struct vmarena_heap *heap;
    struct vmarena_guard_options options;
    struct vmarena_channel *channel; /* NULL: reports go to standard error */
    struct vmarena_guard_figures *_Atomic figures;
    struct vmarena_guard_figures own; /* where there is no channel or no room in it */
    struct vmarena_heap_stats before; /* what a fork inherited */
    _Atomic int process;
    _Atomic uint64_t errors, repeated;
    _Atomic uint64_t bypassed; /* objects that the C library gave because the heap could not be entered */
    char program[16];
};
extern struct vmarena_malloc_state vmarena_malloc;

/* The calling thread's state, also in a signal handler. */
struct vmarena_malloc_thread {
    struct vmarena_prim_frame caller; /* of the public function that the program called */
    void *context;                    /* of the fault being handled */
    struct vmarena_gate_pass pass;    /* whether it is inside the heap */
    bool reported;                    /* the fault being handled has its report already */
    bool writes_report;               /* into the record that all threads share */
    uint32_t calls;                   /* since the figures were last made public */
};
extern _Thread_local struct vmarena_malloc_thread vmarena_malloc_thread;

/* Sets up on the first call. True: the heap serves. */
bool vmarena_malloc_start(void);

/* Enters the heap, which vmarena_gate_leave() ends. False: the call is for the C library's allocator. */
static inline bool vmarena_malloc_enter(struct vmarena_malloc_thread *thread) {
    int mode = atomic_load_explicit(&vmarena_malloc.mode, memory_order_acquire);
    if (__builtin_expect(mode != VMARENA_MALLOC_GUARDING, 0) && (mode != VMARENA_MALLOC_NEW || !vmarena_malloc_start()))
        return false;
    return vmarena_gate_enter(&thread->pass);
}

/* Writes the heap's figures to memory that the command reads. Signal-safe. */
void vmarena_malloc_publish(void);
/* Checks all slack for the last time, once, and publishes the figures. */
void vmarena_malloc_finish(void);
/* Called in the child. torn: other threads were in the heap when the process forked, so that it must not be entered again. */
void vmarena_malloc_after_fork(bool torn);

/* ---- libc_alloc.c: vmarena_libc_owns() may be asked about any pointer; the others take what these gave. ---- */

void *vmarena_libc_alloc(size_t size, size_t align, void *unused);
void *vmarena_libc_calloc(size_t size, size_t align, void *unused);
void *vmarena_libc_realloc(void *pointer, size_t size, void *unused);
void vmarena_libc_free(void *pointer, void *unused);
size_t vmarena_libc_usable_size(const void *pointer, void *unused);
bool vmarena_libc_owns(const void *pointer, void *unused);

/* ---- signals.c ---- */

void vmarena_signals_open(void);
void vmarena_signals_after_fork(void); /* in the child */

/* ---- report_writer.c ---- */

/* As options.capture of a heap: from the caller that malloc.c noted. */
size_t vmarena_capture_stack(void **frames, size_t depth, void *unused);
/* As options.report of a heap. */
void vmarena_write_heap_error(const struct vmarena_heap_report *error, void *unused);
/* A fault in the heap's memory. Signal-safe. */
void vmarena_write_fault(const struct vmarena_fault *fault, const void *context);
/* A fault elsewhere, which the program is about to die of; named: its address is known. Signal-safe. */
void vmarena_write_wild_access(const struct vmarena_fault *fault, bool named, const void *context);
/* A buffer of `length` bytes given to a system call that writes into it, or reads it, and that does not fit. */
void vmarena_write_bad_buffer(const char *name, bool writes, const void *buffer, size_t length,
                              const struct vmarena_heap_object *object);
/* One line on standard error. Signal-safe. */
void vmarena_write_line(const char *line);
void vmarena_reports_after_fork(void); /* in the child */

#endif
