/* SPDX-License-Identifier: MIT */
/*
 * One page opened between guards, written to and closed again, by each back end that works here, against markers; a page
 * at a time and 32 at a time. That is the system's part of an object's life.
 */
#include <errno.h>

#include "prim/prim.h"

#include "bench.h"
#include "region/guard.h"
#include "vmarena.h"

#define PAGES ((size_t)8192)
#define BATCH ((size_t)32)

struct bed {
    struct vmarena_region region;
    struct vmarena_guards guards;
    size_t page, at;
};

static void no_attribution(const struct vmarena_region *region, struct vmarena_fault *fault) {
    (void)region, (void)fault;
}

static bool make(struct bed *bed, enum vmarena_guard_kind kind) {
    *bed = (struct bed){.page = vmarena_page_size()};
    bed->region.owner = bed;
    bed->region.attribute = no_attribution;
    struct vmarena_region_plan plan = {
        .size = PAGES * bed->page, .align = bed->page, .guard = bed->page, .policy = VMARENA_COMMIT_PROTECT};
    bench_must(vmarena_region_reserve(&bed->region, &plan) == 0, vmarena_explain());
    if (vmarena_guards_init(&bed->guards, &bed->region, kind, VMARENA_GUARDS_REUSED) == 0) {
        bench_must(vmarena_guards_cover(&bed->guards, bed->region.size) == 0, vmarena_explain());
        return true;
    }
    vmarena_region_release(&bed->region);
    return false;
}

static uintptr_t next_page(struct bed *bed) {
    bed->at = (bed->at + 2) % PAGES;
    return (uintptr_t)bed->region.base + bed->at * bed->page;
}

static double pairs(void *arg, size_t count) {
    struct bed *bed = arg;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        uintptr_t page = next_page(bed);
        bench_must(vmarena_guards_open(&bed->guards, page, bed->page) == 0, vmarena_explain());
        *(volatile char *)page = 1;
        bench_must(vmarena_guards_close(&bed->guards, page, bed->page) == 0, vmarena_explain());
    }
    return bench_now() - start;
}

static double batches(void *arg, size_t count) {
    struct bed *bed = arg;
    double start = bench_now();
    for (size_t i = 0; i < count; i += BATCH) {
        struct vmarena_prim_range runs[BATCH];
        for (size_t n = 0; n < BATCH; n++) runs[n] = (struct vmarena_prim_range){(void *)next_page(bed), bed->page};
        bench_must(vmarena_guards_open_many(&bed->guards, runs, BATCH) == 0, vmarena_explain());
        for (size_t n = 0; n < BATCH; n++) *(volatile char *)runs[n].address = 1;
        bench_must(vmarena_guards_close_many(&bed->guards, runs, BATCH) == 0, vmarena_explain());
    }
    return (bench_now() - start) * (double)count / (double)((count + BATCH - 1) / BATCH * BATCH);
}

int main(int argc, char **argv) {
    static struct bed marker, userfault, protect;
    bench_begin(argc, argv);
    bool has_marker = make(&marker, VMARENA_GUARD_MARKER), has_userfault = make(&userfault, VMARENA_GUARD_USERFAULT);
    bench_must(make(&protect, VMARENA_GUARD_PROTECT), vmarena_explain());
    if (has_userfault) bench_compare("a page by userfaultfd", pairs, &userfault, "by mprotect", pairs, &protect, 0);
    if (has_marker) bench_compare("a page by markers", pairs, &marker, "by mprotect", pairs, &protect, 0);
    if (has_marker && has_userfault) {
        bench_compare("a page by userfaultfd", pairs, &userfault, "by markers", pairs, &marker, 1.3);
        bench_compare("32 pages by userfaultfd", batches, &userfault, "by markers", batches, &marker, 1.3);
    }
    return bench_end();
}
