/* SPDX-License-Identifier: MIT */
/* What the files of this folder share: view.c (opening, closing), window.c (what is mapped), ranges.c (calls about a part). */
#ifndef VMARENA_INTERNAL_VIEW_H
#define VMARENA_INTERNAL_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region/region.h"
#include "vmarena/view.h"

/* A part of the file. */
struct vmarena_view_window {
    uint64_t offset;
    size_t size;
};

/* Where a window lies in the region. */
struct vmarena_view_place {
    char *pages; /* the first page that holds a byte of it */
    size_t length;
    char *data;
    bool copied;
};

struct vmarena_view_record {
    struct vmarena_view head; /* first: the handle is its address */
    bool open;
    struct vmarena_region region;
    struct vmarena_view_options options; /* name not kept here */
    struct vmarena_view_place place;
    int fd;
    size_t unit; /* data is congruent to its file offset modulo this: a page, or a huge page if these were asked for */
    size_t capacity;
    enum vmarena_huge huge; /* obtained */
};

/* The record behind a handle, or NULL, explained. */
struct vmarena_view_record *vmarena_view_record_of(const struct vmarena_view *view);

/* ---- window.c ---- */

/* Whether the window's end (beginning) is a page boundary of the file, so that its own pages can lie against the fence. */
bool vmarena_view_is_flush(const struct vmarena_view_record *record, const struct vmarena_view_window *window);

/* Maps or reads the window into the region, which is reserved, and sets what the record says of it. Explained. */
int vmarena_view_show(struct vmarena_view_record *record, const struct vmarena_view_window *window);

/* ---- ranges.c: whole pages; explained ---- */

int vmarena_view_lock_pages(void *start, size_t length);
int vmarena_view_populate_pages(char *start, size_t length);

#endif
