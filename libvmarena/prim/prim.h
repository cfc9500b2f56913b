/* SPDX-License-Identifier: MIT */
/*
 * The system underneath: the only declarations through which the library reaches memory, signals, threads and the CPU.
 * Everything that depends on an operating system or a processor is behind this file, in prim/.
 *
 * Preconditions, once for all: addresses and sizes are page-aligned and sizes not 0, unless said otherwise. Functions
 * return 0 or a negative errno, as the failing call gave it; none sets vmarena_explain(). "Signal-safe": a signal
 * handler may call it.
 */
#ifndef VMARENA_PRIM_H
#define VMARENA_PRIM_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmarena/types.h"

/* ---- memory (posix/map.c; linux/: madvise.c, mapping.c, memory_file.c, limits.c, residency.c) ---- */

/* The page size; cached. Signal-safe after the first call. */
size_t vmarena_prim_page_size(void);

/*
 * Maps size bytes of private anonymous memory with the given protection, at a multiple of align (a power of two, at
 * least a page), and not within 128 KiB of the top of the address space (vmarena_alloc relies on it). Without account
 * the kernel keeps no memory back for it (MAP_NORESERVE).
 */
int vmarena_prim_map(void **out, size_t size, size_t align, unsigned prot, bool account);

/*
 * Replaces what is mapped at address by hugetlb pages of 2^shift bytes, readable and writable. -ENOMEM: the pool is too
 * small; what was mapped there may be inaccessible now. -ENOTRECOVERABLE: nothing may be mapped there now.
 */
int vmarena_prim_map_hugetlb(void *address, size_t size, unsigned shift);

/* Moves one mapping of size bytes to another place, where it replaces what is mapped. -ENOSYS: this system cannot. */
int vmarena_prim_move(void *from, size_t size, void *to);

/* Replaces what is mapped at address by size bytes of the file from offset on; shared or private. */
int vmarena_prim_map_file(void *address, size_t size, unsigned prot, bool shared, int fd, uint64_t offset);

/* Replaces what is mapped at address by fresh inaccessible memory that the kernel does not account for. */
int vmarena_prim_map_reserved(void *address, size_t size);

/* Maps size bytes of private zero-filled memory of a name that other processes see in the memory map of this one. */
int vmarena_prim_map_named(void **out, size_t size, const char *name);

int vmarena_prim_unmap(void *address, size_t size);

/* For the functions around a call that changes a mapping. The CPU drops what it had kept of the way to every page then, and
 * each page of code that comes after costs it some 15 ns: so they lie on one. */
#define VMARENA_TOGETHER __attribute__((hot))

/* Signal-safe on every system we know, although POSIX does not promise it. */
int vmarena_prim_protect(void *address, size_t size, unsigned prot);

struct vmarena_prim_range {
    void *address;
    size_t size;
};

/* Gives the pages back; they read as zero afterwards. */
int vmarena_prim_discard(void *address, size_t size);
int vmarena_prim_discard_many(const struct vmarena_prim_range *ranges, size_t count);

/* Makes pages fault on every access until removed, dropping their contents, without a map entry. */
int vmarena_prim_guard_install(void *address, size_t size);
int vmarena_prim_guard_remove(void *address, size_t size);

/* The same for many ranges, in as few system calls as can be; stops at the first error. */
int vmarena_prim_guard_install_many(const struct vmarena_prim_range *ranges, size_t count);
int vmarena_prim_guard_remove_many(const struct vmarena_prim_range *ranges, size_t count);

/* Whether installing a guard marker works here: tried once, on a page of its own, then cached. */
bool vmarena_prim_has_guard_markers(void);

enum vmarena_prim_advice {
    VMARENA_PRIM_HUGE,
    VMARENA_PRIM_NO_HUGE,
    VMARENA_PRIM_COLLAPSE,
    VMARENA_PRIM_DONT_DUMP,
    VMARENA_PRIM_DONT_FORK,
    VMARENA_PRIM_WIPE_ON_FORK,
    VMARENA_PRIM_POPULATE_WRITE, /* falls back to touching the pages, which must be writable */
    VMARENA_PRIM_POPULATE_READ,  /* Linux 5.14; -EINVAL before */
    VMARENA_PRIM_SEQUENTIAL,
    VMARENA_PRIM_RANDOM,
    VMARENA_PRIM_WILL_NEED,
    VMARENA_PRIM_DONT_NEED,
    VMARENA_PRIM_NORMAL,
};
/* -EOPNOTSUPP: this system does not know it. */
int vmarena_prim_advise(void *address, size_t size, enum vmarena_prim_advice advice);

int vmarena_prim_lock(void *address, size_t size);
int vmarena_prim_unlock(void *address, size_t size);
int vmarena_prim_seal(void *address, size_t size);                   /* -EOPNOTSUPP where there is no mseal(2) */
int vmarena_prim_name(void *address, size_t size, const char *name); /* -EOPNOTSUPP where there are no names */
int vmarena_prim_sync(void *address, size_t size);                   /* msync(2), MS_SYNC */

