/* SPDX-License-Identifier: MIT */
/* What the kernel is asked to do with an arena's pages: protection, reset, first touch, huge pages. */
#include "bench.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <vmarena.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* An arena, and the same memory by hand: between two guard pages, so that the kernel has the same entries to keep. */
struct pair {
    size_t size;
    struct vmarena *arena;
    char *objects; /* all of the arena */
    char *mapping, *raw;
};

static void make_pair(struct pair *pair, size_t size) {
    size_t page = vmarena_page_size();
    struct vmarena_options options = {.reserve = size};
    bench_must(vmarena_create(&pair->arena, &options) == 0, vmarena_explain());
    pair->size = size;
    pair->objects = vmarena_alloc(pair->arena, size, 1);
    pair->mapping = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bench_must(pair->objects != NULL && pair->mapping != MAP_FAILED, "the pair");
    pair->raw = pair->mapping + page;
    bench_must(mprotect(pair->raw, size, PROT_READ | PROT_WRITE) == 0, "mprotect");
    memset(pair->objects, 1, size);
    memset(pair->raw, 1, size);
}

static void unmake_pair(struct pair *pair) {
    (void)munmap(pair->mapping, pair->size + 2 * vmarena_page_size());
    vmarena_destroy(pair->arena);
}

/* ---- protection ------------------------------------------------------------------------------------------------------- */

static double our_toggles(void *arg, size_t count) {
    struct pair *pair = arg;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        bench_must(vmarena_protect(pair->arena, VMARENA_READ) == 0, vmarena_explain());
        bench_must(vmarena_protect(pair->arena, VMARENA_READ | VMARENA_WRITE) == 0, vmarena_explain());
    }
    return bench_now() - start;
}

static double raw_toggles(void *arg, size_t count) {
    struct pair *pair = arg;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        bench_must(mprotect(pair->raw, pair->size, PROT_READ) == 0, "mprotect");
        bench_must(mprotect(pair->raw, pair->size, PROT_READ | PROT_WRITE) == 0, "mprotect");
    }
    return bench_now() - start;
}

static void toggles(void) {
    for (size_t size = 4 * KIB; size <= 64 * MIB; size *= 4) {
        struct pair pair;
        char name[64];
        (void)snprintf(name, sizeof name, "read-only and back, %zu KiB", size / KIB);
        make_pair(&pair, size);
        bench_compare(name, our_toggles, &pair, "mprotect", raw_toggles, &pair, 1.1);
        unmake_pair(&pair);
    }
}

/* ---- reset ---------------------------------------------------------------------------------------------------------------- */

/* An allocation of everything, written to, and a reset. */
static double our_resets(struct pair *pair, size_t count, size_t keep) {
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        bench_must(vmarena_reset(pair->arena, keep) == 0, vmarena_explain());
        char *object = vmarena_alloc(pair->arena, pair->size, 1);
        bench_must(object != NULL, vmarena_explain());
        memset(object, 1, pair->size);
    }
    return bench_now() - start;
}
static double reset_keeping_all(void *arg, size_t count) { return our_resets(arg, count, SIZE_MAX); }
static double reset_keeping_none(void *arg, size_t count) { return our_resets(arg, count, 0); }
static double reset_keeping_half(void *arg, size_t count) {
    struct pair *pair = arg;
    return our_resets(pair, count, pair->size / 2);
}

static double raw_resets(const struct pair *pair, size_t count, size_t keep) {
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        if (keep < pair->size) bench_must(madvise(pair->raw + keep, pair->size - keep, MADV_DONTNEED) == 0, "madvise");
        memset(bench_keep(pair->raw), 1, pair->size);
    }
    return bench_now() - start;
}
static double raw_keeping_all(void *arg, size_t count) { return raw_resets(arg, count, SIZE_MAX); }
static double raw_keeping_none(void *arg, size_t count) { return raw_resets(arg, count, 0); }
static double raw_keeping_half(void *arg, size_t count) {
    const struct pair *pair = arg;
    return raw_resets(pair, count, pair->size / 2);
}

static void resets(void) {
    static const size_t sizes[] = {16 * KIB, 1 * MIB, 4 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pair pair;
        char name[64];
        make_pair(&pair, sizes[i]);
        (void)snprintf(name, sizeof name, "reset keeping all, refill, %zu KiB", sizes[i] / KIB);
        bench_compare(name, reset_keeping_all, &pair, "refill", raw_keeping_all, &pair, 0);
        (void)snprintf(name, sizeof name, "reset keeping half, refill, %zu KiB", sizes[i] / KIB);
        bench_compare(name, reset_keeping_half, &pair, "madvise, refill", raw_keeping_half, &pair, 0);
        (void)snprintf(name, sizeof name, "reset keeping none, refill, %zu KiB", sizes[i] / KIB);
        bench_compare(name, reset_keeping_none, &pair, "madvise, refill", raw_keeping_none, &pair, 0);
        unmake_pair(&pair);
    }
}

/* ---- the first touch of 256 MiB ------------------------------------------------------------------------------------------- */

