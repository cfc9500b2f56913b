/* SPDX-License-Identifier: MIT */
/*
 * truncate_storm MODE PLACE ROUNDS: four threads read a view (MODE: read, private, shared) while its file is truncated
 * and written anew ROUNDS times. Each access reads the right bytes or is caught as what it is; whatever else is an error.
 *
 * The file shrinks to whole pages, or to REST bytes more. Its bytes are never 0, so that a 0 can only be what the last
 * page holds past the end of the file, from REST on.
 *
 * PLACE: "memory" is a file in memory, where the kernel keeps to that. "disk" is one in this folder. A file system that
 * caches files in large folios (ext4 since Linux 6.16) may map a page behind the new end while it is being truncated,
 * and zeroed: seen without this library, too. Those zeroes are counted and told, and nothing else is allowed there.
 * Prints TAP.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmarena.h>

#define THREADS 4
#define PAGES 32
#define REST 1234
#define SPAN 300 /* bytes of the wider accesses: they cross pages now and then */

static struct vmarena_view *view;
static size_t page;
static bool writes, on_disk;
static _Atomic bool done;
static _Atomic unsigned long right, caught, wrong, zeroes;

static unsigned char byte_at(size_t offset) { return (unsigned char)((offset * 7 + offset / 255) % 255 + 1); }

static void complain(const char *format, ...) {
    va_list arguments;
    if (atomic_fetch_add(&wrong, 1) >= 10) return;
    va_start(arguments, format);
    fputs("# ", stdout);
    vprintf(format, arguments);
    va_end(arguments);
    puts("");
}

static void check_byte(size_t offset, unsigned char byte) {
    if (byte == byte_at(offset) || (byte == 0 && offset % page >= REST)) return;
    if (byte == 0 && on_disk) atomic_fetch_add_explicit(&zeroes, 1, memory_order_relaxed);
    else complain("offset %zu: read %u, not %u", offset, byte, byte_at(offset));
}

/* The fault of an access to [offset, offset + size): anywhere in it, as the page may go while it is being read. */
static void check_fault(const struct vmarena_fault *fault, size_t offset, size_t size) {
    size_t at = (size_t)((char *)fault->address - (char *)view->data);
    bool exact = at >= offset && at < offset + size;
    if (fault->signo != SIGBUS || fault->code != BUS_ADRERR || fault->kind != VMARENA_FAULT_PAST_END_OF_FILE ||
        !exact || fault->file_offset != view->offset + at || fault->owner != view || fault->object != view->data ||
        fault->object_size != view->size || fault->distance != 0 || strcmp(fault->owner_name, "storm") != 0)
        complain("offset %zu, %zu bytes: signo %d code %d kind %d at %zu, file offset %llu, in \"%s\"", offset, size,
                 fault->signo, fault->code, (int)fault->kind, at, (unsigned long long)fault->file_offset,
                 fault->owner_name);
}

static void count(bool faulted) { atomic_fetch_add_explicit(faulted ? &caught : &right, 1, memory_order_relaxed); }

/* In the frame that reads, as a user would write it: this is what optimisation levels differ in. */
static void load(const unsigned char *bytes, size_t offset) {
    struct vmarena_scope scope;
    volatile unsigned char got = 0;
    VMARENA_TRY(&scope) {
        got = bytes[offset];
        vmarena_scope_leave(&scope);
        check_byte(offset, got);
        count(false);
    }
    VMARENA_CATCH(fault) {
        check_fault(fault, offset, 1);
        count(true);
    }
}

static void load_many(const unsigned char *bytes, size_t offset) {
    struct vmarena_scope scope;
    unsigned char got[SPAN];
    VMARENA_TRY(&scope) {
        memcpy(got, bytes + offset, sizeof got); /* the libc's, with whatever instructions it has */
        vmarena_scope_leave(&scope);
        for (size_t i = 0; i < sizeof got; i++) check_byte(offset + i, got[i]);
        count(false);
    }
    VMARENA_CATCH(fault) {
        check_fault(fault, offset, sizeof got);
        count(true);
    }
}

static void copy(const unsigned char *bytes, size_t offset) {
    unsigned char got[SPAN];
    struct vmarena_fault fault;
    size_t length = vmarena_copy(got, bytes + offset, sizeof got, &fault);
    for (size_t i = 0; i < length; i++) check_byte(offset + i, got[i]);
    if (length < sizeof got) check_fault(&fault, offset + length, 1);
    count(length < sizeof got);
}

