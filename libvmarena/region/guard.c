/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/guard_back_ends.h"

#include <errno.h>

#include "base/error.h"

static const struct vmarena_guard_back_end *const back_ends[] = {
    [VMARENA_GUARD_MARKER] = &vmarena_guard_marker,
    [VMARENA_GUARD_PROTECT] = &vmarena_guard_protect,
    [VMARENA_GUARD_USERFAULT] = &vmarena_guard_userfault,
};

int vmarena_guards_init(struct vmarena_guards *guards, struct vmarena_region *region, enum vmarena_guard_kind kind,
                        unsigned flags) {
    static const enum vmarena_guard_kind preferred[] = {VMARENA_GUARD_MARKER, VMARENA_GUARD_USERFAULT,
                                                        VMARENA_GUARD_PROTECT};
    *guards = (struct vmarena_guards){.region = region, .flags = flags};
    for (size_t i = 0; i < sizeof preferred / sizeof preferred[0]; i++) {
        if (kind != VMARENA_GUARD_AUTO && kind != preferred[i]) continue;
        guards->kind = preferred[i];
        if (back_ends[guards->kind]->works(guards)) return 0;
    }
    return vmarena_fail(-EOPNOTSUPP,
                        "guards by %s do not work here, or not in this memory (is it locked, or wiped in "
                        "children?)",
                        kind == VMARENA_GUARD_MARKER ? "markers" : "userfaultfd");
}

int vmarena_guards_cover(struct vmarena_guards *guards, size_t bytes) {
    if (bytes <= guards->covered) return 0;
    struct vmarena_prim_range fresh = {guards->region->base + guards->covered, bytes - guards->covered};
    const char *call;
    int error = back_ends[guards->kind]->cover(guards, fresh, &call);
    if (error != 0) return vmarena_fail_call(error, call, fresh.size);
    guards->covered = bytes;
    return 0;
}

static size_t total(struct vmarena_guard_runs runs) {
    size_t size = 0;
    for (size_t i = 0; i < runs.count; i++) size += runs.first[i].size;
    return size;
}

VMARENA_HOT int vmarena_guards_open_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs,
                                         size_t count) {
    const struct vmarena_guard_back_end *back_end = back_ends[guards->kind];
    struct vmarena_guard_runs all = {runs, count};
    const char *call, *ignored;
    int error = back_end->open(guards, all, &call);
    if (error == 0) return 0;
    (void)back_end->close(guards, all, &ignored);
    return vmarena_fail_call(error, call, total(all));
}

VMARENA_HOT int vmarena_guards_close_many(struct vmarena_guards *guards, const struct vmarena_prim_range *runs,
                                          size_t count) {
    struct vmarena_guard_runs all = {runs, count};
    const char *call;
    int error = back_ends[guards->kind]->close(guards, all, &call);
    return error == 0 ? 0 : vmarena_fail_call(error, call, total(all));
}

VMARENA_HOT int vmarena_guards_open(struct vmarena_guards *guards, uintptr_t start, size_t size) {
    struct vmarena_prim_range run = {(void *)start, size};
    return size == 0 ? 0 : vmarena_guards_open_many(guards, &run, 1);
}

VMARENA_HOT int vmarena_guards_close(struct vmarena_guards *guards, uintptr_t start, size_t size) {
    struct vmarena_prim_range run = {(void *)start, size};
    return size == 0 ? 0 : vmarena_guards_close_many(guards, &run, 1);
}
