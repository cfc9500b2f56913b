/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/internal.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "prim/linux/kernel_abi.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "start-end perms ..." lines; false where none holds address. */
static bool read_maps(int fd, uintptr_t address, struct vmarena_prim_bounds *found) {
    char text[2048];
    uintptr_t number[2] = {0, 0};
    unsigned field = 0; /* 0: start, 1: end, 2: the rest of the line */
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            int digit = hex_digit(text[i]);
            if (field < 2 && digit >= 0) number[field] = number[field] << 4 | (uintptr_t)digit;
            else if (field < 2) field++;
            if (text[i] != '\n') continue;
            *found = (struct vmarena_prim_bounds){number[0], number[1]};
            if (address >= found->low && address < found->high) return true;
            number[0] = number[1] = field = 0;
        }
    }
    return false;
}

static bool find_mapping(uintptr_t address, struct vmarena_prim_bounds *found) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct vmarena_procmap_query query = {.size = sizeof query, .address = address};
    bool good = ioctl(fd, VMARENA_PROCMAP_QUERY_IOCTL, &query) == 0;
    if (good) *found = (struct vmarena_prim_bounds){(uintptr_t)query.start, (uintptr_t)query.end};
    else good = read_maps(fd, address, found); /* Linux < 6.11 */
    close(fd);
    return good;
}

/*
 * The stack that address lies on. pthread_getattr_np(3) would tell, but it allocates. The mapping is enough, but for the
 * memory of others that the kernel merged with it: the C libraries for Linux put a thread's control block, which
 * pthread_self(3) points to, above its stack.
 */
bool vmarena_prim_find_stack(uintptr_t address, struct vmarena_prim_bounds *found) {
    int saved = errno;
    bool good = find_mapping(address, found);
    uintptr_t self = (uintptr_t)pthread_self();
    if (good && self > address && self < found->high) found->high = self;
    errno = saved;
    return good;
}

#endif
