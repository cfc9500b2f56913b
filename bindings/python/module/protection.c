/* SPDX-License-Identifier: MIT */
#include "module.h"

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;

/* What every byte from start to end allows. */
static unsigned prot_between(const Handle *handle, uintptr_t start, uintptr_t end) {
    unsigned prot = ~0u;
    for (size_t i = 0; i < handle->range_count && start < end; i++) {
        const struct vmarena_py_range *range = &handle->ranges[i];
        if (range->end <= start) continue;
        if (range->start >= end) break;
        if (range->start > start) prot &= handle->prot;
        prot &= range->prot;
        start = range->end;
    }
    return start < end ? prot & handle->prot : prot;
}

unsigned vmarena_py_prot(const Memory *memory) {
    uintptr_t start = (uintptr_t)memory->start;
    return prot_between(memory->handle, start, start + (uintptr_t)memory->size);
}

bool vmarena_py_all_allow(const Handle *handle, unsigned prot) {
    for (size_t i = 0; i < handle->range_count; i++)
        if ((handle->ranges[i].prot & prot) != prot) return false;
    return true;
}

struct vmarena_py_range *vmarena_py_ranges_with(const Handle *handle, struct vmarena_py_range added, size_t *count) {
    struct vmarena_py_range *ranges = PyMem_Malloc((handle->range_count + 2) * sizeof *ranges);
    if (ranges == NULL) return NULL;
    bool placed = added.prot == handle->prot;
    *count = 0;
    for (size_t i = 0; i < handle->range_count; i++) {
        struct vmarena_py_range old = handle->ranges[i];
        if (old.start < added.start)
            ranges[(*count)++] =
                (struct vmarena_py_range){old.start, old.end < added.start ? old.end : added.start, old.prot};
        if (old.end <= added.end) continue;
        if (!placed) ranges[(*count)++] = added;
        placed = true;
        ranges[(*count)++] =
            (struct vmarena_py_range){old.start > added.end ? old.start : added.end, old.end, old.prot};
    }
    if (!placed) ranges[(*count)++] = added;
    return ranges;
}

void vmarena_py_set_ranges(Handle *handle, struct vmarena_py_range *ranges, size_t count) {
    PyMem_Free(handle->ranges);
    handle->ranges = ranges;
    handle->range_count = count;
}

/* Buffers that are out keep what they were given: no byte of theirs may lose reading or writing. */
bool vmarena_py_may_protect(const Handle *handle, uintptr_t start, uintptr_t end, unsigned prot) {
    for (const Memory *memory = handle->newest; memory != NULL && handle->exports != 0; memory = memory->older) {
        uintptr_t first = (uintptr_t)memory->start, last = first + (uintptr_t)memory->size;
        if (memory->exports == 0 || last <= start || first >= end) continue;
        if ((vmarena_py_prot(memory) & ~prot & (VMARENA_READ | VMARENA_WRITE)) == 0) continue;
        PyErr_Format(PyExc_BufferError, "cannot protect the memory: %zd buffers of it are out", memory->exports);
        return false;
    }
    return true;
}
