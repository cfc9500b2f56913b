/* SPDX-License-Identifier: MIT */
/* A small PNG reader: W3C "PNG (Third Edition)", RFC 1950 and RFC 1951. It knows nothing of the library. */
#ifndef PNG_H
#define PNG_H

#include <stddef.h>
#include <stdint.h>

/* Gives size bytes for `what`, to be freed by the caller of png_read when it is done with everything; NULL: no memory. */
typedef void *png_alloc(void *arg, const char *what, size_t size);

struct png {
    uint32_t width, height;
    unsigned depth, color; /* bits a sample, and the colour type of the IHDR chunk */
    unsigned palette_count, alpha_count;
    size_t opaque, translucent, clear; /* pixels */
};

/* Decodes a whole file. NULL on success, otherwise what is wrong with the file. */
const char *png_read(const unsigned char *file, size_t size, png_alloc *alloc, void *arg, struct png *png);

#endif
