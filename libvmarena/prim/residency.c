/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

struct resident {
    size_t bytes, huge;
};

static int add(const struct vmarena_pages *pages, void *arg) {
    struct resident *resident = arg;
    size_t bytes = (size_t)(pages->end - pages->start);
    resident->bytes += bytes;
    if (pages->state & VMARENA_PAGE_HUGE) resident->huge += bytes;
    return 0;
}

int vmarena_prim_residency(const void *address, size_t size, size_t *resident, size_t *huge) {
    struct resident sum = {0, 0};
    uint64_t start = (uintptr_t)address;
    struct vmarena_prim_page_walk walk = {
        .start = start, .end = start + size, .wanted = VMARENA_PAGE_RESIDENT | VMARENA_PAGE_HUGE};
    int error = vmarena_prim_walk_pages(0, &walk, add, &sum);
    *resident = sum.bytes;
    *huge = sum.huge;
    return error;
}
