/* SPDX-License-Identifier: MIT */
/* Failures and the sentence that goes with them. */
#ifndef VMARENA_INTERNAL_ERROR_H
#define VMARENA_INTERNAL_ERROR_H

#include <stddef.h>

#include "vmarena/error.h"

/* Keeps a sentence for vmarena_explain(), made as by printf, and returns error: `return vmarena_fail(-EINVAL, "...")`. */
int vmarena_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The sentence for a system call that failed with error (negative). ENOMEM from a call that may split mappings means
 * too many map entries as often as too little memory: the two are told apart here.
 */
int vmarena_fail_call(int error, const char *call, size_t bytes);

#endif
