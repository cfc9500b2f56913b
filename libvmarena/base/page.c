/* SPDX-License-Identifier: MIT */
#include "vmarena/page.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/rounding.h"
#include "prim/prim.h"

size_t vmarena_page_size(void) { return vmarena_prim_page_size(); }

size_t vmarena_page_round_up(size_t size) { return vmarena_round_up(size, vmarena_prim_page_size()); }

size_t vmarena_huge_page_sizes(size_t *sizes, size_t count) { return vmarena_prim_huge_page_sizes(sizes, count); }

static struct vmarena_caps found;
static atomic_bool is_found;

/* Under the lock and not by pthread_once(3), so that an attempt for which there was no memory is made again. */
static int find(void) {
    int error = vmarena_prim_global_lock();
    if (error != 0) return vmarena_fail_call(error, "vmarena_caps: pthread_atfork", 0);
    if (!atomic_load_explicit(&is_found, memory_order_relaxed)) error = vmarena_prim_caps(&found);
    if (error == 0) atomic_store_explicit(&is_found, true, memory_order_release);
    vmarena_prim_global_unlock();
    return error != 0 ? vmarena_fail_call(error, "vmarena_caps: mmap", 4 * vmarena_prim_page_size()) : 0;
}

int vmarena_caps(struct vmarena_caps *out) {
    if (out == NULL) return vmarena_fail(-EINVAL, "vmarena_caps: the pointer to the result is NULL");
    if (!atomic_load_explicit(&is_found, memory_order_acquire)) {
        int error = find();
        if (error != 0) return error;
    }
    *out = found;
    return 0;
}
