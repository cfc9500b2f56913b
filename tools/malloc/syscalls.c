/* SPDX-License-Identifier: MIT */
/*
 * Buffers passed to the kernel. The kernel does not fault in a guard: read(2) into one ends short or with EFAULT, and the
 * program may never notice. With syscalls=yes the buffer is compared with its object before the call.
 *
 * The C library makes the calls themselves, so that they stay cancellation points.
 */
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "state.h"

/* A buffer has to lie within a live object: one that starts in slack, in a guard or in freed memory is an error, too. */
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

/* The C library's function, looked up once. dlsym(3) may allocate; it then calls our malloc, which is fine. */
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

/* The size is what the kernel may use: a buffer that is too small is an error also where read(2) happens to be short. */
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

/* The names that _FORTIFY_SOURCE replaces them by. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t at, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
REPLACE(ssize_t, __read_chk, true, buffer, size, (int fd, void *buffer, size_t size, size_t room),
        (fd, buffer, size, room))
REPLACE(ssize_t, __pread_chk, true, buffer, size, (int fd, void *buffer, size_t size, off_t at, size_t room),
        (fd, buffer, size, at, room))
REPLACE(ssize_t, __recv_chk, true, buffer, size, (int fd, void *buffer, size_t size, size_t room, int flags),
        (fd, buffer, size, room, flags))