/* Bytes resident and, of these, on huge pages. -EOPNOTSUPP: the system does not tell. */
int vmarena_prim_residency(const void *address, size_t size, size_t *resident, size_t *huge);

/* Whether memory that is merely reserved, but accessible, costs this process: strict overcommit, a finite RLIMIT_DATA or
 * RLIMIT_AS, or mlockall(2) for all that is mapped. */
bool vmarena_prim_strict_commit(size_t size);

/* Map entries the process has and may have; limit 0: not known. */
void vmarena_prim_map_entries(size_t *used, size_t *limit);

/* The size of a transparent huge page, 0 where there are none; cached. */
size_t vmarena_prim_huge_page_size(void);

/* ---- files (posix/file.c, linux/file_system.c) ---- */

struct vmarena_prim_file {
    uint64_t size;
    const char *special; /* NULL: a regular file; otherwise what it is, as in "a directory" */
    bool directory;
};

/* Does not block on a FIFO, does not become the controlling terminal, is not inherited by exec. */
int vmarena_prim_file_open(int *fd, const char *path, bool writable);
int vmarena_prim_file_duplicate(int *copy, int fd);
void vmarena_prim_file_close(int fd);

/* What the descriptor was opened for. */
void vmarena_prim_file_access(int fd, bool *reads, bool *writes);

/* Whether it is on hugetlbfs: its pages are larger than those that all is counted in here. */
bool vmarena_prim_file_is_huge(int fd);

/* Signal-safe, as fstat(2) is. */
int vmarena_prim_file_look(int fd, struct vmarena_prim_file *out);

/* Reads size bytes from offset on, fewer only at the end of the file. */
int vmarena_prim_file_read(int fd, void *to, size_t size, uint64_t offset, size_t *got);
int vmarena_prim_file_write(int fd, const void *from, size_t size, uint64_t offset); /* all of it */

/* Writes text to a descriptor of any kind, as far as it takes it. Signal-safe; changes errno. */
void vmarena_prim_write(int fd, const char *text, size_t size);

/* The path of an open file, cut to size; "" where the system does not tell. */
void vmarena_prim_file_name(int fd, char *name, size_t size);

/* ---- memory files and written pages (linux/memory_file.c, linux/mapping.c, linux/write_tracking.c) ---- */

/* A file of size zero bytes that lives in memory and nowhere else. */
int vmarena_prim_memory_file(int *fd, const char *name, uint64_t size);

/*
 * Moves what the pages of a file mapping show to *aside, at a multiple of align, in time that hardly grows with size where
 * both are so aligned. At address the same file stays mapped, to be faulted in again.
 */
int vmarena_prim_move_aside(void *address, size_t size, size_t align, void **aside);

/* Makes a hole in the file that is mapped shared there: it reads as zero. */
int vmarena_prim_punch(void *address, size_t size);

struct vmarena_prim_track {
    void *address;
    size_t size;
    int fd;
    pid_t process; /* that opened it */
};

/*
 * Has the kernel note which pages of a private anonymous range are written from now on, without a fault to anybody, until
 * it is closed or, in a child, fork(2). _collect reports, and begins anew if asked to; function may be NULL. An error other
 * than the function's result: it is not known what was written.
 */
int vmarena_prim_track_open(void *address, size_t size, struct vmarena_prim_track *out);
void vmarena_prim_track_close(const struct vmarena_prim_track *track);
int vmarena_prim_track_collect(void *address, size_t size, bool anew, vmarena_pages_fn *function, void *arg);

/* ---- looking at processes (posix/rusage.c; linux/: maps.c, pages.c, process.c, perf_events.c) ---- */

/* As the public functions in inspect.h, whose errors they give; owners are not looked up. */
bool vmarena_prim_is_self(pid_t pid);
int vmarena_prim_maps(pid_t pid, vmarena_maps_fn *function, void *arg);
int vmarena_prim_maps_by_query(pid_t pid, vmarena_maps_fn *function, void *arg); /* the same by PROCMAP_QUERY */
int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size);
int vmarena_prim_frame(const void *address, uint64_t *frame);
int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size); /* all of it, from another process */
int vmarena_prim_totals(pid_t pid, struct vmarena_totals *out);                /* adds to *out */
int vmarena_prim_fault_counts(bool thread, uint64_t *minor, uint64_t *major);
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major);

struct vmarena_prim_pages_query {
    uint64_t start, end; /* whole pages */
    unsigned wanted;     /* not 0 */
    unsigned *known;
    bool by_words; /* read word by word although the system can scan: for tests */
    bool exact; /* all of the range is mapped in this process: what cannot be looked at is an error, not "no memory" */
};
int vmarena_prim_pages(pid_t pid, const struct vmarena_prim_pages_query *wish, vmarena_pages_fn *function, void *arg);

/* A descriptor, or a negative errno. *user_only: without what the kernel does on its behalf. */
int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only);
int vmarena_prim_counter_read(int fd, uint64_t *value);

/* ---- capabilities (linux/caps.c, linux/huge_pages.c) ---- */

