/* SPDX-License-Identifier: MIT */
/* Memory comes with the first touch, a page at a time, and each time by a page fault that can be counted. */
#include "../experiment.h"

#define PAGES 1000
#define GIVEN_BACK 500
#define CLOSED 100

static size_t page;

/* Writes one byte in each of count pages and returns the faults that this took. */
static long faults_of_writing(volatile char *pages, size_t count) {
    long before = minor_faults();
    for (size_t i = 0; i < count; i++) pages[i * page] = 1;
    return minor_faults() - before;
}

struct pager {
    struct vmarena *arena;
    volatile int calls;
};

/* Demand paging in user space: opens the one page that was touched, and has the access tried again. */
static bool open_page(const struct vmarena_fault *fault, void *arg) {
    struct pager *pager = arg;
    char *start = (char *)fault->address - (uintptr_t)fault->address % page;
    pager->calls++;
    return vmarena_protect_range(pager->arena, start, page, VMARENA_READ | VMARENA_WRITE) == 0;
}

/* ---- more: what a fault brings ------------------------------------------------------------------------------------------ */

static int count_pages(const struct vmarena_pages *pages, void *arg) {
    *(size_t *)arg += (size_t)(pages->end - pages->start) / page;
    return 0;
}

/* How many of the pages are in a state; false: the system does not tell. */
static bool count_in(const char *pages, size_t count, unsigned state, size_t *out) {
    unsigned known = 0;
    *out = 0;
    int error = vmarena_residency(0, (uintptr_t)pages, count * page, state, &known, count_pages, out);
    return error == 0 && known == state;
}

static long faults_of_reading(const volatile char *pages, size_t count) {
    long before = minor_faults();
    for (size_t i = 0; i < count; i++) (void)pages[i * page];
    return minor_faults() - before;
}

/* To be read, all of them are one page of zeroes; a page of one's own comes with the first write. */
static void show_reading_first(void) {
    struct vmarena *arena = small_page_arena(PAGES * page, "read first");
    char *pages = must_alloc(arena, PAGES * page, page);
    size_t zero = 0, own = 0;
    (void)faults_of_reading(must_alloc(small_page_arena(page, "warm"), page, 1), 1);
    long faults = faults_of_reading(pages, PAGES);
    must_count(faults, PAGES, "faults of the first read");
    printf("first read of each of %d fresh pages: %ld faults\n", PAGES, faults);
    if (count_in(pages, PAGES, VMARENA_PAGE_ZERO, &zero))
        printf("the system's one page of zeroes is behind %zu of them\n", zero);
    else printf("what is behind them this system does not tell\n");
    faults = faults_of_writing(pages, PAGES);
    must_count(faults, PAGES, "faults of the first write after that");
    if (count_in(pages, PAGES, VMARENA_PAGE_DIRTY, &own)) must_count((long)own, PAGES, "pages of its own");
    printf("first write to each after that: %ld faults, as only now each gets a page of its own\n", faults);
    vmarena_destroy(arena);
}

/* The faults of a call that brings pages in are the kernel's business, and no access stops for them later. */
static void show_bringing_in(void) {
    struct vmarena *arena = small_page_arena(PAGES * page, "ahead");
    struct vmarena_mark start = vmarena_mark(arena);
    char *pages = must_alloc(arena, PAGES * page, page);
    size_t before = 0, after = 0;
    must_work(vmarena_rewind(arena, start) == 0, "vmarena_rewind");
    bool told = count_in(pages, PAGES, VMARENA_PAGE_RESIDENT, &before);
    must_work(vmarena_prefault(arena, PAGES * page) == 0, "vmarena_prefault");
    told = told && count_in(pages, PAGES, VMARENA_PAGE_RESIDENT, &after);
    if (told) printf("%zu of %d pages are in memory, and %zu after one call to bring them in\n", before, PAGES, after);
    else printf("how many pages are in memory this system does not tell\n");
    long faults = faults_of_writing(must_alloc(arena, PAGES * page, page), PAGES);
    must_count(faults, 0, "faults after bringing them in");
    printf("first write to each of the %d pages then: %ld faults\n", PAGES, faults);
    vmarena_destroy(arena);
}

/* A huge page comes whole, with one fault. */
static void show_huge_pages(void) {
    struct vmarena_options options = {.reserve = (size_t)16 << 20, .huge = VMARENA_HUGE_TRANSPARENT, .name = "huge"};
    struct vmarena *arena;
    struct vmarena_stats stats;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    char *pages = must_alloc(arena, options.reserve, page);
    long faults = faults_of_writing(pages, options.reserve / page);
    vmarena_stats(arena, &stats);
    if (stats.huge == options.reserve && faults > 0)
        printf("first write to each page of 16 MiB on huge pages: %ld faults, one for each %zu KiB\n", faults,
               options.reserve / (size_t)faults / 1024);
    else printf("huge pages were not obtained as asked: nothing is claimed\n");
    vmarena_destroy(arena);
}

int main(int argc, char **argv) {
    bool more = wants_more(argc, argv);
    page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(PAGES * page, "demand");
    (void)faults_of_writing(must_alloc(small_page_arena(page, "warm"), page, 1), 1); /* brings the code itself in */

    long before = minor_faults();
    char *pages = must_alloc(arena, PAGES * page, page);
    long faults = minor_faults() - before;
    must_count(faults, 0, "faults of allocating");
    printf("allocated %d pages: %ld faults, as addresses are not memory yet\n", PAGES, faults);

    faults = faults_of_writing(pages, PAGES);
    must_count(faults, PAGES, "faults of the first write");
    printf("first write to each of the %d pages: %ld faults, one a page\n", PAGES, faults);

    faults = faults_of_writing(pages, PAGES);
    must_count(faults, 0, "faults of the second write");
    printf("second write to each of the %d pages: %ld faults, as they are there now\n", PAGES, faults);

    must_work(vmarena_discard(arena, pages, GIVEN_BACK * page) == 0, "vmarena_discard");
    must_be(pages[0] == 0, "a page that was given back reads as zero");
    must_work(vmarena_discard(arena, pages, GIVEN_BACK * page) == 0, "vmarena_discard");
    faults = faults_of_writing(pages, PAGES);
    must_count(faults, GIVEN_BACK, "faults after giving pages back");
    printf("gave %d pages back and wrote to all %d: %ld faults\n", GIVEN_BACK, PAGES, faults);

    struct pager pager = {.arena = arena};
    must_work(vmarena_protect(arena, VMARENA_NONE) == 0, "vmarena_protect");
    must_work(vmarena_on_fault(arena, open_page, &pager) == 0, "vmarena_on_fault");
    (void)faults_of_writing(pages, CLOSED);
    must_count(pager.calls, CLOSED, "calls of the function that opens a page");
    printf("closed all pages and wrote to %d: our own function was called %d times, to open one each\n", CLOSED,
           pager.calls);
    vmarena_destroy(arena);
    if (!more) return 0;
    show_reading_first();
    show_bringing_in();
    show_huge_pages();
    return 0;
}
