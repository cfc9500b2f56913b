/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#ifdef __linux__

#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "prim/internal.h"

/* glibc has gettid() since 2.30 only. */
uint32_t vmarena_prim_new_thread_id(void) { return (uint32_t)syscall(SYS_gettid); }

size_t vmarena_prim_min_signal_stack(void) {
#ifdef AT_MINSIGSTKSZ
    return (size_t)getauxval(AT_MINSIGSTKSZ);
#else
    return 0;
#endif
}

#endif
