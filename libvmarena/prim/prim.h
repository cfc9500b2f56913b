/* SPDX-License-Identifier: MIT */
/*
 * The system underneath: the only declarations through which the library reaches memory, signals, threads and the CPU.
 * Everything that depends on an operating system or a processor is behind this file, in prim/.
 *
 * Common to all functions here:
 * - Addresses and sizes are in bytes and multiples of the page size, and sizes are not 0, unless stated otherwise.
 * - Functions return 0 or a negative errno: the one that the failing call gave, or -EOPNOTSUPP where this system or
 *   kernel lacks what the function needs. None sets vmarena_explain().
 * - A function may be called from any thread. "Signal-safe" means that a signal handler may call it too.
 *
 * A section names the files that define its functions. Those in linux/ need Linux. On other systems posix/advice.c does
 * what POSIX can do instead, and posix/unsupported.c returns -EOPNOTSUPP for the rest.
 */
#ifndef VMARENA_PRIM_H
#define VMARENA_PRIM_H

/*
 * The C library decides at its first header what it declares, and a compiler in strict mode (-std=c11) asks for ISO C
 * alone. So the files of prim/ include this header before any other. Where a public header of ours came first, it has
 * asked for POSIX (export.h), which is enough above prim/.
 */
#ifndef VMARENA_EXPORT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* glibc and musl: MAP_ANONYMOUS, madvise, the registers in a ucontext */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE /* macOS: MAP_ANON */
#endif
#ifndef _NETBSD_SOURCE
#define _NETBSD_SOURCE /* NetBSD: MAP_ANON. FreeBSD and OpenBSD declare everything unless asked not to. */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* 32-bit processors: files beyond 2 GiB */
#endif
#endif

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmarena/types.h"

#ifndef ENODATA
#define ENODATA ENOATTR /* FreeBSD and OpenBSD */
#endif

/* ---- mapping (posix/map.c) --------------------------------------------------------------------------------------- */

/* The page size; asked for once and remembered. Signal-safe after the first call. */
size_t vmarena_prim_page_size(void);

/*
 * Maps size bytes of private anonymous memory with the given protection, at a multiple of align (a power of two, at
 * least a page), and not within 128 KiB of the top of the address space (vmarena_alloc relies on it). With account
 * false the kernel does not count the memory against its commit limit (MAP_NORESERVE).
 */
int vmarena_prim_map(void **out, size_t size, size_t align, unsigned prot, bool account);

/* Replaces what is mapped at address by size bytes of the file from offset on; shared or private. */
int vmarena_prim_map_file(void *address, size_t size, unsigned prot, bool shared, int fd, uint64_t offset);

/* Replaces what is mapped at address by fresh inaccessible memory, which does not count against the commit limit. */
int vmarena_prim_map_reserved(void *address, size_t size);

int vmarena_prim_unmap(void *address, size_t size);

/*
 * For functions that call mprotect(2) or madvise(2), and their callers. Changing a mapping flushes the CPU's cached
 * translations, and each page of code that runs next costs a page walk of some 15 ns. The linker puts hot functions
 * side by side, so that few pages hold them.
 */
#define VMARENA_HOT __attribute__((hot))

/* Signal-safe on every system we know, although POSIX does not promise it. */
int vmarena_prim_protect(void *address, size_t size, unsigned prot);

/* Reads a byte of each page by a system call, so that the page is mapped in. -EFAULT, and no signal, where there is none. */
int vmarena_prim_touch(const void *address, size_t size);

int vmarena_prim_lock(void *address, size_t size);
int vmarena_prim_unlock(void *address, size_t size);
int vmarena_prim_sync(void *address, size_t size); /* msync(2) with MS_SYNC */

/* ---- Linux's own mappings (linux/mapping.c) ---------------------------------------------------------------------- */

/*
 * Replaces what is mapped at address by hugetlb pages of 2^shift bytes, readable and writable. -ENOMEM: the pool is too
 * small; what was mapped there may be inaccessible now. -ENOTRECOVERABLE: nothing may be mapped there now.
 */
