/* SPDX-License-Identifier: MIT */
/*
 * A file read by read(2), by pread(2) and through a mapping, in order and at random, when it has to come from the disk and
 * when it is in the page cache: calls, faults and time. Major faults are those that waited for the disk.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../experiment.h"

#define MIB ((size_t)1 << 20)
#define SIZE (16 * MIB)
#define PIECE ((size_t)64 << 10)

static size_t page, pages;
static uint32_t *order; /* every page once, at random */
static char *buffer;

struct pass {
    uint64_t sum;
    unsigned long calls;
};

static uint64_t sum_of(const void *bytes, size_t size) {
    const uint64_t *words = bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < size / sizeof *words; i++) sum += words[i];
    return sum;
}

/* ---- the ways ----------------------------------------------------------------------------------------------------------- */

static struct pass by_calls(int fd, size_t piece, bool random) {
    struct pass pass = {.sum = 0};
    for (size_t i = 0; i < SIZE / piece; i++, pass.calls++) {
        off_t offset = (off_t)((random ? order[i] : i) * piece);
        must_be(pread(fd, buffer, piece, offset) == (ssize_t)piece, "the file can be read");
        pass.sum += sum_of(buffer, piece);
    }
    return pass;
}

static struct pass by_read(int fd) {
    struct pass pass = {.calls = 1};
    must_be(lseek(fd, 0, SEEK_SET) == 0, "the file has a beginning");
    for (ssize_t got; (got = read(fd, buffer, PIECE)) > 0; pass.calls++) pass.sum += sum_of(buffer, (size_t)got);
    return pass;
}

static struct pass by_pread(int fd) { return by_calls(fd, page, false); }
static struct pass by_pread_at_random(int fd) { return by_calls(fd, page, true); }

/* Opening, advising and closing are the calls. */
static struct pass by_view(int fd, bool random, enum vmarena_view_advice advice, unsigned flags) {
    struct vmarena_view_options options = {.flags = flags};
    struct pass pass = {.calls = 2};
    struct vmarena_view *view;
    must_work(vmarena_view_open_fd(&view, fd, &options) == 0, "vmarena_view_open_fd");
    if (advice != VMARENA_VIEW_NORMAL) {
        must_work(vmarena_view_advise(view, 0, 0, advice) == 0, "vmarena_view_advise");
        pass.calls++;
    }
    const char *bytes = view->data;
    for (size_t i = 0; i < pages; i++) pass.sum += sum_of(bytes + (random ? order[i] : i) * page, page);
    vmarena_view_close(view);
    return pass;
}

static struct pass by_mmap(int fd) { return by_view(fd, false, VMARENA_VIEW_NORMAL, 0); }
static struct pass by_mmap_told(int fd) { return by_view(fd, false, VMARENA_VIEW_SEQUENTIAL, 0); }
static struct pass by_mmap_populated(int fd) { return by_view(fd, false, VMARENA_VIEW_NORMAL, VMARENA_PREFAULT); }
static struct pass by_mmap_at_random(int fd) { return by_view(fd, true, VMARENA_VIEW_NORMAL, 0); }
static struct pass by_mmap_at_random_told(int fd) { return by_view(fd, true, VMARENA_VIEW_RANDOM, 0); }

static const struct way {
    const char *name;
    struct pass (*run)(int fd);
} ways[] = {{"read in order, 64 KiB a call", by_read},
            {"pread in order, a page a call", by_pread},
            {"pread at random, a page a call", by_pread_at_random},
            {"mapped, in order", by_mmap},
            {"mapped, in order, told so", by_mmap_told},
            {"mapped, brought in at once", by_mmap_populated},
            {"mapped, at random", by_mmap_at_random},
            {"mapped, at random, told so", by_mmap_at_random_told}};

/* ---- cold and warm ------------------------------------------------------------------------------------------------------ */

static int count_cached(const struct vmarena_pages *run, void *arg) {
    *(size_t *)arg += (size_t)(run->end - run->start) / page;
    return 0;
}

/* Pages of the file that are in memory; false: the system does not tell. */
static bool cached(int fd, size_t *count) {
    struct vmarena_view *view;
    unsigned known = 0;
    *count = 0;
    must_work(vmarena_view_open_fd(&view, fd, NULL) == 0, "vmarena_view_open_fd");
    int error = vmarena_residency(0, (uintptr_t)view->data, SIZE, VMARENA_PAGE_CACHED, &known, count_cached, count);
    vmarena_view_close(view);
    return error == 0 && known != 0;
}

/* The kernel is asked to forget the file, which it may decline: a file system in memory has nowhere else to keep it. */
static bool make_cold(int fd) {
    size_t left;
    must_be(fsync(fd) == 0, "the file can be written out");
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return cached(fd, &left) && left == 0;
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void run(const struct way *way, int fd, const char *state, uint64_t sum) {
    uint64_t minor[2], major[2];
    must_work(vmarena_fault_counts(&minor[0], &major[0]) == 0, "vmarena_fault_counts");
    double start = now_ms();
    struct pass pass = way->run(fd);
    double took = now_ms() - start;
    must_work(vmarena_fault_counts(&minor[1], &major[1]) == 0, "vmarena_fault_counts");
    must_be(pass.sum == sum, "every way gives the same bytes");
    printf("%-32s  %-4s  %8lu  %8lu  %8lu  %8.1f\n", way->name, state, pass.calls, (unsigned long)(minor[1] - minor[0]),
           (unsigned long)(major[1] - major[0]), took);
}

/* ------------------------------------------------------------------------------------------------------------------------- */

static void shuffle(void) {
    uint64_t random = 1;
    for (size_t i = 0; i < pages; i++) order[i] = (uint32_t)i;
    for (size_t i = pages - 1; i > 0; i--) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t other = (size_t)(random >> 33) % (i + 1);
        uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static int make_file(uint64_t *sum) {
    FILE *file = tmpfile();
    must_be(file != NULL, "a temporary file can be made");
    *sum = 0;
    for (size_t done = 0; done < SIZE; done += PIECE) {
        for (size_t i = 0; i < PIECE / sizeof(uint64_t); i++) ((uint64_t *)(void *)buffer)[i] = done + i;
        *sum += sum_of(buffer, PIECE);
        must_be(write(fileno(file), buffer, PIECE) == (ssize_t)PIECE, "the temporary file can be written");
    }
    return fileno(file);
}

int main(void) {
    uint64_t sum;
    page = vmarena_page_size();
    pages = SIZE / page;
    struct vmarena *arena = small_page_arena(PIECE + pages * sizeof *order, "table");
    buffer = must_alloc(arena, PIECE, page);
    order = (uint32_t *)(void *)must_alloc(arena, pages * sizeof *order, sizeof *order);
    shuffle();
    int fd = make_file(&sum);
    bool cools = make_cold(fd);
    printf("a file of %zu MiB, %zu pages\n", SIZE / MIB, pages);
    if (!cools) printf("it stays in memory, so that there is no cold: nothing is claimed about it\n");
    else printf("cold: none of its pages in memory; warm: all of them\n");
    printf("%-32s  %-4s  %8s  %8s  %8s  %8s\n", "", "", "calls", "minor", "major", "ms");
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (cools && make_cold(fd)) run(&ways[i], fd, "cold", sum);
        else printf("%-32s  %-4s  %8s  %8s  %8s  %8s\n", ways[i].name, "cold", "-", "-", "-", "-");
        (void)by_read(fd); /* which brings in what was left out */
        run(&ways[i], fd, "warm", sum);
    }
    printf("every way gave the same bytes\n");
    vmarena_destroy(arena);
    return 0;
}
