/* SPDX-License-Identifier: MIT */
/*
 * catch-overrun FILE...: reads each PNG file twice with every object that the reader uses, the file's contents first of
 * all, flush against a guard page: once with the guards behind, once with the guards before. The reader is ordinary code
 * compiled with -O2; no sanitizer is needed. A bug is reported in words and survived: the next file is read all the same.
 * The exit status is 1 where a bug was caught, otherwise 2 where a file could not be read, otherwise 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmarena.h>

#include "png.h"
#include "where.h"

#define MOST_OBJECTS 8

struct job {
    struct vmarena *arena;
    const unsigned char *file;
    size_t file_size;
    struct png png;
    const char *error;
    /* What the reader called its objects, for the report. */
    struct {
        const void *start;
        const char *name;
    } objects[MOST_OBJECTS];
    unsigned count;
};

/* An alignment of 1: the last byte of the object is the last before the guard, whatever the size. */
static void *fenced(void *arg, const char *what, size_t size) {
    struct job *job = arg;
    void *object = vmarena_alloc(job->arena, size, 1);
    if (object != NULL && job->count < MOST_OBJECTS) {
        job->objects[job->count].start = object;
        job->objects[job->count++].name = what;
    }
    return object;
}

static void decode(void *arg) {
    struct job *job = arg;
    job->error = png_read(job->file, job->file_size, fenced, job, &job->png);
}

static const char *load(struct job *job, const char *path) {
    struct stat stat;
    const char *error = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return strerror(errno);
    if (fstat(fd, &stat) != 0) error = strerror(errno);
    else if (!S_ISREG(stat.st_mode) || stat.st_size <= 0) error = "it is no file, or empty";
    unsigned char *bytes = error == NULL ? fenced(job, "the file", (size_t)stat.st_size) : NULL;
    if (error == NULL && bytes == NULL) error = vmarena_explain();
    for (job->file = bytes; error == NULL && job->file_size < (size_t)stat.st_size;) {
        ssize_t got = read(fd, bytes + job->file_size, (size_t)stat.st_size - job->file_size);
        if (got <= 0) error = got < 0 ? strerror(errno) : "it became shorter";
        else job->file_size += (size_t)got;
    }
    (void)close(fd);
    return error;
}

/* ---- reports ---- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void report_image(const char *path, const struct png *png) {
    static const char *const kinds[7] = {
        [0] = "grey", [2] = "RGB", [3] = "palette", [4] = "grey with alpha", [6] = "RGB with alpha"};
    printf("%s: %ux%u, %s", base_name(path), (unsigned)png->width, (unsigned)png->height, kinds[png->color]);
    if (png->palette_count != 0) printf(" of %u colours, %u with alpha", png->palette_count, png->alpha_count);
    printf(": %zu opaque, %zu translucent, %zu clear pixels\n", png->opaque, png->translucent, png->clear);
}

static const char *object_name(const struct job *job, const void *start) {
    for (unsigned i = 0; i < job->count; i++)
        if (job->objects[i].start == start) return job->objects[i].name;
    return "an object";
}

static void report_fault(const char *path, const struct job *job, const struct vmarena_fault *fault) {
    static const char *const verbs[] = {"access", "read", "write", "execution"};
    char place[512], words[256];
    where_is(fault->pc, place, sizeof place);
    if (fault->object == NULL || fault->distance == 0) {
        (void)vmarena_fault_describe(fault, words, sizeof words);
        printf("%s: BUG: %s, %s\n", base_name(path), words, place);
        return;
    }
    size_t far = fault->distance < 0 ? (size_t)-fault->distance : (size_t)fault->distance;
    printf("%s: BUG: %s %zu byte%s %s %s (%zu bytes), %s\n", base_name(path), verbs[fault->access], far,
           far == 1 ? "" : "s", fault->distance < 0 ? "before the start of" : "past the end of",
           object_name(job, fault->object), fault->object_size, place);
}

/* ---- one file ---- */

enum outcome { CLEAN, BUG, UNREADABLE };

static enum outcome read_once(struct vmarena *arena, const char *path, struct png *png) {
    struct job job = {.arena = arena};
    struct vmarena_fault fault;
    enum outcome outcome = CLEAN;
    job.error = load(&job, path);
    int result = job.error == NULL ? vmarena_try_in(arena, decode, &job, &fault) : 0;
    if (result == 1) {
        report_fault(path, &job, &fault);
        outcome = BUG;
    } else if (result < 0 || job.error != NULL) {
        printf("%s: not read: %s\n", base_name(path), result < 0 ? vmarena_explain() : job.error);
        outcome = UNREADABLE;
    }
    *png = job.png;
    /* Bytes between an object and its pages' other end hold a pattern: whoever wrote there is found out now. */
    if (vmarena_reset(arena, 0) == -EILSEQ) {
        printf("%s: BUG: %s\n", base_name(path), vmarena_explain());
        outcome = BUG;
    }
    return outcome;
}

static enum outcome read_file(struct vmarena *const arenas[2], const char *path) {
    struct png png;
    enum outcome outcome = CLEAN;
    for (int i = 0; i < 2 && outcome == CLEAN; i++) outcome = read_once(arenas[i], path, &png);
    if (outcome == CLEAN) report_image(path, &png);
    return outcome;
}

static int read_all(struct vmarena *const arenas[2], char **paths, int count) {
    int counts[3] = {0};
    for (int i = 0; i < count; i++) counts[read_file(arenas, paths[i])]++;
    printf("%d file%s, %d with a bug caught\n", count, count == 1 ? "" : "s", counts[BUG]);
    return counts[BUG] != 0 ? 1 : counts[UNREADABLE] != 0 ? 2 : 0;
}

int main(int argc, char **argv) {
    struct vmarena *arenas[2] = {NULL, NULL};
    struct vmarena_options behind = {.reserve = (size_t)1 << 30, .fence = VMARENA_FENCE_END, .name = "guards behind"};
    struct vmarena_options before = {.reserve = (size_t)1 << 30, .fence = VMARENA_FENCE_START, .name = "guards before"};
    if (argc < 2) {
        fprintf(stderr, "usage: catch-overrun FILE.png...\n");
        return 2;
    }
    int status = 2;
    if (vmarena_create(&arenas[0], &behind) != 0 || vmarena_create(&arenas[1], &before) != 0)
        fprintf(stderr, "catch-overrun: %s\n", vmarena_explain());
    else status = read_all(arenas, argv + 1, argc - 1);
    vmarena_destroy(arenas[0]);
    vmarena_destroy(arenas[1]);
    return status;
}
