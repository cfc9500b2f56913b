/* SPDX-License-Identifier: MIT */
/* What the commands that inspect processes share: arguments, output, names. */
#ifndef VMARENA_TOOLS_INSPECT_COMMON_H
#define VMARENA_TOOLS_INSPECT_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "complain.h"

/* Prints the option at which getopt_long(3) returned '?' or ':', and returns the exit code. */
int vmarena_complain_option(const char *command, int what, char **arguments);

/* Whether text is a decimal number from least to most. */
bool vmarena_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out);

/* The number of an existing process. Returns 0, or the exit code after an error message. */
int vmarena_parse_process(const char *command, const char *text, pid_t *out);

/* Flushes standard output. Returns 0, or the exit code after an error message. */
int vmarena_finish_output(const char *command);

/* Opens a file to write to (see output_file.h). Returns NULL after an error message. */
FILE *vmarena_open_output(const char *command, const char *path);

/* Closes a file. Returns 0, or the exit code after an error message. */
int vmarena_close_output(const char *command, FILE *file, const char *name);

/* Prints the text on standard output and returns the exit code. */
int vmarena_print_help(const char *command, const char *text);

/* A descriptor that becomes readable when the process ends (Linux 5.3), or -1. */
int vmarena_open_process(pid_t pid);

/* "always", "never", or "auto": on a terminal, unless NO_COLOR is set (no-color.org). False for any other word. */
bool vmarena_parse_color(const char *word, FILE *out, bool *color);

/* The beginning of the command line of a process, or its name in brackets; not escaped. */
void vmarena_process_title(pid_t pid, char *title, size_t size);

/* Escaped for a terminal (see escape.h). */
void vmarena_print_plain(FILE *out, const char *text);
/* The same with at most that many characters; returns how many were printed. */
size_t vmarena_print_cut(FILE *out, const char *text, size_t characters);
/* As a JSON string. */
void vmarena_print_json(FILE *out, const char *text);
/* Escaped for HTML and SVG, at most that many characters. */
void vmarena_print_markup(FILE *out, const char *text, size_t characters);

/* The end of a UTF-8 string, at most that many characters long. */
const char *vmarena_tail(const char *text, size_t characters);

/* 1234567 as "1,234,567"; 12582912 as "12.0 MiB". Both need 32 bytes. */
const char *vmarena_grouped(uint64_t value, char text[32]);
const char *vmarena_bytes(uint64_t bytes, char text[32]);

/* The permissions that pictures and tables distinguish by colour. */
enum vmarena_permission {
    VMARENA_NOTHING, /* no mapping */
    VMARENA_NO_ACCESS,
    VMARENA_READS,
    VMARENA_WRITES, /* with or without read permission */
    VMARENA_RUNS,   /* as before */
    VMARENA_WRITES_AND_RUNS
};
enum vmarena_permission vmarena_permission(unsigned prot);

/* The colour for a terminal: a parameter of "Select Graphic Rendition". */
const char *vmarena_permission_color(enum vmarena_permission permission);

/* "rwxp" */
const char *vmarena_permissions(unsigned prot, bool shared, char text[5]);

const char *vmarena_owner_kind(unsigned owner); /* "arena", ... or "" */

#endif
