/* SPDX-License-Identifier: MIT */
/* `vmarena guard`: its options and arguments; see run.c for the run itself. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "complain.h"
#include "preload_check.h"
#include "run.h"
#include "symbols.h"
#include "vmarena/arena.h"

#define usage_error(...) vmarena_complain(VMARENA_EXIT_USAGE, "guard", __VA_ARGS__)

/* ---- options that only the command uses ---- */

enum own { OWN_REPORT, OWN_FORMAT, OWN_SUPPRESS, OWN_SUPPRESSIONS, OWN_SYMBOLIZER, OWN_COLOUR, OWN_QUIET, OWN_HELP };

static const struct {
    const char *name;
    enum own own;
    bool takes_value;
    const char *help;
} own_options[] = {
    {"report", OWN_REPORT, true, "write reports and totals to this file (default: standard error)"},
    {"format", OWN_FORMAT, true, "text or json, one object a line (default: text)"},
    {"suppress", OWN_SUPPRESS, true,
     "no report where a function on its stack matches this pattern (glob(7)); repeatable"},
    {"suppressions", OWN_SUPPRESSIONS, true, "a file with such patterns, one a line; # begins a comment"},
    {"symbolizer", OWN_SYMBOLIZER, true, "addr2line or a tool that speaks like it; none (default: the first found)"},
    {"color", OWN_COLOUR, true, "auto, always or never (default: auto, on a terminal)"},
    {"quiet", OWN_QUIET, false, "no line of totals where no error was found"},
    {"help", OWN_HELP, false, "this text"},
};
#define OWN_OPTIONS (sizeof own_options / sizeof own_options[0])

static void print_option(const char *name, const char *value, const char *text) {
    char left[64];
    (void)snprintf(left, sizeof left, "--%s%s%s", name, *value == '\0' ? "" : "=", value);
    printf("  %-34s %s\n", left, text);
}

static int help(void) {
    puts("usage: vmarena guard [OPTIONS] [--] PROGRAM [ARGUMENTS]\n\n"
         "Runs PROGRAM with each object of its heap against a guard page, and reports overruns, underruns,\n"
         "uses after free, double, interior and invalid frees. The exit code is the program's own, or 99 when\n"
         "an error was found. All options may also stand, as NAME=VALUE,NAME=VALUE, in " VMARENA_GUARD_VARIABLE ".\n");
    for (size_t i = 0; i < vmarena_guard_table_size; i++) {
        const struct vmarena_option *option = &vmarena_guard_table[i];
        if (option->internal) continue;
        print_option(option->name, option->type == VMARENA_OPTION_CHOICE ? vmarena_option_words(option) : "N",
                     option->help);
    }
    for (size_t i = 0; i < OWN_OPTIONS; i++)
        print_option(own_options[i].name, own_options[i].takes_value ? "VALUE" : "", own_options[i].help);
    return 0;
}

static int add_pattern(struct vmarena_run *run, const char *pattern) {
    if (run->pattern_count == VMARENA_RUN_PATTERNS)
        return usage_error("more than %d suppressions", VMARENA_RUN_PATTERNS);
    run->patterns[run->pattern_count] = strdup(pattern);
    if (run->patterns[run->pattern_count] == NULL) return usage_error("out of memory");
    run->pattern_count++;
    return 0;
}

static int read_patterns(struct vmarena_run *run, const char *path) {
    FILE *file = fopen(path, "re");
    char line[1024];
    int error = 0;
    if (file == NULL) return usage_error("--suppressions: %s: %s", path, strerror(errno));
    while (error == 0 && fgets(line, sizeof line, file) != NULL) {
        char *start = line + strspn(line, " \t");
        start[strcspn(start, "#\r\n")] = '\0';
        for (size_t end = strlen(start); end > 0 && (start[end - 1] == ' ' || start[end - 1] == '\t');)
            start[--end] = '\0';
        if (*start != '\0') error = add_pattern(run, start);
    }
    fclose(file);
    return error;
}