#define COLD (256 * MIB)

static double minor_faults(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_minflt;
}

struct touch {
    enum vmarena_huge huge;
    size_t commit;
    double faults, huge_bytes; /* of the last run */
};

/* By objects of 64 KiB, as an application would come to it. */
static double our_touch(void *arg, size_t count) {
    struct touch *touch = arg;
    double took = 0;
    for (size_t i = 0; i < count; i++) {
        struct vmarena *arena;
        struct vmarena_stats stats;
        struct vmarena_options options = {.reserve = COLD, .huge = touch->huge, .commit = touch->commit};
        options.commit_policy = VMARENA_COMMIT_PROTECT;
        double start = bench_now();
        bench_must(vmarena_create(&arena, &options) == 0, vmarena_explain());
        double faults = minor_faults();
        for (size_t done = 0; done < COLD; done += 64 * KIB) {
            char *object = vmarena_alloc(arena, 64 * KIB, 1);
            bench_must(object != NULL, vmarena_explain());
            memset(object, 1, 64 * KIB);
        }
        took += bench_now() - start;
        touch->faults = minor_faults() - faults;
        vmarena_stats(arena, &stats);
        touch->huge_bytes = (double)stats.huge;
        vmarena_destroy(arena);
    }
    return took;
}

static double raw_touch(void *arg, size_t count) {
    const struct touch *touch = arg;
    double took = 0;
    for (size_t i = 0; i < count; i++) {
        double start = bench_now();
        size_t span = COLD + 2 * MIB;
        char *mapping = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        bench_must(mapping != MAP_FAILED, "mmap");
        char *memory = (char *)(((uintptr_t)mapping + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1));
        if (touch->huge == VMARENA_HUGE_TRANSPARENT) (void)madvise(memory, COLD, MADV_HUGEPAGE);
        if (touch->huge == VMARENA_HUGE_NEVER) (void)madvise(memory, COLD, MADV_NOHUGEPAGE);
        memset(memory, 1, COLD);
        took += bench_now() - start;
        (void)munmap(mapping, span);
    }
    return took;
}

static void first_touch(void) {
    static const enum vmarena_huge huge[] = {VMARENA_HUGE_NEVER, VMARENA_HUGE_TRANSPARENT};
    static const size_t steps[] = {64 * KIB, 1 * MIB, 4 * MIB};
    static const char *const names[] = {"4 KiB pages", "huge pages"};
    for (size_t h = 0; h < 2; h++) {
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            struct touch touch = {.huge = huge[h], .commit = steps[i]};
            char name[64];
            (void)snprintf(name, sizeof name, "256 MiB, %s, step %zu KiB", names[h], steps[i] / KIB);
            bench_compare(name, our_touch, &touch, "mmap, touch", raw_touch, &touch, 0);
            bench_figure(name, touch.faults, "minor faults", 0);
            bench_figure(name, touch.huge_bytes / (double)MIB, "MiB on huge pages", 0);
        }
    }
}

/* ---- random reads over 1 GiB: what huge pages spare the CPU --------------------------------------------------------------- */

#define WIDE (1024 * MIB)

struct wide {
    struct vmarena *arena;
    volatile uint64_t *words;
    uint64_t state;
};

static size_t make_wide(struct wide *wide, enum vmarena_huge huge) {
    struct vmarena_options options = {.reserve = WIDE, .huge = huge};
    struct vmarena_stats stats;
    bench_must(vmarena_create(&wide->arena, &options) == 0, vmarena_explain());
    wide->words = vmarena_alloc(wide->arena, WIDE, sizeof(uint64_t));
    bench_must(wide->words != NULL, vmarena_explain());
    for (size_t i = 0; i < WIDE / sizeof(uint64_t); i++) wide->words[i] = i;
    vmarena_stats(wide->arena, &stats);
    return stats.huge;
}

/* Each address depends on the value read before. It never comes back to where it was. */
static double random_reads(void *arg, size_t count) {
    struct wide *wide = arg;
    uint64_t state = wide->state;
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        state += wide->words[(state >> 33) % (WIDE / sizeof(uint64_t))];
    }
    wide->state = state;
    return bench_now() - start;
}

/* The target holds only where the kernel gave what was asked for. */
static void wide_reads(void) {
    struct wide small = {.state = 1}, huge = {.state = 1};
    size_t on_huge = make_wide(&huge, VMARENA_HUGE_TRANSPARENT), left = make_wide(&small, VMARENA_HUGE_NEVER);
    bool obtained = on_huge == WIDE && left == 0;
    bench_figure("1 GiB for random reads", (double)on_huge / (double)MIB, "MiB on huge pages", 0);
    bench_compare(obtained ? "random reads over 1 GiB, huge pages" : "random reads over 1 GiB, huge pages not obtained",
                  random_reads, &huge, "4 KiB pages", random_reads, &small, obtained ? 1 / 1.4 : 0);
    vmarena_destroy(small.arena);
    vmarena_destroy(huge.arena);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv);
    toggles();
    resets();
    first_touch();
    wide_reads();
    return bench_end();
}
