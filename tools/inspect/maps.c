/* SPDX-License-Identifier: MIT */
/* vmarena maps: the mappings of a process as a table or as JSON. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "common.h"
#include "space.h"
#include "vmarena/arena.h"

static const char help[] =
    "usage: vmarena maps [--pages] [--json] [--color=auto|always|never] [PID]\n"
    "\n"
    "Prints the mappings of a process, by default of this one: range, size, permissions, offset,\n"
    "name, and the arena, heap or view of libvmarena that owns it.\n"
    "\n"
    "  -p, --pages    print the KiB of each that are resident, dirty, swapped and guard markers\n"
    "  -j, --json     print everything as JSON\n"
    "  --color=WHEN   auto (the default), always or never\n"
    "  -h, --help     print this help\n";

struct options {
    bool pages, json, color;
    pid_t pid;
};

static void print_kib(uint64_t bytes) { printf(" %9llu", (unsigned long long)(bytes / 1024)); }

static void print_sums(const struct vmarena_tool_sums *sums) {
    print_kib(sums->resident);
    print_kib(sums->dirty);
    print_kib(sums->swapped);
    print_kib(sums->guard);
}

static void print_owner(const struct vmarena_mapping *mapping) {
    char number[32];
    if (mapping->owner == VMARENA_OWNER_NONE) return;
    printf("%s%s", mapping->name[0] != '\0' ? "  " : "", vmarena_owner_kind(mapping->owner));
    if (mapping->owner_name[0] != '\0') {
        printf(" \"");
        vmarena_print_plain(stdout, mapping->owner_name);
        putchar('"');
    }
    if (mapping->objects != 0)
        printf(", %s object%s", vmarena_grouped(mapping->objects, number), mapping->objects == 1 ? "" : "s");
}

static void print_row(const struct vmarena_tool_mapping *mapping, const struct options *options) {
    char perm[5];
    const struct vmarena_mapping *base = &mapping->mapping;
    if (options->color) printf("\033[%sm", vmarena_permission_color(vmarena_permission(base->prot)));
    printf("%08llx-%08llx", (unsigned long long)base->start, (unsigned long long)base->end);
    printf(" %10llu %s", (unsigned long long)((base->end - base->start) / 1024),
           vmarena_permissions(base->prot, base->shared, perm));
    if (options->pages) print_sums(&mapping->pages);
    printf(" %8llx  ", (unsigned long long)base->offset);
    vmarena_print_plain(stdout, base->name);
    print_owner(base);
    puts(options->color ? "\033[0m" : "");
}

static int print_table(const struct vmarena_space *space, const struct options *options) {
    uint64_t total = 0;
    int width = space->count > 0 && space->mappings[space->count - 1].mapping.start >> 32 != 0 ? 25 : 17;
    printf("%d: ", (int)space->pid);
    vmarena_print_plain(stdout, space->title);
    printf("\n%-*s %10s %s", width, "range", "KiB", "perm");
    if (options->pages) printf(" %9s %9s %9s %9s", "resident", "dirty", "swapped", "guard");
    printf(" %8s  %s\n", "offset", "name");
    for (size_t i = 0; i < space->count; i++) {
        print_row(&space->mappings[i], options);
        total += space->mappings[i].mapping.end - space->mappings[i].mapping.start;
    }
    printf("%-*s %10llu     ", width, "total", (unsigned long long)(total / 1024));
    if (options->pages) print_sums(&space->total);
    printf(" %zu mapping%s\n", space->count, space->count == 1 ? "" : "s");
    return vmarena_finish_output("maps");
}

static void print_json_number(const char *key, uint64_t value) {
    printf(",\"%s\":%llu", key, (unsigned long long)value);
}

static void print_json_address(const char *key, uint64_t value) {
    printf("\"%s\":\"0x%llx\"", key,
           (unsigned long long)value); /* a string, because many readers lose bits of numbers beyond 2^53 */
}

