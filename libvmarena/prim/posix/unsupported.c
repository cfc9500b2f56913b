/* SPDX-License-Identifier: MIT */
/* What POSIX alone does not offer. */
#include "prim/prim.h"

#ifndef __linux__

#include <errno.h>
#include <unistd.h>

#include "prim/internal.h"

int vmarena_prim_map_hugetlb(void *address, size_t size, unsigned shift) {
    return (void)address, (void)size, (void)shift, -EOPNOTSUPP;
}

int vmarena_prim_guard_install(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_guard_remove(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_guard_install_many(const struct vmarena_prim_range *ranges, size_t count) {
    return (void)ranges, (void)count, -EOPNOTSUPP;
}
int vmarena_prim_guard_remove_many(const struct vmarena_prim_range *ranges, size_t count) {
    return (void)ranges, (void)count, -EOPNOTSUPP;
}
bool vmarena_prim_has_guard_markers(void) { return false; }
int vmarena_prim_userfault_open(enum vmarena_prim_userfault mode) { return (void)mode, -EOPNOTSUPP; }
int vmarena_prim_userfault_register(int fd, enum vmarena_prim_userfault mode, void *address, size_t size) {
    return (void)fd, (void)mode, (void)address, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_userfault_poison(int fd, void *address, size_t size) {
    return (void)fd, (void)address, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_userfault_populate(int fd, void *address, size_t size) {
    return (void)fd, (void)address, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_map_named(void **out, size_t size, const char *name) {
    return (void)out, (void)size, (void)name, -EOPNOTSUPP;
}
int vmarena_prim_move_mapping(void *from, size_t size, void *to) {
    return (void)from, (void)size, (void)to, -EOPNOTSUPP;
}
int vmarena_prim_seal(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_name(void *address, size_t size, const char *name) {
    return (void)address, (void)size, (void)name, -EOPNOTSUPP;
}
size_t vmarena_prim_huge_page_size(void) { return 0; }
bool vmarena_prim_commit_is_limited(void) { return true; }
void vmarena_prim_map_entries(size_t *used, size_t *limit) { *used = *limit = 0; }
size_t vmarena_prim_huge_page_sizes(size_t *sizes, size_t count) { return (void)sizes, (void)count, 0; }

int vmarena_prim_caps(struct vmarena_caps *out) {
    *out = (struct vmarena_caps){.page_size = vmarena_prim_page_size()};
    return 0;
}

int vmarena_prim_walk_mappings(pid_t pid, vmarena_maps_fn *function, void *arg) {
    return (void)pid, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_walk_mappings_by_query(pid_t pid, vmarena_maps_fn *function, void *arg) {
    return (void)pid, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    return (void)pid, (void)address, (void)out, (void)name, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_walk_pages(pid_t pid, struct vmarena_prim_page_walk *walk, vmarena_pages_fn *function, void *arg) {
    walk->known = 0;
    return (void)pid, (void)function, (void)arg, -EOPNOTSUPP;
}
int vmarena_prim_page_frame(const void *address, uint64_t *frame) { return (void)address, (void)frame, -EOPNOTSUPP; }
int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size) {
    return (void)pid, (void)to, (void)from, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_memory_totals(pid_t pid, struct vmarena_totals *out) { return (void)pid, (void)out, -EOPNOTSUPP; }
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major) {
    return (void)pid, (void)minor, (void)major, -EOPNOTSUPP;
}
int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only) {
    return (void)counter, (void)pid, (void)flags, (void)user_only, -EOPNOTSUPP;
}
int vmarena_prim_counter_read(int fd, uint64_t *value) { return (void)fd, (void)value, -EOPNOTSUPP; }

int vmarena_prim_memory_file(int *out, const char *name, uint64_t size) {
    return (void)out, (void)name, (void)size, -EOPNOTSUPP;
}
int vmarena_prim_retire_pages(void *address, size_t size, size_t align, void **retired) {
    return (void)address, (void)size, (void)align, (void)retired, -EOPNOTSUPP;
}
int vmarena_prim_punch_hole(void *address, size_t size) { return (void)address, (void)size, -EOPNOTSUPP; }
int vmarena_prim_write_tracking_start(void *address, size_t size, struct vmarena_prim_write_tracking *out) {
    return (void)address, (void)size, (void)out, -EOPNOTSUPP;
}
void vmarena_prim_write_tracking_stop(const struct vmarena_prim_write_tracking *tracking) { (void)tracking; }
int vmarena_prim_write_tracking_collect(void *address, size_t size, bool restart, vmarena_pages_fn *function,
                                        void *arg) {
    return (void)restart, (void)address, (void)size, (void)function, (void)arg, -EOPNOTSUPP;
}

bool vmarena_prim_file_is_huge(int fd) { return (void)fd, false; }
void vmarena_prim_file_name(int fd, char *name, size_t size) {
    (void)fd, (void)size;
    name[0] = '\0';
}

ssize_t vmarena_prim_write_at(int fd, const void *from, size_t size, uint64_t offset) {
    return pwrite(fd, from, size, (off_t)offset);
}

/* No number that the system shows: they are counted. */
uint32_t vmarena_prim_new_thread_id(void) {
    static _Atomic uint32_t count;
    return ++count;
}

size_t vmarena_prim_min_signal_stack(void) { return 0; }

bool vmarena_prim_find_stack(uintptr_t address, struct vmarena_prim_bounds *found) {
    return (void)address, (void)found, false;
}

#endif
