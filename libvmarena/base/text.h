/* SPDX-License-Identifier: MIT */
/* Text built without stdio, so that signal handlers and a malloc can build it, too. */
#ifndef VMARENA_TEXT_H
#define VMARENA_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Initialise start and size, and set the rest to zero. Without flush, what does not fit is left out. With it, a full buffer
 * is handed to flush and used again, so that the text may have any length.
 */
struct vmarena_text {
    char *start;
    size_t size, length;                      /* length: of all the text; with flush, of what was not handed out yet */
    void (*flush)(struct vmarena_text *text); /* uses start[0..length) and arg; length becomes 0 afterwards */
    void *arg;
};

void vmarena_text_char(struct vmarena_text *text, char c);
void vmarena_text_add(struct vmarena_text *text, const char *string);
void vmarena_text_decimal(struct vmarena_text *text, uint64_t value);
/* 1234567 as "1,234,567". */
void vmarena_text_grouped(struct vmarena_text *text, uint64_t value);
/* 12582912 as "12.0 MiB", 4096 as "4 KiB", 100 as "100 bytes". */
void vmarena_text_bytes(struct vmarena_text *text, uint64_t bytes);
/* "0x..." */
void vmarena_text_hex(struct vmarena_text *text, uint64_t value);
/* At least that many hexadecimal digits, without "0x". */
void vmarena_text_digits(struct vmarena_text *text, uint64_t value, unsigned digits);
/* "1 object", "2 objects". */
void vmarena_text_count(struct vmarena_text *text, uint64_t count, const char *noun);
/* Hands what was not handed out yet to flush. */
void vmarena_text_flush(struct vmarena_text *text);
/* Without flush: the number of characters that fit. */
size_t vmarena_text_length(const struct vmarena_text *text);
/* Without flush: a terminating zero, over the last character where there is no room. */
void vmarena_text_end(struct vmarena_text *text);

#endif
