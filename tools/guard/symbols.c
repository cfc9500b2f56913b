/* SPDX-License-Identifier: MIT */
#include "symbols.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "elf.h"
#include "preload_check.h"
#include "vmarena/fault.h"

extern char **environ;

/* What is known about one place in one file. */
struct place {
    char *module;
    uint64_t offset; /* in the file */
    uint64_t address;
    struct vmarena_name *names;
    unsigned count;
    struct place *next;
};

#define BUCKETS 1024
static struct place *buckets[BUCKETS];
static char tool[4096]; /* "": none */

/* All four accept GNU addr2line's options; llvm-symbolizer needs one more to print like it. */
static const char *const tools[] = {"addr2line", "eu-addr2line", "llvm-addr2line", "llvm-symbolizer"};

bool vmarena_symbols_open(const char *wanted) {
    const char *why;
    tool[0] = '\0';
    if (wanted != NULL) {
        if (strcmp(wanted, "none") == 0 || vmarena_program_find(wanted, tool, sizeof tool, &why)) return true;
        tool[0] = '\0';
        return false;
    }
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        if (vmarena_program_find(tools[i], tool, sizeof tool, &why)) return true;
    tool[0] = '\0';
    return false;
}

static struct place **bucket_of(const char *module, uint64_t offset) {
    uint64_t hash = offset;
    for (; *module != '\0'; module++) hash = hash * 31 + (unsigned char)*module;
    return &buckets[hash * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static struct place *find_place(const char *module, uint64_t offset) {
    for (struct place *place = *bucket_of(module, offset); place != NULL; place = place->next)
        if (place->offset == offset && strcmp(place->module, module) == 0) return place;
    return NULL;
}

static void *or_die(void *memory) {
    if (memory != NULL) return memory;
    fputs("vmarena guard: out of memory\n", stderr);
    exit(2);
}

static struct place *add_place(const char *module, uint64_t offset) {
    struct place **bucket = bucket_of(module, offset), *place = or_die(calloc(1, sizeof *place));
    *place = (struct place){.module = or_die(strdup(module)), .offset = offset, .next = *bucket};
    return *bucket = place;
}

/* A return address belongs to the instruction before it. */
static uint64_t offset_of(const struct vmarena_report_frame *frame) { return frame->offset - (frame->exact ? 0 : 1); }

/* ---- from the symbol table ---- */

static void add_name(struct place *place, const char *function, uint64_t into, const char *file, unsigned line) {
    place->names = or_die(realloc(place->names, (place->count + 1) * sizeof *place->names));
    place->names[place->count++] = (struct vmarena_name){
        .function = function == NULL ? NULL : or_die(strdup(function)),
        .offset = into,
        .file = file == NULL ? NULL : or_die(strdup(file)),
        .line = line,
    };
}

/* ---- from the tool ---- */

/* ARGUMENTS: options of the tool; ADDRESSES: places that one run is asked for. */
#define ARGUMENTS 8
#define ADDRESSES 192

static int spawn_tool(char **arguments, pid_t *child) {
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawn(child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error == 0) return ends[0];
    close(ends[0]);
    return -1;
}

/* "file:line", perhaps followed by " (discriminator 3)"; "??:0" and "??:?" mean unknown. */
static bool split_line(char *text, unsigned *line) {
    char *space = strstr(text, " (discriminator"), *end;
    if (space != NULL) *space = '\0';
    char *colon = strrchr(text, ':');
    if (colon == NULL || text[0] == '?') return false;
    unsigned long number = strtoul(colon + 1, &end, 10);
    *colon = '\0';
    *line = (unsigned)number;
    return end != colon + 1 && number != 0;
}

/*
 * For one address the tool prints pairs of lines, function and place, the innermost of inlined functions first. Without
 * debug information its function is only the nearest symbol, which may belong to other code: then the file's symbol table,
 * which has sizes, decides, and the tool contributes the demangled name.
 */
static void take_pair(struct place *place, const char *function, char *where) {
    unsigned line;
    bool known = strcmp(function, "??") != 0;
    if (split_line(where, &line)) {
        add_name(place, known ? function : NULL, 0, where, line);
        return;
    }
    if (place->count == 0 && known) add_name(place, function, 0, NULL, 0);
}

static void read_answers(FILE *answers, struct place **asked, size_t count) {
    char *function = NULL, *where = NULL;
    size_t function_room = 0, where_room = 0, i = (size_t)-1;
    while (getline(&function, &function_room, answers) > 0) {
        function[strcspn(function, "\n")] = '\0';
        if (strncmp(function, "0x", 2) == 0) {
            i++;
            continue;
        }
        if (getline(&where, &where_room, answers) <= 0) break;
        where[strcspn(where, "\n")] = '\0';
        if (i < count) take_pair(asked[i], function, where);
    }
    free(function);
    free(where);
}

static void ask(const char *module, struct place **asked, size_t count) {
    static char gnu_style[] = "--output-style=GNU",
                options[][3] = {"-a", "-f", "-C", "-i", "-e"}; /* -e: of the module */
    char text[ADDRESSES][20], *arguments[ARGUMENTS + ADDRESSES + 1] = {tool};
    size_t n = 1;
    pid_t child;
    if (strstr(tool, "symbolizer") != NULL) arguments[n++] = gnu_style;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) arguments[n++] = options[i];
    arguments[n++] = (char *)(uintptr_t)module;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(text[i], sizeof text[i], "0x%llx", (unsigned long long)asked[i]->address);
        arguments[n++] = text[i];
    }
    int fd = spawn_tool(arguments, &child);
    FILE *answers = fd < 0 ? NULL : fdopen(fd, "r");
    if (answers == NULL) return;
    read_answers(answers, asked, count);
    fclose(answers);
    (void)waitpid(child, NULL, 0);
}

