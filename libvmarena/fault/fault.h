/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share, and what owners of regions need of it. Who needs whom:
 *
 *      safe_access.c ─► scopes.c ─► ready.c ─► install.c ─► dispatch.c ─► report.c ─► describe.c
 *
 * and all of them need thread.c.
 */
#ifndef VMARENA_FAULT_FAULT_H
#define VMARENA_FAULT_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "region/region.h"
#include "vmarena/fault.h"

/* ---- for owners of regions --------------------------------------------------------------------------------------------- */

/* Installs the handlers and gives the calling thread an alternate signal stack, as a thread's first scope does. Explained. */
int vmarena_fault_ready(void);

/* Sets the region's repair function (vmarena_on_fault and its kin); NULL takes it away. Any thread. Explained. */
int vmarena_fault_set_repair(struct vmarena_region *region, vmarena_fault_fn *function, void *arg);

/* For bodies that do nothing but access operands of their own: claims any address, and faults for which the kernel names
 * none. */
extern const char vmarena_claims_operands[1];
int vmarena_try_claiming(void (*body)(void *), void *arg, struct vmarena_fault *fault, const void *claims);

/* ---- within this folder ------------------------------------------------------------------------------------------------- */

/* Hidden, so that reading one takes no detour through the global offset table. */
#pragma GCC visibility push(hidden)

/*
 * What a thread's handler is doing. It counts only for a fault that interrupts it, which is found deeper on the same
 * stack: a handler of somebody else's, called in between, may have jumped away and left this as it was.
 */
struct vmarena_handler_state {
    uintptr_t attributing;             /* the frame that attributes a fault to an object, or 0 */
    uintptr_t repairing;               /* the frame that calls a repair function, or 0 */
    struct vmarena_scope *scope_limit; /* this scope and those outside it get none of the faults that come meanwhile */
    unsigned depth;                    /* of faults while attributing a fault */
};

/* The signal being passed on: in which context, from which frame, and to which of the handlers before ours (1: the last). */
struct vmarena_chain_state {
    const void *context;
    uintptr_t frame;
    unsigned level;
};

/* Read and written by the thread and by its own handler alone: only the compiler must keep the order of accesses. */
struct vmarena_fault_thread {
    struct vmarena_scope *volatile top;
    const struct vmarena_fault *volatile last; /* what vmarena_scope_fault() returns */
    volatile struct vmarena_handler_state handler;
    volatile struct vmarena_chain_state chain;
    volatile bool has_stack;                    /* its alternate signal stack was seen to */
    const void *reported_pc, *reported_address; /* of the fault that was reported last */
};
extern _Thread_local struct vmarena_fault_thread vmarena_fault_thread;

/* Whose handlers call vmarena_handle_signal. */
enum vmarena_handler_mode { VMARENA_MODE_ABSENT, VMARENA_MODE_INSTALLED, VMARENA_MODE_HOST };
extern _Atomic int vmarena_handler_mode;

/* Installs the handlers where they are absent. Explained. */
int vmarena_fault_ensure_installed(void);

/* Where faults that nobody claims are reported to; -1: nowhere. */
extern _Atomic int vmarena_report_fd;

/* Reports a fault in memory of ours that nobody claimed, if vmarena_report_faults() asked for it. Signal-safe. */
void vmarena_fault_report(const struct vmarena_fault *fault, const struct vmarena_region *region);

#pragma GCC visibility pop

#endif
