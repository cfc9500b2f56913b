/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "complain.h"
#include "vmarena/version.h"

struct command {
    const char *name;
    int (*run)(int count, char **arguments);
    const char *summary;
};

static const struct command commands[] = {
    {"guard", vmarena_command_guard, "run a program with every heap object against a guard page"},
    {"maps", vmarena_command_maps, "print the mappings of a process and their owners"},
    {"picture", vmarena_command_picture, "draw the address space of a process, as SVG or HTML"},
    {"watch", vmarena_command_watch, "draw it in the terminal while the process runs"},
    {"stat", vmarena_command_stat, "run a program and count its page faults"},
    {"caps", vmarena_command_caps, "print what this system can do"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

/* Flushes standard output and returns the exit code. */
static int finish(void) {
    if (fflush(stdout) == 0) return 0;
    fprintf(stderr, "vmarena: writing: %s\n", strerror(errno));
    return 1;
}

static int help(FILE *out) {
    fputs("usage: vmarena COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++) fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\nvmarena COMMAND --help describes a command; vmarena --version prints the version.\n", out);
    return out == stdout ? finish() : VMARENA_EXIT_USAGE;
}

int main(int count, char **arguments) {
    const char *name = count > 1 ? arguments[1] : "";
    if (*name == '\0') return help(stderr);
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return help(stdout);
    if (strcmp(name, "--version") == 0) {
        printf("vmarena %s\n", vmarena_version());
        return finish();
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0) return commands[i].run(count - 1, arguments + 1);
    return vmarena_complain(VMARENA_EXIT_USAGE, NULL, "there is no command '%s'; try: vmarena help", name);
}
