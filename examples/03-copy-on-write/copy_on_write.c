/* SPDX-License-Identifier: MIT */
/* After fork(2) parent and child share every page until one of them writes: then that page is copied, by a fault. */
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../experiment.h"

#define PAGES 256
#define WRITTEN 64
#define EVERY 4 /* in the part about frames one page in so many is written to */

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

/* ---- more: the pages that were copied, and the frames behind an address ------------------------------------------------- */

struct frames {
    uint64_t number[PAGES]; /* 0: not told */
    int error;
};

/* The physical pages behind the virtual ones; only root may see them. */
static void look(struct frames *frames, const char *pages) {
    frames->error = 0;
    for (size_t i = 0; i < PAGES && frames->error == 0; i++)
        frames->error = vmarena_frame(pages + i * page, &frames->number[i]);
}

/* A character for each of the first pages, and how many there are of all. */
static void draw(const char *who, const struct frames *before, const struct frames *now) {
    int other = 0;
    if (now->error != 0) {
        printf("%s: which pages are in another frame is for root to see\n", who);
        return;
    }
    printf("%s: ", who);
    for (size_t i = 0; i < PAGES; i++) {
        bool moved = before->number[i] != now->number[i];
        other += moved;
        if (i < 64) putchar(moved ? '#' : '.');
    }
    printf(" %d of %d pages are in another frame\n", other, PAGES);
}

static void must_differ(const struct frames *before, const struct frames *now, size_t every) {
    for (size_t i = 0; i < PAGES; i++)
        must_be((before->number[i] != now->number[i]) == (every != 0 && i % every == 0),
                "the pages that were written to, and no others, are in another frame");
}

static int count_pages(const struct vmarena_pages *pages, void *arg) {
    if (pages->state & VMARENA_PAGE_SHARED) *(int *)arg += (int)((pages->end - pages->start) / page);
    return 0;
}

/* What anybody may see: which of its pages a process shares with another. */
static void tell_shared(const char *who, const char *pages) {
    int shared = 0;
    unsigned known = 0;
    int error = vmarena_residency(0, (uintptr_t)pages, PAGES * page, 0, &known, count_pages, &shared);
    if (error == 0 && (known & VMARENA_PAGE_SHARED) != 0)
        printf("%s: shares %d of %d pages with another process\n", who, shared, PAGES);
    else printf("%s: what is shared this system does not tell\n", who);
}

static void be_second_child(char *pages, const struct frames *before) {
    struct frames now;
    tell_shared("child", pages);
    for (size_t i = 0; i < PAGES; i += EVERY) pages[i * page] = 3;
    tell_shared("child, after writing to every fourth", pages);
    look(&now, pages);
    if (now.error == 0) must_differ(before, &now, EVERY);
    if (now.error == 0)
        printf("child: %p was in frame 0x%" PRIx64 " and is in 0x%" PRIx64 " now\n", (void *)pages, before->number[0],
               now.number[0]);
    else printf("child: which frame %p is in is for root to see\n", (void *)pages);
    draw("child", before, &now);
    exit(0);
}

/* The child is gone, so that nobody shares the pages any more: writing still faults, and copies nothing. */
static void write_alone(char *pages, const struct frames *before) {
    struct frames now;
    long faults = writing(pages, PAGES, 4).faults;
    must_count(faults, PAGES, "faults of writing to pages that were shared");
    look(&now, pages);
    if (now.error == 0) must_differ(before, &now, 0);
    printf("parent: alone again, wrote to all %d: %ld faults, to find that nothing is to be copied\n", PAGES, faults);
    draw("parent", before, &now);
    faults = writing(pages, PAGES, 5).faults;
    must_count(faults, 0, "faults of writing once more");
}

static void show_frames(char *pages) {
    struct frames before;
    int status;
    look(&before, pages);
    fflush(stdout);
    pid_t child = fork();
    must_be(child >= 0, "fork works");
    if (child == 0) be_second_child(pages, &before);
    must_be(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
            "the child ends well");
    write_alone(pages, &before);
}

/* What else a child may find at an address: an arena can be left out of it, or be empty there. */
static void show_wishes(void) {
    static const struct {
        unsigned flag;
        const char *name;
    } wishes[] = {{VMARENA_WIPE_ON_FORK, "VMARENA_WIPE_ON_FORK"}, {VMARENA_DONT_FORK, "VMARENA_DONT_FORK"}};
    for (size_t i = 0; i < 2; i++) {
        struct vmarena_options options = {.reserve = page, .flags = wishes[i].flag};
        struct vmarena *arena;
        int error = vmarena_create(&arena, &options), status;
        if (error != 0) {
            printf("%s: not on this system\n", wishes[i].name);
            continue;
        }
        char *byte = must_alloc(arena, page, page), seen = 0;
        *byte = 1;
        fflush(stdout);
        if (fork() == 0) {
            bool faulted = vmarena_read(byte, &seen, 1, NULL) == 1;
            if (faulted) printf("%s: the child has nothing there\n", wishes[i].name);
            else printf("%s: the child finds %d there\n", wishes[i].name, seen);
            exit(0);
        }
        must_be(wait(&status) > 0 && status == 0, "the child ends well");
        vmarena_destroy(arena);
    }
}

int main(int argc, char **argv) {
    bool more = wants_more(argc, argv);
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
    if (more) {
        show_frames(pages);
        show_wishes();
    }
    vmarena_destroy(arena);
    return 0;
}