int vmarena_prim_map_hugetlb(void *address, size_t size, unsigned shift);

/* Moves one mapping of size bytes to another place, where it replaces what is mapped (mremap(2)). */
int vmarena_prim_move_mapping(void *from, size_t size, void *to);

/*
 * Moves the pages that a file mapping shows to a new mapping *retired, at a multiple of align, and leaves the mapping
 * at address empty: the file is faulted in again there (MREMAP_DONTUNMAP, for file mappings since Linux 5.13). Hardly
 * slower for a large mapping than for a small one where both addresses are aligned alike, since the kernel moves whole
 * page tables. The caller unmaps *retired.
 */
int vmarena_prim_retire_pages(void *address, size_t size, size_t align, void **retired);

/* mseal(2), Linux 6.10: no later call changes the mapping. */
int vmarena_prim_seal(void *address, size_t size);

/* Names anonymous memory in /proc/PID/maps (PR_SET_VMA_ANON_NAME, Linux 5.17, may be compiled out). */
int vmarena_prim_name(void *address, size_t size, const char *name);

/* ---- memory files (linux/memory_file.c) -------------------------------------------------------------------------- */

/*
 * Creates a file of size zero bytes that lives in memory alone, and is closed by exec. -EFBIG: it exceeds RLIMIT_FSIZE;
 * no SIGXFSZ is raised. -EOPNOTSUPP: this system has no memfd_create(2).
 */
int vmarena_prim_memory_file(int *fd, const char *name, uint64_t size);

/* Maps size bytes of private zero-filled memory under a name that other processes see in this one's memory map. Errors
 * are those of vmarena_prim_memory_file() and of mmap(2). */
int vmarena_prim_map_named(void **out, size_t size, const char *name);

/* Makes a hole in the file that is mapped shared at address: the range reads as zero (MADV_REMOVE). */
int vmarena_prim_punch_hole(void *address, size_t size);

/* ---- advice and guard markers (linux/madvise.c; posix/advice.c) -------------------------------------------------- */

struct vmarena_prim_range {
    void *address;
    size_t size;
};

/* Returns the pages to the system; they read as zero afterwards. */
int vmarena_prim_discard(void *address, size_t size);
int vmarena_prim_discard_many(const struct vmarena_prim_range *ranges, size_t count);

/* Makes pages fault on every access until the guard is removed, and drops their contents, without a map entry. */
int vmarena_prim_guard_install(void *address, size_t size);
int vmarena_prim_guard_remove(void *address, size_t size);

/* The same for many ranges, in as few system calls as possible; stops at the first error. */
int vmarena_prim_guard_install_many(const struct vmarena_prim_range *ranges, size_t count);
int vmarena_prim_guard_remove_many(const struct vmarena_prim_range *ranges, size_t count);

/* Whether a guard marker works here: tried once on a page of its own, then remembered. */
bool vmarena_prim_has_guard_markers(void);

enum vmarena_prim_advice {
    VMARENA_PRIM_HUGE,
    VMARENA_PRIM_NO_HUGE,
    VMARENA_PRIM_COLLAPSE,
    VMARENA_PRIM_DONT_DUMP,
    VMARENA_PRIM_DONT_FORK,
    VMARENA_PRIM_WIPE_ON_FORK,
    VMARENA_PRIM_POPULATE_WRITE, /* touches the pages, which must be writable, where the kernel lacks the advice */
    VMARENA_PRIM_POPULATE_READ,  /* Linux 5.14; -EINVAL before */
    VMARENA_PRIM_SEQUENTIAL,
    VMARENA_PRIM_RANDOM,
    VMARENA_PRIM_WILL_NEED,
    VMARENA_PRIM_DONT_NEED,
    VMARENA_PRIM_NORMAL,
};
/* -EOPNOTSUPP: this system does not know the advice. */
int vmarena_prim_advise(void *address, size_t size, enum vmarena_prim_advice advice);

