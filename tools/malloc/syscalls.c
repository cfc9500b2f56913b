/* SPDX-License-Identifier: MIT */
/*
 * Buffers given to the kernel. It does not fault in a guard: read(2) into one ends short or with EFAULT, and the program
 * may never notice. With syscalls=yes the buffer is held against its object before the call is made.
 *
 * The calls themselves are the C library's, so that they stay cancellation points.
 */
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "state.h"

/* A buffer may start in an object or in its slack; before it or in freed memory is as wrong as past its end. */
static void check(const struct vmarena_prim_frame *caller, const char *name, bool writes, const void *buffer,
                  size_t length) {
    struct vmarena_heap_object object;
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (length == 0 || thread->pass.inside || !vmarena_heap_owns(vmarena_malloc.heap, buffer)) return;
    if (vmarena_heap_find(vmarena_malloc.heap, buffer, &object) != 0) return;
    uintptr_t from = (uintptr_t)buffer, start = (uintptr_t)object.start;
    bool fits = object.state == VMARENA_HEAP_LIVE && from >= start && from - start <= object.size &&
                length <= object.size - (from - start);
    if (fits) return;
    thread->caller = *caller;
    vmarena_write_bad_buffer(name, writes, buffer, length, &object);
}

static inline bool checks(void) {
    return atomic_load_explicit(&vmarena_malloc.mode, memory_order_acquire) == VMARENA_MALLOC_GUARDING &&
           vmarena_malloc.options.syscalls != 0;
}

/* The C library's function, looked up once. dlsym(3) may allocate, which is fine: it comes to our malloc. */
static void *next(_Atomic(void *) *cached, const char *name) {
    void *function = atomic_load_explicit(cached, memory_order_relaxed);
    if (__builtin_expect(function == NULL, 0)) {
        function = dlsym(RTLD_NEXT, name);
        atomic_store_explicit(cached, function, memory_order_relaxed);
    }
    return function;
}

#define REPLACE(result, name, writes, buffer, length, parameters, arguments)                                           \
    VMARENA_REPLACES result name parameters {                                                                          \
        static _Atomic(void *) cached;                                                                                 \
        if (checks()) {                                                                                                \
            struct vmarena_prim_frame caller;                                                                          \
            vmarena_prim_frame_of_caller(&caller);                                                                     \
            check(&caller, #name, writes, buffer, length);                                                             \
        }                                                                                                              \
        return ((result(*) parameters)next(&cached, #name))arguments;                                                  \
    }

/* Sizes are counts of bytes the kernel may use, not what it will: a read(2) that happens to be short is no excuse. */
REPLACE(ssize_t, read, true, buffer, size, (int fd, void *buffer, size_t size), (fd, buffer, size))
REPLACE(ssize_t, write, false, buffer, size, (int fd, const void *buffer, size_t size), (fd, buffer, size))
REPLACE(ssize_t, pread, true, buffer, size, (int fd, void *buffer, size_t size, off_t at), (fd, buffer, size, at))
REPLACE(ssize_t, pread64, true, buffer, size, (int fd, void *buffer, size_t size, off64_t at), (fd, buffer, size, at))
REPLACE(ssize_t, pwrite, false, buffer, size, (int fd, const void *buffer, size_t size, off_t at),
        (fd, buffer, size, at))
REPLACE(ssize_t, pwrite64, false, buffer, size, (int fd, const void *buffer, size_t size, off64_t at),
        (fd, buffer, size, at))
REPLACE(ssize_t, recv, true, buffer, size, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
REPLACE(ssize_t, send, false, buffer, size, (int fd, const void *buffer, size_t size, int flags),
        (fd, buffer, size, flags))
REPLACE(ssize_t, recvfrom, true, buffer, size,
        (int fd, void *buffer, size_t size, int flags, struct sockaddr *from, socklen_t *length),
        (fd, buffer, size, flags, from, length))
REPLACE(ssize_t, sendto, false, buffer, size,
        (int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to, socklen_t length),
        (fd, buffer, size, flags, to, length))

/* What _FORTIFY_SOURCE makes of them. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t at, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
REPLACE(ssize_t, __read_chk, true, buffer, size, (int fd, void *buffer, size_t size, size_t room),
        (fd, buffer, size, room))
REPLACE(ssize_t, __pread_chk, true, buffer, size, (int fd, void *buffer, size_t size, off_t at, size_t room),
        (fd, buffer, size, at, room))
REPLACE(ssize_t, __recv_chk, true, buffer, size, (int fd, void *buffer, size_t size, size_t room, int flags),
        (fd, buffer, size, room, flags))
