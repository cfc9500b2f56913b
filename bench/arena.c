/* SPDX-License-Identifier: MIT */
/* What an allocation costs: instructions of the fast path, and nanoseconds against malloc and a bump written by hand. */
#include "bench.h"

#include <ctype.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmarena.h>

#include "bump.h"
#include "probes.h"

/* ---- instructions --------------------------------------------------------------------------------------------------- */

static bool is_branch(const char *mnemonic) {
    /* Conditional ones, on the CPUs that name them so: x86 (jb), arm64 (b.lo, cbz, tbnz), RISC-V (bltu). */
    if (mnemonic[0] == 'j') return strncmp(mnemonic, "jmp", 3) != 0;
    if (strncmp(mnemonic, "b.", 2) == 0 || strncmp(mnemonic, "cb", 2) == 0 || strncmp(mnemonic, "tb", 2) == 0)
        return true;
    return mnemonic[0] == 'b' && strchr("eglnu", mnemonic[1]) != NULL && mnemonic[1] != '\0' && mnemonic[1] != 'l';
}

/* The way through a function on which no branch is taken, which is the fast one, down to its return. */
static bool count_listing(FILE *listing, unsigned *instructions, unsigned *branches) {
    char line[512];
    bool inside = false;
    *instructions = *branches = 0;
    while (fgets(line, sizeof line, listing) != NULL) {
        const char *tab = strchr(line, '\t');
        if (strstr(line, ">:") != NULL) inside = true;
        if (!inside || tab == NULL) continue;
        (*instructions)++;
        *branches += is_branch(tab + 1);
        if (strncmp(tab + 1, "ret", 3) == 0) return true;
    }
    return false;
}

static bool count_function(const char *name, unsigned *instructions, unsigned *branches) {
    char command[256];
    (void)snprintf(command, sizeof command, "objdump -d --no-show-raw-insn --disassemble=%s /proc/%ld/exe 2>/dev/null",
                   name, (long)getpid());
    (void)fflush(stdout);
    FILE *listing = popen(command, "r");
    if (listing == NULL) return false;
    bool counted = count_listing(listing, instructions, branches);
    while (fgetc(listing) != EOF) continue;
    (void)pclose(listing);
    return counted;
}

static void instructions(void) {
    static const struct {
        const char *function, *name;
        double most;
    } probes[] = {{"probe_any_layout", "vmarena_alloc, any size and alignment", 15},
                  {"probe_any_size", "vmarena_alloc, any size, alignment 16", 15},
                  {"probe_constant", "vmarena_alloc, 24 bytes aligned to 8", 12},
                  {"probe_bytes", "vmarena_alloc, 31 bytes aligned to 1", 12},
                  {"probe_bump_any_layout", "by hand, any size and alignment", 0},
                  {"probe_bump_constant", "by hand, 24 bytes aligned to 8", 0}};
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        unsigned count, branches;
        if (!count_function(probes[i].function, &count, &branches)) {
            fprintf(stderr, "instructions are not counted: objdump (binutils) cannot list this program\n");
            return;
        }
        char name[96];
        (void)snprintf(name, sizeof name, "%s", probes[i].name);
        bench_figure(name, count, "instructions", probes[i].most);
        bench_figure(name, branches, "branches", probes[i].most > 0 ? 1 : 0);
    }
}

/* ---- 10,007 objects, each written to, then all taken back ------------------------------------------------------------- */

#define OBJECTS 10007

struct run {
    size_t size, align;
    struct vmarena *arena;
    struct bump bump;
    void *objects[OBJECTS];
};

static inline void write_object(char *object, size_t size) {
    *(volatile char *)object = 1;
    ((volatile char *)object)[size - 1] = 2;
}

/* The layout is known to the compiler in `constant`, and hidden from it in the others. */
#define SIZES(of, arg, count)                                                                                          \
    switch (((struct run *)(arg))->size) {                                                                             \
    case 1: return of(arg, count, 1, 1);                                                                               \
    case 8: return of(arg, count, 8, 8);                                                                               \
    case 31: return of(arg, count, 31, 1);                                                                             \
    default: return of(arg, count, 64, 16);                                                                            \
    }

