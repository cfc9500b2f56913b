/* SPDX-License-Identifier: MIT */
#ifndef WHERE_H
#define WHERE_H

#include <stddef.h>

/* Writes "in FUNCTION, FILE:LINE" for an instruction of this process, or as much of it as can be found out. */
void where_is(const void *pc, char *text, size_t size);

#endif
