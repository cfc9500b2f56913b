/* SPDX-License-Identifier: MIT */
/*
 * Faults: catching SIGSEGV and SIGBUS, saying what they mean, and going on.
 *
 *      struct vmarena_fault fault;
 *      if (vmarena_try(body, arg, &fault) == 1) {
 *          char text[256];
 *          vmarena_fault_describe(&fault, text, sizeof text);
 *      }
 *
 * A scope claims a fault if the kernel raised it for an access (si_code > 0), the thread that faulted opened the scope, and
 * the address belongs to the scope: by default any memory that this library registered, on request one arena or any
 * address. If no scope of the thread claims it, from the innermost outwards, the handler that was installed before ours
 * gets the signal.
 *
 * What a guarded body may do. A fault leaves the body as siglongjmp(3) does: its frames and those of everything it called
 * are gone. No destructor, cleanup function or defer runs, and a lock that a function held there (malloc, stdio) stays
 * locked. So read, write and compute in a body, and do not call functions that lock or allocate. Local variables of the
 * function that contains a VMARENA_TRY must be volatile if they are changed in it and read after it (C11 7.13.2.1).
 */
#ifndef VMARENA_FAULT_H
#define VMARENA_FAULT_H

#include "types.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

struct vmarena;

/* See export.h. */
#ifdef VMARENA_POSIX_HIDDEN_
typedef jmp_buf vmarena_landing_;
#define VMARENA_SET_LANDING_(landing) setjmp(landing)
#else
typedef sigjmp_buf vmarena_landing_;
#define VMARENA_SET_LANDING_(landing) sigsetjmp(landing, 0)
#endif

/* ---- guarded bodies ------------------------------------------------------------------------------------------- */

/*
 * Runs body(arg). Returns 0 if the body returned, and 1 if it faulted in memory that this library registered; then the body
 * was left, and *fault (fault may be NULL) describes the fault. A negative errno means that the body did not run: -EINVAL:
 * body is NULL; -ENOMEM or -EAGAIN: no memory, or no thread-specific data key, for the thread's alternate signal stack,
 * which a thread's first scope sets up unless the thread has one; otherwise the error of sigaction(2) or sigaltstack(2).
 * Scopes nest and belong to their thread. Any thread. Safe in a signal handler once the calling thread has opened its first
 * scope. After a fault errno, the signal mask and the floating-point modes are those at the moment of the fault (on
 * processors other than x86 and arm64 the modes are those with which a signal handler starts).
 * Makes no system call unless the body faults.
 */
VMARENA_API int vmarena_try(void (*body)(void *), void *arg, struct vmarena_fault *fault);

/* The same, but claims only faults in one arena and its guards. -EBADF: arena is NULL. */
VMARENA_API int vmarena_try_in(const struct vmarena *arena, void (*body)(void *), void *arg,
                               struct vmarena_fault *fault);

/* The same, but claims faults at any address. That hides bugs of the program's own while the body runs: keep it short. */
VMARENA_API int vmarena_try_any(void (*body)(void *), void *arg, struct vmarena_fault *fault);

/*
 * The same in the caller's frame:
 *
 *      struct vmarena_scope scope;
 *      VMARENA_TRY(&scope) { *p = 1; } VMARENA_CATCH(fault) { printf("%p\n", fault->address); }
 *
 * The scope needs no initialisation and must exist at least until the block ends. In the second block `fault` is a
 * const struct vmarena_fault *, valid as long as the scope exists. If the scope cannot be opened, the first block does not
 * run, and in the second fault->signo is 0 and fault->code a negative errno. break leaves the first block as it would leave
 * a loop; return and goto may leave it, too. All of them close the scope.
 */
struct vmarena_scope {
    vmarena_landing_ landing;
    struct vmarena_scope *outer;
    const void *claims; /* an arena, or one of the two addresses below */
    uintptr_t stack;    /* the landing's stack pointer */
    struct vmarena_fault fault;
};

#define VMARENA_TRY(scope) VMARENA_TRY_(scope, vmarena_claims_registered)
#define VMARENA_TRY_IN(scope, arena) VMARENA_TRY_(scope, arena)
#define VMARENA_TRY_ANY(scope) VMARENA_TRY_(scope, vmarena_claims_any)
#define VMARENA_TRY_(scope, claims) VMARENA_TRY_AT_(scope, claims, __LINE__)
#define VMARENA_TRY_AT_(scope, claims, line) VMARENA_TRY_NAMED_(scope, claims, line)
/* The names contain the line number, so that nested scopes do not shadow each other. The landing is set before the scope is
 * entered: a fault can jump to it from then on. */
