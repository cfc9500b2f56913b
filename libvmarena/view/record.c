/* SPDX-License-Identifier: MIT */
/* The record behind a view's handle. */
#include "prim/prim.h"

#include <errno.h>

#include "base/error.h"
#include "view/view.h"

struct vmarena_view_record *vmarena_view_record_of(const struct vmarena_view *view) {
    struct vmarena_view_record *record = (struct vmarena_view_record *)(uintptr_t)view;
    bool is_open = record != NULL && record->open;
    if (is_open && !vmarena_region_is_absent(&record->region)) return record;
    (void)vmarena_fail(-EBADF, is_open        ? "the view is absent in a child of fork (VMARENA_DONT_FORK)"
                               : view == NULL ? "no view (NULL)"
                                              : "the view was closed");
    return NULL;
}
