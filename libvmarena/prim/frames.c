/* SPDX-License-Identifier: MIT */
#include "prim/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "prim/prim.h"

#ifdef __linux__
#include "prim/linux.h"
#endif

/* The part of a mapping that is stack: [low, high). */
struct bounds {
    uintptr_t low, high;
};
static _Thread_local struct bounds stack; /* that the thread was on when it was last asked for */

#ifdef __linux__

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "start-end perms ..." lines; false where none holds address. */
static bool read_maps(int fd, uintptr_t address, struct bounds *found) {
    char text[2048];
    uintptr_t number[2] = {0, 0};
    unsigned field = 0; /* 0: start, 1: end, 2: the rest of the line */
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            int digit = hex_digit(text[i]);
            if (field < 2 && digit >= 0) number[field] = number[field] << 4 | (uintptr_t)digit;
            else if (field < 2) field++;
            if (text[i] != '\n') continue;
            *found = (struct bounds){number[0], number[1]};
            if (address >= found->low && address < found->high) return true;
            number[0] = number[1] = field = 0;
        }
    }
    return false;
}

static bool find_mapping(uintptr_t address, struct bounds *found) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct vmarena_procmap_query query = {.size = sizeof query, .address = address};
    bool good = ioctl(fd, VMARENA_PROCMAP_QUERY_IOCTL, &query) == 0;
    if (good) *found = (struct bounds){(uintptr_t)query.start, (uintptr_t)query.end};
    else good = read_maps(fd, address, found); /* Linux < 6.11 */
    close(fd);
    return good;
}

/*
 * The stack that address lies on. pthread_getattr_np(3) would tell, but it allocates. The mapping is enough, but for the
 * memory of others that the kernel merged with it: the C libraries for Linux put a thread's control block, which
 * pthread_self(3) points to, above its stack.
 */
static bool find_stack(uintptr_t address, struct bounds *found) {
    int saved = errno;
    bool good = find_mapping(address, found);
    uintptr_t self = (uintptr_t)pthread_self();
    if (good && self > address && self < found->high) found->high = self;
    errno = saved;
    return good;
}

#else

static bool find_stack(uintptr_t address, struct bounds *found) { return (void)address, (void)found, false; }

#endif

static bool on_stack(uintptr_t frame) {
    struct bounds found;
    if (frame >= stack.low && frame < stack.high) return true;
    if (!find_stack(frame, &found)) return false;
    stack = found;
    return true;
}

#if defined(__has_attribute)
#if __has_attribute(no_sanitize)
__attribute__((no_sanitize("address", "thread")))
#endif
#endif
size_t
vmarena_prim_frames(const void *start, void **frames, size_t depth) {
    uintptr_t frame = (uintptr_t)start;
    size_t count = 0;
    if (depth == 0 || !on_stack(frame)) return 0;
    while (count < depth && frame % sizeof(void *) == 0 && frame <= stack.high - 2 * sizeof(void *)) {
        /* A frame pointer points to the caller's, and above it lies the return address: so on x86-64, arm64, riscv
         * (there shifted by two words, which their ABIs agree on). */
#if defined(__riscv) || defined(__loongarch__)
        void *const *record = (void *const *)frame - 2;
#else
        void *const *record = (void *const *)frame;
#endif
        if (record[1] == NULL) break;
        frames[count++] = record[1];
        if ((uintptr_t)record[0] <= frame) break;
        frame = (uintptr_t)record[0];
    }
    return count;
}
