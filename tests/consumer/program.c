/* SPDX-License-Identifier: MIT */
/* What a user writes first, with nothing but the installed headers: an arena, an overrun, the report. */
#include <stdio.h>
#include <string.h>
#include <vmarena.h>

static void overrun(void *object) { ((volatile char *)object)[24] = 1; }

int main(void) {
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .name = "consumer"};
    struct vmarena *arena;
    struct vmarena_fault fault;
    char text[256];

    if (vmarena_create(&arena, &options) != 0) {
        fprintf(stderr, "%s\n", vmarena_explain());
        return 1;
    }
    char *object = vmarena_alloc(arena, 24, 8);
    if (object == NULL || vmarena_try(overrun, object, &fault) != 1) return 2;
    vmarena_fault_describe(&fault, text, sizeof text);
    puts(text);
    if (fault.kind != VMARENA_FAULT_OVERRUN || fault.distance != 1 || fault.object != object) return 3;
    struct vmarena_scope scope;
    volatile int caught = 0;
    VMARENA_TRY(&scope) { overrun(object); }
    VMARENA_CATCH(again) { caught = again->address == fault.address; }
    if (!caught) return 5;
    vmarena_destroy(arena);
    return strcmp(vmarena_version(), EXPECTED_VERSION) == 0 ? 0 : 4;
}
