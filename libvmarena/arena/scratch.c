/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "vmarena/arena.h"

/* Two a thread: a caller that hands its result in one can use the other meanwhile. */
#define ARENAS 2
static _Thread_local struct vmarena *scratch[ARENAS];

static void destroy_scratch(void *unused) {
    (void)unused;
    for (size_t i = 0; i < ARENAS; i++) {
        vmarena_destroy(scratch[i]);
        scratch[i] = NULL;
    }
}

/* Less than an arena's default, of which a thousand threads would take a whole 47-bit address space: 8 GiB, or as much
 * less as there is. */
#define MOST ((size_t)1 << (sizeof(size_t) > 4 ? 33 : 25))
#define LEAST ((size_t)1 << 20)

static int make_one(struct vmarena **out) {
    struct vmarena_options options = {.name = "scratch", .reserve = MOST};
    int error = vmarena_create(out, &options);
    for (; error == -ENOMEM && options.reserve > LEAST; error = vmarena_create(out, &options)) options.reserve /= 2;
    return error;
}

/* Made together, so that one exit call frees both. */
static int make_scratch(void) {
    for (size_t i = 0; i < ARENAS; i++) {
        int error = make_one(&scratch[i]);
        if (i + 1 == ARENAS && error == 0) {
            error = vmarena_prim_at_thread_exit(destroy_scratch, NULL);
            if (error != 0) error = vmarena_fail(error, "vmarena_scratch_begin: no memory for a thread-exit function");
        }
        if (error != 0) {
            destroy_scratch(NULL);
            return error;
        }
    }
    return 0;
}

struct vmarena_scratch vmarena_scratch_begin(const struct vmarena *conflict) {
    struct vmarena_scratch none = {.arena = NULL};
    if (scratch[0] == NULL && make_scratch() != 0) return none;
    struct vmarena *arena = scratch[0] == conflict ? scratch[1] : scratch[0];
    return (struct vmarena_scratch){arena, vmarena_mark(arena)};
}

int vmarena_scratch_end(struct vmarena_scratch ended) { return vmarena_rewind(ended.arena, ended.mark); }
