/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_EXPORT_H
#define VMARENA_EXPORT_H

/* fault.h needs POSIX's sigjmp_buf and siginfo_t, which -std=c11 hides unless asked for before the first system header.
 * That is why the other headers include this one first; a program that includes <stdio.h> before them asks by itself. */
#if defined(__STRICT_ANSI__) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE) && !defined(_POSIX_C_SOURCE) &&     \
    !defined(_XOPEN_SOURCE)
#define _POSIX_C_SOURCE 200809L
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
