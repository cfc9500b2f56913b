/* SPDX-License-Identifier: MIT */
/*
 * Sets of bits in memory of the caller's, zero at first. Setting a bit is safe in a signal handler and from any thread;
 * everything else has one caller at a time.
 */
#ifndef VMARENA_BITS_H
#define VMARENA_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that a set of count bits takes. */
size_t vmarena_bits_bytes(size_t count);

bool vmarena_bits_is_set(const _Atomic uint64_t *bits, size_t index);
void vmarena_bits_set(_Atomic uint64_t *bits, size_t index);

/* Clears [from, end). Words that are zero are not written, so that pages never used stay unused. */
void vmarena_bits_clear(_Atomic uint64_t *bits, size_t from, size_t end);

/* Finds the next run of set bits at or after *from, below count: [*from, *end). False: there is none. */
bool vmarena_bits_next_run(const _Atomic uint64_t *bits, size_t count, size_t *from, size_t *end);

#endif
