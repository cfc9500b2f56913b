/* SPDX-License-Identifier: MIT */
/* Error messages of the commands. */
#ifndef VMARENA_TOOLS_COMPLAIN_H
#define VMARENA_TOOLS_COMPLAIN_H

#define VMARENA_EXIT_FAILED                                                                                            \
    1 /* the arguments were valid, but the system reported an error: one line on standard error */

/* Prints one line on standard error, "vmarena COMMAND: ..." or, with a null command, "vmarena: ...", escaped for a terminal
 * (see escape.h). Returns code. */
int vmarena_complain(int code, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
