/* SPDX-License-Identifier: MIT */
/*
 * What the system knows of a process's memory: its mappings, with the arenas, heaps and views of this library in them;
 * the state of each page; totals; and how often it faulted.
 *
 * Common to all functions here:
 * - pid is a process, this one or another; 0 stands for the calling one. Looking at another takes the permission to
 *   trace it (ptrace(2), PTRACE_MODE_READ): the same user, or CAP_SYS_PTRACE.
 * - A process goes on while it is looked at. Each mapping reported existed; all of them together need never have.
 * - Addresses and sizes are in bytes and 64 bits wide, whatever this process has.
 * - Any thread. Not in a signal handler.
 * - Functions give 0 or a negative errno, and vmarena_explain() has the reason in a sentence. Everywhere: -ESRCH: no such
 *   process, or it ended meanwhile; -EPERM: not allowed; -EOPNOTSUPP: this system does not tell; -EINVAL: a NULL where a
 *   function or a result belongs.
 */
#ifndef VMARENA_INSPECT_H
#define VMARENA_INSPECT_H

#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

VMARENA_BEGIN_DECLS

/* ---- mappings ------------------------------------------------------------------------------------------------------ */

/*
 * Calls function for every mapping in ascending order, and returns what it returned last, or 0, or an error. Reads
 * /proc/PID/maps. The function may allocate and unmap: what it changes ahead of the walk may be seen or not. A thread of
 * the kernel, and a process that ended and was not waited for, have no mappings; one that ends during the walk is -ESRCH.
 */
VMARENA_API int vmarena_maps(pid_t pid, vmarena_maps_fn *function, void *arg);

/*
 * The one mapping that holds address. The name goes to name[0..size), cut where it is longer, and out->name points
 * there; owner_name stands as long as its owner; of another process's, until the thread's next call. -ENOENT: nothing is
 * mapped there. Asks the kernel for just this one where it can (PROCMAP_QUERY, Linux 6.11), and reads the whole list
 * where it cannot.
 */
VMARENA_API int vmarena_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size);

/* ---- pages --------------------------------------------------------------------------------------------------------- */

/*
 * Calls function for each run of like pages in [start, start + length), ascending, leaving out those that are not there,
 * and returns what it returned last, or 0, or an error. start and length are rounded out to pages; what is not mapped
 * is passed over. wanted: the states of interest, 0 for all but CACHED; others are 0 in what is reported. *known (which may be NULL)
 * gets those of them that this system tells; it is written before the first call.
 * -EINVAL: the range wraps.
 * Sources: PAGEMAP_SCAN (Linux 6.7; guards 6.16), /proc/PID/pagemap (proc_pid_pagemap(5)), mincore(2).
 */
VMARENA_API int vmarena_residency(pid_t pid, uint64_t start, uint64_t length, unsigned wanted, unsigned *known,
                                  vmarena_pages_fn *function, void *arg);

/*
 * The number of the physical page behind an address of this process; 0 where none is. -EPERM: CAP_SYS_ADMIN is needed.
 * Two virtual pages with one frame are one piece of memory; after a copy on write they are two.
 */
VMARENA_API int vmarena_frame(const void *address, uint64_t *frame);

VMARENA_API int vmarena_totals(pid_t pid, struct vmarena_totals *out);

/* ---- faults --------------------------------------------------------------------------------------------------------- */

/*
 * Page faults since this process, or the calling thread, began: minor ones found their page in memory or needed a fresh
 * one, major ones had to wait for a device (getrusage(2)). Either pointer may be NULL. -EOPNOTSUPP: not by thread here.
 */
VMARENA_API int vmarena_fault_counts(uint64_t *minor, uint64_t *major);
VMARENA_API int vmarena_thread_fault_counts(uint64_t *minor, uint64_t *major);

/* The same of any process, its ended children not included, from /proc/PID/stat. */
VMARENA_API int vmarena_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major);

/* A set of the kernel's counters (perf_event_open(2)). */
struct vmarena_counters;

/*
 * Counts for one thread (the main thread, where pid names a process; 0: the calling thread). Counters that are not
 * allowed or absent stay out of the set: vmarena_counters_read() says which, and why. -EACCES: none is allowed
 * (kernel.perf_event_paranoid). *out is freed by vmarena_counters_close().
 */
VMARENA_API int vmarena_counters_open(struct vmarena_counters **out, pid_t pid, unsigned flags);

struct vmarena_counts {
    uint64_t value[VMARENA_COUNTERS]; /* since the set was opened; scaled up where the CPU had to share its counters */
    int error[VMARENA_COUNTERS]; /* 0: counted. Negative: why not. -EACCES, -EPERM: not allowed; others: not there */
    /* What the kernel did on its behalf is left out, as faults while read(2) filled its memory: always of the CPU's own
       counters, of the others where more is not allowed. getrusage(2) has those faults. */
    bool user_only[VMARENA_COUNTERS];
    uint64_t spare[4]; /* 0: room for later versions */
};
VMARENA_API int vmarena_counters_read(const struct vmarena_counters *counters, struct vmarena_counts *out);

/* NULL is allowed. */
VMARENA_API void vmarena_counters_close(struct vmarena_counters *counters);

/* "page faults", "dTLB load misses", ...; NULL where there is no such counter. */
VMARENA_API const char *vmarena_counter_name(enum vmarena_counter counter);

VMARENA_END_DECLS

#endif