/* ---- guards by userfaultfd (linux/userfault_guard.c) ------------------------------------------------------------- */

/*
 * Guards by userfaultfd(2) with UFFD_FEATURE_SIGBUS: an access to a guard raises SIGBUS, and a system call that accesses
 * one fails with EFAULT.
 *
 *      POISON   a guard is a marker in the page table (UFFDIO_POISON, Linux 6.6). A child of fork(2) inherits it, and it
 *               outlives the descriptor.
 *      MISSING  a guard is a page of a registered range that is not there (Linux 5.11; 4.14 for root). A child of
 *               fork(2) has none until it registers the range on a descriptor of its own; closing the descriptor removes
 *               all.
 *
 * A descriptor that a child inherits acts on its parent's memory: the child must not use it.
 */
enum vmarena_prim_userfault { VMARENA_PRIM_USERFAULT_POISON, VMARENA_PRIM_USERFAULT_MISSING };

/* Returns a descriptor, or a negative errno; -EOPNOTSUPP: this kernel lacks the mode. */
int vmarena_prim_userfault_open(enum vmarena_prim_userfault mode);
int vmarena_prim_userfault_register(int fd, enum vmarena_prim_userfault mode, void *address, size_t size);

/* Turns pages that are not there into guards. -EEXIST: one is there; those before it are guards now. */
int vmarena_prim_userfault_poison(int fd, void *address, size_t size);

/* Fills in pages of zeroes. -EEXIST: one is there already; those before it are there now, too. */
int vmarena_prim_userfault_populate(int fd, void *address, size_t size);

/* ---- limits and huge pages (linux/limits.c, linux/huge_pages.c) -------------------------------------------------- */

/*
 * Whether accessible memory counts against a limit of this process as soon as it is mapped: strict overcommit, a finite
 * RLIMIT_DATA or RLIMIT_AS, or mlockall(2) for future mappings.
 */
bool vmarena_prim_commit_is_limited(void);

/* The map entries that the process has, and may have; limit 0: not known. Reads all of /proc/self/maps. */
void vmarena_prim_map_entries(size_t *used, size_t *limit);

/* The size of a transparent huge page, 0 where there are none; asked for once and remembered. */
size_t vmarena_prim_huge_page_size(void);

/* As vmarena_huge_page_sizes(). */
size_t vmarena_prim_huge_page_sizes(size_t *sizes, size_t count);

/* ---- files (posix/file.c; linux/file_system.c) ------------------------------------------------------------------- */

struct vmarena_prim_file {
    uint64_t size;
    const char *special; /* NULL: a regular file; otherwise what it is, such as "a directory" */
    bool directory;
};

/* Does not block on a FIFO and does not acquire a controlling terminal; exec closes the descriptor. */
int vmarena_prim_file_open(int *fd, const char *path, bool writable);
int vmarena_prim_file_duplicate(int *copy, int fd);
void vmarena_prim_file_close(int fd);

/* Whether the descriptor was opened for reading and for writing. */
void vmarena_prim_file_access(int fd, bool *reads, bool *writes);

/* Whether the file is on hugetlbfs, which maps whole huge pages only. */
bool vmarena_prim_file_is_huge(int fd);

/* fstat(2). Signal-safe. */
int vmarena_prim_file_stat(int fd, struct vmarena_prim_file *out);

/* Reads size bytes from offset on; *got is smaller only at the end of the file. Any address, size and offset. */
int vmarena_prim_file_read(int fd, void *to, size_t size, uint64_t offset, size_t *got);

/* Writes all size bytes at offset. -EFBIG: beyond RLIMIT_FSIZE; no SIGXFSZ is raised. Any address, size and offset. */
int vmarena_prim_file_write(int fd, const void *from, size_t size, uint64_t offset);

/* Writes text to a descriptor of any kind, as much of it as the descriptor accepts. Signal-safe; changes errno. */
void vmarena_prim_write(int fd, const char *text, size_t size);

/* The path of an open file, truncated to size bytes with the terminator; "" where the system does not tell. */
void vmarena_prim_file_name(int fd, char *name, size_t size);

