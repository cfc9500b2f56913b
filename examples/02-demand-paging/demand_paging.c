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

int main(void) {
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
    return 0;
}
