/* SPDX-License-Identifier: MIT */
/* Failures and the sentence that goes with them. */
#ifndef VMARENA_INTERNAL_ERROR_H
#define VMARENA_INTERNAL_ERROR_H

#include <stddef.h>

#include "vmarena/error.h"

/* Keeps a sentence for vmarena_explain(), made as by printf, and returns error: `return vmarena_fail(-EINVAL, "...")`. */
int vmarena_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Keeps what the sentence for a failed system call needs, and returns error (negative). `call`, the call's name, must
 * never go away; bytes may be 0 where the call has none. vmarena_explain() makes the sentence, because that may read all of /proc/self/maps: failing
 * allocations nobody asks about must stay cheap.
 */
int vmarena_fail_call(int error, const char *call, size_t bytes);

#endif
