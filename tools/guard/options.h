/* SPDX-License-Identifier: MIT */
/*
 * The options of `vmarena guard`: one table for the command line (--NAME=VALUE) and for the environment variable of the
 * preloaded malloc (VMARENA_GUARD="NAME=VALUE,NAME=VALUE").
 */
#ifndef VMARENA_TOOLS_OPTIONS_H
#define VMARENA_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define VMARENA_GUARD_VARIABLE "VMARENA_GUARD"

enum vmarena_guard_side { VMARENA_SIDE_END, VMARENA_SIDE_START, VMARENA_SIDE_ALTERNATE, VMARENA_SIDE_BOTH };
enum vmarena_guard_full { VMARENA_FULL_UNGUARDED, VMARENA_FULL_FAIL };
enum vmarena_guard_reuse { VMARENA_REUSE_FIFO, VMARENA_REUSE_RANDOM };
enum vmarena_guard_backend {
    VMARENA_BACKEND_AUTO,
    VMARENA_BACKEND_MARKER,
    VMARENA_BACKEND_USERFAULT,
    VMARENA_BACKEND_PROTECT
};

struct vmarena_guard_options {
    size_t side, full, reuse, backend; /* of the enumerations above */
    size_t align, min_size, max_size, sample;
    size_t quarantine, quarantine_bytes;
    size_t memory, check, depth, exit_code;
    size_t follow, stop, syscalls; /* 0: no, 1: yes */
    size_t root;                   /* the process id of the program itself; 0: guard every process */
    char channel[64];              /* the file of the report channel; "": reports go to standard error */
};

extern const struct vmarena_guard_options vmarena_guard_defaults;

enum vmarena_option_type {
    VMARENA_OPTION_NUMBER, /* may have a suffix K, M, G or T, in powers of 1024 */
    VMARENA_OPTION_POWER,  /* a number that is a power of two */
    VMARENA_OPTION_CHOICE, /* one of the words in `words` */
    VMARENA_OPTION_TEXT,
};

struct vmarena_option {
    const char *name;
    enum vmarena_option_type type;
    bool internal; /* set by the command for the preloaded malloc only */
    size_t offset; /* in struct vmarena_guard_options */
    size_t least, most;
    const char *words; /* "is not one of " and the words that are accepted, separated by | */
    const char *help;  /* for `vmarena guard --help` */
};

extern const struct vmarena_option vmarena_guard_table[];
extern const size_t vmarena_guard_table_size;

/* The words alone, separated by |. */
const char *vmarena_option_words(const struct vmarena_option *option);

/* Returns NULL if there is no such option. length: of the name. */
const struct vmarena_option *vmarena_option_find(const char *name, size_t length);

/* Sets one option. Returns false with the reason in *why, to be printed after the option's name. */
bool vmarena_option_set(struct vmarena_guard_options *options, const struct vmarena_option *option, const char *value,
                        size_t length, const char **why);

/*
 * Sets the options of "name=value,...". Returns false with the first piece that was refused in *bad and *bad_length and the
 * reason in *why; the valid pieces are set nevertheless. Allocates nothing.
 */
bool vmarena_options_parse(struct vmarena_guard_options *options, const char *text, const char **bad,
                           size_t *bad_length, const char **why);

/* Writes all options that differ from the defaults as text for the environment. Returns the length of the whole text. */
size_t vmarena_options_print(const struct vmarena_guard_options *options, char *text, size_t size);

#endif