#define VMARENA_TRY_NAMED_(scope, claims, line)                                                                        \
    for (struct vmarena_scope *const vmarena_at_##line = (scope), *vmarena_do_##line = vmarena_at_##line;              \
         vmarena_do_##line != NULL; vmarena_do_##line = NULL)                                                          \
        if (VMARENA_SET_LANDING_(vmarena_at_##line->landing) == 0 &&                                                   \
            vmarena_scope_enter(vmarena_at_##line, (claims)) == 0)                                                     \
            for (struct vmarena_scope * vmarena_open_##line                                                            \
                     __attribute__((cleanup(vmarena_scope_leave_))) = vmarena_at_##line,                               \
                     *vmarena_once_##line = vmarena_open_##line;                                                       \
                 vmarena_once_##line != NULL; vmarena_once_##line = NULL)
#define VMARENA_CATCH(name)                                                                                            \
    else for (const struct vmarena_fault *name = vmarena_scope_fault(); name != NULL; name = NULL)

/* What a scope claims, for vmarena_scope_enter: one of these two addresses, or an arena. */
VMARENA_API extern const char vmarena_claims_registered[1], vmarena_claims_any[1];

/*
 * The parts of VMARENA_TRY, for bindings. The caller calls sigsetjmp(scope->landing, 0) in its own frame. When that returns
 * 0, _enter makes *scope the thread's innermost scope; a fault makes sigsetjmp return again, with 1. _leave closes the scope
 * and all scopes inside it. _fault returns the record of the scope that a fault left last, or that could not be entered:
 * call it at once, before the thread enters another scope. vmarena_try and the functions like it do not change what it
 * returns, so that a signal handler that runs in between may use them.
 */
VMARENA_API int vmarena_scope_enter(struct vmarena_scope *scope, const void *claims);
VMARENA_API void vmarena_scope_leave(struct vmarena_scope *scope);
VMARENA_API const struct vmarena_fault *vmarena_scope_fault(void);

/*
 * A longjmp of the program's own out of a body leaves its scopes open. Call _top before and pass the result to _unwind
 * after: that closes every scope opened since. _top returns NULL if the thread has no scope open.
 */
VMARENA_API struct vmarena_scope *vmarena_scope_top(void);
VMARENA_API void vmarena_scope_unwind(struct vmarena_scope *top);

static inline void vmarena_scope_leave_(struct vmarena_scope **scope) { vmarena_scope_leave(*scope); }

/* ---- fault-tolerant operations, at any address ------------------------------------------------------------------ */

/*
 * Copy, fill or compare up to length bytes in ascending order and return how many bytes were done. If these are fewer than
 * length, exactly that many were read and written, and *fault (fault may be NULL) says why; in _compare a fault->signo of 0
 * says that the byte at that index differs. fault->address is the first byte that could not be accessed. If all bytes were
 * done, fault->signo is 0. If a scope cannot be opened, nothing is done, fault->signo is 0, and fault->code is the negative
 * errno that vmarena_try would return. Source and target of a copy must not overlap. Any thread. An address that no memory
 * can have (a non-canonical one on x86-64) is a fault with code SI_KERNEL.
 */
VMARENA_API size_t vmarena_copy(void *to, const void *from, size_t length, struct vmarena_fault *fault);
VMARENA_API size_t vmarena_fill(void *to, int byte, size_t length, struct vmarena_fault *fault);
VMARENA_API size_t vmarena_compare(const void *left, const void *right, size_t length, struct vmarena_fault *fault);

/*
 * Load or store 1, 2, 4 or 8 bytes at an address that is a multiple of size. Return 0, or 1 if the access faulted, with
 * *fault (fault may be NULL) filled in. -EINVAL: size is another number, address is not aligned to it, or value is NULL;
 * other errors as vmarena_try. *value is written only on success. Any thread.
 */
VMARENA_API int vmarena_read(const void *address, void *value, size_t size, struct vmarena_fault *fault);
VMARENA_API int vmarena_write(void *address, const void *value, size_t size, struct vmarena_fault *fault);

/* ---- repair and retry ------------------------------------------------------------------------------------------- */

/*
 * Sets the arena's repair function (vmarena_fault_fn, in types.h); NULL removes it. Installs the handlers as a scope does.
 * Errors as vmarena_try; -EBADF: the arena is NULL or destroyed. Only the arena's owner may call it, as the functions in
 * arena.h; other threads may fault in the arena meanwhile and get the function before or after, with its own argument.
 */
VMARENA_API int vmarena_on_fault(struct vmarena *arena, vmarena_fault_fn *function, void *arg);

/* ---- the handlers ------------------------------------------------------------------------------------------------- */

enum vmarena_fault_status {
    VMARENA_HANDLER_ABSENT,    /* not installed */
    VMARENA_HANDLER_INSTALLED, /* both signals have our handler */
    VMARENA_HANDLER_DISPLACED, /* other code has set its handler since, which may or may not call ours */
    VMARENA_HANDLER_HOST,      /* the program has its own handlers, which call vmarena_handle_signal */
};

/*
 * Installs the handlers for SIGSEGV and SIGBUS. Calls are counted: one _uninstall undoes each _install. The first scope
 * installs them, too, and is not counted. Earlier handlers are remembered and get every fault that no scope claims, with
 * their own mask and flags. Returns 0; -EAGAIN: the handlers are displaced (see _reassert); -ENOMEM: the library's fork
 * handlers could not be registered; or the error of sigaction(2). On an error nothing has changed. Any thread.
 */
VMARENA_API int vmarena_fault_install(void);

/*
 * Undoes one _install. The last one restores the handlers that were set before ours, or before the last _reassert.
 * -EINVAL: the handlers are not installed. -EBUSY: they are displaced, and the handler on top may call ours; or the calling
 * thread has a scope open. On an error nothing has changed. The caller must ensure that no other thread has a scope open.
 * Any thread. A handler that is restored after a _reassert, and that passes signals on to ours, is called twice for a fault
 * that is not its own.
 */
VMARENA_API int vmarena_fault_uninstall(void);

/* Returns an enum vmarena_fault_status, after two calls of sigaction(2). Any thread. */
VMARENA_API int vmarena_fault_status(void);

/*
 * Sets our handlers again after other code displaced them (Python's faulthandler, cmocka, a JVM). They then pass faults on
 * to the handlers set now; when one of these calls ours, the handler before it is next, so that there is no cycle. Any
 * thread. Returns 0, also if there was nothing to do; -EOVERFLOW: the handlers were displaced more than 8 times, each time
 * by others than before; or the error of sigaction(2). On an error nothing has changed.
 */
VMARENA_API int vmarena_fault_reassert(void);

/*
 * For a program that has its own handlers. After vmarena_fault_host(true) the library never installs any. The program's
 * handler (SA_SIGINFO | SA_ONSTACK | SA_NODEFER, empty mask) first calls vmarena_handle_signal with its three arguments; if
 * that returns true, the fault has been dealt with, and the handler must return at once; false: nobody claimed the fault.
 * vmarena_handle_signal is safe in a signal handler. vmarena_fault_host(false) ends it. -EBUSY: the library's own handlers
 * are installed. Any thread.
 * vmarena_handle_signal is declared only where <signal.h> declares siginfo_t: not in strict ISO C after a system header.
 */
VMARENA_API int vmarena_fault_host(bool on);
#ifndef VMARENA_POSIX_HIDDEN_
VMARENA_API bool vmarena_handle_signal(int signo, siginfo_t *info, void *context);
#endif

/* ---- in words ----------------------------------------------------------------------------------------------------- */

/*
 * Writes a fault as one line, without a newline: `overrun: write 1 byte past the end of a 24-byte object at 0x7f0000001fe8
 * in "tokens" (SIGSEGV at 0x7f0000002000)`, where 1 is the first byte past the end. As snprintf(3) does, writes at most size
 * bytes, terminates them unless size is 0, and returns the length of the whole text. Any thread; safe in a signal handler.
 */
VMARENA_API size_t vmarena_fault_describe(const struct vmarena_fault *fault, char *text, size_t size);

/* The same in several lines, one fact each. */
VMARENA_API size_t vmarena_fault_explain(const struct vmarena_fault *fault, char *text, size_t size);

/*
 * Reports faults that nobody claims. From now on, when an access to memory of this library faults (an object's guard, a
 * freed object, a view past the end of its file) and neither a scope nor a repair function takes the fault, the signal
 * handler writes a report to the descriptor fd. Then it passes the signal on to the handler that was there before ours, or
 * to the default action: the process dies of the signal as it would have without a report.
 *
 *      vmarena: overrun: write 1 byte past the end of a 24-byte object at 0x7f0000001fe8 in "tokens" (SIGSEGV at ...)
 *        thread 4711, at pc 0x55d0c0a1b2c3
 *        allocated by thread 4711 at:
 *          0x55d0c0a1b1f0
 *        freed by thread 4712 at:
 *          0x55d0c0a1b234
 *
 * Only heaps that keep call stacks report the last two. Addresses are those of the process, because no way to find the
 * module of an address is safe in a signal handler. A fault that repeats at the same place in the same thread, because a
 * handler returned, is reported once. The report allocates nothing and takes no lock.
 *
 * fd, usually 2 (standard error), stays the caller's and must stay open; -1 turns reports off. The call installs the
 * handlers and gives the calling thread an alternate signal stack, as a scope does. A thread that never opened a scope and
 * overflows its stack dies without a report. If the program has its own handlers (vmarena_fault_host),
 * vmarena_handle_signal writes the report before it returns false.
 *
 * Returns 0; -EBADF: fd is not open for writing; -EINVAL: fd is less than -1; other errors as vmarena_try. On an error
 * nothing has changed. Any thread; not safe in a signal handler.
 */
VMARENA_API int vmarena_report_faults(int fd);

VMARENA_END_DECLS

#endif
