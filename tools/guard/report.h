/* SPDX-License-Identifier: MIT */
/*
 * A report in words and as JSON. The preloaded malloc uses it too: no allocation, no stdio; safe in a signal handler.
 * Records must be valid (see record_check.h).
 */
#ifndef VMARENA_TOOLS_REPORT_H
#define VMARENA_TOOLS_REPORT_H

#include <stdbool.h>

#include "record.h"
#include "base/text.h"

/* The name of a program counter. There are several where functions were inlined, the innermost first. */
struct vmarena_name {
    const char *function; /* NULL: not known */
    uint64_t offset;      /* in the function, where there is no line */
    const char *file;     /* NULL: not known */
    unsigned line;
};

struct vmarena_report_style {
    bool colour;
    /* Names for a frame: points *names at them and returns how many. NULL: modules and offsets only. */
    unsigned (*resolve)(const struct vmarena_report *report, const struct vmarena_report_frame *frame,
                        const struct vmarena_name **names, void *arg);
    void *arg;
};

/* The error in one line, with a terminating zero and without a newline; names are not escaped yet. */
void vmarena_report_headline(const struct vmarena_report *report, char *line, size_t size);
/* The whole report over several lines. */
void vmarena_report_text(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style);
/* One JSON object and a newline. */
void vmarena_report_json(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style);

#endif