static void print_json_sums(const struct vmarena_tool_sums *sums, unsigned known) {
    static const struct {
        const char *key;
        unsigned state;
        size_t offset;
    } parts[] = {{"resident", VMARENA_PAGE_RESIDENT, offsetof(struct vmarena_tool_sums, resident)},
                 {"dirty", VMARENA_PAGE_DIRTY, offsetof(struct vmarena_tool_sums, dirty)},
                 {"swapped", VMARENA_PAGE_SWAPPED, offsetof(struct vmarena_tool_sums, swapped)},
                 {"shared_pages", VMARENA_PAGE_SHARED, offsetof(struct vmarena_tool_sums, shared)},
                 {"huge", VMARENA_PAGE_HUGE, offsetof(struct vmarena_tool_sums, huge)},
                 {"guard", VMARENA_PAGE_GUARD, offsetof(struct vmarena_tool_sums, guard)}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (known & parts[i].state)
            print_json_number(parts[i].key, *(const uint64_t *)(const void *)((const char *)sums + parts[i].offset));
}

static void print_json_mapping(const struct vmarena_tool_mapping *mapping, const struct vmarena_space *space) {
    char perm[5];
    const struct vmarena_mapping *base = &mapping->mapping;
    putchar('{');
    print_json_address("start", base->start);
    putchar(',');
    print_json_address("end", base->end);
    print_json_number("size", base->end - base->start);
    printf(",\"permissions\":\"%s\"", vmarena_permissions(base->prot, base->shared, perm));
    print_json_number("offset", base->offset);
    printf(",\"device\":\"%02x:%02x\"", base->device_major, base->device_minor);
    print_json_number("inode", base->inode);
    printf(",\"name\":");
    vmarena_print_json(stdout, base->name);
    if (space->has_pages) print_json_sums(&mapping->pages, space->known);
    if (base->owner != VMARENA_OWNER_NONE) {
        printf(",\"owner\":{\"kind\":\"%s\",\"name\":", vmarena_owner_kind(base->owner));
        vmarena_print_json(stdout, base->owner_name);
        putchar(',');
        print_json_address("start", base->owner_start);
        putchar(',');
        print_json_address("end", base->owner_end);
        print_json_number("objects", base->objects);
        putchar('}');
    }
    putchar('}');
}

static int print_json(const struct vmarena_space *space) {
    printf("{\"pid\":%d,\"command\":", (int)space->pid);
    vmarena_print_json(stdout, space->title);
    print_json_number("page_size", space->page);
    fputs(",\"mappings\":[", stdout);
    for (size_t i = 0; i < space->count; i++) {
        fputs(i == 0 ? "\n" : ",\n", stdout);
        print_json_mapping(&space->mappings[i], space);
    }
    puts("\n]}");
    return vmarena_finish_output("maps");
}

/* Returns -1 to go on, or the exit code. */
static int parse(int count, char **arguments, struct options *options) {
    static const struct option long_options[] = {{"pages", no_argument, NULL, 'p'},
                                                 {"json", no_argument, NULL, 'j'},
                                                 {"color", required_argument, NULL, 'c'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *color = "auto";
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, "+:pjh", long_options, NULL)) != -1;) {
        if (option == 'p') options->pages = true;
        else if (option == 'j') options->json = true;
        else if (option == 'c') color = optarg;
        else if (option == 'h') return vmarena_print_help("maps", help);
        else return vmarena_complain_option("maps", option, arguments);
    }
    if (!vmarena_parse_color(color, stdout, &options->color))
        return vmarena_complain(VMARENA_EXIT_USAGE, "maps", "--color is auto, always or never, not '%s'", color);
    options->pid = getpid();
    if (count - optind > 1) return vmarena_complain(VMARENA_EXIT_USAGE, "maps", "one process, not %d", count - optind);
    int code = optind < count ? vmarena_parse_process("maps", arguments[optind], &options->pid) : 0;
    return code != 0 ? code : -1;
}

int vmarena_command_maps(int count, char **arguments) {
    struct options options = {.pages = false};
    struct vmarena_space space;
    int code = parse(count, arguments, &options);
    if (code >= 0) return code;
    int error = vmarena_space_read(&space, options.pid, options.pages);
    if (error != 0) return vmarena_space_complain("maps", error);
    code = options.json ? print_json(&space) : print_table(&space, &options);
    vmarena_space_free(&space);
    return code;
}
