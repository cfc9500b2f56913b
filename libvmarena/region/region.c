/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "region/region.h"

#include <errno.h>

#include "region/shared_table.h"
#include "base/error.h"
#include "region/registry.h"

/* Three parts: guard, usable, guard; the usable one aligned as asked. */
static int map_parts(struct vmarena_region *region, const struct vmarena_region_plan *plan) {
    size_t page = vmarena_prim_page_size(), lead = plan->guard, whole;
    if (plan->align > page && lead % plan->align != 0) lead += plan->align - lead % plan->align;
    if (lead < plan->guard || __builtin_add_overflow(lead, plan->guard, &whole) ||
        __builtin_add_overflow(whole, plan->size, &whole))
        return vmarena_fail(-ENOMEM, "reserve: the size and its guards exceed the address space");
    void *outer;
    int error = vmarena_prim_map(&outer, whole, plan->align > page ? plan->align : page, VMARENA_NONE, false);
    if (error != 0) return vmarena_fail_call(error, "mmap", whole);
    region->outer = outer;
    region->outer_size = whole;
    region->base = region->outer + lead;
    region->size = plan->size;
    region->guard = plan->guard;
    region->policy = plan->policy;
    region->prot = VMARENA_READ | VMARENA_WRITE;
    region->committed = 0;
    region->generation = vmarena_prim_fork_generation();
    return 0;
}

int vmarena_region_reserve(struct vmarena_region *region, const struct vmarena_region_plan *plan) {
    int error = map_parts(region, plan);
    if (error != 0) return error;
    if (plan->policy == VMARENA_COMMIT_NORESERVE) error = vmarena_region_commit(region, region->size);
    if (error == 0) {
        error = vmarena_registry_add((uintptr_t)region->outer, (uintptr_t)region->outer + region->outer_size, region);
        if (error != 0) error = vmarena_fail(error, "reserve: no memory for the registry of regions");
    }
    if (error != 0) (void)vmarena_prim_unmap(region->outer, region->outer_size);
    else vmarena_shared_table_add(region);
    return error;
}

bool vmarena_region_is_absent(const struct vmarena_region *region) {
    return region->absent_in_child && region->generation != vmarena_prim_fork_generation();
}

static void unmap_guards(const struct vmarena_region *region) {
    char *end = region->base + region->size;
    (void)vmarena_prim_unmap(region->outer, (size_t)(region->base - region->outer));
    (void)vmarena_prim_unmap(end, (size_t)(region->outer + region->outer_size - end));
}

void vmarena_region_release(struct vmarena_region *region) {
    vmarena_shared_table_remove(region);
    vmarena_registry_remove((uintptr_t)region->outer, (uintptr_t)region->outer + region->outer_size);
    if (vmarena_region_is_absent(region)) unmap_guards(region);
    else (void)vmarena_prim_unmap(region->outer, region->outer_size);
}

int vmarena_region_commit(struct vmarena_region *region, size_t bytes) {
    size_t more = bytes - region->committed;
    int error = vmarena_prim_protect(region->base + region->committed, more, region->prot);
    if (error != 0) return vmarena_fail_call(error, "mprotect", more);
    region->committed = bytes;
    return 0;
}

VMARENA_HOT int vmarena_region_protect(struct vmarena_region *region, unsigned prot) {
    if (region->committed != 0) {
        int error = vmarena_prim_protect(region->base, region->committed, prot);
        if (error == -EPERM) return vmarena_fail(error, "mprotect: the memory is sealed");
        if (error != 0) return vmarena_fail_call(error, "mprotect", region->committed);
    }
    region->prot = prot;
    return 0;
}

bool vmarena_region_holds(const struct vmarena_region *region, const void *address, size_t length) {
    uintptr_t offset = (uintptr_t)address - (uintptr_t)region->base;
    return offset <= region->size && length <= region->size - offset;
}