/*
 * Tries everything anew; vmarena_caps() keeps the result. Leaves no mapping, descriptor, signal handler or child behind.
 * While it counts the protection keys, which takes microseconds, other threads find none free. -ENOMEM: no page to try on.
 */
int vmarena_prim_caps(struct vmarena_caps *out);

/* As vmarena_huge_page_sizes. */
size_t vmarena_prim_huge_page_sizes(size_t *sizes, size_t count);

/* ---- signals (posix/signal.c, posix/signal_stack.c) ---- */

typedef void vmarena_prim_handler(int signo, siginfo_t *info, void *context);

struct vmarena_prim_action {
    struct sigaction system;
    _Atomic bool spent; /* SA_RESETHAND: it was called once, and stands for the default now */
};

int vmarena_prim_signal_get(int signo, struct vmarena_prim_action *action);
/* Sets handler for signo, with the flags our handler needs. */
int vmarena_prim_signal_set(int signo, vmarena_prim_handler *handler);
int vmarena_prim_signal_restore(int signo, const struct vmarena_prim_action *action);
/* 1: handler is what is set now; 0: it is not. */
int vmarena_prim_signal_is(int signo, vmarena_prim_handler *handler);
/* Whether both call the same handler in the same way. */
bool vmarena_prim_signal_same(const struct vmarena_prim_action *one, const struct vmarena_prim_action *other);

/*
 * Hands a signal to an earlier action, from within our handler, as the kernel would have: with its mask, SA_SIGINFO,
 * SA_RESETHAND (*action is spent) and SA_NODEFER; ignored and default ones die as they must when the fault is
 * real, and a signal that somebody sent is sent again. Signal-safe.
 */
void vmarena_prim_signal_chain(int signo, siginfo_t *info, void *context, struct vmarena_prim_action *action);

/*
 * Gives the calling thread an alternate signal stack with a guard page, unless it has one; it is freed at the thread's
 * end. Called outside signal handlers.
 */
int vmarena_prim_signal_stack(void);

/* ---- the CPU's view of a fault (posix/fault_signal.c, cpu/) ---- */

/* Whether the kernel raised the signal for an access of this thread to an address it can name. Signal-safe. */
bool vmarena_prim_fault_is_access(int signo, const siginfo_t *info);

/* Whether it may be an access to an address that the kernel cannot name (non-canonical, on x86-64). Signal-safe. */
bool vmarena_prim_fault_is_unnamed(int signo, int code);

/* Fills signo, code, address, pc and access. Signal-safe. */
void vmarena_prim_fault_read(struct vmarena_fault *fault, int signo, const siginfo_t *info, const void *context);

/* The kind that the signal alone tells, for memory that nobody registered: UNMAPPED, PROTECTED, PAST_END_OF_FILE,
 * HARDWARE or OTHER. Signal-safe. */
enum vmarena_fault_kind vmarena_prim_fault_kind(int signo, int code);

/*
 * Leaves a signal handler for landing(argument) on the stack that ends below `stack`. Where the CPU's context can be
 * rewritten this returns, and the caller returns from its handler: the kernel then restores the signal mask and the
 * floating-point state of the moment of the fault. Elsewhere it jumps and does not return.
 */
void vmarena_prim_leave(void *context, void (*landing)(void *), void *argument, uintptr_t stack);

/* The stack pointer of about here, for vmarena_prim_leave: below the caller's frame. */
#define vmarena_prim_stack_here() ((uintptr_t)__builtin_frame_address(0))

/* ---- threads (posix/thread.c) ---- */

/*
 * The library's one lock, for what is rare: registering memory, making records, installing handlers. It is held over
 * fork(2), so that a child may go on using the library. Never taken in a signal handler; not recursive.
 */
void vmarena_prim_global_lock(void);
void vmarena_prim_global_unlock(void);

/*
 * The lock of the record pools (base/pool.h), also held over fork(2). It may be taken while the lock above is held, and
 * nothing is taken while it is.
 */
void vmarena_prim_pool_lock(void);
void vmarena_prim_pool_unlock(void);

/*
 * Calls before ahead of each fork(2), parent and child after it, around the lock above, which is still free in before.
 * Those that register first are called last: see pthread_atfork(3). -ENOMEM.
 */
int vmarena_prim_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

/* The calling thread's id as the system shows it (gettid(2)); cached. Signal-safe. */
uint32_t vmarena_prim_thread_id(void);

/* Lets other threads run: sched_yield(2). */
void vmarena_prim_yield(void);

/* Calls function(argument) when the calling thread ends. */
int vmarena_prim_at_thread_exit(void (*function)(void *), void *argument);

/* ---- ASan and Valgrind (prim/annotate.c) ---- */

/* Whether this process runs under either: found once, at run time. Addresses and sizes need no alignment here. */
bool vmarena_prim_annotating(void);
void vmarena_prim_poison(const void *address, size_t size);   /* not addressable until allowed */
void vmarena_prim_unpoison(const void *address, size_t size); /* addressable, contents undefined */
void vmarena_prim_defined(const void *address, size_t size);  /* addressable, contents defined */

#endif
