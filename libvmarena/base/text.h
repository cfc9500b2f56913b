/* SPDX-License-Identifier: MIT */
/* Text made without stdio, so that a signal handler and a malloc may make it too. */
#ifndef VMARENA_TEXT_H
#define VMARENA_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct vmarena_text {
    char *start;
    size_t size, length; /* length: what all of it would take; what is past size is left out */
};

void vmarena_text_char(struct vmarena_text *text, char c);
void vmarena_text_add(struct vmarena_text *text, const char *string);
void vmarena_text_decimal(struct vmarena_text *text, uint64_t value);
/* 1234567 as "1,234,567". */
void vmarena_text_grouped(struct vmarena_text *text, uint64_t value);
/* 12582912 as "12.0 MiB". */
void vmarena_text_bytes(struct vmarena_text *text, uint64_t bytes);
/* "0x..." */
void vmarena_text_hex(struct vmarena_text *text, uint64_t value);
/* Exactly digits hexadecimal digits, without "0x". */
void vmarena_text_digits(struct vmarena_text *text, uint64_t value, unsigned digits);
/* "1 object", "2 objects". */
void vmarena_text_count(struct vmarena_text *text, uint64_t count, const char *noun);
/* In double quotes, escaped as JSON has it (RFC 8259, 7); bytes that are not UTF-8 become U+FFFD. */
void vmarena_text_json(struct vmarena_text *text, const char *string);
/* What is there to write: without what did not fit. */
size_t vmarena_text_length(const struct vmarena_text *text);
/* A terminating zero, over the last character where there is no room. */
void vmarena_text_end(struct vmarena_text *text);

#endif
