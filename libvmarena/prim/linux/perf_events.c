/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CACHE_EVENT(cache, operation, result) ((cache) | (operation) << 8 | (result) << 16)

static const struct {
    uint32_t type;
    uint64_t config;
} events[VMARENA_COUNTERS] = {
    [VMARENA_COUNT_PAGE_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    [VMARENA_COUNT_MINOR_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    [VMARENA_COUNT_MAJOR_FAULTS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    [VMARENA_COUNT_TASK_NANOSECONDS] = {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK},
    [VMARENA_COUNT_DTLB_LOAD_MISSES] = {PERF_TYPE_HW_CACHE,
                                        CACHE_EVENT(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_READ,
                                                    PERF_COUNT_HW_CACHE_RESULT_MISS)},
    [VMARENA_COUNT_DTLB_STORE_MISSES] = {PERF_TYPE_HW_CACHE,
                                         CACHE_EVENT(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_WRITE,
                                                     PERF_COUNT_HW_CACHE_RESULT_MISS)},
    [VMARENA_COUNT_INSTRUCTIONS] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    [VMARENA_COUNT_CYCLES] = {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
};

int vmarena_prim_counter_open(enum vmarena_counter counter, pid_t pid, unsigned flags, bool *user_only) {
    struct perf_event_attr event = {.type = events[counter].type,
                                    .size = sizeof event,
                                    .config = events[counter].config,
                                    .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING};
    event.inherit = (flags & VMARENA_COUNT_CHILDREN) != 0;
    event.disabled = event.enable_on_exec = (flags & VMARENA_COUNT_AT_EXEC) != 0;
    event.exclude_hv = 1;
    /* The CPU's own counters count user code alone. Page faults in the kernel on the program's behalf, as in read(2)
     * into fresh memory, are counted too, unless the process lacks the privilege (kernel.perf_event_paranoid 2). */
    event.exclude_kernel = event.type != PERF_TYPE_SOFTWARE;
    long fd = syscall(SYS_perf_event_open, &event, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM) && !event.exclude_kernel) {
        event.exclude_kernel = 1;
        fd = syscall(SYS_perf_event_open, &event, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
    *user_only = event.exclude_kernel;
    return fd < 0 ? -errno : (int)fd;
}

int vmarena_prim_counter_read(int fd, uint64_t *value) {
    uint64_t got[3] = {0}; /* the count; nanoseconds enabled; nanoseconds counting */
    ssize_t bytes = read(fd, got, sizeof got);
    if (bytes != sizeof got) return bytes < 0 ? -errno : -EIO;
    *value = got[0];
    if (got[2] != 0 && got[2] < got[1]) *value = (uint64_t)((double)got[0] * (double)got[1] / (double)got[2]);
    return 0;
}

#endif
