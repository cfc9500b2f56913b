/* SPDX-License-Identifier: MIT */
/* A report in words and as JSON. The preloaded malloc uses it too: no allocation, no stdio; safe in a signal handler. */
#ifndef VMARENA_TOOLS_REPORT_H
#define VMARENA_TOOLS_REPORT_H

#include <stdbool.h>

#include "record.h"
#include "base/text.h"

/* What a program counter is called; more than one where functions were inlined, the innermost first. */
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

/* What goes wrong, in one line without a newline. */
void vmarena_report_headline(struct vmarena_text *text, const struct vmarena_report *report);
/* The whole report over several lines. */
void vmarena_report_text(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style);
/* One JSON object and a newline. */
void vmarena_report_json(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style);

#endif
