/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "prim/linux/proc.h"

/* mlockall(2) with MCL_FUTURE: as soon as a reservation is mapped writable, the kernel brings all of it in. Locked
 * memory refuses to be discarded. */
static bool locks_future(void) {
    void *page = NULL;
    size_t size = vmarena_prim_page_size();
    if (vmarena_prim_map(&page, size, size, VMARENA_NONE, false) != 0) return false;
    bool locked = madvise(page, size, MADV_DONTNEED) != 0 && errno == EINVAL;
    munmap(page, size);
    return locked;
}

bool vmarena_prim_commit_is_limited(void) {
    struct rlimit data = {.rlim_cur = RLIM_INFINITY}, space = data;
    /* RLIMIT_AS counts a reservation either way; committing by steps at least keeps RLIMIT_DATA from counting it. */
    if (vmarena_prim_read_number("/proc/sys/vm/overcommit_memory") == 2) return true;
    (void)getrlimit(RLIMIT_DATA, &data);
    (void)getrlimit(RLIMIT_AS, &space);
    return data.rlim_cur != RLIM_INFINITY || space.rlim_cur != RLIM_INFINITY || locks_future();
}

void vmarena_prim_map_entries(size_t *used, size_t *limit) {
    char text[4096], *line;
    struct vmarena_lines lines = {.text = text, .size = sizeof text};
    *used = 0;
    *limit = vmarena_prim_read_number("/proc/sys/vm/max_map_count");
    lines.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (lines.fd < 0) return;
    while (vmarena_prim_next_line(&lines, &line) == 1) continue;
    *used = lines.count;
    close(lines.fd);
}

#endif
