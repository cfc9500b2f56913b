/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

int vmarena_prim_page_runs_flush(struct vmarena_prim_page_runs *runs) {
    struct vmarena_pages pages = runs->pending;
    runs->pending.state = 0;
    return pages.state != 0 ? runs->function(&pages, runs->arg) : 0;
}

int vmarena_prim_page_runs_add(struct vmarena_prim_page_runs *runs, uint64_t start, uint64_t end, unsigned state) {
    state &= runs->wanted;
    if (runs->pending.state != 0 && runs->pending.state == state && runs->pending.end == start) {
        runs->pending.end = end;
        return 0;
    }
    int result = vmarena_prim_page_runs_flush(runs);
    runs->pending = (struct vmarena_pages){start, end, state};
    return result;
}
