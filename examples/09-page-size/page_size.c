/* SPDX-License-Identifier: MIT */
/* Protection goes by whole pages. What is not whole pages is refused, in words, and nothing changes. */
#include <errno.h>

#include "../experiment.h"

static void refused(const char *what, int error) {
    must_be(error == -EINVAL, "a range that is not whole pages of the arena is refused with EINVAL");
    printf("%s: EINVAL, %s\n", what, vmarena_explain());
}

int main(void) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(4 * page, "article");
    volatile char *byte = must_alloc(arena, page, page);
    char *start = (char *)(uintptr_t)byte;

    printf("a page is %zu bytes\n", page);
    printf("1 byte rounds up to %zu bytes\n", vmarena_page_round_up(1));
    printf("a page and 1 byte round up to %zu pages\n", vmarena_page_round_up(page + 1) / page);
    printf("SIZE_MAX bytes round up to %zu: there is no such size\n", vmarena_page_round_up(SIZE_MAX));

    refused("from the middle of a page on", vmarena_protect_range(arena, start + page / 2, page, VMARENA_READ));
    refused("half a page", vmarena_protect_range(arena, start, page / 2, VMARENA_READ));
    refused("no page at all", vmarena_protect_range(arena, start, 0, VMARENA_READ));
    refused("more pages than there are", vmarena_protect_range(arena, start, 5 * page, VMARENA_READ));
    *byte = 42;
    printf("nothing has changed: wrote 42, read %d\n", *byte);

    must_work(vmarena_protect_range(arena, start, page, VMARENA_READ) == 0, "vmarena_protect_range");
    must_be(vmarena_fill(start, 43, 1, NULL) == 0, "the page is read-only");
    printf("one whole page: read-only, and still %d\n", *byte);
    vmarena_destroy(arena);
    return 0;
}
