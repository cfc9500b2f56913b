/* SPDX-License-Identifier: MIT */
/* Tracking by the kernel. */
#include "prim/prim.h"

#include "dirty/back_ends.h"

#include <errno.h>

#include "base/error.h"

int vmarena_dirty_scan_begin(struct vmarena_dirty_tracker *tracker, size_t size) {
    int error = vmarena_prim_write_tracking_start(tracker->region->base, size, &tracker->track);
    if (error == 0) {
        tracker->size = size;
        atomic_store(&tracker->state, VMARENA_DIRTY_ON);
        return 0;
    }
    if (error == -EMFILE || error == -ENFILE || error == -ENOMEM) return vmarena_fail_call(error, "userfaultfd", size);
    return vmarena_fail(-EOPNOTSUPP, "the kernel cannot track writes here: no userfaultfd(2) with asynchronous write "
                                     "protection, or no PAGEMAP_SCAN (both Linux 6.7)");
}

void vmarena_dirty_scan_end(struct vmarena_dirty_tracker *tracker) {
    if (tracker->track.fd >= 0) vmarena_prim_write_tracking_stop(&tracker->track);
    tracker->track.fd = -1;
    atomic_store(&tracker->state, VMARENA_DIRTY_OFF);
}

/* The kernel's area cannot grow, so it is made anew; until then everything counts as written. */
int vmarena_dirty_scan_extend(struct vmarena_dirty_tracker *tracker, size_t size) {
    vmarena_dirty_scan_end(tracker);
    tracker->size = size;
    atomic_store(&tracker->state, VMARENA_DIRTY_LOST);
    return vmarena_dirty_scan_begin(tracker, size);
}

struct scan {
    const struct vmarena_dirty_report *report;
    const char *base;
};

static int pass_on(const struct vmarena_pages *pages, void *arg) {
    const struct scan *scan = arg;
    size_t start = (size_t)((const char *)(uintptr_t)pages->start - scan->base);
    scan->report->function(scan->report->arg, start, (size_t)(pages->end - pages->start));
    return 0;
}

/* Where the kernel has stopped, as in the child of a fork(2), it begins again. */
void vmarena_dirty_scan_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                                const struct vmarena_dirty_report *report) {
    char *base = tracker->region->base;
    struct scan scan = {report, base};
    struct vmarena_prim_write_tracking track;
    bool known = atomic_load(&tracker->state) == VMARENA_DIRTY_ON;
    if (known && vmarena_prim_write_tracking_collect(base, tracker->size, anew, pass_on, &scan) == 0) return;
    report->function(report->arg, 0, tracker->size);
    bool opened = vmarena_prim_write_tracking_start(base, tracker->size, &track) == 0;
    if (opened) {
        vmarena_dirty_scan_end(tracker);
        tracker->track = track;
    }
    atomic_store(&tracker->state, opened ? VMARENA_DIRTY_ON : VMARENA_DIRTY_LOST);
}
