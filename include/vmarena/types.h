/* SPDX-License-Identifier: MIT */
/*
 * What several headers share, and include: protections, guards, the record of a fault, mappings and pages, and what the
 * system can do.
 */
#ifndef VMARENA_TYPES_H
#define VMARENA_TYPES_H

#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Protections, combined with |. A CPU may grant more than was asked for: on x86-64 WRITE implies READ. */
#define VMARENA_NONE 0u
#define VMARENA_READ 1u
#define VMARENA_WRITE 2u
#define VMARENA_EXEC 4u

enum vmarena_fence {
    VMARENA_FENCE_OFF,   /* bump allocation: objects side by side */
    VMARENA_FENCE_END,   /* each object ends at a guard, as close as its alignment allows: overruns fault */
    VMARENA_FENCE_START, /* each object starts at a guard: underruns fault */
};

/* How each page of the reservation becomes usable. */
enum vmarena_commit_policy {
    VMARENA_COMMIT_AUTO,      /* as an option: the library chooses by the limits of this process */
    VMARENA_COMMIT_NORESERVE, /* all of it readable and writable at once; the kernel provides pages on first touch */
    VMARENA_COMMIT_PROTECT,   /* inaccessible until committed step by step: for strict overcommit and tight limits */
};

/* How the guards inside a reservation are made. Those at its edges are always PROT_NONE. */
enum vmarena_guard_kind {
    VMARENA_GUARD_AUTO,      /* as an option: the first of MARKER, USERFAULT and PROTECT that works when it is tried */
    VMARENA_GUARD_MARKER,    /* MADV_GUARD_INSTALL (Linux 6.13): no map entries; one mapping holds a million guards */
    VMARENA_GUARD_PROTECT,   /* mprotect(PROT_NONE): two map entries for each guard */
    VMARENA_GUARD_USERFAULT, /* userfaultfd(2): no map entries; an access raises SIGBUS. Poisoned pages (Linux 6.6), or
                                missing ones (5.11; 4.14 for root, or with vm.unprivileged_userfaultfd). If a program
                                closes the library's descriptor, guards by missing pages are gone until the next one is
                                made; a child of clone(2) without fork's handlers never has them */
};

/* ---- faults ------------------------------------------------------------------------------------------------------ */

enum vmarena_access { VMARENA_ACCESS_UNKNOWN, VMARENA_ACCESS_READ, VMARENA_ACCESS_WRITE, VMARENA_ACCESS_EXEC };

enum vmarena_fault_kind {
    VMARENA_FAULT_OTHER,            /* none of the following: see signo and code */
    VMARENA_FAULT_OVERRUN,          /* past the end of an object: its guard or slack, or the edge of an arena */
    VMARENA_FAULT_UNDERRUN,         /* before the start of an object */
    VMARENA_FAULT_USE_AFTER_FREE,   /* in an object that was freed, rewound or reset */
    VMARENA_FAULT_PROTECTED,        /* in memory that is mapped and forbids this access */
    VMARENA_FAULT_UNMAPPED,         /* nothing is mapped there; `object` may be the nearest memory of the library */
    VMARENA_FAULT_PAST_END_OF_FILE, /* in a page of a file mapping that lies past the end of the file */
    VMARENA_FAULT_HARDWARE,         /* a memory error (BUS_MCEERR_AR) */
};

struct vmarena_fault {
    int signo;     /* SIGSEGV or SIGBUS; 0: no fault */
    int code;      /* si_code, as in sigaction(2): SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR, ... */
    void *address; /* the byte accessed; of a wider access the first byte that is inaccessible */
    void *pc;      /* the instruction that accessed it; NULL: unknown on this CPU */
    enum vmarena_access access;
    enum vmarena_fault_kind kind;
    void *object;         /* the object whose guard, slack or pages were accessed; NULL: none known */
    size_t object_size;   /* its size in bytes, as asked for */
    ptrdiff_t distance;   /* in bytes from the object's nearest edge: +1 is the first byte past its end, -1 the last
                             before its start, 0 inside it */
    const void *owner;    /* the arena, heap or view that owns the memory, for comparison only; NULL: none */
    char owner_name[32];  /* its name; "" if it has none */
    uint64_t file_offset; /* the byte's offset in the file, where the owner is a view */
    uint64_t reserved[4];
};

/*
 * A repair function. The signal handler calls it for a fault in the owner's memory or guards, before any scope sees the
 * fault. To make the access legal it may call mprotect(2), which is signal-safe on Linux although signal-safety(7) does
 * not list it, or vmarena_protect_range() on this arena.
 * true: the access is tried again, for ever if it stays illegal. false: the fault goes on to the scopes. It must
 * return, not jump. SIGSEGV and SIGBUS can be delivered while it runs: a fault of its own, or of a signal handler that
 * interrupts it, is not repaired; a scope that was opened in there catches it, otherwise the process dies of it.
 */
typedef bool vmarena_fault_fn(const struct vmarena_fault *fault, void *arg);

/* ---- mappings and pages ------------------------------------------------------------------------------------------ */

enum vmarena_owner { VMARENA_OWNER_NONE, VMARENA_OWNER_ARENA, VMARENA_OWNER_HEAP, VMARENA_OWNER_VIEW };

