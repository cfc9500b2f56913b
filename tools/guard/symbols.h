/* SPDX-License-Identifier: MIT */
/*
 * Names for program counters: function, file and line from a tool that reads debug information (addr2line or a compatible
 * one); where there is no tool or no debug information, the function alone from the file's symbol table.
 */
#ifndef VMARENA_TOOLS_SYMBOLS_H
#define VMARENA_TOOLS_SYMBOLS_H

#include <stdbool.h>

#include "record.h"
#include "report.h"

/* tool: its path or name; NULL for the first one found, "none" for none. Returns false if it is not there. */
bool vmarena_symbols_open(const char *tool);

/* Looks up all frames of a report at once. vmarena_symbols_resolve(), for a report's style, then returns their names. */
void vmarena_symbols_load(const struct vmarena_report *report);
unsigned vmarena_symbols_resolve(const struct vmarena_report *report, const struct vmarena_report_frame *frame,
                                 const struct vmarena_name **names, void *unused);

#endif
