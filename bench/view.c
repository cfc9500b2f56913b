/* SPDX-License-Identifier: MIT */
/* A file of 64 MiB in the page cache: through a view against pread(2), in order, at random, and in small pieces of it. */
#include "bench.h"

#include <unistd.h>
#include <vmarena.h>

#define SIZE ((size_t)64 << 20)

struct reading {
    int fd;
    size_t piece;              /* bytes that are looked at at a time */
    bool random;               /* where the pieces lie */
    bool populate;             /* the view is brought in when it is opened */
    struct vmarena_view *kept; /* opened once; NULL: opened and closed each time */
    char *buffer;
};

static uint64_t sum_of(const char *bytes, size_t size) {
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* Every piece once, by a step that has no divisor in common with their number, a power of two. */
static size_t place(const struct reading *reading, size_t i) {
    size_t pieces = SIZE / reading->piece;
    return (reading->random ? i * 7919 % pieces : i) * reading->piece;
}

static struct vmarena_view *open_view(const struct reading *reading) {
    struct vmarena_view *view;
    struct vmarena_view_options options = {.flags = reading->populate ? VMARENA_PREFAULT : 0};
    bench_must(vmarena_view_open_fd(&view, reading->fd, &options) == 0, vmarena_explain());
    return view;
}

static double by_view(void *arg, size_t count) {
    struct reading *reading = arg;
    uint64_t sum = 0;
    double start = bench_now();
    for (size_t round = 0; round < count; round++) {
        struct vmarena_view *view = reading->kept != NULL ? reading->kept : open_view(reading);
        const char *bytes = view->data;
        for (size_t i = 0; i < SIZE / reading->piece; i++) sum += sum_of(bytes + place(reading, i), reading->piece);
        if (view != reading->kept) vmarena_view_close(view);
    }
    (void)bench_keep(&sum);
    return bench_now() - start;
}

static double by_pread(void *arg, size_t count) {
    struct reading *reading = arg;
    uint64_t sum = 0;
    double start = bench_now();
    for (size_t round = 0; round < count; round++)
        for (size_t i = 0; i < SIZE / reading->piece; i++) {
            ssize_t got = pread(reading->fd, reading->buffer, reading->piece, (off_t)place(reading, i));
            bench_must(got == (ssize_t)reading->piece, "pread");
            sum += sum_of(reading->buffer, reading->piece);
        }
    (void)bench_keep(&sum);
    return bench_now() - start;
}

int main(int argc, char **argv) {
    static char buffer[64 << 10];
    bench_begin(argc, argv);
    FILE *file = tmpfile();
    bench_must(file != NULL, "tmpfile");
    for (size_t done = 0; done < SIZE; done += sizeof buffer)
        bench_must(write(fileno(file), buffer, sizeof buffer) == (ssize_t)sizeof buffer, "write");
    struct reading reading = {.fd = fileno(file), .piece = sizeof buffer, .buffer = buffer};
    bench_compare("a view of 64 MiB, in order", by_view, &reading, "pread, 64 KiB", by_pread, &reading, 0);
    reading.populate = true;
    bench_compare("a view of 64 MiB, brought in at once, in order", by_view, &reading, "pread, 64 KiB", by_pread,
                  &reading, 0);
    reading.kept = open_view(&reading);
    bench_compare("a view of 64 MiB, kept open, in order", by_view, &reading, "pread, 64 KiB", by_pread, &reading, 0);
    reading.random = true;
    reading.piece = 4 << 10;
    bench_compare("a view of 64 MiB, kept open, 4 KiB at random", by_view, &reading, "pread, 4 KiB", by_pread, &reading,
                  0);
    reading.piece = 64;
    bench_compare("a view of 64 MiB, kept open, 64 bytes at random", by_view, &reading, "pread, 64 bytes", by_pread,
                  &reading, 0);
    vmarena_view_close(reading.kept);
    return bench_end();
}
