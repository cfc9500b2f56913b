/* SPDX-License-Identifier: MIT */
/* Snapshots: that taking and cloning one does not grow with the arena, and what restoring costs against copying it all. */
#include "bench.h"

#include <vmarena.h>

#define MIB ((size_t)1 << 20)
#define LARGE (1024 * MIB)
#define SMALL (16 * MIB)
#define RUNS 9

static struct vmarena *filled_arena(size_t size, enum vmarena_tracking way, char **bytes) {
    struct vmarena *arena;
    struct vmarena_options options = {
        .reserve = size, .huge = VMARENA_HUGE_NEVER, .flags = way == VMARENA_TRACK_FILE ? VMARENA_MEMFD : 0};
    bench_must(vmarena_create(&arena, &options) == 0, vmarena_explain());
    *bytes = vmarena_alloc(arena, size, 1);
    bench_must(*bytes != NULL, vmarena_explain());
    memset(*bytes, 1, size);
    return arena;
}

/* ---- on a memory file: size does not matter ---------------------------------------------------------------------------- */

struct times {
    double take[RUNS], again[RUNS], clone[RUNS];
};

static double timed_snapshot(struct vmarena_snapshot **snapshot, struct vmarena *arena) {
    double start = bench_now();
    bench_must(vmarena_snapshot(snapshot, arena, VMARENA_TRACK_FILE) == 0, vmarena_explain());
    return bench_now() - start;
}

/* A fresh arena, as the first snapshot is the one that moves its memory; then one with nothing written since. */
static void run(struct times *times, size_t i, size_t size) {
    struct vmarena *arena, *clone;
    struct vmarena_snapshot *first, *second;
    char *bytes;
    arena = filled_arena(size, VMARENA_TRACK_FILE, &bytes);
    times->take[i] = timed_snapshot(&first, arena);
    times->again[i] = timed_snapshot(&second, arena);
    double start = bench_now();
    bench_must(vmarena_clone(&clone, first) == 0, vmarena_explain());
    times->clone[i] = bench_now() - start;
    vmarena_destroy(clone);
    vmarena_snapshot_free(first);
    vmarena_snapshot_free(second);
    vmarena_destroy(arena);
}

static void row(const char *name, double *large, double *small) {
    double ratios[RUNS];
    for (size_t i = 0; i < RUNS; i++) ratios[i] = large[i] / small[i];
    bench_row(name, "16 MiB", bench_median(large, RUNS), bench_median(small, RUNS), bench_median(ratios, RUNS), 2);
}

static void sizes(void) {
    static struct times large, small;
    for (size_t i = 0; i < RUNS; i++) run(&large, i, LARGE), run(&small, i, SMALL);
    row("snapshot of a memory file, 1 GiB", large.take, small.take);
    row("another, nothing written since, 1 GiB", large.again, small.again);
    row("clone of a memory file, 1 GiB", large.clone, small.clone);
}

/* ---- restoring --------------------------------------------------------------------------------------------------------- */

struct restoring {
    struct vmarena *arena;
    struct vmarena_snapshot *snapshot;
    char *bytes, *copy;
    size_t dirty; /* pages written before each */
    bool writing; /* counts writing to them, too: what is lifted, copied or mapped again then */
};

/* Spread all over, as a program's writes are. */
static void write_some(const struct restoring *what) {
    size_t page = vmarena_page_size(), pages = LARGE / page;
    for (size_t i = 0; i < what->dirty; i++) what->bytes[i * 7919 % pages * page] = 2;
}

static double our_restores(void *arg, size_t count) {
    const struct restoring *what = arg;
    double took = 0;
    for (size_t i = 0; i < count; i++) {
        double start = bench_now();
        write_some(what);
        if (!what->writing) start = bench_now();
        bench_must(vmarena_restore(what->arena, what->snapshot) == 0, vmarena_explain());
        took += bench_now() - start;
    }
    return took;
}

static double raw_copies(void *arg, size_t count) {
    const struct restoring *what = arg;
    double took = 0;
    for (size_t i = 0; i < count; i++) {
        double start = bench_now();
        write_some(what);
        if (!what->writing) start = bench_now();
        memcpy(bench_keep(what->bytes), what->copy, LARGE);
        took += bench_now() - start;
    }
    return took;
}

static void restores(const char *name, enum vmarena_tracking way) {
    struct restoring ours = {.dirty = LARGE / vmarena_page_size() / 100}, plain = ours;
    char label[80];
    ours.arena = filled_arena(LARGE, way, &ours.bytes);
    if (vmarena_snapshot(&ours.snapshot, ours.arena, way) != 0) {
        if (!bench.json) printf("%s: not here: %s\n", name, vmarena_explain());
        vmarena_destroy(ours.arena);
        return;
    }
    plain.bytes = malloc(LARGE);
    plain.copy = malloc(LARGE);
    bench_must(plain.bytes != NULL && plain.copy != NULL, "malloc");
    memset(plain.bytes, 1, LARGE);
    memset(plain.copy, 1, LARGE);
    (void)snprintf(label, sizeof label, "restore 1 GiB, 1 %% written, %s", name);
    bench_compare(label, our_restores, &ours, "copy of it all", raw_copies, &plain,
                  way == VMARENA_TRACK_FILE || way == VMARENA_TRACK_SCAN ? 1.0 / 20
                                                                         : 0); /* the others: where these are not */
    ours.writing = plain.writing = true;
    (void)snprintf(label, sizeof label, "write 1 %% of 1 GiB and restore, %s", name);
    bench_compare(label, our_restores, &ours, "copy of it all", raw_copies, &plain, 0);
    free(plain.bytes);
    free(plain.copy);
    vmarena_snapshot_free(ours.snapshot);
    vmarena_destroy(ours.arena);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv);
    sizes();
    restores("FILE", VMARENA_TRACK_FILE);
    restores("SCAN", VMARENA_TRACK_SCAN);
    restores("PROTECT", VMARENA_TRACK_PROTECT);
    restores("COMPARE", VMARENA_TRACK_COMPARE);
    return bench_end();
}
