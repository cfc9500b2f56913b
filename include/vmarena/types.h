/* SPDX-License-Identifier: MIT */
/*
 * What several headers share: protections, guards, the record of a fault, mappings and pages, what the system can do.
 * The other headers include it.
 */
#ifndef VMARENA_TYPES_H
#define VMARENA_TYPES_H

#include "export.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

VMARENA_BEGIN_DECLS

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* Protections, to be combined with |. What the CPU cannot do alone it rounds up: on x86-64 WRITE implies READ. */
#define VMARENA_NONE 0u
#define VMARENA_READ 1u
#define VMARENA_WRITE 2u
#define VMARENA_EXEC 4u

enum vmarena_fence {
    VMARENA_FENCE_OFF,   /* bump allocation: objects side by side */
    VMARENA_FENCE_END,   /* each object ends at a guard (as nearly as its alignment allows): overruns fault */
    VMARENA_FENCE_START, /* each object starts at a guard: underruns fault */
};

/* How each page of the reservation becomes usable. */
enum vmarena_commit_policy {
    VMARENA_COMMIT_AUTO,      /* asked for: let the library choose by what this process may do */
    VMARENA_COMMIT_NORESERVE, /* all readable and writable at once; the kernel gives pages on first touch */
    VMARENA_COMMIT_PROTECT,   /* inaccessible until committed step by step: for strict overcommit and tight limits */
};

/* What keeps a guard inside a reservation inaccessible. The guards at its edges are always PROT_NONE. */
enum vmarena_guard_kind {
    VMARENA_GUARD_AUTO,      /* asked for: the first of MARKER, USERFAULT and PROTECT that works when it is tried */
    VMARENA_GUARD_MARKER,    /* MADV_GUARD_INSTALL (Linux 6.13): no map entry spent, a million guards in one mapping */
    VMARENA_GUARD_PROTECT,   /* mprotect(PROT_NONE): two map entries a guard */
    VMARENA_GUARD_USERFAULT, /* userfaultfd(2): no map entry spent; an access raises SIGBUS. Poisoned pages (Linux 6.6),
                                or missing ones (5.11; 4.14 for root, or with vm.unprivileged_userfaultfd): a program that
                                closes the library's descriptor loses the guards by missing pages until the next is
                                made, and a child made by clone(2) without fork's handlers never has them */
};

/* ---- faults -------------------------------------------------------------------------------------------------------- */

enum vmarena_access { VMARENA_ACCESS_UNKNOWN, VMARENA_ACCESS_READ, VMARENA_ACCESS_WRITE, VMARENA_ACCESS_EXEC };

enum vmarena_fault_kind {
    VMARENA_FAULT_OTHER,            /* none of these: see signo and code */
    VMARENA_FAULT_OVERRUN,          /* past the end of an object: its guard or slack, or an arena's edge */
    VMARENA_FAULT_UNDERRUN,         /* before the start of an object */
    VMARENA_FAULT_USE_AFTER_FREE,   /* an object that was freed, rewound or reset */
    VMARENA_FAULT_PROTECTED,        /* memory that is there and forbids this access */
    VMARENA_FAULT_UNMAPPED,         /* nothing is there; `object` may name the nearest memory of ours */
    VMARENA_FAULT_PAST_END_OF_FILE, /* a page of a file mapping that the file no longer reaches */
    VMARENA_FAULT_HARDWARE,         /* a memory error (BUS_MCEERR_AR) */
};

struct vmarena_fault {
    int signo;     /* SIGSEGV or SIGBUS; 0: no fault */
    int code;      /* si_code, as in sigaction(2): SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR, ... */
    void *address; /* the byte that was touched (the first inaccessible one of a wider access) */
    void *pc;      /* the instruction that touched it; NULL: unknown on this CPU */
    enum vmarena_access access;
    enum vmarena_fault_kind kind;
    void *object;         /* the object whose guard, slack or pages were touched; NULL: none known */
    size_t object_size;   /* its bytes, as asked for */
    ptrdiff_t distance;   /* from the object's nearest edge: +1 the first byte past the end, -1 the last before
                                     the start, 0 inside it */
    const void *owner;    /* the arena, heap or view that owns the memory; NULL: none. Only to compare with */
    char owner_name[32];  /* its name, "" if it has none */
    uint64_t file_offset; /* of the byte in the file, where the owner is a view */
    uint64_t reserved[4];
};

/*
 * Called in the signal handler, before any scope is asked, for a fault in the arena's memory or guards. It may make the
 * access legal (mprotect is safe there on Linux, although signal-safety(7) does not list it; vmarena_protect_range on
 * this arena is too) and return true: the access is tried again, for ever if it stays illegal. false: it goes on to the
 * scopes. It returns, and does not jump away. It runs with SIGSEGV and SIGBUS deliverable: a fault of its own, or of
 * a signal handler that interrupts it, is not repaired and dies, or is caught, where it happened.
 */
