/* SPDX-License-Identifier: MIT */
#include "vmarena/inspect.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "region/shared_table.h"
#include "base/error.h"
#include "base/pool.h"
#include "prim/prim.h"
#include "region/region.h"
#include "region/registry.h"

/* Words an error of the system. Positive results are not errors. */
static int explained(int result, pid_t pid, const char *what) {
    if (result >= 0) return result;
    if (result == -ESRCH) return vmarena_fail(result, "%s: there is no process %ld", what, (long)pid);
    if (result == -EPERM)
        return vmarena_fail(result, "%s: looking at process %ld requires its user's rights or CAP_SYS_PTRACE", what,
                            (long)pid);
    if (result == -EOPNOTSUPP) return vmarena_fail(result, "%s: this system does not provide this", what);
    return vmarena_fail(result, "%s: %s", what, strerror(-result));
}

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

/* The first region that overlaps [start, end). There may be several: the kernel merges the edges of neighbours. */
static const struct vmarena_region *region_in(uint64_t start, uint64_t end) {
    const struct vmarena_region *region = vmarena_registry_find((uintptr_t)start);
    if (region == NULL) region = vmarena_registry_next((uintptr_t)start, 1);
    return region != NULL && (uintptr_t)region->outer < end ? region : NULL;
}

static void add_owner(struct vmarena_mapping *mapping) {
    const struct vmarena_region *region = region_in(mapping->start, mapping->end);
    mapping->owner_name = "";
    if (region == NULL) return;
    mapping->owner = region->kind;
    mapping->owner_name = region->name;
    mapping->owner_start = (uintptr_t)region->outer;
    mapping->owner_end = mapping->owner_start + region->outer_size;
    mapping->objects = region->objects != NULL ? atomic_load_explicit(region->objects, memory_order_relaxed) : 0;
}

struct walk {
    vmarena_maps_fn *function;
    void *arg;
    int result; /* of function; a negative one is not an error of ours */
    pid_t pid;
    struct vmarena_shared_entries owners; /* of another process */
};

static int visit(const struct vmarena_mapping *found, void *arg) {
    struct walk *walk = arg;
    char name[VMARENA_NAME_SIZE];
    struct vmarena_mapping mapping = *found;
    if (vmarena_prim_is_self(walk->pid)) add_owner(&mapping);
    else vmarena_shared_entries_find(&walk->owners, walk->pid, &mapping, name);
    walk->result = walk->function(&mapping, walk->arg);
    return walk->result != 0;
}

int vmarena_maps(pid_t pid, vmarena_maps_fn *function, void *arg) {
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_maps: no function (NULL)");
    struct walk walk = {.function = function, .arg = arg, .pid = pid};
    if (!vmarena_prim_is_self(pid)) vmarena_shared_entries_read(&walk.owners, pid);
    int result = vmarena_prim_walk_mappings(pid, visit, &walk);
    vmarena_shared_entries_free(&walk.owners);
    return result == 1 ? walk.result : explained(result, pid, "vmarena_maps");
}

/* The name is kept for the caller until the thread's next call. */
static void add_foreign_owner(struct vmarena_mapping *mapping, pid_t pid) {
    static _Thread_local char name[VMARENA_NAME_SIZE];
    struct vmarena_shared_entries owners;
    vmarena_shared_entries_read(&owners, pid);
    vmarena_shared_entries_find(&owners, pid, mapping, name);
    vmarena_shared_entries_free(&owners);
}

int vmarena_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    if (out == NULL || (name == NULL && size != 0))
        return vmarena_fail(-EINVAL, "vmarena_mapping_at: nowhere to put the mapping or its name");
    int error = vmarena_prim_mapping_at(pid, address, out, name, size);
    if (error == -ENOENT)
        return vmarena_fail(error, "vmarena_mapping_at: nothing is mapped at 0x%llx", (unsigned long long)address);
    if (error == 0 && vmarena_prim_is_self(pid)) add_owner(out);
    else if (error == 0) add_foreign_owner(out, pid);
    return explained(error, pid, "vmarena_mapping_at");
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