/* ---- both ---- */

static bool has_line(const struct place *place) { return place->count > 0 && place->names[0].file != NULL; }

/* Only mangled symbols (Itanium C++ ABI, 5.1; Rust's v0) have a demangled name. */
static bool is_mangled(const char *symbol) { return strncmp(symbol, "_Z", 2) == 0 || strncmp(symbol, "_R", 2) == 0; }

static void choose_name(const struct vmarena_elf *elf, struct place *place) {
    uint64_t into = 0;
    if (has_line(place)) return;
    const char *symbol = elf->bytes == NULL ? NULL : vmarena_elf_function(elf, place->address, &into);
    const char *demangled = place->count > 0 ? place->names[0].function : NULL;
    const char *name = symbol != NULL && demangled != NULL && is_mangled(symbol) ? demangled : symbol;
    place->count = 0;
    if (name != NULL) add_name(place, name, into, NULL, 0);
}

/* The places in one module that are to be named. */
struct query {
    const char *module;
    struct vmarena_elf elf;
    struct place **asked;
    size_t count;
};

static void find_addresses(void *arg) {
    struct query *query = arg;
    if (vmarena_elf_open(&query->elf, query->module) != 0) return; /* gone: module and offset are printed instead */
    for (size_t i = 0; i < query->count; i++) {
        struct place *place = query->asked[i];
        if (!vmarena_elf_address(&query->elf, place->offset, &place->address)) place->address = place->offset;
    }
}

static void choose_names(void *arg) {
    struct query *query = arg;
    for (size_t i = 0; i < query->count; i++) choose_name(&query->elf, query->asked[i]);
}

/* The program may truncate the file while it is read: then the rest has no names. */
static void load_module(const char *module, struct place **asked, size_t count) {
    struct query query = {.module = module, .asked = asked, .count = count};
    struct vmarena_fault fault;
    if (vmarena_try_any(find_addresses, &query, &fault) == 0 && query.elf.bytes != NULL) {
        if (tool[0] != '\0') ask(module, asked, count);
        (void)vmarena_try_any(choose_names, &query, &fault);
    }
    vmarena_elf_close(&query.elf);
}

static size_t gather(const struct vmarena_report *report, uint32_t module, const struct vmarena_report_stack *stack,
                     struct place **asked, size_t count) {
    for (uint64_t i = 0; i < stack->count && count < ADDRESSES; i++) {
        const struct vmarena_report_frame *frame = &stack->frames[i];
        if (frame->module != module) continue;
        const char *path = report->module[module - 1];
        if (find_place(path, offset_of(frame)) == NULL) asked[count++] = add_place(path, offset_of(frame));
    }
    return count;
}

void vmarena_symbols_load(const struct vmarena_report *report) {
    struct place *asked[ADDRESSES];
    for (uint32_t module = 1; module <= report->modules; module++) {
        size_t count = gather(report, module, &report->access_stack, asked, 0);
        count = gather(report, module, &report->alloc_stack, asked, count);
        count = gather(report, module, &report->free_stack, asked, count);
        if (count > 0) load_module(report->module[module - 1], asked, count);
    }
}

unsigned vmarena_symbols_resolve(const struct vmarena_report *report, const struct vmarena_report_frame *frame,
                                 const struct vmarena_name **names, void *unused) {
    (void)unused;
    if (frame->module == 0) return 0;
    struct place *place = find_place(report->module[frame->module - 1], offset_of(frame));
    if (place == NULL) return 0;
    *names = place->names;
    return place->count;
}
