/* SPDX-License-Identifier: MIT */
/*
 * Copy on write in user space: a table keeps the version it had at a point, at the cost of the pages written since. The
 * first write to a page faults; the function copies the page as it was, and lets the write go on.
 */
#include <string.h>

#include "../experiment.h"

#define PAGES 256
#define BYTES (PAGES * page)

static size_t page;

struct version {
    struct vmarena *arena, *copies; /* the table, and the pages as they were */
    char *table, *spare;
    const char *volatile was[PAGES]; /* NULL: as it is; volatile: it changes in the handler, at any write */
    volatile int copied;
};

/* In the signal handler. The memory for the copies was allocated before, since nothing may be allocated here. */
static bool copy_page(const struct vmarena_fault *fault, void *arg) {
    struct version *version = arg;
    size_t number = (size_t)((char *)fault->address - version->table) / page;
    char *start = version->table + number * page, *copy = version->spare + (size_t)version->copied * page;
    if (fault->kind != VMARENA_FAULT_PROTECTED || version->was[number] != NULL) return false;
    memcpy(copy, start, page);
    version->was[number] = copy;
    version->copied++;
    return vmarena_protect_range(version->arena, start, page, VMARENA_READ | VMARENA_WRITE) == 0;
}

static void begin(struct version *version) {
    version->copied = 0;
    for (size_t i = 0; i < PAGES; i++) version->was[i] = NULL;
    must_work(vmarena_protect(version->arena, VMARENA_READ) == 0, "vmarena_protect");
}

static unsigned char byte_then(const struct version *version, size_t at) {
    const char *was = version->was[at / page];
    return (unsigned char)(was != NULL ? was[at % page] : version->table[at]);
}

static void bring_back(struct version *version) {
    for (size_t i = 0; i < PAGES; i++)
        if (version->was[i] != NULL) memcpy(version->table + i * page, version->was[i], page);
}

static unsigned char byte_at(size_t at) { return (unsigned char)(at * 7 + at / page); }

static void must_hold(const struct version *version, bool then) {
    for (size_t i = 0; i < BYTES; i++)
        must_be((then ? byte_then(version, i) : (unsigned char)version->table[i]) == byte_at(i),
                "every byte is the old one");
}

int main(void) {
    page = vmarena_page_size();
    struct version version = {.arena = small_page_arena(BYTES, "table"), .copies = small_page_arena(BYTES, "copies")};
    version.table = must_alloc(version.arena, BYTES, page);
    version.spare = must_alloc(version.copies, BYTES, page);
    for (size_t i = 0; i < BYTES; i++) version.table[i] = (char)byte_at(i);
    must_work(vmarena_on_fault(version.arena, copy_page, &version) == 0, "vmarena_on_fault");

    begin(&version);
    printf("a table of %d pages, at a point to come back to: %d copied\n", PAGES, version.copied);
    for (size_t i = 0; i < 1000; i++) version.table[i % 10 * page * 25 + i]++; /* 1000 writes, on 10 pages */
    must_hold(&version, true);
    printf("1000 writes to 10 pages: %d copied, and both versions are there\n", version.copied);
    printf("byte 0 was %d and is %d\n", byte_then(&version, 0), (unsigned char)version.table[0]);
    bring_back(&version);
    must_hold(&version, false);
    printf("brought back: %d pages, and the table is what it was\n", version.copied);

    begin(&version);
    memset(version.table, 0, 3 * page + 1);
    must_hold(&version, true);
    printf("from there on, %d pages and a byte written at one go: %d copied\n", 3, version.copied);
    vmarena_destroy(version.arena);
    vmarena_destroy(version.copies);
    return 0;
}
