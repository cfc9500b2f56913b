/* SPDX-License-Identifier: MIT */
/*
 * Demand paging in user space: pages that are computed, decompressed, or read from a file when they are first touched, and
 * put out again when there are too many. The program that reads them sees plain memory.
 *
 * One thread: another one could see a page that is only half filled. What the function calls is allowed in a signal handler:
 * it computes, reads by pread(2), and changes protections.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../experiment.h"

#define PAGES 1000
#define ROOM 16 /* pages that may be in memory at once */

static size_t page;

struct pager {
    struct vmarena *arena;
    char *pages;
    void (*make)(char *page, size_t number);
    size_t present[ROOM], count, next; /* a ring: the oldest goes first */
    volatile int made, put_out;        /* volatile: they change in the handler, at any access */
};

/* A page that is put out is gone: what it held can be made again. */
static bool put_out(struct pager *pager, size_t number) {
    char *start = pager->pages + number * page;
    pager->put_out++;
    return madvise(start, page, MADV_DONTNEED) == 0 &&
           vmarena_protect_range(pager->arena, start, page, VMARENA_NONE) == 0;
}

/* In the signal handler: the first touch of a page. */
static bool bring_in(const struct vmarena_fault *fault, void *arg) {
    struct pager *pager = arg;
    size_t number = (size_t)((char *)fault->address - pager->pages) / page;
    char *start = pager->pages + number * page;
    if (fault->kind != VMARENA_FAULT_PROTECTED) return false;
    if (pager->count == ROOM && !put_out(pager, pager->present[pager->next])) return false;
    if (vmarena_protect_range(pager->arena, start, page, VMARENA_READ | VMARENA_WRITE) != 0) return false;
    pager->make(start, number);
    pager->present[pager->next] = number;
    pager->next = (pager->next + 1) % ROOM;
    if (pager->count < ROOM) pager->count++;
    pager->made++;
    return vmarena_protect_range(pager->arena, start, page, VMARENA_READ) == 0;
}

/* ---- where pages come from ---------------------------------------------------------------------------------------------- */

/* What every page holds: PAGES pages of numbers, each one page's worth. */
static uint32_t value_at(size_t index) { return (uint32_t)(index * 2654435761u) >> 16; }

static void compute(char *to, size_t number) {
    uint32_t *values = (uint32_t *)(void *)to;
    size_t count = page / sizeof *values;
    for (size_t i = 0; i < count; i++) values[i] = value_at(number * count + i);
}

/* Run lengths: a byte, and how often. Page n holds 1 byte of n, 2 of n + 1, 4 of n + 2, ..., and the rest of the last. */
static unsigned char packed[PAGES][32];

static void pack(void) {
    for (size_t n = 0; n < PAGES; n++)
        for (size_t i = 0; i < sizeof packed[n]; i++) packed[n][i] = (unsigned char)(n + i);
}

static void unpack(char *to, size_t number) {
    for (size_t done = 0, i = 0; done < page; i++) {
        size_t length = (size_t)1 << (i < 20 ? i : 20);
        if (length > page - done) length = page - done;
        memset(to + done, packed[number][i], length);
        done += length;
    }
}

static int file; /* PAGES pages, as compute() makes them */

static void write_file(char *buffer) {
    FILE *made = tmpfile();
    must_be(made != NULL, "a temporary file can be made");
    file = fileno(made);
    for (size_t n = 0; n < PAGES; n++) {
        compute(buffer, n);
        must_be(pwrite(file, buffer, page, (off_t)(n * page)) == (ssize_t)page, "the temporary file can be written");
    }
}

static void read_from_file(char *to, size_t number) {
    if (pread(file, to, page, (off_t)(number * page)) != (ssize_t)page) memset(to, 0, page);
}

/* ---- using them --------------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const volatile char *bytes, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum = sum * 31 + (unsigned char)bytes[i];
    return sum;
}

/* The same as if all had been made beforehand. */
static uint64_t sum_beforehand(void (*make)(char *page, size_t number), char *buffer) {
    uint64_t sum = 0;
    for (size_t n = 0; n < PAGES; n++) {
        make(buffer, n);
        sum += sum_of(buffer, page);
    }
    return sum;
}

/* What is no page of the arena's is a fault like any. */
static bool past_the_end_faults(const struct pager *pager) {
    struct vmarena_fault fault;
    char byte;
    return vmarena_read(pager->pages + PAGES * page, &byte, 1, &fault) == 1 && fault.kind == VMARENA_FAULT_OVERRUN;
}

static void show(const char *how, void (*make)(char *page, size_t number), char *buffer) {
    struct pager pager = {.arena = small_page_arena(PAGES * page, how), .make = make};
    uint64_t expected = sum_beforehand(make, buffer), sum = 0;
    pager.pages = must_alloc(pager.arena, PAGES * page, page);
    must_work(vmarena_protect(pager.arena, VMARENA_NONE) == 0, "vmarena_protect");
    must_work(vmarena_on_fault(pager.arena, bring_in, &pager) == 0, "vmarena_on_fault");
    for (size_t n = 0; n < PAGES; n++) sum += sum_of(pager.pages + n * page, page);
    must_be(sum == expected, "every byte is what it would be if all had been there before");
    printf("%s: all %d pages read, %d made, %d put out, never more than %d there\n", how, PAGES, pager.made,
           pager.put_out, ROOM);
    int made = pager.made;
    for (int again = 0; again < 3; again++) (void)sum_of(pager.pages + (PAGES - ROOM) * page, ROOM * page);
    must_count(pager.made - made, 0, "pages made though they were there");
    for (size_t i = 0; i < 100; i++) (void)sum_of(pager.pages + i * 7919 % PAGES * page, 1);
    printf("%s: those that are there read again: 0 made; 100 anywhere: %d made\n", how, pager.made - made);
    must_be(past_the_end_faults(&pager), "a repair function does not hide what is wrong");
    vmarena_destroy(pager.arena);
}

int main(void) {
    page = vmarena_page_size();
    char *buffer = must_alloc(small_page_arena(page, "buffer"), page, page);
    pack();
    write_file(buffer);
    show("computed", compute, buffer);
    show("decompressed", unpack, buffer);
    show("read from a file", read_from_file, buffer);
    printf("%zu bytes packed stood for %zu pages\n", sizeof packed, (size_t)PAGES);
    return 0;
}