/* ---- written pages (linux/userfaultfd.c) ------------------------------------------------------------------------- */

struct vmarena_prim_write_tracking {
    void *address;
    size_t size;
    int fd;
    pid_t process; /* the one that started it */
};

/*
 * Has the kernel record which pages of a private anonymous range are written from now on, without a fault that anybody
 * sees (userfaultfd(2), UFFD_FEATURE_WP_ASYNC, Linux 6.7), until it is stopped. A child of fork(2) is not tracked.
 */
int vmarena_prim_write_tracking_start(void *address, size_t size, struct vmarena_prim_write_tracking *out);
void vmarena_prim_write_tracking_stop(const struct vmarena_prim_write_tracking *tracking);

/*
 * Calls function (may be NULL) for each run of written pages, ascending; with restart, in the same step, forgets that
 * they were written. Returns the function's result if that is not 0, which ends the walk. A negative errno of the
 * system's: it is not known what was written.
 */
int vmarena_prim_write_tracking_collect(void *address, size_t size, bool restart, vmarena_pages_fn *function,
                                        void *arg);

/* ---- mappings and pages of a process (linux/maps.c, linux/pages.c, residency.c) ---------------------------------- */

/*
 * pid and errors are those of inspect.h, except that owners are not looked up. A function that returns another value
 * than 0 ends its walk, which returns that value.
 */
bool vmarena_prim_is_self(pid_t pid); /* posix/rusage.c */

/* 0 without a call of function: the process has no memory (a kernel thread, or a zombie). */
int vmarena_prim_walk_mappings(pid_t pid, vmarena_maps_fn *function, void *arg);
int vmarena_prim_walk_mappings_by_query(pid_t pid, vmarena_maps_fn *function, void *arg); /* by PROCMAP_QUERY */
int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size);

struct vmarena_prim_page_walk {
    uint64_t start, end; /* whole pages */
    unsigned wanted;     /* the states of interest; not 0 */
    unsigned known;      /* set before the first call: those of them that this system tells */
    bool by_words;       /* read pagemap word by word even where PAGEMAP_SCAN works: for tests */
    bool exact;          /* all of the range is mapped in this process: what cannot be looked at is an error */
};

/*
 * Calls function for each run of like pages in [start, end), ascending; pages without a wanted state are left out. 0
 * without a call: no page has one, or the process has no memory. Where the pagemap cannot be read the result is an
 * error, never 0: the pages may well be there.
 */
int vmarena_prim_walk_pages(pid_t pid, struct vmarena_prim_page_walk *walk, vmarena_pages_fn *function, void *arg);

/* Joins adjacent runs of pages that have the same state. Begin with .pending.state 0; flush after the last run. */
struct vmarena_prim_page_runs {
    struct vmarena_pages pending;
    vmarena_pages_fn *function;
    void *arg;
    unsigned wanted; /* states; the others are masked out, and runs without any are dropped */
};
/* Both return the function's result, 0 where it was not called. (page_runs.c) */
int vmarena_prim_page_runs_add(struct vmarena_prim_page_runs *runs, uint64_t start, uint64_t end, unsigned state);
int vmarena_prim_page_runs_flush(struct vmarena_prim_page_runs *runs);

/* Bytes of this process's range that are resident and, of these, on huge pages (0 where the system does not tell). */
int vmarena_prim_residency(const void *address, size_t size, size_t *resident, size_t *huge);

/* The number of the physical page at address; 0: none. -EPERM: the kernel hides it. Any address. */
int vmarena_prim_page_frame(const void *address, uint64_t *frame);

/* ---- a process in numbers (linux/process.c, linux/perf_events.c; posix/rusage.c) --------------------------------- */

/* Reads size bytes, all or nothing, of another process's memory. -EFAULT: not all are readable. Any address and
 * size. */
int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size);

/* Adds to *out. 0 without a change: the process has no memory. */
int vmarena_prim_memory_totals(pid_t pid, struct vmarena_totals *out);

