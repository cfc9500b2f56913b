/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_EXPORT_H
#define VMARENA_EXPORT_H

/* The library is built with hidden visibility: only what is marked here, and listed in the version map, leaves it. */
#define VMARENA_API __attribute__((visibility("default")))

#define VMARENA_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#ifdef __cplusplus
#define VMARENA_BEGIN_DECLS extern "C" {
#define VMARENA_END_DECLS }
#else
#define VMARENA_BEGIN_DECLS
#define VMARENA_END_DECLS
#endif

#endif
