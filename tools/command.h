/* SPDX-License-Identifier: MIT */
/* The subcommands of `vmarena`: each gets its own name as arguments[0] and returns the exit code. */
#ifndef VMARENA_TOOLS_COMMAND_H
#define VMARENA_TOOLS_COMMAND_H

#define VMARENA_EXIT_USAGE 2 /* bad input: one line on standard error, and nothing else was done */

int vmarena_command_guard(int count, char **arguments);
int vmarena_command_maps(int count, char **arguments);
int vmarena_command_picture(int count, char **arguments);
int vmarena_command_watch(int count, char **arguments);
int vmarena_command_stat(int count, char **arguments);
int vmarena_command_caps(int count, char **arguments);

#endif
