/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include <errno.h>

#include "prim/internal.h"

#define STACK_SIZE ((size_t)64 * 1024)

static size_t stack_size(void) {
    size_t page = vmarena_prim_page_size(), size = STACK_SIZE;
    size_t least = vmarena_prim_min_signal_stack() + STACK_SIZE / 2;
    if (size < least) size = least;
    return (size + page - 1) / page * page;
}

static void free_stack(void *mapping) {
    stack_t now, none = {.ss_flags = SS_DISABLE};
    size_t page = vmarena_prim_page_size();
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)mapping + page) {
        if (now.ss_flags & SS_ONSTACK) return; /* the thread ends in a signal handler, on this very stack */
        (void)sigaltstack(&none, NULL);
    }
    (void)vmarena_prim_unmap(mapping, page + stack_size());
}

/* Makes the stack in `mapping` the thread's, until the thread ends. Below it lies a guard, since stacks grow down. */
static int install(char *mapping, size_t size, const char **call) {
    size_t page = vmarena_prim_page_size();
    stack_t stack = {.ss_sp = mapping + page, .ss_size = size}, none = {.ss_flags = SS_DISABLE};
    *call = "mprotect";
    int error = vmarena_prim_protect(mapping, page, VMARENA_NONE);
    if (error != 0) return error;
    *call = "sigaltstack";
    if (sigaltstack(&stack, NULL) != 0) return -errno;
    *call = "pthread_key_create";
    error = vmarena_prim_at_thread_exit(free_stack, mapping);
    if (error != 0) (void)sigaltstack(&none, NULL);
    return error;
}

static int make_stack(const char **call) {
    void *mapping;
    size_t page = vmarena_prim_page_size(), size = stack_size();
    *call = "mmap";
    int error = vmarena_prim_map(&mapping, page + size, page, VMARENA_READ | VMARENA_WRITE, true);
    if (error != 0) return error;
    error = install(mapping, size, call);
    if (error != 0) (void)vmarena_prim_unmap(mapping, page + size);
    return error;
}

int vmarena_prim_signal_stack(const char **call) {
    static _Thread_local bool done;
    if (done) return 0;
    stack_t now;
    *call = "sigaltstack";
    if (sigaltstack(NULL, &now) != 0) return -errno;
    int error = now.ss_flags & SS_DISABLE ? make_stack(call) : 0;
    done = error == 0;
    return error;
}
