/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "prim/linux/proc.h"

/* mlockall(2) with MCL_FUTURE: mapped writable, all of a reservation would be brought in at once. Locked memory tells
 * itself by refusing to be given back. */
static bool locks_future(void) {
    void *page = NULL;
    size_t size = vmarena_prim_page_size();
    if (vmarena_prim_map(&page, size, size, VMARENA_NONE, false) != 0) return false;
    bool locked = madvise(page, size, MADV_DONTNEED) != 0 && errno == EINVAL;
    munmap(page, size);
    return locked;
}

bool vmarena_prim_strict_commit(size_t size) {
    struct rlimit data = {.rlim_cur = RLIM_INFINITY}, space = data;
    (void)size;
    /* RLIMIT_AS counts a reservation either way; committing by steps at least keeps RLIMIT_DATA from counting it. */
    if (vmarena_prim_read_number("/proc/sys/vm/overcommit_memory") == 2) return true;
    (void)getrlimit(RLIMIT_DATA, &data);
    (void)getrlimit(RLIMIT_AS, &space);
    return data.rlim_cur != RLIM_INFINITY || space.rlim_cur != RLIM_INFINITY || locks_future();
}

void vmarena_prim_map_entries(size_t *used, size_t *limit) {
    char text[4096];
    *used = 0;
    *limit = vmarena_prim_read_number("/proc/sys/vm/max_map_count");
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++) *used += text[i] == '\n';
    close(fd);
}

#endif
