/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/rounding.h"
#include "snapshot/snapshot.h"
#include "vmarena/fault.h"

int vmarena_snapshot_check(const struct vmarena_snapshot *snapshot) {
    if (snapshot != NULL && snapshot->open) return 0;
    return vmarena_fail(-EBADF, snapshot == NULL ? "no snapshot (NULL)" : "the snapshot was freed");
}

int vmarena_snapshot_check_pair(const struct vmarena_arena *arena, const struct vmarena_snapshot *snapshot) {
    int error = vmarena_snapshot_check(snapshot);
    if (error != 0) return error;
    bool is_clone = snapshot->file != NULL && arena->memfile.file == snapshot->file;
    if (snapshot->arena == arena || is_clone) return 0;
    return vmarena_fail(-EINVAL, "the snapshot is of another arena");
}

int vmarena_snapshot_copy(void *to, const void *from, size_t size) {
    if (vmarena_copy(to, from, size, NULL) == size) return 0;
    return vmarena_fail(-EACCES, "a part of the arena is protected against reading or writing");
}

bool vmarena_snapshot_next_run(const struct vmarena_snapshot *snapshot, size_t *from, size_t *end) {
    return vmarena_bits_next_run(snapshot->written, snapshot->size / vmarena_prim_page_size(), from, end);
}

size_t vmarena_snapshot_next_difference(const struct vmarena_arena *arena, const char *saved, size_t at, size_t size) {
    size_t same = at < size ? vmarena_compare(arena->region.base + at, saved + at, size - at, NULL) : 0;
    return at + same >= size ? size : vmarena_align_down(at + same, vmarena_prim_page_size());
}