/* An entry of the memory map, as in /proc/PID/maps (proc_pid_maps(5)). */
struct vmarena_mapping {
    uint64_t start, end; /* [start, end), whole pages */
    uint64_t offset;     /* of start in the file; 0 without one */
    uint64_t inode;      /* 0: no file */
    uint32_t device_major, device_minor;
    unsigned prot;    /* VMARENA_NONE, or _READ, _WRITE, _EXEC combined (arena.h) */
    bool shared;      /* MAP_SHARED: others see what is written */
    const char *name; /* the file's path as the system writes it, a name such as "[heap]", or "" */
    /* The arena, heap or view whose reservation, with the guards at its edges, contains the mapping, or NONE. Where the
       kernel has merged the edges of two neighbours into one mapping, the first of the two. */
    enum vmarena_owner owner;
    const char *owner_name;          /* "" without one, or without a name */
    uint64_t owner_start, owner_end; /* its reservation */
    uint64_t objects;  /* live objects of a fenced arena, or of the whole heap; 0 where none are counted */
    uint64_t spare[4]; /* 0: room for later versions */
};

/* Called for each mapping. The strings are valid until it returns. A result other than 0 ends the walk. */
typedef int vmarena_maps_fn(const struct vmarena_mapping *mapping, void *arg);

/* The states of a page, combined with |. A page in none of them is not there: an access would fault it in. */
#define VMARENA_PAGE_RESIDENT 1u /* in memory, and mapped by the process */
#define VMARENA_PAGE_SWAPPED 2u  /* swapped out */
/* A private page of the process's own: written, or copied at a write. Of pages that belong to a file or to shared
 * memory it is not known which were written: see struct vmarena_totals. */
#define VMARENA_PAGE_DIRTY 4u
#define VMARENA_PAGE_FILE 8u     /* belongs to a file or to shared memory */
#define VMARENA_PAGE_SHARED 16u  /* mapped more than once, by this process or another */
#define VMARENA_PAGE_HUGE 32u    /* mapped as part of a huge page */
#define VMARENA_PAGE_GUARD 64u   /* a guard marker (MADV_GUARD_INSTALL): faults whatever the mapping's protection */
#define VMARENA_PAGE_ZERO 128u   /* the system's shared page of zeroes: read, never written */
#define VMARENA_PAGE_CACHED 256u /* in the page cache but not mapped; known for the calling process only */

/* Adjacent pages in the same state. */
struct vmarena_pages {
    uint64_t start, end;
    unsigned state; /* not 0 */
};
typedef int vmarena_pages_fn(const struct vmarena_pages *pages, void *arg);

/* Totals of a whole process in bytes, from /proc/PID/smaps_rollup (Linux 4.14), or summed from /proc/PID/smaps. */
struct vmarena_totals {
    uint64_t rss;                          /* resident */
    uint64_t pss;                          /* resident, where a page that n processes map counts as 1/n */
    uint64_t shared_clean, shared_dirty;   /* mapped by other processes too */
    uint64_t private_clean, private_dirty; /* mapped by this process alone */
    uint64_t anonymous;                    /* backed by no file */
    uint64_t huge;                         /* on transparent huge pages */
    uint64_t hugetlb;                      /* on pages of the hugetlb pool; not part of rss */
    uint64_t swap;
    uint64_t locked;
    uint64_t spare[4]; /* 0: room for later versions */
};

enum vmarena_counter {
    VMARENA_COUNT_PAGE_FAULTS,
    VMARENA_COUNT_MINOR_FAULTS,
    VMARENA_COUNT_MAJOR_FAULTS,
    VMARENA_COUNT_TASK_NANOSECONDS, /* time on a CPU */
    VMARENA_COUNT_DTLB_LOAD_MISSES, /* of user code. This and the next three are the CPU's own counters, which most
                                       virtual machines lack */
    VMARENA_COUNT_DTLB_STORE_MISSES,
    VMARENA_COUNT_INSTRUCTIONS,
    VMARENA_COUNT_CYCLES,
    VMARENA_COUNTERS
};

/* flags for vmarena_counters_open */
#define VMARENA_COUNT_CHILDREN 1u /* count children and threads created from now on, too */
#define VMARENA_COUNT_AT_EXEC 2u  /* start counting when the process calls execve(2) */

/* ---- the system -------------------------------------------------------------------------------------------------- */

enum vmarena_thp { VMARENA_THP_ABSENT, VMARENA_THP_NEVER, VMARENA_THP_MADVISE, VMARENA_THP_ALWAYS };

/* What this system can do; each fact was found by trying it once. */
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
    bool vectored_madvise;  /* process_madvise(2) on the process itself takes guard advice for many ranges at once */
    bool collapse;          /* MADV_COLLAPSE (Linux 6.1) */
    bool populate;          /* MADV_POPULATE_WRITE (Linux 5.14) */
    bool wipe_on_fork;      /* MADV_WIPEONFORK (Linux 4.14) */
    bool procmap_query;     /* PROCMAP_QUERY on /proc/self/maps (Linux 6.11) */
    bool pagemap_scan;      /* PAGEMAP_SCAN on /proc/self/pagemap (Linux 6.7) */
    bool seal;              /* mseal(2) (Linux 6.10) */
    bool userfaultfd;       /* userfaultfd(2) can be opened */
    bool userfaultfd_wp;    /* and offers write protection of anonymous memory */
    bool perf_counters;     /* perf_event_open(2): software page-fault counters */
    bool perf_tlb;          /* and the hardware's dTLB-load-miss counter */
    bool vma_names;         /* PR_SET_VMA_ANON_NAME (Linux 5.17, may be compiled out) */
    bool fault_access;      /* the record of a fault says whether it was a read or a write */
    bool strict_overcommit; /* vm.overcommit_memory is 2 */
    uint64_t spare[4];      /* 0: room for later versions */
};

VMARENA_END_DECLS

#endif
