/* SPDX-License-Identifier: MIT */
/* The two ways of tracking, for dirty.c: protect.c and scan.c. dirty.h says what the functions do. */
#ifndef VMARENA_DIRTY_BACK_ENDS_H
#define VMARENA_DIRTY_BACK_ENDS_H

#include "dirty/dirty.h"

struct vmarena_dirty_report {
    void (*function)(void *arg, size_t start, size_t size);
    void *arg;
};

/* The tracker has its region and size 0; nothing is protected yet. Explained, as is _extend. */
int vmarena_dirty_protect_begin(struct vmarena_dirty_tracker *tracker);
int vmarena_dirty_protect_extend(struct vmarena_dirty_tracker *tracker, size_t size);
void vmarena_dirty_protect_end(struct vmarena_dirty_tracker *tracker);
void vmarena_dirty_protect_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                                   const struct vmarena_dirty_report *report);
void vmarena_dirty_protect_give_up(struct vmarena_dirty_tracker *tracker);
void vmarena_dirty_protect_open(struct vmarena_dirty_tracker *tracker, size_t start, size_t size);

/* Explained, as is _extend; -EOPNOTSUPP: this kernel cannot. */
int vmarena_dirty_scan_begin(struct vmarena_dirty_tracker *tracker, size_t size);
int vmarena_dirty_scan_extend(struct vmarena_dirty_tracker *tracker, size_t size);
void vmarena_dirty_scan_end(struct vmarena_dirty_tracker *tracker);
void vmarena_dirty_scan_collect(struct vmarena_dirty_tracker *tracker, bool anew,
                                const struct vmarena_dirty_report *report);

#endif
