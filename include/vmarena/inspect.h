/* SPDX-License-Identifier: MIT */
/*
 * What the system knows about a process's memory: its mappings, with the arenas, heaps and views of this library in
 * them; the state of each page; totals; and how often it faulted.
 *
 * Common to all functions here:
 * - pid names a process, this one or another; 0 is the calling process. Looking at another one takes permission to
 *   trace it (ptrace(2), PTRACE_MODE_READ): the same user, or CAP_SYS_PTRACE.
 * - The process keeps running while it is looked at. Each mapping reported existed, but perhaps never all of them at
 *   once.
 * - Addresses and sizes are in bytes and 64 bits wide, whatever the width of this process.
 * - Any thread. Not signal-safe.
 * - Functions return 0 or a negative errno, and vmarena_explain() has the reason in a sentence. All of them: -ESRCH:
 *   there is no such process, or it has ended meanwhile; -EPERM: not permitted; -EOPNOTSUPP: this system does not
 *   provide the figures; -EINVAL: a function or a result pointer is NULL; other values as the system gave them, such as
 *   -EMFILE.
 */
#ifndef VMARENA_INSPECT_H
#define VMARENA_INSPECT_H

#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

VMARENA_BEGIN_DECLS

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

/*
 * Calls function for every mapping, ascending, and returns the function's result if that is not 0, which ends the walk;
 * otherwise 0 or an error. Reads /proc/PID/maps. The function may map and unmap memory; whether the walk still sees a
 * change that lies ahead of it is not determined. A kernel thread, and a process that has ended and was not waited for,
 * have no mappings; a process that ends during the walk is -ESRCH.
 */
VMARENA_API int vmarena_maps(pid_t pid, vmarena_maps_fn *function, void *arg);

/*
 * Fills *out with the mapping that contains address. The mapping's name is written to name[0..size), truncated if it is
 * longer, and out->name points there; name may be NULL if size is 0. out->owner_name is valid as long as the owner; for
 * another process, until the calling thread's next call. -ENOENT: nothing is mapped at address. Asks the kernel for
 * this one mapping where it can (PROCMAP_QUERY, Linux 6.11), otherwise reads the whole list.
 */
VMARENA_API int vmarena_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size);

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/*
 * Calls function for each run of pages in the same state in [start, start + length), ascending, and returns the
 * function's result if that is not 0, which ends the walk; otherwise 0 or an error. Pages in none of the states are
 * left out, and so is what is not mapped. start and length are rounded outwards to whole pages.
 * wanted: the states of interest; 0 stands for all but CACHED. The others are not reported. *known (known may be NULL)
 * is set, before the first call, to those of them that this system can tell.
 * -EINVAL: the range wraps around, or wanted has unknown states.
 * Sources: PAGEMAP_SCAN (Linux 6.7; guards 6.16), /proc/PID/pagemap (proc_pid_pagemap(5)), mincore(2).
 */
VMARENA_API int vmarena_residency(pid_t pid, uint64_t start, uint64_t length, unsigned wanted, unsigned *known,
                                  vmarena_pages_fn *function, void *arg);

/*
 * Sets *frame to the number of the physical page at an address of this process; 0 where there is none. -EPERM: the
 * kernel shows the numbers only with CAP_SYS_ADMIN. Two virtual pages with the same frame share one piece of memory;
 * after a copy on write their frames differ.
 */
VMARENA_API int vmarena_frame(const void *address, uint64_t *frame);

/* Fills *out; all 0 for a kernel thread and a process that has ended. Source: see struct vmarena_totals. */
VMARENA_API int vmarena_totals(pid_t pid, struct vmarena_totals *out);

/* ---- faults ------------------------------------------------------------------------------------------------------ */

/*
 * Page faults since this process, or the calling thread, started. A minor fault found its page in memory or needed a
 * fresh one; a major fault waited for a device (getrusage(2)). Either pointer may be NULL. -EOPNOTSUPP: this system
 * does not count by thread.
 */
VMARENA_API int vmarena_fault_counts(uint64_t *minor, uint64_t *major);
VMARENA_API int vmarena_thread_fault_counts(uint64_t *minor, uint64_t *major);

/* The same for any process, without its children, from /proc/PID/stat. */
VMARENA_API int vmarena_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major);

/* A set of the kernel's counters (perf_event_open(2)). */
struct vmarena_counters;

/*
 * Opens counters for one thread: pid is a thread, or a process, whose main thread is meant; 0 is the calling thread.
 * Counters that are not permitted or do not exist stay out of the set: vmarena_counters_read() says which, and why.
 * flags: VMARENA_COUNT_CHILDREN, VMARENA_COUNT_AT_EXEC. -EACCES: no counter is permitted (kernel.perf_event_paranoid);
 * -ENOMEM: no memory for the set. vmarena_counters_close() frees *out.
 */
VMARENA_API int vmarena_counters_open(struct vmarena_counters **out, pid_t pid, unsigned flags);

struct vmarena_counts {
    uint64_t value[VMARENA_COUNTERS]; /* since the set was opened; extrapolated if the CPU had to share its counters */
    int error[VMARENA_COUNTERS]; /* 0: counted. -EACCES, -EPERM: not permitted. Other negative values: not available */
    /* What the kernel did on the thread's behalf, such as faults while read(2) filled its memory, is not counted:
     * always so for the CPU's own counters, for the others where more is not permitted. getrusage(2) counts those
     * faults. */
    bool user_only[VMARENA_COUNTERS];
    uint64_t spare[4]; /* 0: room for later versions */
};

/* Fills *out. -EINVAL: a pointer is NULL. */
VMARENA_API int vmarena_counters_read(const struct vmarena_counters *counters, struct vmarena_counts *out);

/* Closes and frees the set; NULL is allowed. */
VMARENA_API void vmarena_counters_close(struct vmarena_counters *counters);

/* A constant string such as "page faults"; NULL if there is no such counter. Signal-safe. */
VMARENA_API const char *vmarena_counter_name(enum vmarena_counter counter);

VMARENA_END_DECLS

#endif
