/* SPDX-License-Identifier: MIT */
/* After fork(2) parent and child share every page until one of them writes: then that page is copied, by a fault. */
#include <sys/wait.h>
#include <unistd.h>

#include "../experiment.h"

#define PAGES 256
#define WRITTEN 64

static size_t page;

struct result {
    long faults, sum;
};

/* Both count the faults, and the values seen, of going through count pages. */
static struct result reading(volatile char *pages, size_t count) {
    struct result result = {.faults = minor_faults()};
    for (size_t i = 0; i < count; i++) result.sum += pages[i * page];
    result.faults = minor_faults() - result.faults;
    return result;
}

static struct result writing(volatile char *pages, size_t count, char value) {
    struct result result = {.faults = minor_faults()};
    for (size_t i = 0; i < count; i++) pages[i * page] = value;
    result.faults = minor_faults() - result.faults;
    return result;
}

static void run_child(char *pages, char *warm) {
    (void)reading(warm, 1), (void)writing(warm, 1, 1); /* the child's stack and code have faults of their own */
    struct result read = reading(pages, PAGES), write = writing(pages, WRITTEN, 2), again = writing(pages, WRITTEN, 2);
    must_count(read.sum, PAGES, "as the sum of what the parent wrote");
    must_count(read.faults, 0, "faults of reading shared pages");
    must_count(write.faults, WRITTEN, "faults of writing to shared pages");
    must_count(again.faults, 0, "faults of writing to pages copied before");
    printf("child: read all %d pages: %ld faults, as they are shared\n", PAGES, read.faults);
    printf("child: wrote to %d pages: %ld faults, one for each page copied\n", WRITTEN, write.faults);
    printf("child: wrote to them again: %ld faults, as they are its own now\n", again.faults);
    printf("child: the byte at %p is %d\n", (void *)pages, pages[0]);
    exit(0);
}

int main(void) {
    page = vmarena_page_size();
    struct vmarena *arena = small_page_arena((PAGES + 1) * page, "shared");
    char *pages = must_alloc(arena, PAGES * page, page), *warm = must_alloc(arena, page, page);
    int status;
    (void)writing(pages, PAGES, 1), (void)writing(warm, 1, 1);
    printf("parent: wrote 1 to %d pages from %p on\n", PAGES, (void *)pages);

    fflush(stdout);
    pid_t child = fork();
    must_be(child >= 0, "fork works");
    if (child == 0) run_child(pages, warm);
    must_be(waitpid(child, &status, 0) == child, "the child can be waited for");
    must_be(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ends well");

    must_be(pages[0] == 1, "what the child wrote is not seen by the parent");
    must_count(reading(pages, PAGES).sum, PAGES, "as the sum of the parent's bytes");
    printf("parent: the byte at %p is %d: the same address, another page\n", (void *)pages, pages[0]);
    vmarena_destroy(arena);
    return 0;
}
