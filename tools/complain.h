/* SPDX-License-Identifier: MIT */
/* What the commands say on standard error. */
#ifndef VMARENA_TOOLS_COMPLAIN_H
#define VMARENA_TOOLS_COMPLAIN_H

#define VMARENA_EXIT_FAILED 1 /* the arguments were fine, the system was not: one line on standard error */

/* One line, "vmarena COMMAND: ..." or, without a command, "vmarena: ...", in which names are harmless for a terminal (see escape.h). Returns code. */
int vmarena_complain(int code, const char *command, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
