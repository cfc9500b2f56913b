/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>

#include "arena/arena.h"
#include "base/error.h"

#define ALL_FLAGS                                                                                                      \
    (VMARENA_LOCK | VMARENA_DONT_DUMP | VMARENA_DONT_FORK | VMARENA_WIPE_ON_FORK | VMARENA_PREFAULT |                  \
     VMARENA_ALLOW_EXEC | VMARENA_MEMFD)

int vmarena_options_check(const struct vmarena_options *options) {
    if ((unsigned)options->huge > VMARENA_HUGE_1G || (unsigned)options->fence > VMARENA_FENCE_START ||
        (unsigned)options->guard_kind > VMARENA_GUARD_USERFAULT ||
        (unsigned)options->commit_policy > VMARENA_COMMIT_PROTECT)
        return vmarena_fail(-EINVAL, "vmarena_create: huge, fence, guard_kind or commit_policy has no such value");
    if ((options->flags & ~ALL_FLAGS) != 0)
        return vmarena_fail(-EINVAL, "vmarena_create: unknown bits 0x%x in flags", options->flags & ~ALL_FLAGS);
    if ((options->flags & VMARENA_DONT_FORK) && (options->flags & VMARENA_WIPE_ON_FORK))
        return vmarena_fail(-EINVAL, "vmarena_create: VMARENA_DONT_FORK and VMARENA_WIPE_ON_FORK exclude each other");
    if (options->fence != VMARENA_FENCE_OFF && options->huge > VMARENA_HUGE_NEVER)
        return vmarena_fail(-EINVAL, "vmarena_create: a fenced arena cannot have huge pages: each guard is one page");
    if ((options->flags & VMARENA_MEMFD) &&
        (options->fence != VMARENA_FENCE_OFF || (options->flags & (VMARENA_LOCK | VMARENA_WIPE_ON_FORK))))
        return vmarena_fail(-EINVAL, "vmarena_create: VMARENA_MEMFD excludes a fence, VMARENA_LOCK and _WIPE_ON_FORK");
    return 0;
}

void vmarena_options_choose_commit(struct vmarena_options *options) {
    /* A fenced arena stays inaccessible but for what it has handed out. */
    if (options->fence != VMARENA_FENCE_OFF) options->commit_policy = VMARENA_COMMIT_PROTECT;
    else if (options->commit_policy == VMARENA_COMMIT_AUTO) {
        /* Valgrind marks byte for byte what becomes accessible: 64 GiB at once took it two minutes. */
        bool by_steps = vmarena_prim_commit_is_limited() || vmarena_prim_annotating();
        options->commit_policy = by_steps ? VMARENA_COMMIT_PROTECT : VMARENA_COMMIT_NORESERVE;
    }
}

size_t vmarena_options_align(const struct vmarena_options *options) {
    size_t huge = vmarena_prim_huge_page_size();
    if (options->flags & VMARENA_MEMFD) return vmarena_memfile_align(options->reserve);
    if (options->huge == VMARENA_HUGE_1G && options->reserve >= (size_t)1 << 30) return (size_t)1 << 30;
    if (options->huge >= VMARENA_HUGE_2M && huge < (size_t)2 << 20) return (size_t)2 << 20;
    if (options->huge >= VMARENA_HUGE_TRANSPARENT && huge != 0) return huge;
    return vmarena_prim_page_size();
}