#define ALL_STATES                                                                                                     \
    (VMARENA_PAGE_RESIDENT | VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_SHARED |     \
     VMARENA_PAGE_HUGE | VMARENA_PAGE_GUARD | VMARENA_PAGE_ZERO)

struct pages_walk {
    struct vmarena_prim_page_walk pages;
    vmarena_pages_fn *function;
    void *arg;
    int result;      /* of the function */
    unsigned *known; /* may be NULL */
};

static int visit_pages(const struct vmarena_pages *pages, void *arg) {
    struct pages_walk *walk = arg;
    if (walk->known != NULL) *walk->known = walk->pages.known;
    walk->result = walk->function(pages, walk->arg);
    return walk->result != 0;
}

int vmarena_residency(pid_t pid, uint64_t start, uint64_t length, unsigned wanted, unsigned *known,
                      vmarena_pages_fn *function, void *arg) {
    uint64_t mask = vmarena_prim_page_size() - 1;
    if (function == NULL) return vmarena_fail(-EINVAL, "vmarena_residency: no function (NULL)");
    if ((wanted & ~(ALL_STATES | VMARENA_PAGE_CACHED)) != 0)
        return vmarena_fail(-EINVAL, "vmarena_residency: unknown states 0x%x",
                            wanted & ~(ALL_STATES | VMARENA_PAGE_CACHED));
    if (length > UINT64_MAX - mask - start || start > UINT64_MAX - mask)
        return vmarena_fail(-EINVAL, "vmarena_residency: the range wraps around the end of the address space");
    struct pages_walk walk = {.pages = {.start = start & ~mask,
                                        .end = (start + length + mask) & ~mask,
                                        .wanted = wanted != 0 ? wanted : ALL_STATES},
                              .function = function,
                              .arg = arg,
                              .known = known};
    int result = vmarena_prim_walk_pages(pid, &walk.pages, visit_pages, &walk);
    if (known != NULL) *known = walk.pages.known;
    return result == 1 ? walk.result : explained(result, pid, "vmarena_residency");
}

int vmarena_frame(const void *address, uint64_t *frame) {
    if (frame == NULL) return vmarena_fail(-EINVAL, "vmarena_frame: the pointer to the result is NULL");
    int error = vmarena_prim_page_frame(address, frame);
    if (error == -EPERM) return vmarena_fail(error, "vmarena_frame: the kernel shows frames with CAP_SYS_ADMIN only");
    return explained(error, 0, "vmarena_frame");
}

int vmarena_totals(pid_t pid, struct vmarena_totals *out) {
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_totals: the pointer to the result is NULL");
    struct vmarena_totals totals = {.rss = 0};
    int error = vmarena_prim_memory_totals(pid, &totals);
    if (error == 0) *out = totals;
    return explained(error, pid, "vmarena_totals");
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static int give_counts(int error, const uint64_t counts[2], uint64_t *minor, uint64_t *major) {
    if (error != 0) return error;
    if (minor != NULL) *minor = counts[0];
    if (major != NULL) *major = counts[1];
    return 0;
}

int vmarena_fault_counts(uint64_t *minor, uint64_t *major) {
    uint64_t counts[2] = {0, 0};
    int error = vmarena_prim_fault_counts(false, &counts[0], &counts[1]);
    return give_counts(explained(error, 0, "vmarena_fault_counts"), counts, minor, major);
}

int vmarena_thread_fault_counts(uint64_t *minor, uint64_t *major) {
    uint64_t counts[2] = {0, 0};
    int error = vmarena_prim_fault_counts(true, &counts[0], &counts[1]);
    return give_counts(explained(error, 0, "vmarena_thread_fault_counts"), counts, minor, major);
}

int vmarena_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major) {
    uint64_t counts[2] = {0, 0};
    int error = vmarena_prim_process_fault_counts(pid, &counts[0], &counts[1]);
    return give_counts(explained(error, pid, "vmarena_process_fault_counts"), counts, minor, major);
}

