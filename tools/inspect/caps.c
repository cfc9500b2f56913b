/* SPDX-License-Identifier: MIT */
/* vmarena caps: prints what this system can do, found by trying. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "common.h"
#include "vmarena/error.h"
#include "vmarena/page.h"

static const char help[] = "usage: vmarena caps [--json]\n"
                           "\n"
                           "Prints what this system can do, found by trying each feature once as this user.\n"
                           "\n"
                           "  -j, --json     print JSON\n"
                           "  -h, --help     print this help\n";

/* A feature, whether it works, and what it is good for. */
struct ability {
    const char *key;
    bool there;
    const char *what;
};

static const char *thp_name(enum vmarena_thp thp) {
    static const char *const names[] = {"absent", "never", "madvise", "always"};
    return (unsigned)thp < 4 ? names[thp] : "?";
}

static size_t fill(struct ability *list, const struct vmarena_caps *caps) {
    const struct ability all[] = {
        {"guard_markers", caps->guard_markers, "guards that cost no map entry (MADV_GUARD_INSTALL)"},
        {"vectored_madvise", caps->vectored_madvise, "many guards in one call (process_madvise)"},
        {"collapse", caps->collapse, "huge pages made at once (MADV_COLLAPSE)"},
        {"populate", caps->populate, "pages brought in ahead (MADV_POPULATE_WRITE)"},
        {"wipe_on_fork", caps->wipe_on_fork, "memory that a child finds empty (MADV_WIPEONFORK)"},
        {"procmap_query", caps->procmap_query, "one mapping by its address (PROCMAP_QUERY)"},
        {"pagemap_scan", caps->pagemap_scan, "the pages that were written, in one call (PAGEMAP_SCAN)"},
        {"seal", caps->seal, "mappings that nobody can change (mseal)"},
        {"userfaultfd", caps->userfaultfd, "faults handled by the program (userfaultfd)"},
        {"userfaultfd_wp", caps->userfaultfd_wp, "and writes to protected pages among them"},
        {"perf_counters", caps->perf_counters, "page faults counted by the kernel (perf_event_open)"},
        {"perf_tlb", caps->perf_tlb, "misses of the CPU's dTLB counted"},
        {"vma_names", caps->vma_names, "names for memory in /proc/PID/maps (PR_SET_VMA_ANON_NAME)"},
        {"fault_access", caps->fault_access, "a fault tells reading from writing"},
        {"strict_overcommit", caps->strict_overcommit,
         "memory is promised only where it is there (vm.overcommit_memory 2)"},
    };
    memcpy(list, all, sizeof all);
    return sizeof all / sizeof all[0];
}
#define ABILITIES 15

static void print_thp_sizes(uint64_t sizes, const char *none, const char *between, bool words) {
    char text[32];
    bool any = false;
    for (unsigned shift = 0; shift < 64; shift++) {
        if ((sizes >> shift & 1) == 0) continue;
        if (any) fputs(between, stdout);
        if (words) fputs(vmarena_bytes(UINT64_C(1) << shift, text), stdout);
        else printf("%llu", 1ULL << shift);
        any = true;
    }
    if (!any) fputs(none, stdout);
}

static void print_number(const char *what, uint64_t value) {
    char text[32];
    printf("  %-34s %s\n", what, vmarena_grouped(value, text));
}

static void print_bytes(const char *what, uint64_t value) {
    char text[32];
    printf("  %-34s %s\n", what, value != 0 ? vmarena_bytes(value, text) : "none");
}

static void print_table(const struct vmarena_caps *caps) {
    struct ability list[ABILITIES];
    size_t count = fill(list, caps);
    print_bytes("page", caps->page_size);
    print_bytes("transparent huge page", caps->huge_page_size);
    printf("  %-34s %s\n", "transparent huge pages", thp_name(caps->thp));
    printf("  %-34s ", "sizes offered of them");
    print_thp_sizes(caps->thp_sizes, "none", ", ", true);
    putchar('\n');
    print_number("2 MiB pages free in the pool", caps->hugetlb_2m_free);
    print_number("1 GiB pages free in the pool", caps->hugetlb_1g_free);
    print_number("map entries a process may have", caps->map_entry_limit);
    print_number("protection keys free", caps->protection_keys);
    putchar('\n');
    for (size_t i = 0; i < count; i++)
        printf("  %-3s  %-17s %s\n", list[i].there ? "yes" : "no", list[i].key, list[i].what);
}

static void print_json(const struct vmarena_caps *caps) {
    struct ability list[ABILITIES];
    size_t count = fill(list, caps);
    printf("{\"page_size\":%zu,\"huge_page_size\":%zu,\"thp\":\"%s\",\"thp_sizes\":[", caps->page_size,
           caps->huge_page_size, thp_name(caps->thp));
    print_thp_sizes(caps->thp_sizes, "", ",", false);
    printf("],\"hugetlb_2m_free\":%zu,\"hugetlb_1g_free\":%zu,\"map_entry_limit\":%zu,\"protection_keys\":%zu",
           caps->hugetlb_2m_free, caps->hugetlb_1g_free, caps->map_entry_limit, caps->protection_keys);
    for (size_t i = 0; i < count; i++) printf(",\"%s\":%s", list[i].key, list[i].there ? "true" : "false");
    puts("}");
}

int vmarena_command_caps(int count, char **arguments) {
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct vmarena_caps caps;
    bool json = false;
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, "+:jh", long_options, NULL)) != -1;) {
        if (option == 'j') json = true;
        else if (option == 'h') return vmarena_print_help("caps", help);
        else return vmarena_complain_option("caps", option, arguments);
    }
    if (optind < count)
        return vmarena_complain(VMARENA_EXIT_USAGE, "caps", "nothing is to follow, as '%s' does", arguments[optind]);
    if (vmarena_caps(&caps) != 0) return vmarena_complain(VMARENA_EXIT_FAILED, "caps", "%s", vmarena_explain());
    if (json) print_json(&caps);
    else print_table(&caps);
    return vmarena_finish_output("caps");
}