/* As vmarena_thread_fault_counts() and vmarena_fault_counts(). */
int vmarena_prim_fault_counts(bool thread, uint64_t *minor, uint64_t *major);
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major);

/* Returns a descriptor, or a negative errno. *user_only: what the kernel does on the process's behalf is not
 * counted. */
int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only);
int vmarena_prim_counter_read(int fd, uint64_t *value);

/* ---- capabilities (linux/caps.c) --------------------------------------------------------------------------------- */

/*
 * Tries everything anew; vmarena_caps() remembers the result. Leaves no mapping, descriptor, signal handler or child
 * behind. While it counts the protection keys, for some microseconds, other threads find none free. -ENOMEM: there is
 * no page to try on.
 */
int vmarena_prim_caps(struct vmarena_caps *out);

/* ---- signals (posix/signal.c, posix/signal_stack.c) -------------------------------------------------------------- */

typedef void vmarena_prim_handler(int signo, siginfo_t *info, void *context);

struct vmarena_prim_action {
    struct sigaction system;
    _Atomic bool spent; /* had SA_RESETHAND and was called once: the default action has replaced it */
};

int vmarena_prim_signal_get(int signo, struct vmarena_prim_action *action);
/* Installs handler for signo, with the flags our handler needs. */
int vmarena_prim_signal_set(int signo, vmarena_prim_handler *handler);
int vmarena_prim_signal_restore(int signo, const struct vmarena_prim_action *action);
/* 1: handler is the one installed now; 0: it is not. */
int vmarena_prim_signal_is(int signo, vmarena_prim_handler *handler);
/* Whether both call the same handler in the same way. */
bool vmarena_prim_signal_same(const struct vmarena_prim_action *one, const struct vmarena_prim_action *other);

/*
 * Passes a signal on to an earlier action, from within our handler, as the kernel would have delivered it: with that
 * action's mask, SA_SIGINFO, SA_NODEFER and SA_RESETHAND (which makes *action spent). Where the action ignores the
 * signal or is the default one, a real fault kills the process, and a signal that somebody sent is ignored or raised
 * again. Signal-safe.
 */
void vmarena_prim_signal_chain(int signo, siginfo_t *info, void *context, struct vmarena_prim_action *action);

/*
 * Gives the calling thread an alternate signal stack with a guard page, unless it has one, and frees it at the thread's
 * end. Not signal-safe. On an error *call names the system call or function that failed.
 */
int vmarena_prim_signal_stack(const char **call);

/* ---- faults (posix/fault_signal.c, cpu/) ------------------------------------------------------------------------- */

/* Whether the kernel raised the signal for a memory access of this thread, and siginfo_t has the address.
 * Signal-safe. */
bool vmarena_prim_fault_has_address(int signo, const siginfo_t *info);

/*
 * Whether it may be an access that raised a general-protection or stack-segment exception, for which the CPU keeps no
 * address: on x86-64 that of a non-canonical address. Signal-safe.
 */
bool vmarena_prim_fault_is_general_protection(int signo, int code);

/* Fills signo, code, address, pc and access. Signal-safe. */
void vmarena_prim_fault_read(struct vmarena_fault *fault, int signo, const siginfo_t *info, const void *context);

/* The kind that the signal alone tells, for memory that nobody registered: UNMAPPED, PROTECTED, PAST_END_OF_FILE,
 * HARDWARE or OTHER. Signal-safe. */
enum vmarena_fault_kind vmarena_prim_fault_kind(int signo, int code);

/*
 * Leaves a signal handler for landing(argument) on the stack that ends below `stack`. Where the CPU's context can be
 * rewritten this function returns, and the caller returns from its handler: the kernel then restores the signal mask
 * and the floating-point state of the moment of the fault. Elsewhere it jumps and does not return.
 */
void vmarena_prim_leave_handler(void *context, void (*landing)(void *), void *argument, uintptr_t stack);

/* The frame address of the calling function: its local variables lie below it. */
#define vmarena_prim_frame_address() ((uintptr_t)__builtin_frame_address(0))

