/* SPDX-License-Identifier: MIT */
/*
 * Names for program counters: function, file and line by a tool that reads debug information (addr2line or what speaks
 * like it), the function alone from the file's own symbol table where there is no tool or no debug information.
 */
#ifndef VMARENA_TOOLS_SYMBOLS_H
#define VMARENA_TOOLS_SYMBOLS_H

#include <stdbool.h>

#include "record.h"
#include "report.h"

/* tool: NULL, the first there is; "none": none; or its path or name. false: it is not there, and none is used. */
bool vmarena_symbols_open(const char *tool);

/* Asks for all of a report's frames at once. Then vmarena_symbols_resolve() answers for them: a report style's. */
void vmarena_symbols_load(const struct vmarena_report *report);
unsigned vmarena_symbols_resolve(const struct vmarena_report *report, const struct vmarena_report_frame *frame,
                                 const struct vmarena_name **names, void *unused);

#endif
