/* SPDX-License-Identifier: MIT */
/*
 * Faults: SIGSEGV and SIGBUS caught, explained and survived.
 *
 *      struct vmarena_fault fault;
 *      if (vmarena_try(body, arg, &fault) == 1) {
 *          char text[256];
 *          vmarena_fault_describe(&fault, text, sizeof text);
 *      }
 *
 * A fault is claimed only if the kernel raised it for an access (si_code > 0), the thread that faulted has a scope open,
 * and the address belongs to that scope: by default memory that this library registered, or one arena, or any address.
 * Otherwise the next outer scope is asked, then the handler that was there before ours.
 *
 * What a guarded body may do. When it faults, the body is left as by siglongjmp(3): its frames and those of everything
 * it called are gone. No destructor, cleanup or defer runs, and a lock that a function held there (malloc, stdio) stays
 * held. So read, write and compute in it; do not call what locks or allocates. Locals of the function that contains a
 * VMARENA_TRY and are changed in it must be volatile to be read after it (C11 7.13.2.1).
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
 * Runs body(arg). 0: it returned. 1: it faulted in memory that this library registered and was left; *fault (which may
 * be NULL) tells how. A negative errno: it was not run (-EINVAL: body is NULL; -ENOMEM: no memory for the thread's
 * alternate signal stack, which its first scope makes unless it has one; otherwise what sigaction(2) or sigaltstack(2)
 * gave). Scopes nest and belong to their thread; any thread. Safe in a signal handler once the calling thread has opened
 * its first scope. errno, the signal mask and the floating-point modes after a fault are those of the moment of the fault
 * (elsewhere than on x86 and arm64 the modes are those with which a signal handler starts).
 * Costs no system call when nothing faults.
 */
VMARENA_API int vmarena_try(void (*body)(void *), void *arg, struct vmarena_fault *fault);

/* The same, claiming only faults in one arena, its guards included (-EBADF: NULL). */
VMARENA_API int vmarena_try_in(const struct vmarena *arena, void (*body)(void *), void *arg,
                               struct vmarena_fault *fault);

/* The same, claiming faults at any address. It hides the host's own bugs while the body runs: keep it short. */
VMARENA_API int vmarena_try_any(void (*body)(void *), void *arg, struct vmarena_fault *fault);

/*
 * The same in the caller's frame:
 *
 *      struct vmarena_scope scope;
 *      VMARENA_TRY(&scope) { *p = 1; } VMARENA_CATCH(fault) { printf("%p\n", fault->address); }
 *
 * The scope needs no initialisation and lives at least until the block ends. In the second block `fault` is a
 * const struct vmarena_fault *, good as long as the scope. Should the scope not open, the first block does not run, and
 * the second finds fault->signo 0 and a negative errno in fault->code. break leaves the first block as it would a loop;
 * return and goto out of it are fine: the scope closes.
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
/* Names with the line in them: scopes nest without shadowing. The landing is ready before the scope can be landed in. */
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

/* What a scope claims, for vmarena_scope_enter: these two, or an arena. */
VMARENA_API extern const char vmarena_claims_registered[1], vmarena_claims_any[1];

/*
 * The parts of VMARENA_TRY, for bindings. The caller calls sigsetjmp(scope->landing, 0) in its own frame; where that gives
 * 0, _enter makes *scope the thread's innermost, and a fault makes it give 1. _leave closes it and all inside it.
 * _fault gives the record of the scope that was left by a fault last, or not entered; to be asked at once, before the next.
 * vmarena_try and its kin leave it as it is, so that a signal handler that comes in between may use them.
 */
VMARENA_API int vmarena_scope_enter(struct vmarena_scope *scope, const void *claims);
VMARENA_API void vmarena_scope_leave(struct vmarena_scope *scope);
VMARENA_API const struct vmarena_fault *vmarena_scope_fault(void);

/*
 * A longjmp of the host's own out of a body abandons its scopes. Take _top before and _unwind to it after: every scope
 * opened since is closed. _top is NULL where none is open.
 */
VMARENA_API struct vmarena_scope *vmarena_scope_top(void);
VMARENA_API void vmarena_scope_unwind(struct vmarena_scope *top);

static inline void vmarena_scope_leave_(struct vmarena_scope **scope) { vmarena_scope_leave(*scope); }

/* ---- fault-tolerant operations, at any address ------------------------------------------------------------------ */

/*
 * Copies, fills or compares up to length bytes in ascending order and returns how many were done. Fewer than length:
 * *fault (which may be NULL) tells why, and exactly that many bytes were read and written; in _compare a fault->signo of
 * 0 says that the byte at that index differs. All done: fault->signo is 0. Where a scope cannot be opened nothing is done,
 * and fault->signo is 0 and fault->code the negative errno that vmarena_try would give. Source and target of a copy must
 * not overlap. Any thread. An address that no memory can have (non-canonical, on x86-64) gives code SI_KERNEL.
 */
VMARENA_API size_t vmarena_copy(void *to, const void *from, size_t length, struct vmarena_fault *fault);
VMARENA_API size_t vmarena_fill(void *to, int byte, size_t length, struct vmarena_fault *fault);
VMARENA_API size_t vmarena_compare(const void *left, const void *right, size_t length, struct vmarena_fault *fault);

/*
 * One load or store of 1, 2, 4 or 8 bytes at an address that is a multiple of size. 0: done. 1: faulted. -EINVAL: another
 * size, an unaligned address, or value is NULL; other errors as vmarena_try. *value is written only on success. Any
 * thread.
 */
VMARENA_API int vmarena_read(const void *address, void *value, size_t size, struct vmarena_fault *fault);
VMARENA_API int vmarena_write(void *address, const void *value, size_t size, struct vmarena_fault *fault);

