/* SPDX-License-Identifier: MIT */
/*
 * Snapshots compared with plain copies, under random sequences of everything that can be done to an arena: writing,
 * allocating, rewinding, discarding, protecting, forking, and snapshots with every way of tracking. A failure names the seed.
 */
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <setjmp.h>

#include "support.h"

enum { SNAPSHOTS = 5, SEEDS = 60, STEPS = 120, LEAST = 20, MOST = 250 }; /* the last two in pages */

struct model {
    struct vmarena *arena;
    unsigned char *bytes;
    bool writable;
    struct vmarena_mark mark;
    struct {
        struct vmarena_snapshot *snapshot; /* NULL: none */
        unsigned char *copy;
        size_t size;
    } taken[SNAPSHOTS];
};

static size_t page, seed;
static uint64_t state;

static size_t below(size_t limit) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (size_t)(state >> 11) % limit;
}

static void must(bool good, const char *what) {
    if (!good) fail_msg("seed %zu: %s: %s", seed, what, vmarena_explain());
}

static size_t used(const struct model *model) {
    struct vmarena_stats stats;
    vmarena_stats(model->arena, &stats);
    return stats.used;
}

static void grow(struct model *model, size_t size) {
    void *object = vmarena_alloc(model->arena, size, 1);
    must(object != NULL, "alloc");
    memset(object, (int)below(256), size);
}

static void make(struct model *model) {
    struct vmarena_options options = {.reserve = 300 * page};
    if (below(2) == 0 && memory_files_work()) options.flags |= VMARENA_MEMFD;
    if (below(4) == 0) options.flags |= VMARENA_PREFAULT;
    if (below(2) == 0) options.commit_policy = VMARENA_COMMIT_PROTECT, options.commit = 4 * page;
    if (below(4) == 0) options.huge = VMARENA_HUGE_TRANSPARENT, options.reserve = 1500 * page;
    *model = (struct model){.writable = true};
    must(vmarena_create(&model->arena, &options) == 0, "create");
    model->bytes = vmarena_alloc(model->arena, LEAST * page, page);
    must(model->bytes != NULL, "alloc");
    model->mark = vmarena_mark(model->arena);
}

/* ---- what is done to the arena ----------------------------------------------------------------------------------------- */

static void scribble(struct model *model) {
    size_t size = used(model);
    for (size_t writes = below(6) + 1; writes > 0; writes--) {
        size_t at = below(size), length = below(3 * page) + 1;
        memset(model->bytes + at, (int)below(255) + 1, length < size - at ? length : size - at);
    }
}

static void allocate(struct model *model) {
    size_t size = below(9 * page) + 1;
    if (used(model) + size < MOST * page) grow(model, size);
}

static void rewind_it(struct model *model) {
    int error = vmarena_rewind(model->arena, model->mark);
    must(error == 0 || error == -ESTALE, "rewind");
    if (used(model) < LEAST * page) grow(model, LEAST * page - used(model));
}

static void give_back(struct model *model) {
    size_t pages = used(model) / page, from = below(pages), count = 1 + below(pages - from);
    unsigned char *start = model->bytes + from * page;
    must(vmarena_discard(model->arena, start, count * page) == 0, "discard");
    for (size_t i = 0; i < count * page; i++) must(start[i] == 0, "what was given back is zero");
}

static void protect(struct model *model) {
    model->writable = !model->writable;
    unsigned prot = model->writable ? VMARENA_READ | VMARENA_WRITE : VMARENA_READ;
    must(vmarena_protect(model->arena, prot) == 0, "protect");
}

/* The child sees what its parent saw, changes all of it, and brings it back. */
static void be_child(struct model *model, size_t which, const unsigned char *seen, size_t size) {
    if (memcmp(model->bytes, seen, size) != 0) _exit(1);
    for (size_t at = 0; at < size; at += page) model->bytes[at] ^= 1;
    if (model->taken[which].snapshot == NULL) _exit(0);
    if (vmarena_restore(model->arena, model->taken[which].snapshot) != 0) _exit(2);
    _exit(memcmp(model->bytes, model->taken[which].copy, model->taken[which].size) == 0 ? 0 : 3);
}

