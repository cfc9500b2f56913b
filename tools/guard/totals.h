/* SPDX-License-Identifier: MIT */
/* The totals of a run, as one line of text or of JSON. */
#ifndef VMARENA_TOOLS_TOTALS_H
#define VMARENA_TOOLS_TOTALS_H

#include <stdbool.h>

#include "base/text.h"
#include "record.h"
#include "vmarena/types.h"

/* How many reports were read, and what became of them. */
struct vmarena_tally {
    uint32_t read; /* records looked at */
    uint64_t reported, suppressed, damaged;
};

struct vmarena_totals_line {
    uint64_t guarded, unguarded, unsampled, failed, live_peak, page_peak, repeated, unrecorded, processes;
    bool kinds[VMARENA_GUARD_USERFAULT +
               1]; /* of guards that some process has; kinds[VMARENA_GUARD_AUTO] means nothing */
};

void vmarena_totals_add_up(const struct vmarena_channel *channel, struct vmarena_totals_line *sum);
void vmarena_totals_text(struct vmarena_text *text, const struct vmarena_totals_line *sum,
                         const struct vmarena_tally *tally);
void vmarena_totals_json(struct vmarena_text *text, const struct vmarena_totals_line *sum,
                         const struct vmarena_tally *tally);

#endif
