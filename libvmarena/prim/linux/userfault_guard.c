/* SPDX-License-Identifier: MIT */
/* Guards by userfaultfd(2). The calls are those of ioctl_userfaultfd(2). */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/kernel_abi.h"

#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
struct uffdio_poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

/* A descriptor with this number or a higher one is out of the way of programs that expect the lowest free number, that
 * use select(2), or that close the numbers they know. */
#define OUT_OF_THE_WAY 700

static int move_up(int fd) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    if (moved < 0) return fd;
    close(fd);
    return moved;
}

int vmarena_prim_userfault_open(enum vmarena_prim_userfault mode) {
    uint64_t features = UFFD_FEATURE_SIGBUS;
    if (mode == VMARENA_PRIM_USERFAULT_POISON) features |= UFFD_FEATURE_POISON | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
    int fd = vmarena_prim_open_userfaultfd(&features);
    if (fd >= 0) return move_up(fd);
    return fd == -EINVAL ? -EOPNOTSUPP : fd; /* EINVAL: the kernel lacks a feature */
}

int vmarena_prim_userfault_register(int fd, enum vmarena_prim_userfault mode, void *address, size_t size) {
    /* Poisoned pages need a registration of some kind. With that for write protection, which is never used, pages that
     * are not poisoned come as they do anywhere. */
    struct uffdio_register area = {.range = {(uint64_t)(uintptr_t)address, size},
                                   .mode = mode == VMARENA_PRIM_USERFAULT_POISON ? UFFDIO_REGISTER_MODE_WP
                                                                                 : UFFDIO_REGISTER_MODE_MISSING};
    return ioctl(fd, UFFDIO_REGISTER, &area) == 0 ? 0 : -errno;
}

int vmarena_prim_userfault_poison(int fd, void *address, size_t size) {
    struct uffdio_poison poison = {.range = {(uint64_t)(uintptr_t)address, size}};
    while (ioctl(fd, UFFDIO_POISON, &poison) != 0) {
        if (errno != EAGAIN) return -errno;
        if (poison.updated > 0) {
            poison.range.start += (uint64_t)poison.updated;
            poison.range.len -= (uint64_t)poison.updated;
        }
    }
    return 0;
}

/* A page of zeroes that is written to costs a second fault. Few pages come as copies; many as zeroes, and in one call. */
#define FEW 4

static int populate_copies(int fd, uint64_t address, size_t size) {
    static const char zero[1 << 16] __attribute__((aligned(16)));
    size_t page = vmarena_prim_page_size();
    for (size_t done = 0; done < size;) {
        struct uffdio_copy copy = {.dst = address + done, .src = (uint64_t)(uintptr_t)zero, .len = page};
        if (ioctl(fd, UFFDIO_COPY, &copy) == 0) done += page;
        else if (errno != EAGAIN) return -errno;
    }
    return 0;
}

static int populate_zeroes(int fd, uint64_t address, size_t size) {
    struct uffdio_zeropage zeroes = {.range = {address, size}};
    while (ioctl(fd, UFFDIO_ZEROPAGE, &zeroes) != 0) {
        if (errno != EAGAIN) return -errno;
        if (zeroes.zeropage > 0) {
            zeroes.range.start += (uint64_t)zeroes.zeropage;
            zeroes.range.len -= (uint64_t)zeroes.zeropage;
        }
    }
    return 0;
}

int vmarena_prim_userfault_populate(int fd, void *address, size_t size) {
    uint64_t start = (uint64_t)(uintptr_t)address;
    if (size <= FEW * vmarena_prim_page_size()) return populate_copies(fd, start, size);
    return populate_zeroes(fd, start, size);
}

#endif
