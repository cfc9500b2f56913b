/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "prim/linux/maps.h"

/* ---- line by line: proc_pid_maps(5) ------------------------------------------------------------------------------ */

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

int vmarena_prim_read_maps(struct vmarena_lines *lines, vmarena_maps_fn *function, void *arg) {
    struct vmarena_mapping mapping;
    char *line;
    int result;
    while ((result = vmarena_prim_next_line(lines, &line)) == 1) {
        result = parse_mapping(line, &mapping) ? function(&mapping, arg) : -EOPNOTSUPP;
        if (result != 0) return result;
    }
    return result;
}

int vmarena_prim_walk_mappings(pid_t pid, vmarena_maps_fn *function, void *arg) {
    char text[VMARENA_LINES_SIZE];
    struct vmarena_lines lines = {.fd = vmarena_prim_proc_open(pid, "maps"), .text = text, .size = sizeof text};
    if (lines.fd < 0) return lines.fd == VMARENA_NO_MEMORY ? 0 : lines.fd;
    int result = vmarena_prim_read_maps(&lines, function, arg);
    /* Where the list ended early because the process did, its memory is gone now. */
    int memory = result == 0 && lines.count != 0 ? vmarena_prim_check_memory(lines.fd) : 0;
    close(lines.fd);
    if (memory == VMARENA_NO_MEMORY) return -ESRCH;
    return memory != 0 ? memory : result;
}

/* ---- by PROCMAP_QUERY -------------------------------------------------------------------------------------------- */

/* The layout of the ioctl's argument and its flags: struct procmap_query in linux/fs.h. */
struct procmap_query {
    uint64_t size, flags, address;
    uint64_t start, end, vma_flags, page_size, offset, inode;
    uint32_t device_major, device_minor, name_size, build_id_size;
    uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct procmap_query)
#define QUERY_READ 1u
#define QUERY_WRITE 2u
#define QUERY_EXEC 4u
#define QUERY_SHARED 8u
#define QUERY_OR_NEXT 16u
#define NAME_SIZE 4352 /* PATH_MAX and what the kernel writes after a path, such as " (deleted)" */

static void convert(const struct procmap_query *query, struct vmarena_mapping *out) {
    *out = (struct vmarena_mapping){.start = query->start,
                                    .end = query->end,
                                    .offset = query->offset,
                                    .inode = query->inode,
                                    .device_major = query->device_major,
                                    .device_minor = query->device_minor,
                                    .prot = (query->vma_flags & QUERY_READ ? VMARENA_READ : 0) |
                                            (query->vma_flags & QUERY_WRITE ? VMARENA_WRITE : 0) |
                                            (query->vma_flags & QUERY_EXEC ? VMARENA_EXEC : 0),
                                    .shared = (query->vma_flags & QUERY_SHARED) != 0,
                                    .name = "",
                                    .owner_name = ""};
}

int vmarena_prim_query_maps(int fd, uint64_t address, bool or_next, struct vmarena_mapping *out, char *name,
                            size_t size) {
    struct procmap_query query = {.size = sizeof query,
                                  .flags = or_next ? QUERY_OR_NEXT : 0,
                                  .address = address,
                                  .name = (uint64_t)(uintptr_t)name,
                                  .name_size = (uint32_t)size};
    if (size != 0) name[0] = '\0';
    if (ioctl(fd, QUERY, &query) != 0) return -errno;
    convert(&query, out);
    if (query.name_size != 0) out->name = name;
    return 0;
}

/* Before Linux 6.11, or where an emulator or a sandbox stands between. */
static bool cannot_query(int error) { return error == -ENOTTY || error == -EINVAL || error == -EOPNOTSUPP; }

int vmarena_prim_walk_mappings_by_query(pid_t pid, vmarena_maps_fn *function, void *arg) {
    char name[NAME_SIZE];
    struct vmarena_mapping mapping = {.end = 0};
    int fd = vmarena_prim_proc_open(pid, "maps"), result = 0, error = 0;
    if (fd < 0) return fd;
    while (result == 0 && error == 0) {
        error = vmarena_prim_query_maps(fd, mapping.end, true, &mapping, name, sizeof name);
        if (error == 0) result = function(&mapping, arg);
    }
    close(fd);
    if (cannot_query(error)) return -EOPNOTSUPP;
    return error == -ENOENT ? 0 : error != 0 ? error : result; /* ENOENT: past the last mapping */
}

/* ---- one mapping ------------------------------------------------------------------------------------------------- */

struct wanted_mapping {
    uint64_t address;
    struct vmarena_mapping *out;
    char *name;
    size_t size;
};

static void copy_mapping(const struct wanted_mapping *wanted, const struct vmarena_mapping *mapping) {
    *wanted->out = *mapping;
    wanted->out->name = "";
    if (wanted->size == 0) return;
    size_t length = strnlen(mapping->name, wanted->size - 1);
    memcpy(wanted->name, mapping->name, length);
    wanted->name[length] = '\0';
    wanted->out->name = wanted->name;
}

static int copy_if_wanted(const struct vmarena_mapping *mapping, void *arg) {
    const struct wanted_mapping *wanted = arg;
    if (mapping->end <= wanted->address) return 0;
    if (mapping->start > wanted->address) return -ENOENT;
    copy_mapping(wanted, mapping);
    return 1;
}

/* Where the query does not settle it. The page of old system calls, which x86-64 has at the top of the address space,
 * is in the list, but the query does not find it. */
static bool needs_list(int error, uint64_t address) {
    return cannot_query(error) || error == -ENAMETOOLONG || (error == -ENOENT && address >> 63 != 0);
}

int vmarena_prim_mapping_at(pid_t pid, uint64_t address, struct vmarena_mapping *out, char *name, size_t size) {
    struct wanted_mapping wanted = {address, out, name, size};
    struct vmarena_mapping mapping;
    char found[NAME_SIZE];
    int fd = vmarena_prim_proc_open(pid, "maps");
    if (fd < 0) return fd == VMARENA_NO_MEMORY ? -ENOENT : fd;
    int error = vmarena_prim_query_maps(fd, address, false, &mapping, found, sizeof found);
    close(fd);
    if (error == 0) copy_mapping(&wanted, &mapping);
    if (error == -ESRCH && vmarena_prim_exists(pid)) error = -ENOENT; /* it has no memory */
    if (!needs_list(error, address)) return error;
    int result = vmarena_prim_walk_mappings(pid, copy_if_wanted, &wanted);
    return result == 1 ? 0 : result == 0 ? -ENOENT : result;
}

#endif
