/* SPDX-License-Identifier: MIT */
/* What the commands that look at processes share: complaints, arguments, how things are written. */
#ifndef VMARENA_TOOLS_INSPECT_COMMON_H
#define VMARENA_TOOLS_INSPECT_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "complain.h"

/* After getopt_long gave '?' or ':': what it stumbled over. Gives the exit code. */
int vmarena_complain_option(const char *command, int what, char **arguments);

/* A decimal number from least to most, all of text. */
bool vmarena_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* A process, which must be there. 0, or the exit code after a complaint. */
int vmarena_parse_process(const char *command, const char *text, pid_t *out);

/* What standard output, flushed, came to: 0, or the exit code after a complaint. */
int vmarena_finish_output(const char *command);

/* A file to write to (see output_file.h), or NULL after a complaint. */
FILE *vmarena_open_output(const char *command, const char *path);

/* As vmarena_finish_output(), of a file, which is closed. */
int vmarena_close_output(const char *command, FILE *file, const char *name);

/* The text on standard output; gives the exit code. */
int vmarena_print_help(const char *command, const char *text);

/* A descriptor that becomes readable when the process ends (Linux 5.3), or -1. */
int vmarena_open_process(pid_t pid);

/* "always", "never", or "auto": on a terminal, unless NO_COLOR is set (no-color.org). False for any other word. */
bool vmarena_parse_color(const char *word, FILE *out, bool *color);

/* The beginning of the command line of a process, or its name in brackets, fit for a terminal. */
void vmarena_process_title(pid_t pid, char *title, size_t size);

/* For a terminal: control characters and what is not UTF-8 become '?'. */
void vmarena_print_plain(FILE *out, const char *text);
/* The same of its first characters, at most so many; gives how many there were. */
size_t vmarena_print_cut(FILE *out, const char *text, size_t characters);
/* In double quotes, as JSON (RFC 8259). */
void vmarena_print_json(FILE *out, const char *text);
/* For the text and attributes of HTML and SVG: the first characters, at most so many. */
void vmarena_print_markup(FILE *out, const char *text, size_t characters);

/* The last characters of UTF-8, at most so many. */
const char *vmarena_tail(const char *text, size_t characters);

/* 1234567 as "1,234,567"; 12582912 as "12.0 MiB". Both need 32 bytes. */
const char *vmarena_grouped(uint64_t value, char text[32]);
const char *vmarena_bytes(uint64_t bytes, char text[32]);

/* What may be done to a mapping, as pictures and tables tell it apart by colour. */
enum vmarena_permission {
    VMARENA_NOTHING, /* no mapping */
    VMARENA_NO_ACCESS,
    VMARENA_READS,
    VMARENA_WRITES, /* with or without reading */
    VMARENA_RUNS,   /* as before */
    VMARENA_WRITES_AND_RUNS
};
enum vmarena_permission vmarena_permission(unsigned prot);

/* The colour of a terminal for it: a number of "Select Graphic Rendition". */
const char *vmarena_permission_color(enum vmarena_permission permission);

/* "rwxp" */
const char *vmarena_permissions(unsigned prot, bool shared, char text[5]);

const char *vmarena_owner_kind(unsigned owner); /* "arena", ... or "" */

#endif
