/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "prim/linux/proc.h"

int vmarena_prim_read_memory(pid_t pid, void *to, uint64_t from, size_t size) {
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};
    if (from > UINTPTR_MAX) return -EFAULT;
    ssize_t got = process_vm_readv(pid == 0 ? getpid() : pid, &here, 1, &there, 1, 0);
    if (got < 0) return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return (size_t)got == size ? 0 : -EFAULT;
}

static void add_total(struct vmarena_totals *totals, char *line) {
    static const struct {
        const char *key;
        size_t offset;
    } keys[] = {{"Rss", offsetof(struct vmarena_totals, rss)},
                {"Pss", offsetof(struct vmarena_totals, pss)},
                {"Shared_Clean", offsetof(struct vmarena_totals, shared_clean)},
                {"Shared_Dirty", offsetof(struct vmarena_totals, shared_dirty)},
                {"Private_Clean", offsetof(struct vmarena_totals, private_clean)},
                {"Private_Dirty", offsetof(struct vmarena_totals, private_dirty)},
                {"Anonymous", offsetof(struct vmarena_totals, anonymous)},
                {"AnonHugePages", offsetof(struct vmarena_totals, huge)},
                {"ShmemPmdMapped", offsetof(struct vmarena_totals, huge)},
                {"FilePmdMapped", offsetof(struct vmarena_totals, huge)},
                {"Shared_Hugetlb", offsetof(struct vmarena_totals, hugetlb)},
                {"Private_Hugetlb", offsetof(struct vmarena_totals, hugetlb)},
                {"Swap", offsetof(struct vmarena_totals, swap)},
                {"Locked", offsetof(struct vmarena_totals, locked)}};
    char *colon = strchr(line, ':');
    if (colon == NULL) return;
    *colon++ = '\0';
    vmarena_prim_skip_spaces(&colon);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(line, keys[i].key) == 0)
            *(uint64_t *)(void *)((char *)totals + keys[i].offset) += vmarena_prim_parse_number(&colon, 10) * 1024;
}

int vmarena_prim_memory_totals(pid_t pid, struct vmarena_totals *out) {
    char text[VMARENA_LINES_SIZE], *line;
    int result;
    struct vmarena_lines lines = {.fd = vmarena_prim_proc_open(pid, "smaps_rollup"), .text = text, .size = sizeof text};
    if (lines.fd == -EOPNOTSUPP) lines.fd = vmarena_prim_proc_open(pid, "smaps");
    if (lines.fd < 0) return lines.fd == VMARENA_NO_MEMORY ? 0 : lines.fd;
    while ((result = vmarena_prim_next_line(&lines, &line)) == 1) add_total(out, line);
    close(lines.fd);
    return result == -ESRCH && vmarena_prim_exists(pid) ? 0 : result; /* it has no memory */
}

/* Fields 10 and 12 of /proc/PID/stat (proc_pid_stat(5)). */
int vmarena_prim_process_fault_counts(pid_t pid, uint64_t *minor, uint64_t *major) {
    char text[VMARENA_STAT_SIZE];
    unsigned long long fresh, read_in;
    int error, fd = vmarena_prim_proc_open(pid, "stat");
    if (fd < 0) return fd;
    const char *fields = vmarena_prim_read_stat(fd, text, &error);
    close(fd);
    if (fields == NULL) return error;
    if (sscanf(fields, "%*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &fresh, &read_in) != 2) return -EOPNOTSUPP;
    *minor = fresh;
    *major = read_in;
    return 0;
}

#endif
