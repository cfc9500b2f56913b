/* SPDX-License-Identifier: MIT */
/* Recovery 37 (../README.md): scopes opened in one unit and language, faults in another, one library beneath all. */
#ifndef VMARENA_TESTS_UNITS_H
#define VMARENA_TESTS_UNITS_H

#include <vmarena.h>

VMARENA_BEGIN_DECLS

void touch_in_c(void *address);
void touch_in_cpp(void *address);

/* The distance of the fault that body(arg) makes, caught by each form in each language; 0: no fault. */
ptrdiff_t catch_in_c(void (*body)(void *), void *arg);
ptrdiff_t catch_in_cpp(void (*body)(void *), void *arg);
ptrdiff_t call_in_cpp(void (*body)(void *), void *arg);

/* Scopes of both languages in each other: the outer one's distance × 1000 + the inner one's. */
ptrdiff_t catch_twice(void *first, void *second);

VMARENA_END_DECLS

#endif
