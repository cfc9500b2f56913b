/* SPDX-License-Identifier: MIT */
#include "base/text.h"

void vmarena_text_flush(struct vmarena_text *text) {
    if (text->length > 0) text->flush(text);
    text->length = 0;
}

void vmarena_text_char(struct vmarena_text *text, char c) {
    if (text->length == text->size && text->flush != NULL) vmarena_text_flush(text);
    if (text->length < text->size) text->start[text->length] = c;
    text->length++;
}

void vmarena_text_add(struct vmarena_text *text, const char *string) {
    while (*string != '\0') vmarena_text_char(text, *string++);
}

/* With a separator between groups of three, if there is one. */
static void add_number(struct vmarena_text *text, uint64_t value, unsigned radix, unsigned least, char separator) {
    char digits[64];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value != 0 || count < least);
    while (count > 0) {
        vmarena_text_char(text, digits[--count]);
        if (separator != '\0' && count > 0 && count % 3 == 0) vmarena_text_char(text, separator);
    }
}

void vmarena_text_decimal(struct vmarena_text *text, uint64_t value) { add_number(text, value, 10, 1, '\0'); }
void vmarena_text_grouped(struct vmarena_text *text, uint64_t value) { add_number(text, value, 10, 1, ','); }
void vmarena_text_digits(struct vmarena_text *text, uint64_t value, unsigned digits) {
    add_number(text, value, 16, digits, '\0');
}

void vmarena_text_hex(struct vmarena_text *text, uint64_t value) {
    vmarena_text_add(text, "0x");
    add_number(text, value, 16, 1, '\0');
}

void vmarena_text_bytes(struct vmarena_text *text, uint64_t bytes) {
    static const char *const units[] = {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    unsigned unit = 0, shift = 10;
    if (bytes < 1024) {
        vmarena_text_count(text, bytes, "byte");
        return;
    }
    for (; unit + 1 < sizeof units / sizeof units[0] && bytes >> shift >= 1024; shift += 10) unit++;
    uint64_t whole = bytes >> shift, tenths = ((bytes >> (shift - 10) & 1023) * 10 + 512) / 1024; /* rounded */
    vmarena_text_decimal(text, whole + tenths / 10);
    if (unit > 0 || bytes % 1024 != 0) {
        vmarena_text_char(text, '.');
        vmarena_text_decimal(text, tenths % 10);
    }
    vmarena_text_add(text, units[unit]);
}

void vmarena_text_count(struct vmarena_text *text, uint64_t count, const char *noun) {
    vmarena_text_grouped(text, count);
    vmarena_text_char(text, ' ');
    vmarena_text_add(text, noun);
    if (count != 1) vmarena_text_char(text, 's');
}

size_t vmarena_text_length(const struct vmarena_text *text) {
    return text->length < text->size ? text->length : text->size;
}

void vmarena_text_end(struct vmarena_text *text) {
    if (text->size != 0) text->start[text->length < text->size ? text->length : text->size - 1] = '\0';
}
