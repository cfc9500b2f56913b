/* SPDX-License-Identifier: MIT */
/* One file, read twice: by read(2), with a call for each piece, and by mmap(2), with a fault for each few pages. */
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../experiment.h"

#define MIB ((size_t)1 << 20)
#define SIZE (64 * MIB)
#define PIECE ((size_t)64 << 10)

struct pass {
    uint64_t sum;
    long calls, faults;
    double ms;
};

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* All faults, those that had to wait for the disk included. */
static long all_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static uint64_t sum_of(const uint64_t *words, size_t bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / sizeof *words; i++) sum += words[i];
    return sum;
}

/* Written through the page cache, so that both passes find it in memory. */
static int make_file(uint64_t *piece) {
    FILE *file = tmpfile();
    must_be(file != NULL, "a temporary file can be made");
    for (size_t done = 0; done < SIZE; done += PIECE) {
        for (size_t i = 0; i < PIECE / sizeof *piece; i++) piece[i] = done + i;
        must_be(write(fileno(file), piece, PIECE) == (ssize_t)PIECE, "the temporary file can be written");
    }
    return fileno(file);
}

static struct pass by_read(int fd, uint64_t *piece) {
    struct pass pass = {.faults = all_faults(), .ms = now_ms()};
    for (size_t done = 0; done < SIZE; done += PIECE, pass.calls++) {
        must_be(pread(fd, piece, PIECE, (off_t)done) == (ssize_t)PIECE, "the file can be read");
        pass.sum += sum_of(piece, PIECE);
    }
    pass.ms = now_ms() - pass.ms;
    pass.faults = all_faults() - pass.faults;
    return pass;
}

static struct pass by_mmap(int fd) {
    struct pass pass = {.calls = 1, .faults = all_faults(), .ms = now_ms()};
    void *map = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    must_be(map != MAP_FAILED, "the file can be mapped");
    pass.sum = sum_of(map, SIZE);
    pass.ms = now_ms() - pass.ms;
    pass.faults = all_faults() - pass.faults;
    munmap(map, SIZE);
    return pass;
}

int main(void) {
    uint64_t *piece = (uint64_t *)(void *)must_alloc(small_page_arena(PIECE, "buffer"), PIECE, vmarena_page_size());
    int fd = make_file(piece);
    (void)by_read(fd, piece), (void)by_mmap(fd); /* brings file and code in */
    struct pass read = by_read(fd, piece), map = by_mmap(fd);
    long pages = (long)(SIZE / vmarena_page_size());

    must_be(read.sum == map.sum, "both ways give the same bytes");
    must_count(read.faults, 0, "faults of reading into a buffer that is there");
    must_be(map.faults >= 1 && map.faults <= pages, "a mapped file takes at least one fault and at most one a page");
    printf("a file of %zu MiB, in the page cache\n", SIZE / MIB);
    printf("read: %ld calls, %ld faults, %.1f ms\n", read.calls, read.faults, read.ms);
    printf("mmap: %ld call, %ld faults for %ld pages, %.1f ms\n", map.calls, map.faults, pages, map.ms);
    printf("both saw the same bytes\n");
    return 0;
}
