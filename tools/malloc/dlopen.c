/* SPDX-License-Identifier: MIT */
/*
 * A library loaded with RTLD_DEEPBIND (as PHP loads its extensions) would bind malloc and free to the C library instead of
 * to ours, and the process would die where one side frees what the other allocated. So the flag is removed.
 *
 * dlopen(3) uses the search path of its caller, which it finds by its return address: the last call must be a tail call
 * (see meson.build).
 */
#include <dlfcn.h>
#include <stdatomic.h>

#include "state.h"

VMARENA_REPLACES void *dlopen(const char *path, int flags) {
    static _Atomic(void *) cached;
    void *(*load)(const char *, int) =
        (void *(*)(const char *, int))atomic_load_explicit(&cached, memory_order_relaxed);
    if (load == NULL) {
        load = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
        atomic_store_explicit(&cached, (void *)load, memory_order_relaxed);
    }
    return load(path, flags & ~RTLD_DEEPBIND);
}
