/* SPDX-License-Identifier: MIT */
/* What needs the handlers: makes sure of them, then does its part. */
#include "prim/prim.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "fault/fault.h"

static bool is_absent(void) {
    return atomic_load_explicit(&vmarena_handler_mode, memory_order_acquire) == VMARENA_MODE_ABSENT;
}

int vmarena_fault_ready(void) {
    int error = is_absent() ? vmarena_fault_ensure_installed() : 0;
    if (error != 0 || vmarena_fault_thread.has_stack) return error;
    const char *call;
    error = vmarena_prim_signal_stack(&call);
    if (error != 0) return vmarena_fail_call(error, call, 0);
    vmarena_fault_thread.has_stack = true;
    return 0;
}

int vmarena_fault_set_repair(struct vmarena_region *region, vmarena_fault_fn *function, void *arg) {
    int error = function != NULL ? vmarena_fault_ready() : 0;
    if (error == 0) vmarena_fault_hook_set(&region->repair, function, arg);
    return error;
}

int vmarena_report_faults(int fd) {
    bool reads, writes = true;
    if (fd < -1) return vmarena_fail(-EINVAL, "vmarena_report_faults: %d is neither a descriptor nor -1", fd);
    if (fd >= 0) vmarena_prim_file_access(fd, &reads, &writes);
    if (!writes) return vmarena_fail(-EBADF, "vmarena_report_faults: descriptor %d is not open for writing", fd);
    int error = fd >= 0 ? vmarena_fault_ready() : 0;
    if (error == 0) atomic_store_explicit(&vmarena_report_fd, fd, memory_order_relaxed);
    return error;
}
