/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static int usage(int who, uint64_t *minor, uint64_t *major) {
    struct rusage used;
    if (getrusage(who, &used) != 0) return -errno;
    *minor = (uint64_t)used.ru_minflt;
    *major = (uint64_t)used.ru_majflt;
    return 0;
}

bool vmarena_prim_is_self(pid_t pid) { return pid == 0 || pid == getpid(); }

int vmarena_prim_fault_counts(bool thread, uint64_t *minor, uint64_t *major) {
#ifdef RUSAGE_THREAD
    return usage(thread ? RUSAGE_THREAD : RUSAGE_SELF, minor, major);
#else
    return thread ? -EOPNOTSUPP : usage(RUSAGE_SELF, minor, major);
#endif
}