/* ---- repair and retry ------------------------------------------------------------------------------------------- */

/*
 * Sets the arena's repair function; NULL takes it away. Installs the handlers as a scope does (errors as vmarena_try;
 * -EBADF: the arena is NULL or destroyed). A call of the arena's owner's, as those in arena.h: no other thread may fault in
 * the arena at that moment.
 */
VMARENA_API int vmarena_on_fault(struct vmarena *arena, vmarena_fault_fn *function, void *arg);

/* ---- the handlers ------------------------------------------------------------------------------------------------- */

enum vmarena_fault_status {
    VMARENA_HANDLER_ABSENT,    /* not installed */
    VMARENA_HANDLER_INSTALLED, /* ours for both signals */
    VMARENA_HANDLER_DISPLACED, /* installed, then somebody set another: it may or may not call ours */
    VMARENA_HANDLER_HOST,      /* the host has its own and calls vmarena_handle_signal */
};

/*
 * Installs the handlers for SIGSEGV and SIGBUS; counted, so that each _install is undone by one _uninstall. The first
 * scope does it too, once and uncounted. Handlers there before are kept and get every fault that is not ours, with their
 * own mask and flags. 0; -EAGAIN where they are displaced already (see _reassert); or what sigaction(2) gave, nothing
 * changed. Any thread.
 */
VMARENA_API int vmarena_fault_install(void);

/*
 * Undoes one _install; the last puts back the handlers that ours are on top of, which a _reassert may have changed.
 * -EINVAL: not installed. -EBUSY: displaced, so that nothing is taken away from under somebody who may call ours, or the
 * calling thread has a scope open; nothing changed. That no other thread has is the caller's to know. Any thread. One
 * that comes back after a _reassert, and passes on to ours, is called twice for a fault that is not its own.
 */
VMARENA_API int vmarena_fault_uninstall(void);

/* An enum vmarena_fault_status; two sigaction(2) calls. Any thread. */
VMARENA_API int vmarena_fault_status(void);

/*
 * Puts ours on top again after somebody displaced it (faulthandler, cmocka, a JVM), chaining to what is there now; if
 * that calls ours, the handler before it is next: no cycle. Any thread. 0, also where there is nothing to do; -EOVERFLOW:
 * displaced more than 8 times, each by another than the time before; or what sigaction(2) gave, nothing changed.
 */
VMARENA_API int vmarena_fault_reassert(void);

/*
 * For a host that owns the handlers: after vmarena_fault_host(true) the library never installs its own, and the host's
 * handler (SA_SIGINFO | SA_ONSTACK | SA_NODEFER, empty mask) calls vmarena_handle_signal first with its three
 * arguments. true: dealt with; the handler returns at once. false: not ours. Safe in a signal handler, of course.
 * vmarena_fault_host: -EBUSY where ours are installed.
 * vmarena_handle_signal is declared where <signal.h> declares siginfo_t: not in strict ISO C after a system header.
 */
VMARENA_API int vmarena_fault_host(bool on);
#ifndef VMARENA_POSIX_HIDDEN_
VMARENA_API bool vmarena_handle_signal(int signo, siginfo_t *info, void *context);
#endif

/* ---- in words ----------------------------------------------------------------------------------------------------- */

/*
 * One line, without a newline: `overrun: write 1 byte past the end of a 24-byte object at 0x7f0000001fe8 in "tokens"
 * (SIGSEGV at 0x7f0000002000)`, where 1 is the first byte past the end. Written like snprintf: at most size bytes, always
 * terminated where size is not 0; returns the length it would need. Allocates nothing; safe in a signal handler.
 */
VMARENA_API size_t vmarena_fault_describe(const struct vmarena_fault *fault, char *text, size_t size);

/* The same over several lines, one fact each. */
VMARENA_API size_t vmarena_fault_explain(const struct vmarena_fault *fault, char *text, size_t size);

/*
 * Reports faults that nobody claims. From now on, when an access to memory of this library faults (an object's guard, a
 * freed object, a view past the end of its file) and neither a scope nor a repair function takes the fault, the signal
 * handler writes it to the descriptor fd in words and passes the signal on, to the handler that was there before ours or
 * to the default action: the process dies of the signal as it would have otherwise.
 *
 *      vmarena: overrun: write 1 byte past the end of a 24-byte object at 0x7f0000001fe8 in "tokens" (SIGSEGV at ...)
 *        thread 4711, at pc 0x55d0c0a1b2c3
 *        allocated by thread 4711 at:
 *          0x55d0c0a1b1f0
 *        freed by thread 4712 at:
 *          0x55d0c0a1b234
 *
 * The last two for objects of a heap that keeps call stacks; addresses are the process's own, for addr2line(1) and its
 * kin, because no way to find the module of one is safe in a signal handler. A fault that comes again at the same place in
 * the same thread, because a handler returned, is reported once. Nothing is allocated and no lock is taken.
 *
 * fd is 2 for standard error, in most cases; it stays the caller's and must stay open. -1 turns the reports off. Installs
 * the handlers and gives the calling thread an alternate signal stack as a scope does (errors as vmarena_try); a thread that
 * never opened a scope and overflows its stack dies without a report. Where the host has its own handlers
 * (vmarena_fault_host), vmarena_handle_signal writes the report before it returns false. 0, or -EBADF: fd is not open for
 * writing; -EINVAL: fd is less than -1. On an error nothing has changed. Any thread; not safe in a signal handler.
 */
VMARENA_API int vmarena_report_faults(int fd);

VMARENA_END_DECLS

#endif
