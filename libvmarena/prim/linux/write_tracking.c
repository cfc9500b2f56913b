/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "prim/linux/kernel_abi.h"

/* ---- userfaultfd write protection that the kernel itself resolves, Linux 6.7 ---- */

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#define SCAN_WRITTEN (UINT64_C(1) << 1)
#define SCAN_PROTECT_MATCHING UINT64_C(1)
#define SCAN_CHECK_ASYNC UINT64_C(2)

static int open_async(void) {
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (fd < 0) return -errno;
    if (ioctl(fd, UFFDIO_API, &api) == 0) return fd;
    int error = -errno;
    close(fd);
    return error;
}

int vmarena_prim_track_open(void *address, size_t size, struct vmarena_prim_track *out) {
    struct uffdio_register area = {.range = {(uint64_t)(uintptr_t)address, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct vmarena_prim_track track = {address, size, open_async(), getpid()};
    if (track.fd < 0) return track.fd;
    int error = ioctl(track.fd, UFFDIO_REGISTER, &area) == 0 ? 0 : -errno;
    if (error == 0) error = vmarena_prim_track_collect(address, size, true, NULL, NULL);
    if (error == 0) *out = track;
    else vmarena_prim_track_close(&track);
    return error;
}

void vmarena_prim_track_close(const struct vmarena_prim_track *track) {
    struct uffdio_range range = {(uint64_t)(uintptr_t)track->address, track->size};
    /* Closing ends it only when no child of fork(2) has the descriptor too; what a child has is its parent's still. */
    if (track->process == getpid()) (void)ioctl(track->fd, UFFDIO_UNREGISTER, &range);
    close(track->fd);
}

/* Gets what was written and, anew, protects it again, at one stroke. */
static int collect(int fd, uint64_t start, uint64_t end, bool anew, vmarena_pages_fn *function, void *arg) {
    struct vmarena_scan_region regions[256] = {{.start = 0}};
    while (start < end) {
        struct vmarena_scan scan = {.size = sizeof scan,
                                    .flags = SCAN_CHECK_ASYNC | (anew ? SCAN_PROTECT_MATCHING : 0),
                                    .start = start,
                                    .end = end,
                                    .category_mask = SCAN_WRITTEN,
                                    .return_mask = SCAN_WRITTEN};
        if (function != NULL) {
            scan.regions = (uint64_t)(uintptr_t)regions;
            scan.region_count = sizeof regions / sizeof regions[0];
        }
        int count = ioctl(fd, VMARENA_SCAN_IOCTL, &scan);
        if (count < 0) return -errno;
        for (int i = 0; i < count && function != NULL; i++) {
            struct vmarena_pages pages = {regions[i].start, regions[i].end, VMARENA_PAGE_DIRTY};
            int result = function(&pages, arg);
            if (result != 0) return result;
        }
        start = scan.walk_end;
    }
    return 0;
}

int vmarena_prim_track_collect(void *address, size_t size, bool anew, vmarena_pages_fn *function, void *arg) {
    uint64_t start = (uint64_t)(uintptr_t)address;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int result = collect(fd, start, start + size, anew, function, arg);
    close(fd);
    return result;
}

#endif
