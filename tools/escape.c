/* SPDX-License-Identifier: MIT */
#include "escape.h"

#include <stdbool.h>
#include <stdint.h>

#define REPLACEMENT 0xfffd /* REPLACEMENT CHARACTER */

struct character {
    uint32_t point; /* the code point */
    unsigned bytes; /* 0: no UTF-8 starts here (RFC 3629, 4) */
};

static struct character decode(const unsigned char *at) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned bytes = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (bytes == 1) return (struct character){at[0], 1};
    struct character found = {at[0] & (0xffu >> (bytes + 1)), bytes};
    for (unsigned i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) return (struct character){REPLACEMENT, 0};
        found.point = found.point << 6 | (at[i] & 0x3f);
    }
    bool surrogate = found.point >= 0xd800 && found.point < 0xe000;
    if (at[0] < 0xc2 || at[0] > 0xf4 || found.point < least[bytes] || found.point > 0x10ffff || surrogate)
        return (struct character){REPLACEMENT, 0};
    return found;
}

/* C0, DEL and C1 control characters; line and paragraph separators; marks, embeddings, overrides and isolates of the
 * Unicode Bidirectional Algorithm (UAX 9, 2). */
static bool is_harmful(struct character c) {
    uint32_t point = c.point;
    return c.bytes == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e ||
           point == 0x200f || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

/* Writes one character, whose bytes are at `at`. */
typedef void write_fn(struct vmarena_text *text, struct character c, const char *at);

static void copy(struct vmarena_text *text, struct character c, const char *at) {
    for (unsigned i = 0; i < c.bytes; i++) vmarena_text_char(text, at[i]);
}

static size_t write_each(struct vmarena_text *text, const char *string, size_t most, write_fn *write) {
    size_t count = 0;
    for (; *string != '\0' && count < most; count++) {
        struct character c = decode((const unsigned char *)string);
        write(text, c, string);
        string += c.bytes != 0 ? c.bytes : 1;
    }
    return count;
}

static void write_terminal(struct vmarena_text *text, struct character c, const char *at) {
    if (is_harmful(c)) vmarena_text_char(text, '?');
    else copy(text, c, at);
}

static void write_markup(struct vmarena_text *text, struct character c, const char *at) {
    if (is_harmful(c)) vmarena_text_add(text, "\xef\xbf\xbd");
    else if (c.point == '&') vmarena_text_add(text, "&amp;");
    else if (c.point == '<') vmarena_text_add(text, "&lt;");
    else if (c.point == '>') vmarena_text_add(text, "&gt;");
    else if (c.point == '"') vmarena_text_add(text, "&quot;");
    else if (c.point == '\'') vmarena_text_add(text, "&#39;");
    else copy(text, c, at);
}

static void write_json(struct vmarena_text *text, struct character c, const char *at) {
    if (is_harmful(c) || c.point == '<' || c.point == '>') {
        vmarena_text_add(text, "\\u");
        vmarena_text_digits(text, c.point, 4);
        return;
    }
    if (c.point == '"' || c.point == '\\') vmarena_text_char(text, '\\');
    copy(text, c, at);
}

size_t vmarena_escape_terminal(struct vmarena_text *text, const char *string, size_t characters) {
    return write_each(text, string, characters, write_terminal);
}

void vmarena_escape_markup(struct vmarena_text *text, const char *string, size_t characters) {
    (void)write_each(text, string, characters, write_markup);
}

void vmarena_escape_json(struct vmarena_text *text, const char *string) {
    vmarena_text_char(text, '"');
    (void)write_each(text, string, SIZE_MAX, write_json);
    vmarena_text_char(text, '"');
}
