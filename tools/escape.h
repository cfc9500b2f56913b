/* SPDX-License-Identifier: MIT */
/*
 * Names that others chose (of files, mappings, symbols, processes), made harmless for each kind of output. Control
 * characters, characters that change the direction or the lines of text, and bytes that are not UTF-8 never get through.
 * Signal-safe.
 */
#ifndef VMARENA_TOOLS_ESCAPE_H
#define VMARENA_TOOLS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* For a terminal: '?' stands for each of them. At most so many characters; returns how many. */
size_t vmarena_escape_terminal(struct vmarena_text *text, const char *string, size_t characters);
/* For the text and the attributes of HTML and SVG: U+FFFD stands for them. At most so many characters. */
void vmarena_escape_markup(struct vmarena_text *text, const char *string, size_t characters);
/* A JSON string in its quotes (RFC 8259, 7), which may also stand in a script of HTML: escapes stand for them, and U+FFFD
 * for a byte that is not UTF-8. */
void vmarena_escape_json(struct vmarena_text *text, const char *string);

/* Whether vmarena_escape_terminal() would replace nothing. */
bool vmarena_escape_is_harmless(const char *string);

#endif