static int set_word(int *out, const char *name, const char *value, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], value) == 0) return *out = i, 0;
    return usage_error("--%s: '%s' is not one of %s, %s%s%s", name, value, words[0], words[1],
                       words[2] == NULL ? "" : ", ", words[2] == NULL ? "" : words[2]);
}

static int set_own(struct vmarena_run *run, size_t i, const char *value) {
    static const char *const formats[] = {"text", "json", NULL}, *const colours[] = {"auto", "always", "never", NULL};
    switch (own_options[i].own) {
    case OWN_REPORT: return run->report_path = value, 0;
    case OWN_FORMAT: return set_word(&run->json, own_options[i].name, value, formats);
    case OWN_SUPPRESS: return add_pattern(run, value);
    case OWN_SUPPRESSIONS: return read_patterns(run, value);
    case OWN_SYMBOLIZER: return run->symbolizer = value, 0;
    case OWN_COLOUR: return set_word(&run->colour, own_options[i].name, value, colours);
    case OWN_QUIET: return run->quiet = true, 0;
    default: return 0;
    }
}

/* ---- the command line ---- */

static size_t find_own(const char *name, size_t length) {
    for (size_t i = 0; i < OWN_OPTIONS; i++)
        if (strlen(own_options[i].name) == length && memcmp(own_options[i].name, name, length) == 0) return i;
    return OWN_OPTIONS;
}

/* Takes the option at arguments[*at], and leaves *at at its last word. */
static int take_option(struct vmarena_run *run, int count, char **arguments, int *at) {
    const char *name = arguments[*at] + 2, *why;
    size_t length = strcspn(name, "="), own = find_own(name, length);
    const struct vmarena_option *option = vmarena_option_find(name, length);
    bool known = own < OWN_OPTIONS || (option != NULL && !option->internal);
    if (strncmp(arguments[*at], "--", 2) != 0 || !known)
        return usage_error("unknown option '%s'; vmarena guard --help lists them", arguments[*at]);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (own < OWN_OPTIONS && !own_options[own].takes_value) {
        if (value != NULL) return usage_error("--%.*s takes no value", (int)length, name);
        return set_own(run, own, NULL);
    }
    if (value == NULL && ++*at >= count) return usage_error("--%.*s needs a value", (int)length, name);
    if (value == NULL) value = arguments[*at];
    if (own < OWN_OPTIONS) return set_own(run, own, value);
    if (vmarena_option_set(&run->options, option, value, strlen(value), &why)) return 0;
    return usage_error("--%s: '%s' %s", option->name, value, why);
}

/* Takes "name=value" from the environment variable, or "name" if the option takes no value. */
static int take_piece(struct vmarena_run *run, char *piece) {
    const char *bad, *why = NULL;
    size_t name = strcspn(piece, "="), own = find_own(piece, name), length = strlen(piece);
    const char *value = piece[name] == '=' ? piece + name + 1 : NULL;
    if (own < OWN_OPTIONS) {
        if (own_options[own].takes_value != (value != NULL))
            why = value != NULL ? "takes no value" : "takes a value: name=value";
        else return set_own(run, own, value);
    } else if (vmarena_options_parse(&run->options, piece, &bad, &length, &why)) return 0;
    return usage_error("%s: '%.*s' %s", VMARENA_GUARD_VARIABLE, (int)length, piece, why);
}

static int take_environment(struct vmarena_run *run) {
    const char *value = getenv(VMARENA_GUARD_VARIABLE);
    char *rest = strdup(value == NULL ? "" : value), *piece; /* not freed, because the options point into it */
    int error = rest == NULL ? usage_error("out of memory") : 0;
    while (error == 0 && (piece = strsep(&rest, ",")) != NULL)
        if (*piece != '\0') error = take_piece(run, piece);
    run->options.channel[0] = '\0'; /* this command may itself run under guard */
    run->options.root = 0;
    return error;
}

