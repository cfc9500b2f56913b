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
enum vmarena_guard_backend { VMARENA_BACKEND_AUTO, VMARENA_BACKEND_MARKER, VMARENA_BACKEND_PROTECT };

struct vmarena_guard_options {
    size_t side, full, reuse, backend; /* of the enumerations above */
    size_t align, min_size, max_size, sample;
    size_t quarantine, quarantine_bytes;
    size_t memory, check, depth, exit_code;
    size_t follow, stop, syscalls; /* 0: no, 1: yes */
    size_t root;                   /* the process id of the program itself; 0: every process is to be guarded */
    char channel[64];              /* the file that reports go to; "": standard error */
};

extern const struct vmarena_guard_options vmarena_guard_defaults;

enum vmarena_option_type {
    VMARENA_OPTION_NUMBER, /* with K, M, G or T behind it, of 1024 */
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
    const char *words; /* "is not one of " and the words that may stand, separated by | */
    const char *help;  /* for `vmarena guard --help` */
};

extern const struct vmarena_option vmarena_guard_table[];
extern const size_t vmarena_guard_table_size;

/* The words alone. */
const char *vmarena_option_words(const struct vmarena_option *option);

/* NULL: no such option. length: of the name. */
const struct vmarena_option *vmarena_option_find(const char *name, size_t length);

/* Sets one option. false: *why says what is wrong, in words to put behind the option's name. */
bool vmarena_option_set(struct vmarena_guard_options *options, const struct vmarena_option *option, const char *value,
                        size_t length, const char **why);

/*
 * Takes "name=value,..." to pieces. false: *bad and *bad_length are the piece that was refused, *why the reason; all
 * that is right is set. Allocates nothing.
 */
bool vmarena_options_parse(struct vmarena_guard_options *options, const char *text, const char **bad,
                           size_t *bad_length, const char **why);

/* The options as text for the environment, all that differ from the defaults. Returns the length it would need. */
size_t vmarena_options_print(const struct vmarena_guard_options *options, char *text, size_t size);

#endif
