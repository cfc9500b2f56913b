/* SPDX-License-Identifier: MIT */
/*
 * Preloaded: holds the next system call for memory or files of one thread until another thread lets it go on. The call
 * writes a byte to one pipe and waits for one from another.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static volatile pid_t armed; /* the thread to be held; 0: none */
static int entered, go_on;

void hold_next(int entered_fd, int go_on_fd) {
    entered = entered_fd;
    go_on = go_on_fd;
    armed = gettid();
}

/* Whether it was not held. */
int hold_none(void) {
    int still = armed == gettid();
    if (still) armed = 0;
    return still;
}

static void hold(void) {
    char byte = 0;
    if (armed == 0 || armed != gettid()) return;
    armed = 0;
    if (write(entered, &byte, 1) == 1) (void)!read(go_on, &byte, 1);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Under both names, of which the second has 64-bit offsets on every system. */
#define DEFINE_MMAP(name, offset_type)                                                                                 \
    void *name(void *address, size_t size, int prot, int flags, int fd, offset_type offset) {                          \
        REAL(name);                                                                                                    \
        hold();                                                                                                        \
        return real(address, size, prot, flags, fd, offset);                                                           \
    }
DEFINE_MMAP(mmap, off_t)
DEFINE_MMAP(mmap64, off64_t)

#define DEFINE_OPEN(name)                                                                                              \
    int name(const char *path, int flags, ...) {                                                                       \
        REAL(name);                                                                                                    \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;                                               \
        va_end(list);                                                                                                  \
        hold();                                                                                                        \
        return real(path, flags, mode);                                                                                \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

int munmap(void *address, size_t size) {
    REAL(munmap);
    hold();
    return real(address, size);
}

int mprotect(void *address, size_t size, int prot) {
    REAL(mprotect);
    hold();
    return real(address, size, prot);
}

int madvise(void *address, size_t size, int advice) {
    REAL(madvise);
    hold();
    return real(address, size, advice);
}

int msync(void *address, size_t size, int flags) {
    REAL(msync);
    hold();
    return real(address, size, flags);
}

int mlock(const void *address, size_t size) {
    REAL(mlock);
    hold();
    return real(address, size);
}

int munlock(const void *address, size_t size) {
    REAL(munlock);
    hold();
    return real(address, size);
}

int mincore(void *address, size_t size, unsigned char *pages) {
    REAL(mincore);
    hold();
    return real(address, size, pages);
}