static bool is_wanted(char **arguments, int count, const char *option) {
    for (int i = 1; i < count && arguments[i][0] == '-' && strcmp(arguments[i], "--") != 0; i++)
        if (strcmp(arguments[i], option) == 0) return true;
    return false;
}

/* The library is beside the command in a build directory, or where it was installed. */
static int find_preload(char *path, size_t size) {
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    char *slash = length > 0 ? (path[length] = '\0', strrchr(path, '/')) : NULL;
    if (slash != NULL) {
        (void)snprintf(slash, size - (size_t)(slash - path), "/" VMARENA_PRELOAD_NAME);
        if (access(path, R_OK) == 0) return 0;
    }
    (void)snprintf(path, size, "%s/%s", VMARENA_PRELOAD_DIRECTORY, VMARENA_PRELOAD_NAME);
    if (access(path, R_OK) != 0) return usage_error("%s: %s", path, strerror(errno));
    if (strpbrk(path, ": ") != NULL)
        return usage_error("%s: the dynamic linker preloads nothing with a space or a colon in its path", path);
    return 0;
}

static int check_program(struct vmarena_run *run) {
    const char *why;
    char sentence[PATH_MAX + 256];
    if (!vmarena_program_find(run->arguments[0], run->path, sizeof run->path, &why))
        return usage_error("%s: %s", run->arguments[0], why);
    if (!vmarena_preload_check(run->path, run->preload, sentence, sizeof sentence)) return usage_error("%s", sentence);
    return 0;
}

static int contradict(const char *one, const char *other) {
    return usage_error("%s and %s contradict each other", one, other);
}

static bool guards_work(enum vmarena_guard_kind kind) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 1, .fence = VMARENA_FENCE_END, .guard_kind = kind};
    int error = vmarena_create(&arena, &options);
    if (error == 0) vmarena_destroy(arena);
    return error != -EOPNOTSUPP;
}

/* Checks options that are valid each but not together, or not on this system. */
static int check_options(const struct vmarena_run *run) {
    const struct vmarena_guard_options *options = &run->options;
    if (options->min_size > options->max_size)
        return usage_error("--min-size: %zu is more than --max-size, %zu: no object would be guarded",
                           options->min_size, options->max_size);
    if (options->quarantine == 0 && options->quarantine_bytes != 0)
        return contradict("--quarantine=0", "--quarantine-bytes");
    if (options->quarantine == 0 && options->reuse == VMARENA_REUSE_RANDOM)
        return contradict("--quarantine=0", "--reuse=random");
    if (run->json != 0 && run->colour == 1) return contradict("--format=json", "--color=always");
    if (options->backend == VMARENA_BACKEND_MARKER && !guards_work(VMARENA_GUARD_MARKER))
        return usage_error("--backend=marker: this kernel has no guard markers (Linux 6.13)");
    if (options->backend == VMARENA_BACKEND_USERFAULT && !guards_work(VMARENA_GUARD_USERFAULT))
        return usage_error("--backend=userfault: no userfaultfd(2) for this user (Linux 5.11, or 4.14 for root)");
    return 0;
}

int vmarena_command_guard(int count, char **arguments) {
    static struct vmarena_run run;
    int at = 1, error = 0;
    run.options = vmarena_guard_defaults;
    if (is_wanted(arguments, count, "--help") || is_wanted(arguments, count, "-h")) return help();
    error = take_environment(&run);
    for (; error == 0 && at < count && arguments[at][0] == '-'; at++) {
        if (strcmp(arguments[at], "--") == 0) {
            at++;
            break;
        }
        error = take_option(&run, count, arguments, &at);
    }
    if (error == 0) error = check_options(&run);
    if (error != 0) return error;
    if (at >= count) return usage_error("no program given; usage: vmarena guard [OPTIONS] [--] PROGRAM [ARGUMENTS]");
    run.arguments = arguments + at;
    error = find_preload(run.preload, sizeof run.preload);
    if (error == 0) error = check_program(&run);
    return error != 0 ? error : vmarena_run(&run);
}
