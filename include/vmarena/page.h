/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_PAGE_H
#define VMARENA_PAGE_H

#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/*
 * Bytes in a page of this system, a power of two: 4096 on x86-64, 4096 to 65536 on arm64. Asked of the system once
 * (sysconf(3), _SC_PAGESIZE) and remembered. Any thread; safe in a signal handler after the first call.
 */
VMARENA_API size_t vmarena_page_size(void);

/* size, in bytes, rounded up to whole pages; 0 for 0, and 0 where the result would not fit. Thread safety: as above. */
VMARENA_API size_t vmarena_page_round_up(size_t size);

/*
 * Writes the huge-page sizes the system knows, in bytes, ascending, into sizes[0..count), and returns how many there
 * are, which may be more than count; 0 where there are none. sizes may be NULL when count is 0.
 * Source: /sys/kernel/mm/hugepages (Linux, Documentation/admin-guide/mm/hugetlbpage.rst). Any thread.
 */
VMARENA_API size_t vmarena_huge_page_sizes(size_t *sizes, size_t count);

enum vmarena_thp { VMARENA_THP_ABSENT, VMARENA_THP_NEVER, VMARENA_THP_MADVISE, VMARENA_THP_ALWAYS };

/* What this system can do, each found by trying it once. */
struct vmarena_caps {
    size_t page_size;       /* bytes */
    size_t huge_page_size;  /* bytes in a transparent huge page; 0: none */
    uint64_t thp_sizes;     /* bit n set: transparent huge pages of 2^n bytes are offered (mTHP, Linux 6.8) */
    size_t hugetlb_2m_free; /* 2 MiB pages free in the hugetlb pool */
    size_t hugetlb_1g_free; /* 1 GiB pages free in the hugetlb pool */
    size_t map_entry_limit; /* vm.max_map_count; 0: unknown or none */
    size_t protection_keys; /* keys free to this process (pkeys(7)); 0: none */
    enum vmarena_thp thp;   /* /sys/kernel/mm/transparent_hugepage/enabled */
    bool guard_markers;     /* MADV_GUARD_INSTALL (Linux 6.13) */
    bool vectored_madvise;  /* process_madvise on the own process takes guard advice, many ranges a call */
    bool collapse;          /* MADV_COLLAPSE (Linux 6.1) */
    bool populate;          /* MADV_POPULATE_WRITE (Linux 5.14) */
    bool wipe_on_fork;      /* MADV_WIPEONFORK (Linux 4.14) */
    bool procmap_query;     /* PROCMAP_QUERY on /proc/self/maps (Linux 6.11) */
    bool pagemap_scan;      /* PAGEMAP_SCAN on /proc/self/pagemap (Linux 6.7) */
    bool seal;              /* mseal(2) (Linux 6.10) */
    bool userfaultfd;       /* userfaultfd(2) may be opened */
    bool userfaultfd_wp;    /* and offers write-protection of anonymous memory */
    bool perf_counters;     /* perf_event_open(2): software page-fault counters */
    bool perf_tlb;          /* and the hardware's dTLB-load-miss counter */
    bool vma_names;         /* PR_SET_VMA_ANON_NAME (Linux 5.17, may be compiled out) */
    bool fault_access;      /* a fault tells read from write */
    bool strict_overcommit; /* vm.overcommit_memory is 2 */
    uint64_t spare[4];      /* 0: room for later versions */
};

/*
 * Fills *out. The first call tries everything, on a few pages of its own that it returns; later calls copy the result.
 * 0; -EINVAL: out is NULL; -ENOMEM: not even pages to try on, and the next call tries again. Any thread; not in a signal
 * handler.
 */
VMARENA_API int vmarena_caps(struct vmarena_caps *out);

VMARENA_END_DECLS

#endif
