/* SPDX-License-Identifier: MIT */
/*
 * Libraries that the program loads with RTLD_DEEPBIND (PHP does, with its extensions) would take malloc and free from the
 * C library, before ours: what one side allocates and the other frees would then end the process. They are loaded without.
 *
 * dlopen(3) looks at who called it, for that one's search path: the last call must be a jump (see meson.build).
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
