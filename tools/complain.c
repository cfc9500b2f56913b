/* SPDX-License-Identifier: MIT */
#include "complain.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "escape.h"

/* Room for two paths and a sentence. */
#define LINE (2 * PATH_MAX + 512)

int vmarena_complain(int code, const char *command, const char *format, ...) {
    char line[LINE], escaped[LINE];
    struct vmarena_text text = {.start = escaped, .size = sizeof escaped};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)vmarena_escape_terminal(&text, line, SIZE_MAX);
    vmarena_text_end(&text);
    fprintf(stderr, "vmarena%s%s: %s\n", command != NULL ? " " : "", command != NULL ? command : "", escaped);
    return code;
}
