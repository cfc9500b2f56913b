/* SPDX-License-Identifier: MIT */
#include "prim/features.h"

#include "prim/prim.h"

#include <errno.h>

#include "prim/internal.h"

#define STACK_SIZE ((size_t)64 * 1024)

static size_t stack_size(void) {
    size_t size = STACK_SIZE;
    size_t least = vmarena_prim_least_signal_stack() + STACK_SIZE / 2;
    if (size < least) size = least;
    size_t page = vmarena_prim_page_size();
    return (size + page - 1) / page * page;
}

static void free_stack(void *mapping) {
    stack_t now, none = {.ss_flags = SS_DISABLE};
    size_t page = vmarena_prim_page_size();
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)mapping + page) {
        if (now.ss_flags & SS_ONSTACK) return;
        (void)sigaltstack(&none, NULL);
    }
    (void)vmarena_prim_unmap(mapping, page + stack_size());
}

static int make_stack(void) {
    void *mapping;
    size_t page = vmarena_prim_page_size(), size = stack_size();
    int error = vmarena_prim_map(&mapping, page + size, page, VMARENA_READ | VMARENA_WRITE, true);
    if (error != 0) return error;
    stack_t stack = {.ss_sp = (char *)mapping + page, .ss_size = size}, none = {.ss_flags = SS_DISABLE};
    error = vmarena_prim_protect(mapping, page, VMARENA_NONE); /* stacks grow down, into the guard */
    if (error == 0 && sigaltstack(&stack, NULL) != 0) error = -errno;
    if (error == 0) {
        error = vmarena_prim_at_thread_exit(free_stack, mapping);
        if (error != 0) (void)sigaltstack(&none, NULL);
    }
    if (error != 0) (void)vmarena_prim_unmap(mapping, page + size);
    return error;
}

int vmarena_prim_signal_stack(void) {
    static _Thread_local bool done;
    if (done) return 0;
    stack_t now;
    if (sigaltstack(NULL, &now) != 0) return -errno;
    if (now.ss_flags & SS_DISABLE) {
        int error = make_stack();
        if (error != 0) return error;
    }
    done = true;
    return 0;
}