/* The right byte, so that others find it right, too; in a private view it makes a copy of the page. */
static void store(unsigned char *bytes, size_t offset) {
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) {
        ((volatile unsigned char *)bytes)[offset] = byte_at(offset);
        vmarena_scope_leave(&scope);
        count(false);
    }
    VMARENA_CATCH(fault) {
        check_fault(fault, offset, 1);
        count(true);
    }
}

static void *run(void *arg) {
    unsigned char *bytes = view->data;
    uint64_t random = (uint64_t)(uintptr_t)arg * 2654435761u + 88172645463325252u;
    while (!atomic_load_explicit(&done, memory_order_relaxed)) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size_t offset = (size_t)(random >> 8) % (PAGES * page - SPAN);
        switch (random % 8) {
        case 0: copy(bytes, offset); break;
        case 1: load_many(bytes, offset); break;
        case 2:
            if (writes) store(bytes, offset);
            break;
        default: load(bytes, offset); break;
        }
    }
    return NULL;
}

static int fail(const char *what) {
    printf("not ok 1 - %s: %s\n", what, strerror(errno));
    return 1;
}

static int storm(int fd, unsigned long rounds) {
    unsigned char *content = malloc(PAGES * page);
    if (content == NULL) return fail("malloc");
    for (size_t i = 0; i < PAGES * page; i++) content[i] = byte_at(i);
    unsigned random = 1;
    for (unsigned long i = 0; i < rounds; i++) {
        random = random * 1664525 + 1013904223;
        size_t size = (random >> 8) % PAGES * page + (i % 2 ? REST : 0);
        if (ftruncate(fd, (off_t)size) != 0) return fail("ftruncate");
        if (i % 3 == 0) usleep(1); /* lets others in where there are fewer CPUs than threads */
        ssize_t rest = (ssize_t)(PAGES * page - size);
        if (pwrite(fd, content + size, (size_t)rest, (off_t)size) != rest) return fail("pwrite");
    }
    free(content);
    return 0;
}

static int open_view(const char *mode, int *fd) {
    char path[] = "truncate-storm-XXXXXX";
    struct vmarena_view_options options = {.name = "storm"};
    if (strcmp(mode, "private") == 0) options.mode = VMARENA_VIEW_COPY_ON_WRITE;
    if (strcmp(mode, "shared") == 0) options.mode = VMARENA_VIEW_SHARED;
    writes = options.mode == VMARENA_VIEW_COPY_ON_WRITE;
    *fd = on_disk ? mkstemp(path) : memfd_create("storm", MFD_CLOEXEC);
    if (*fd < 0 || (on_disk && unlink(path) != 0)) return fail(on_disk ? "mkstemp" : "memfd_create");
    for (size_t i = 0; i < PAGES * page; i++)
        if (pwrite(*fd, &(unsigned char){byte_at(i)}, 1, (off_t)i) != 1) return fail("pwrite");
    if (vmarena_view_open_fd(&view, *fd, &options) == 0) return 0;
    printf("not ok 1 - %s\n", vmarena_explain());
    return 1;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    int fd;
    if (argc != 4) return fputs("usage: truncate_storm read|private|shared memory|disk ROUNDS\n", stderr), 2;
    on_disk = strcmp(argv[2], "disk") == 0;
    page = vmarena_page_size();
    puts("1..2");
    if (open_view(argv[1], &fd) != 0) return 1;
    for (uintptr_t i = 0; i < THREADS; i++)
        if ((errno = pthread_create(&threads[i], NULL, run, (void *)(i + 1))) != 0) return fail("pthread_create");
    if (storm(fd, strtoul(argv[3], NULL, 10)) != 0) return 1;
    done = true;
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    vmarena_view_close(view);
    printf("# %lu accesses read right bytes, %lu were caught with the right file offset, %lu neither\n", right, caught,
           wrong);
    if (on_disk) printf("# and %lu bytes were zeroes of pages that the kernel was taking away\n", zeroes);
    printf("%sok 1 - every access is right or caught\n", wrong == 0 ? "" : "not ");
    printf("%sok 2 - there were both\n", right > 1000 && caught > 1000 ? "" : "not ");
    return wrong != 0 || right <= 1000 || caught <= 1000;
}
