/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "dirty/dirty.h"

#include <errno.h>

#include "base/error.h"
#include "dirty/back_ends.h"

static int begin(struct vmarena_dirty_tracker *tracker, struct vmarena_region *region, enum vmarena_tracking kind,
                 size_t size) {
    tracker->region = region;
    tracker->kind = kind;
    tracker->size = 0;
    tracker->track.fd = -1;
    int error =
        kind == VMARENA_TRACK_SCAN ? vmarena_dirty_scan_begin(tracker, size) : vmarena_dirty_protect_begin(tracker);
    if (error == 0 && kind == VMARENA_TRACK_PROTECT) error = vmarena_dirty_protect_extend(tracker, size);
    if (error != 0) vmarena_dirty_end(tracker);
    return error;
}

int vmarena_dirty_begin(struct vmarena_dirty_tracker *tracker, struct vmarena_region *region,
                        enum vmarena_tracking kind, size_t size) {
    if (tracker->kind == VMARENA_TRACK_AUTO) return begin(tracker, region, kind, size);
    if (tracker->kind != kind) return vmarena_fail(-EBUSY, "another snapshot tracks the arena's pages in another way");
    if (size <= tracker->size) return 0;
    return kind == VMARENA_TRACK_SCAN ? vmarena_dirty_scan_extend(tracker, size)
                                      : vmarena_dirty_protect_extend(tracker, size);
}

void vmarena_dirty_end(struct vmarena_dirty_tracker *tracker) {
    if (tracker->kind == VMARENA_TRACK_PROTECT) vmarena_dirty_protect_end(tracker);
    else if (tracker->kind == VMARENA_TRACK_SCAN) vmarena_dirty_scan_end(tracker);
    tracker->kind = VMARENA_TRACK_AUTO;
}

void vmarena_dirty_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                           void (*report)(void *arg, size_t start, size_t size), void *arg) {
    struct vmarena_dirty_report how = {report, arg};
    if (tracker->kind == VMARENA_TRACK_SCAN) vmarena_dirty_scan_collect(tracker, anew, &how);
    else if (tracker->kind == VMARENA_TRACK_PROTECT) vmarena_dirty_protect_collect(tracker, anew, &how);
}

void vmarena_dirty_give_up(struct vmarena_dirty_tracker *tracker) {
    if (tracker->kind == VMARENA_TRACK_PROTECT) vmarena_dirty_protect_give_up(tracker);
}

void vmarena_dirty_open(struct vmarena_dirty_tracker *tracker, size_t start, size_t size) {
    if (tracker->kind == VMARENA_TRACK_PROTECT) vmarena_dirty_protect_open(tracker, start, size);
}
