/* SPDX-License-Identifier: MIT */
/*
 * Escapes names that others chose (of files, mappings, symbols, processes) for each kind of output. Control characters,
 * characters that change the direction or the lines of text, and bytes that are not UTF-8 are replaced. Signal-safe.
 */
#ifndef VMARENA_TOOLS_ESCAPE_H
#define VMARENA_TOOLS_ESCAPE_H

#include <stddef.h>

#include "base/text.h"

/* For a terminal: replaces each by '?'. Writes at most that many characters and returns how many it wrote. */
size_t vmarena_escape_terminal(struct vmarena_text *text, const char *string, size_t characters);
/* For the text and the attributes of HTML and SVG: replaces each by U+FFFD. Writes at most that many characters. */
void vmarena_escape_markup(struct vmarena_text *text, const char *string, size_t characters);
/* A JSON string with its quotes (RFC 8259, 7) that is also safe inside a script element of HTML: characters become escape
 * sequences, and a byte that is not UTF-8 becomes U+FFFD. */
void vmarena_escape_json(struct vmarena_text *text, const char *string);

#endif