typedef bool vmarena_fault_fn(const struct vmarena_fault *fault, void *arg);

/* ---- mappings and pages -------------------------------------------------------------------------------------------- */

enum vmarena_owner { VMARENA_OWNER_NONE, VMARENA_OWNER_ARENA, VMARENA_OWNER_HEAP, VMARENA_OWNER_VIEW };

/* An entry of the memory map, as in /proc/PID/maps (proc_pid_maps(5)). */
struct vmarena_mapping {
    uint64_t start, end; /* [start, end), whole pages */
    uint64_t offset;     /* of start in the file; 0 without one */
    uint64_t inode;      /* 0: no file */
    uint32_t device_major, device_minor;
    unsigned prot;    /* VMARENA_NONE, or _READ, _WRITE, _EXEC combined (arena.h) */
    bool shared;      /* MAP_SHARED: writes are seen by others */
    const char *name; /* the file's path as the system writes it, "[heap]" and the like, or "" */
    /* The arena, heap or view in whose reservation this lies (guards at its edges included), or NONE. Where the edges of
       neighbours have become one mapping, the first of them. */
    enum vmarena_owner owner;
    const char *owner_name;          /* "" without one, or without a name */
    uint64_t owner_start, owner_end; /* its reservation */
    uint64_t objects; /* live objects of a fenced arena, or of a heap with all its mappings; 0 where none are counted */
    uint64_t spare[4]; /* 0: room for later versions */
};

/* Called for one mapping after the other. The strings stand until it returns. Another result than 0 ends the walk. */
typedef int vmarena_maps_fn(const struct vmarena_mapping *mapping, void *arg);

/* What a page is, to be combined. A page that is none of these is not there: touching it would fault it in. */
#define VMARENA_PAGE_RESIDENT 1u /* in memory, and mapped by the process */
#define VMARENA_PAGE_SWAPPED 2u  /* out on swap */
#define VMARENA_PAGE_DIRTY                                                                                             \
    4u                          /* a private page of the process's own: it was written, or copied on a write. Pages that
                                    belong to a file or to shared memory are not told apart here: see the totals */
#define VMARENA_PAGE_FILE 8u    /* belongs to a file or to shared memory */
#define VMARENA_PAGE_SHARED 16u /* mapped by another process, or twice, as well */
#define VMARENA_PAGE_HUGE 32u   /* mapped as part of a huge page */
#define VMARENA_PAGE_GUARD 64u  /* a guard marker (MADV_GUARD_INSTALL): faults whatever the mapping allows */
#define VMARENA_PAGE_ZERO 128u  /* the system's one page of zeroes: read, and never written */
#define VMARENA_PAGE_CACHED 256u /* in the page cache though the process has not mapped it: the own process only */

/* Pages side by side that are alike. */
struct vmarena_pages {
    uint64_t start, end;
    unsigned state; /* not 0 */
};
typedef int vmarena_pages_fn(const struct vmarena_pages *pages, void *arg);

/* Totals of a whole process in bytes, from /proc/PID/smaps_rollup (Linux 4.14), or summed from /proc/PID/smaps. */
struct vmarena_totals {
    uint64_t rss;                          /* in memory */
    uint64_t pss;                          /* the same, with pages shared by n processes counted as 1/n */
    uint64_t shared_clean, shared_dirty;   /* mapped by others too */
    uint64_t private_clean, private_dirty; /* not */
    uint64_t anonymous;                    /* of no file */
    uint64_t huge;                         /* on transparent huge pages */
    uint64_t hugetlb;                      /* on pages of the hugetlb pool; not in rss */
    uint64_t swap;
    uint64_t locked;
    uint64_t spare[4]; /* 0: room for later versions */
};

enum vmarena_counter {
    VMARENA_COUNT_PAGE_FAULTS,
    VMARENA_COUNT_MINOR_FAULTS,
    VMARENA_COUNT_MAJOR_FAULTS,
    VMARENA_COUNT_TASK_NANOSECONDS, /* time on a CPU */
    VMARENA_COUNT_DTLB_LOAD_MISSES, /* of user code; the four from here on are the CPU's own, absent in most guests */
    VMARENA_COUNT_DTLB_STORE_MISSES,
    VMARENA_COUNT_INSTRUCTIONS,
    VMARENA_COUNT_CYCLES,
    VMARENA_COUNTERS
};

/* flags for vmarena_counters_open */
#define VMARENA_COUNT_CHILDREN 1u /* children and threads made from now on, too */
#define VMARENA_COUNT_AT_EXEC 2u  /* begin when the process calls execve(2) */

/* ---- the system ---------------------------------------------------------------------------------------------------- */

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

VMARENA_END_DECLS

#endif
