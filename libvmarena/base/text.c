/* SPDX-License-Identifier: MIT */
#include "base/text.h"

void vmarena_text_char(struct vmarena_text *text, char c) {
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
    unsigned unit = 0;
    uint64_t scale = 1024;
    if (bytes < scale) {
        vmarena_text_count(text, bytes, "byte");
        return;
    }
    while (unit + 1 < sizeof units / sizeof units[0] && bytes / scale >= 1024) scale *= 1024, unit++;
    vmarena_text_decimal(text, bytes / scale);
    vmarena_text_char(text, '.');
    vmarena_text_decimal(text, bytes % scale / (scale / 1024) * 10 / 1024);
    vmarena_text_add(text, units[unit]);
}

void vmarena_text_count(struct vmarena_text *text, uint64_t count, const char *noun) {
    vmarena_text_grouped(text, count);
    vmarena_text_char(text, ' ');
    vmarena_text_add(text, noun);
    if (count != 1) vmarena_text_char(text, 's');
}

/* Length of the UTF-8 sequence that starts here, by its first byte and continuation bytes; 0: not one (RFC 3629, 4). */
static unsigned sequence(const unsigned char *at) {
    unsigned length = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (at[0] >= 0x80 && (at[0] < 0xc2 || at[0] > 0xf4)) return 0;
    for (unsigned i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return length;
}

void vmarena_text_json(struct vmarena_text *text, const char *string) {
    const unsigned char *at = (const unsigned char *)string;
    vmarena_text_char(text, '"');
    while (*at != '\0') {
        unsigned length = sequence(at);
        if (length == 0) vmarena_text_add(text, "\\ufffd"), at++;
        else if (*at < 0x20) vmarena_text_add(text, "\\u"), vmarena_text_digits(text, *at++, 4);
        else {
            if (*at == '"' || *at == '\\') vmarena_text_char(text, '\\');
            while (length-- > 0) vmarena_text_char(text, (char)*at++);
        }
    }
    vmarena_text_char(text, '"');
}

size_t vmarena_text_length(const struct vmarena_text *text) {
    return text->length < text->size ? text->length : text->size;
}

void vmarena_text_end(struct vmarena_text *text) {
    if (text->size != 0) text->start[text->length < text->size ? text->length : text->size - 1] = '\0';
}
