/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "prim/linux/kernel_abi.h"
#include "prim/linux/proc.h"

/* "7f0000000000-7f0000001000 r-xp 00002000 fe:00 1234    /usr/lib/a.so" */
static bool parse_mapping(char *line, struct vmarena_mapping *out) {
    *out = (struct vmarena_mapping){.owner_name = ""};
    out->start = vmarena_prim_parse_number(&line, 16);
    if (*line++ != '-') return false;
    out->end = vmarena_prim_parse_number(&line, 16);
    if (*line++ != ' ' || strnlen(line, 5) < 5) return false;
    out->prot = (line[0] == 'r' ? VMARENA_READ : 0) | (line[1] == 'w' ? VMARENA_WRITE : 0) |
                (line[2] == 'x' ? VMARENA_EXEC : 0);
    out->shared = line[3] == 's';
    line += 5;
    out->offset = vmarena_prim_parse_number(&line, 16);
    vmarena_prim_skip_spaces(&line);
    out->device_major = (uint32_t)vmarena_prim_parse_number(&line, 16);
    if (*line++ != ':') return false;
    out->device_minor = (uint32_t)vmarena_prim_parse_number(&line, 16);
    vmarena_prim_skip_spaces(&line);
    out->inode = vmarena_prim_parse_number(&line, 10);
    vmarena_prim_skip_spaces(&line);
    out->name = line;
    return true;
}

int vmarena_prim_maps(pid_t pid, vmarena_maps_fn *function, void *arg) {
    struct vmarena_lines lines = {.fd = vmarena_prim_proc_open(pid, "maps")};
    struct vmarena_mapping mapping;
    char *line;
    bool any = false;
    int result = lines.fd;
    if (result < 0) return result == VMARENA_NO_MEMORY ? 0 : result;
    for (; (result = vmarena_prim_next_line(&lines, &line)) == 1; any = true) {
        result = parse_mapping(line, &mapping) ? function(&mapping, arg) : -EOPNOTSUPP;
        if (result != 0) break;
    }
    if (result == 0 && any && !vmarena_prim_has_memory(lines.fd))
        result = -ESRCH; /* the list ended because the process did */
    close(lines.fd);
    return result;
}

/* PROCMAP_QUERY: flags as in linux/fs.h. */
#define QUERY_READ 1u
#define QUERY_WRITE 2u
#define QUERY_EXEC 4u
#define QUERY_SHARED 8u
#define QUERY_OR_NEXT 16u
#define NAME_SIZE 4352 /* PATH_MAX and what is written after a path, as " (deleted)" */

static int query(int fd, uint64_t address, bool or_next, struct vmarena_mapping *out, char name[NAME_SIZE]) {
    struct vmarena_procmap_query query = {.size = sizeof query,
                                          .flags = or_next ? QUERY_OR_NEXT : 0,
                                          .address = address,
                                          .name = (uint64_t)(uintptr_t)name,
                                          .name_size = NAME_SIZE};
    name[0] = '\0';
    if (ioctl(fd, VMARENA_PROCMAP_QUERY_IOCTL, &query) != 0) return -errno;
    if (query.name_size == 0) name[0] = '\0';
    *out = (struct vmarena_mapping){.start = query.start,
                                    .end = query.end,
                                    .offset = query.offset,
                                    .inode = query.inode,
                                    .device_major = query.device_major,
                                    .device_minor = query.device_minor,
                                    .prot = (query.vma_flags & QUERY_READ ? VMARENA_READ : 0) |
                                            (query.vma_flags & QUERY_WRITE ? VMARENA_WRITE : 0) |
                                            (query.vma_flags & QUERY_EXEC ? VMARENA_EXEC : 0),
                                    .shared = (query.vma_flags & QUERY_SHARED) != 0,
                                    .name = name,
                                    .owner_name = ""};
    return 0;
}

static bool is_unknown(int error) { return error == -ENOTTY || error == -EINVAL || error == -EOPNOTSUPP; }

int vmarena_prim_maps_by_query(pid_t pid, vmarena_maps_fn *function, void *arg) {
    char name[NAME_SIZE];
    struct vmarena_mapping mapping = {.end = 0};
    int fd = vmarena_prim_proc_open(pid, "maps"), result;
    if (fd < 0) return fd;
    do {
        result = query(fd, mapping.end, true, &mapping, name);
        if (result == 0) result = function(&mapping, arg);
        else if (result == -ENOENT) result = 1; /* past the last */
        else if (is_unknown(result)) result = -EOPNOTSUPP;
    } while (result == 0);
    close(fd);
    return result == 1 ? 0 : result;
}

struct wanted_mapping {
    uint64_t address;
    struct vmarena_mapping *out;
    char *name;
    size_t size;
};

static void copy_name(struct wanted_mapping *wanted, const struct vmarena_mapping *mapping) {
    *wanted->out = *mapping;
    wanted->out->name = "";
    if (wanted->size == 0) return;
    size_t length = strnlen(mapping->name, wanted->size - 1);
    memcpy(wanted->name, mapping->name, length);
    wanted->name[length] = '\0';
    wanted->out->name = wanted->name;
}

static int take_wanted(const struct vmarena_mapping *mapping, void *arg) {
    struct wanted_mapping *wanted = arg;
    if (mapping->end <= wanted->address) return 0;
    if (mapping->start > wanted->address) return -ENOENT;
    copy_name(wanted, mapping);
    return 1;
}

int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    struct wanted_mapping wanted = {address, out, name, size};
    struct vmarena_mapping mapping;
    char found[NAME_SIZE];
    int fd = vmarena_prim_proc_open(pid, "maps");
    if (fd < 0) return fd == VMARENA_NO_MEMORY ? -ENOENT : fd;
    int error = query(fd, address, false, &mapping, found);
    close(fd);
    if (error == 0) copy_name(&wanted, &mapping);
    if (error == -ESRCH && vmarena_prim_exists(pid)) error = -ENOENT; /* it has no memory */
    /* The page of old system calls, which x86-64 has at the top, is in the list, but no answer. */
    bool listed = is_unknown(error) || error == -ENAMETOOLONG || (error == -ENOENT && address >> 63 != 0);
    if (!listed) return error;
    int result = vmarena_prim_maps(pid, take_wanted, &wanted);
    return result == 1 ? 0 : result == 0 ? -ENOENT : result;
}

#endif
