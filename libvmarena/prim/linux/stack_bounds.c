/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "prim/internal.h"
#include "prim/linux/maps.h"

struct search {
    uintptr_t address;
    struct vmarena_prim_bounds *found;
};

static int note_if_it_holds(const struct vmarena_mapping *mapping, void *arg) {
    const struct search *search = arg;
    if (search->address < mapping->start || search->address >= mapping->end) return 0;
    *search->found = (struct vmarena_prim_bounds){(uintptr_t)mapping->start, (uintptr_t)mapping->end};
    return 1;
}

/* With little on the stack, since a program calls malloc with little left, too. */
static bool find_mapping(uintptr_t address, struct vmarena_prim_bounds *found) {
    char text[512];
    struct vmarena_mapping mapping;
    struct search search = {address, found};
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), result;
    if (fd < 0) return false;
    if (vmarena_prim_query_maps(fd, address, false, &mapping, NULL, 0) == 0) {
        result = note_if_it_holds(&mapping, &search);
    } else {
        struct vmarena_lines lines = {.fd = fd, .text = text, .size = sizeof text};
        result = vmarena_prim_read_maps(&lines, note_if_it_holds, &search);
    }
    close(fd);
    return result == 1;
}

/*
 * pthread_getattr_np(3) knows the stack's bounds, but it allocates. The mapping is enough, except for the memory of
 * others that the kernel merged with it: the C libraries for Linux put a thread's control block, which pthread_self(3)
 * points to, above its stack.
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