static inline double arena_rounds(struct run *run, size_t count, size_t size, size_t align) {
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < OBJECTS; j++) write_object(vmarena_alloc(run->arena, size, align), size);
        bench_must(vmarena_reset(run->arena, SIZE_MAX) == 0, "vmarena_reset");
    }
    return bench_now() - start;
}
static double arena_constant(void *arg, size_t count) { SIZES(arena_rounds, arg, count) }
static double arena_any(void *arg, size_t count) {
    struct run *run = arg;
    return arena_rounds(run, count, (size_t)bench_keep((void *)run->size), (size_t)bench_keep((void *)run->align));
}

static inline double bump_rounds(struct run *run, size_t count, size_t size, size_t align) {
    struct bump *bump = bench_keep(&run->bump);
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < OBJECTS; j++) write_object(bump_alloc(bump, size, align), size);
        bump->at = bump->start;
    }
    return bench_now() - start;
}
static double bump_constant(void *arg, size_t count) { SIZES(bump_rounds, arg, count) }
static double bump_any(void *arg, size_t count) {
    struct run *run = arg;
    return bump_rounds(run, count, (size_t)bench_keep((void *)run->size), (size_t)bench_keep((void *)run->align));
}

static double malloc_rounds(void *arg, size_t count) {
    struct run *run = arg;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < OBJECTS; j++) write_object(run->objects[j] = malloc(run->size), run->size);
        for (size_t j = 0; j < OBJECTS; j++) free(run->objects[j]);
    }
    return bench_now() - start;
}

static void compare_size(struct run *run, size_t size, size_t align) {
    char name[64];
    run->size = size;
    run->align = align;
    (void)snprintf(name, sizeof name, "10,007 x %zu bytes, layout constant", size);
    bench_compare(name, arena_constant, run, "bump by hand", bump_constant, run, 0);
    (void)snprintf(name, sizeof name, "10,007 x %zu bytes, layout hidden", size);
    bench_compare(name, arena_any, run, "bump by hand", bump_any, run, 0);
    bench_compare(name, arena_any, run, "malloc, free", malloc_rounds, run, 0);
}

static void rounds(void) {
    static struct run run;
    size_t size = (size_t)1 << 20;
    bench_must(vmarena_create(&run.arena, &(struct vmarena_options){.reserve = size}) == 0, vmarena_explain());
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_must(memory != MAP_FAILED, "mmap");
    run.bump = (struct bump){(uintptr_t)memory, (uintptr_t)memory, (uintptr_t)memory + size};
    compare_size(&run, 1, 1);
    compare_size(&run, 8, 8);
    compare_size(&run, 31, 1);
    compare_size(&run, 64, 16);
    (void)munmap(memory, size);
    vmarena_destroy(run.arena);
}

/* ---- fenced objects ------------------------------------------------------------------------------------------------------- */

#define FENCED 1000

static double fenced_objects(void *arg, size_t count) {
    struct vmarena *arena = arg;
    double start = bench_now();
    for (size_t done = 0; done < count; done += FENCED) {
        for (size_t i = 0; i < FENCED && done + i < count; i++) {
            char *object = vmarena_alloc(arena, 64, 1);
            bench_must(object != NULL, "a fenced object");
            write_object(object, 64);
        }
        bench_must(vmarena_reset(arena, 0) == 0, "vmarena_reset");
    }
    return bench_now() - start;
}

/* A page and a guard page by the means of every system; the object ends at the guard. */
static double raw_objects(void *arg, size_t count) {
    static char *mappings[FENCED];
    size_t page = vmarena_page_size();
    double start = bench_now();
    (void)arg;
    for (size_t done = 0; done < count; done += FENCED) {
        size_t made = 0;
        for (; made < FENCED && done + made < count; made++) {
            char *mapping = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            bench_must(mapping != MAP_FAILED && mprotect(mapping + page, page, PROT_NONE) == 0, "mmap, mprotect");
            write_object(mapping + page - 64, 64);
            mappings[made] = mapping;
        }
        while (made > 0) bench_must(munmap(mappings[--made], 2 * page) == 0, "munmap");
    }
    return bench_now() - start;
}

static void fenced(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = (size_t)256 << 20, .fence = VMARENA_FENCE_END};
    bench_must(vmarena_create(&arena, &options) == 0, vmarena_explain());
    bench_compare("fenced object: make, write, take back", fenced_objects, arena, "mmap, mprotect, munmap", raw_objects,
                  NULL, 0);
    vmarena_destroy(arena);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv);
    instructions();
    rounds();
    fenced();
    return bench_end();
}