/* ---- counters ---------------------------------------------------------------------------------------------------- */

struct vmarena_counters {
    int fd[VMARENA_COUNTERS]; /* or a negative errno */
    bool user_only[VMARENA_COUNTERS];
};

static struct vmarena_pool sets = VMARENA_POOL(struct vmarena_counters);

static const char *const counter_names[VMARENA_COUNTERS] = {
    [VMARENA_COUNT_PAGE_FAULTS] = "page faults",           [VMARENA_COUNT_MINOR_FAULTS] = "minor faults",
    [VMARENA_COUNT_MAJOR_FAULTS] = "major faults",         [VMARENA_COUNT_TASK_NANOSECONDS] = "nanoseconds on a CPU",
    [VMARENA_COUNT_DTLB_LOAD_MISSES] = "dTLB load misses", [VMARENA_COUNT_DTLB_STORE_MISSES] = "dTLB store misses",
    [VMARENA_COUNT_INSTRUCTIONS] = "instructions",         [VMARENA_COUNT_CYCLES] = "cycles",
};

const char *vmarena_counter_name(enum vmarena_counter counter) {
    return (unsigned)counter < VMARENA_COUNTERS ? counter_names[counter] : NULL;
}

static int check_any(const struct vmarena_counters *counters, pid_t pid) {
    int error = -EOPNOTSUPP;
    for (unsigned i = 0; i < VMARENA_COUNTERS; i++) {
        if (counters->fd[i] >= 0) return 0;
        if (counters->fd[i] == -EACCES || counters->fd[i] == -EPERM || counters->fd[i] == -ESRCH)
            error = counters->fd[i];
    }
    if (error == -EACCES || error == -EPERM)
        return vmarena_fail(-EACCES,
                            "vmarena_counters_open: no counter is allowed; see /proc/sys/kernel/perf_event_paranoid");
    return explained(error, pid, "vmarena_counters_open");
}

int vmarena_counters_open(struct vmarena_counters **out, pid_t pid, unsigned flags) {
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_counters_open: nowhere to put the counters");
    if ((flags & ~(VMARENA_COUNT_CHILDREN | VMARENA_COUNT_AT_EXEC)) != 0)
        return vmarena_fail(-EINVAL, "vmarena_counters_open: unknown flags 0x%x", flags);
    struct vmarena_counters *counters = vmarena_pool_take(&sets);
    if (counters == NULL) return vmarena_fail(-ENOMEM, "vmarena_counters_open: no memory for the set");
    for (unsigned i = 0; i < VMARENA_COUNTERS; i++)
        counters->fd[i] = vmarena_prim_counter_open((enum vmarena_counter)i, pid, flags, &counters->user_only[i]);
    int error = check_any(counters, pid);
    if (error != 0) vmarena_counters_close(counters);
    else *out = counters;
    return error;
}

int vmarena_counters_read(const struct vmarena_counters *counters, struct vmarena_counts *out) {
    if (counters == NULL || out == NULL) return vmarena_fail(-EINVAL, "vmarena_counters_read: NULL");
    *out = (struct vmarena_counts){.spare = {0}};
    for (unsigned i = 0; i < VMARENA_COUNTERS; i++) {
        out->user_only[i] = counters->user_only[i];
        out->error[i] =
            counters->fd[i] < 0 ? counters->fd[i] : vmarena_prim_counter_read(counters->fd[i], &out->value[i]);
    }
    return 0;
}

void vmarena_counters_close(struct vmarena_counters *counters) {
    if (counters == NULL) return;
    for (unsigned i = 0; i < VMARENA_COUNTERS; i++)
        if (counters->fd[i] >= 0) vmarena_prim_file_close(counters->fd[i]);
    vmarena_pool_give(&sets, counters);
}
