/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prim/linux/huge_pages.h"
#include "prim/linux/proc.h"

/* The kernel names the directories of both kinds of huge pages by the size in KiB. Sizes are powers of two, so that
 * trying each name finds them in order, without a directory stream, which would call malloc. */
#define FIRST_SHIFT 12
#define LAST_SHIFT 40

static void huge_path(char path[96], const char *directory, unsigned shift, const char *file) {
    (void)snprintf(path, 96, "/sys/kernel/mm/%s/hugepages-%llukB/%s", directory, 1ULL << (shift - 10), file);
}

size_t vmarena_prim_huge_page_sizes(size_t *sizes, size_t count) {
    size_t found = 0;
    for (unsigned shift = FIRST_SHIFT; shift <= LAST_SHIFT && shift < sizeof(size_t) * 8; shift++) {
        char path[96];
        huge_path(path, "hugepages", shift, "");
        if (access(path, F_OK) != 0) continue;
        if (found < count) sizes[found] = (size_t)1 << shift;
        found++;
    }
    return found;
}

size_t vmarena_prim_huge_page_size(void) {
    static _Atomic size_t cached = SIZE_MAX;
    size_t size = atomic_load_explicit(&cached, memory_order_relaxed);
    if (size == SIZE_MAX) {
        size = vmarena_prim_read_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
        atomic_store_explicit(&cached, size, memory_order_relaxed);
    }
    return size;
}

size_t vmarena_prim_hugetlb_free(unsigned shift) {
    char path[96];
    huge_path(path, "hugepages", shift, "free_hugepages");
    return vmarena_prim_read_number(path);
}

enum vmarena_thp vmarena_prim_thp_mode(void) {
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    char text[128];
    if (!vmarena_prim_read_text(path, text, sizeof text)) return VMARENA_THP_ABSENT;
    if (strstr(text, "[always]") != NULL) return VMARENA_THP_ALWAYS;
    if (strstr(text, "[madvise]") != NULL) return VMARENA_THP_MADVISE;
    return VMARENA_THP_NEVER;
}

/* Whether pages of 2^shift bytes are offered, by their own mode or by the general one that they inherit. */
static bool thp_size_offered(unsigned shift, enum vmarena_thp mode) {
    char path[96], text[128];
    huge_path(path, "transparent_hugepage", shift, "enabled");
    if (!vmarena_prim_read_text(path, text, sizeof text)) return false;
    if (strstr(text, "[inherit]") != NULL) return mode == VMARENA_THP_ALWAYS || mode == VMARENA_THP_MADVISE;
    return strstr(text, "[always]") != NULL || strstr(text, "[madvise]") != NULL;
}

uint64_t vmarena_prim_thp_sizes(size_t huge, enum vmarena_thp mode) {
    uint64_t sizes = 0;
    char path[96];
    for (unsigned shift = FIRST_SHIFT; shift <= LAST_SHIFT; shift++)
        if (thp_size_offered(shift, mode)) sizes |= UINT64_C(1) << shift;
    /* Before Linux 6.8 there is one size, without a directory of its own. */
    if (huge == 0) return sizes;
    huge_path(path, "transparent_hugepage", (unsigned)__builtin_ctzll(huge), "enabled");
    if (access(path, F_OK) != 0 && (mode == VMARENA_THP_ALWAYS || mode == VMARENA_THP_MADVISE)) sizes |= huge;
    return sizes;
}

#endif
