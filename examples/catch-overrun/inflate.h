/* SPDX-License-Identifier: MIT */
#ifndef INFLATE_H
#define INFLATE_H

#include <stddef.h>

/* Inflates a zlib stream (RFC 1950) of exactly to_size bytes. NULL on success, otherwise what is wrong with it. */
const char *inflate_zlib(unsigned char *to, size_t to_size, const unsigned char *from, size_t from_size);

#endif