/*
 * An address below everything that the calling function has on the stack (stacks grow down on every system we support),
 * so that vmarena_prim_leave_handler() may put a frame there. One instruction where we know it; elsewhere the frame
 * address of a function that is called for it.
 */
#if defined(__x86_64__)
static inline uintptr_t vmarena_prim_stack_pointer(void) {
    uintptr_t here;
    __asm__ volatile("mov %%rsp, %0" : "=r"(here));
    return here;
}
#elif defined(__aarch64__)
static inline uintptr_t vmarena_prim_stack_pointer(void) {
    uintptr_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    return here;
}
#else
__attribute__((noinline, unused)) static uintptr_t vmarena_prim_stack_pointer(void) {
    return (uintptr_t)__builtin_frame_address(0);
}
#endif

/*
 * Writes the return addresses of the frame-pointer chain that starts at frame (__builtin_frame_address(0) of a running
 * function) into pcs[0..depth), innermost first, and returns how many. The chain ends where it leaves the thread's
 * stack or stops ascending. Asks the system once for each stack it meets. Signal-safe. (cpu/backtrace.c)
 */
size_t vmarena_prim_backtrace(const void *frame, void **pcs, size_t depth);

/* ---- threads and fork (posix/thread.c) --------------------------------------------------------------------------- */

/*
 * Calls attempt, which returns 0 or a negative errno, until it has succeeded once: for what is made once in a process,
 * such as a fork handler. Unlike pthread_once(3) it returns the error, and the next call tries again. Threads that come
 * meanwhile wait. A child of fork(2) may repeat an attempt that its parent was in the middle of. Not signal-safe.
 */
struct vmarena_prim_once {
    _Atomic bool done;
    _Atomic pid_t process; /* whose thread is in attempt; 0: none */
};
int vmarena_prim_once(struct vmarena_prim_once *once, int (*attempt)(void));

/*
 * The library's one lock, for rare work: registering memory, making records, installing handlers. It is held across
 * fork(2), so that a child can go on using the library. Not signal-safe; not recursive.
 * -ENOMEM: its fork handlers could not be registered, the lock is not taken, and the next call tries again. That cannot
 * happen once a call of this function or of vmarena_prim_pool_lock() has succeeded.
 */
int vmarena_prim_global_lock(void);
void vmarena_prim_global_unlock(void);

/*
 * The lock of the record pools (base/pool.h), also held across fork(2), with the same errors. It may be taken while the
 * lock above is held; no other lock may be taken while this one is held.
 */
int vmarena_prim_pool_lock(void);
void vmarena_prim_pool_unlock(void);

/*
 * Has fork(2) call before ahead of it, and parent and child after it. The two locks above are still free in before, and
 * free again in parent and child. Handlers registered first run last in before (pthread_atfork(3)). -ENOMEM.
 */
int vmarena_prim_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

/* Another number in each child of fork(2) than in its parent. Signal-safe. */
unsigned vmarena_prim_fork_generation(void);

/* The calling thread's id as the system shows it (gettid(2)); asked for once and remembered. Signal-safe. */
uint32_t vmarena_prim_thread_id(void);

/* Lets other threads run: sched_yield(2). */
void vmarena_prim_yield(void);

/* Calls function(argument) when the calling thread ends. -ENOMEM or -EAGAIN (pthread_key_create(3)): not remembered. */
int vmarena_prim_at_thread_exit(void (*function)(void *), void *argument);

/* ---- AddressSanitizer and Valgrind (annotate.c) ------------------------------------------------------------------ */

/* Whether this process runs under either: found at run time. Addresses and sizes need no alignment here. */
bool vmarena_prim_annotating(void);
void vmarena_prim_poison(const void *address, size_t size);   /* not addressable */
void vmarena_prim_unpoison(const void *address, size_t size); /* addressable, contents undefined */
void vmarena_prim_defined(const void *address, size_t size);  /* addressable, contents defined */

#endif
