/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "units.h"

static int failures, count;

static void expect(const char *what, ptrdiff_t got, ptrdiff_t expected) {
    count++;
    if (got == expected) printf("ok %d - %s\n", count, what);
    else printf("not ok %d - %s\n# %td, and not %td\n", count, what, got, expected);
    failures += got != expected;
}

int main(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.reserve = 64 * vmarena_page_size(), .fence = VMARENA_FENCE_END};
    if (vmarena_create(&arena, &options) != 0) {
        printf("Bail out! %s\n", vmarena_explain());
        return 1;
    }
    char *object = vmarena_alloc(arena, 24, 1);
    printf("1..7\n");
    expect("caught in C, touched in C", catch_in_c(touch_in_c, object + 24), 1);
    expect("caught in C, touched in C++", catch_in_c(touch_in_cpp, object + 25), 2);
    expect("caught in C++, touched in C", catch_in_cpp(touch_in_c, object + 26), 3);
    expect("caught in C++, touched in C++", catch_in_cpp(touch_in_cpp, object + 27), 4);
    expect("called in C++, touched in C", call_in_cpp(touch_in_c, object + 28), 5);
    expect("no fault", catch_in_cpp(touch_in_c, object), 0);
    expect("one in the other", catch_twice(object + 24, object + 30), 7001);
    vmarena_destroy(arena);
    return failures != 0;
}
