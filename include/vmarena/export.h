/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_EXPORT_H
#define VMARENA_EXPORT_H

#ifdef _WIN32
#error "libvmarena does not support Windows: it needs mmap, mprotect and sigaction. WSL 2 runs it, as Linux."
#endif

/*
 * fault.h uses sigjmp_buf and siginfo_t of POSIX. -std=c11 and its kin hide them unless a feature-test macro asks for them
 * before the first system header (feature_test_macros(7)); that is why the other headers include this one first. Where a
 * system header came before, glibc and musl, known by the include guard of their <features.h>, have settled what they
 * declare: then fault.h makes do with jmp_buf and setjmp of ISO C, which are the same type and save no signal mask there.
 */
#if defined(__STRICT_ANSI__) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE) && !defined(_POSIX_C_SOURCE) &&     \
    !defined(_XOPEN_SOURCE)
#if defined(_FEATURES_H)
#define VMARENA_POSIX_HIDDEN_
#elif defined(_SYS_CDEFS_H_) /* the BSDs: their jmp_buf differs from sigjmp_buf */
#error "libvmarena needs POSIX declarations: compile with -D_POSIX_C_SOURCE=200809L or -std=gnu11, or include it first"
#else
#define _POSIX_C_SOURCE 200809L
#endif
#elif defined(_WIN32) || (defined(_POSIX_C_SOURCE) && _POSIX_C_SOURCE - 0 < 199309L)
#define VMARENA_POSIX_HIDDEN_
#endif

/* The library is built with hidden visibility: only what is marked here, and listed in the version map, leaves it. */
#define VMARENA_API __attribute__((visibility("default")))

#define VMARENA_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* To C++ a function of a structure's name (as in POSIX, stat) shadows its constructor, and C's casts are of the old style:
 * both are meant, and no reason for a warning in somebody's own program. */
#ifdef __cplusplus
#define VMARENA_BEGIN_DECLS                                                                                            \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"")                                      \
        _Pragma("GCC diagnostic ignored \"-Wold-style-cast\"") extern "C" {
#define VMARENA_END_DECLS                                                                                              \
    }                                                                                                                  \
    _Pragma("GCC diagnostic pop")
#else
#define VMARENA_BEGIN_DECLS
#define VMARENA_END_DECLS
#endif

#endif