static void fork_it(struct model *model, size_t which) {
    size_t size = used(model);
    int status;
    unsigned char *seen = malloc(size);
    memcpy(seen, model->bytes, size);
    pid_t child = fork();
    if (child == 0) be_child(model, which, seen, size);
    must(waitpid(child, &status, 0) == child && status == 0, "the child");
    must(memcmp(model->bytes, seen, size) == 0, "what the child does stays there");
    free(seen);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------------- */

static void drop(struct model *model, size_t which) {
    vmarena_snapshot_free(model->taken[which].snapshot);
    free(model->taken[which].copy);
    model->taken[which].snapshot = NULL;
    model->taken[which].copy = NULL;
}

static void take(struct model *model, size_t which) {
    size_t size = used(model);
    enum vmarena_tracking way = (enum vmarena_tracking)below(VMARENA_TRACK_COMPARE + 1);
    drop(model, which);
    model->taken[which].copy = malloc(size);
    model->taken[which].size = size;
    memcpy(model->taken[which].copy, model->bytes, size);
    int error = vmarena_snapshot(&model->taken[which].snapshot, model->arena, way);
    must(memcmp(model->bytes, model->taken[which].copy, size) == 0, "taking it changes nothing");
    if (error == 0) return;
    must(way != VMARENA_TRACK_AUTO && (error == -EOPNOTSUPP || error == -EBUSY || error == -EACCES), "snapshot");
    model->taken[which].snapshot = NULL;
    drop(model, which);
}

static void clone_it(struct model *model, size_t which) {
    struct vmarena *clone;
    size_t size = model->taken[which].size;
    must(vmarena_clone(&clone, model->taken[which].snapshot) == 0, "clone");
    must(vmarena_protect(clone, VMARENA_READ | VMARENA_WRITE) == 0, "protect");
    unsigned char *next = vmarena_alloc(clone, 1, 1);
    must(next != NULL, "alloc");
    must(memcmp(next - size, model->taken[which].copy, size) == 0, "the clone's bytes");
    vmarena_destroy(clone);
}

static void restore(struct model *model, size_t which) {
    int error = vmarena_restore(model->arena, model->taken[which].snapshot);
    if (error == -EACCES && !model->writable) return;
    must(error == 0, "restore");
    must(used(model) == model->taken[which].size, "what is used after restoring");
    must(memcmp(model->bytes, model->taken[which].copy, model->taken[which].size) == 0, "the bytes after restoring");
}

static void step(struct model *model) {
    size_t what = below(28), which = below(SNAPSHOTS);
    if (what == 0) protect(model);
    else if (what < 12) {
        if (!model->writable) return;
        if (what == 1) fork_it(model, which);
        else if (what == 2) rewind_it(model);
        else if (what < 5) give_back(model);
        else if (what < 7) allocate(model);
        else scribble(model);
    } else if (what < 16) take(model, which);
    else if (model->taken[which].snapshot == NULL) return;
    else if (what < 18) clone_it(model, which);
    else restore(model, which);
}

static void test_against_copies(void **unused) {
    (void)unused;
    skip_where_annotated();
    page = vmarena_page_size();
    assert_int_equal(vmarena_fault_reassert(), 0);
    for (seed = 1; seed <= SEEDS; seed++) {
        struct model model;
        state = seed * 2654435761u + 88172645463325252u;
        for (size_t i = 0; i < 10; i++) (void)below(2);
        make(&model);
        for (size_t i = 0; i < STEPS; i++) step(&model);
        for (size_t i = 0; i < SNAPSHOTS; i++) drop(&model, i);
        vmarena_destroy(model.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_copies)};
    return cmocka_run_group_tests_name("snapshot model", tests, NULL, NULL);
}
