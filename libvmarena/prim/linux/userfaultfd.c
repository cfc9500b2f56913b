/* SPDX-License-Identifier: MIT */
/* Write tracking by userfaultfd(2): write protection that the kernel itself lifts at a write, Linux 6.7. */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/kernel_abi.h"
#include "prim/linux/pagemap_scan.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/*
 * An unprivileged process may have USER_MODE_ONLY (Linux 5.11). Older kernels do not know it, and let root, or everybody
 * with vm.unprivileged_userfaultfd, do without. /dev/userfaultfd (Linux 6.1) serves where a seccomp filter refuses the
 * system call.
 */
static int open_any(void) {
    const int flags = O_CLOEXEC | O_NONBLOCK;
    int fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
    if (fd < 0 && errno == EINVAL) fd = (int)syscall(SYS_userfaultfd, flags);
    if (fd >= 0) return fd;
    int error = -errno, device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) return error;
    fd = ioctl(device, USERFAULTFD_IOC_NEW, flags);
    if (fd < 0) fd = -errno;
    close(device);
    return fd;
}

int vmarena_prim_open_userfaultfd(uint64_t *features) {
    struct uffdio_api api = {.api = UFFD_API, .features = *features};
    int fd = open_any();
    if (fd < 0) return fd;
    if (ioctl(fd, UFFDIO_API, &api) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *features = api.features;
    return fd;
}

/* The system call, a feature or PAGEMAP_SCAN is missing. */
static bool is_missing(int error) { return error == -ENOSYS || error == -EINVAL || error == -ENOTTY; }

int vmarena_prim_write_tracking_start(void *address, size_t size, struct vmarena_prim_write_tracking *out) {
    uint64_t features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED;
    struct uffdio_register area = {.range = {(uint64_t)(uintptr_t)address, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct vmarena_prim_write_tracking tracking = {address, size, vmarena_prim_open_userfaultfd(&features), getpid()};
    if (tracking.fd < 0) return is_missing(tracking.fd) ? -EOPNOTSUPP : tracking.fd;
    int error = ioctl(tracking.fd, UFFDIO_REGISTER, &area) == 0 ? 0 : -errno;
    if (error == 0) error = vmarena_prim_write_tracking_collect(address, size, true, NULL, NULL);
    if (error == 0) *out = tracking;
    else vmarena_prim_write_tracking_stop(&tracking);
    return is_missing(error) ? -EOPNOTSUPP : error;
}

void vmarena_prim_write_tracking_stop(const struct vmarena_prim_write_tracking *tracking) {
    struct uffdio_range range = {(uint64_t)(uintptr_t)tracking->address, tracking->size};
    /* Closing alone would not end it while a child of fork(2) has the descriptor, too. And a child that closes its copy
     * must not end what its parent started. */
    if (tracking->process == getpid()) (void)ioctl(tracking->fd, UFFDIO_UNREGISTER, &range);
    close(tracking->fd);
}

struct collector {
    vmarena_pages_fn *function;
    void *arg;
};

static int pass_on(uint64_t start, uint64_t end, uint64_t categories, void *arg) {
    const struct collector *collector = arg;
    struct vmarena_pages pages = {start, end, VMARENA_PAGE_DIRTY};
    (void)categories;
    return collector->function(&pages, collector->arg);
}

int vmarena_prim_write_tracking_collect(void *address, size_t size, bool restart, vmarena_pages_fn *function,
                                        void *arg) {
    struct collector collector = {function, arg};
    uint64_t start = (uintptr_t)address;
    struct vmarena_pagemap_scan scan = {.start = start,
                                        .end = start + size,
                                        .flags = VMARENA_SCAN_CHECK_TRACKED | (restart ? VMARENA_SCAN_PROTECT : 0),
                                        .all_of = VMARENA_SCAN_WRITTEN,
                                        .reported = VMARENA_SCAN_WRITTEN,
                                        .function = function != NULL ? pass_on : NULL,
                                        .arg = &collector};
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int result = vmarena_prim_scan_pagemap(fd, &scan);
    close(fd);
    return result == 1 ? scan.result : result;
}

#endif
