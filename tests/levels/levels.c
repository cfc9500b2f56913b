/* SPDX-License-Identifier: MIT */
/*
 * What a compiler may get wrong around a scope: built by ./check with each compiler at each level, together with the files
 * of the library that land, copy and compare. Recovery 18, 47, 48 (../README.md). Prints nothing and exits with 0 if all is
 * well.
 */
#include <alloca.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmarena.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
            fflush(stdout);                                                                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static char *object; /* 24 bytes, flush against its guard */
static struct vmarena *arena;

__attribute__((noinline)) static void touch(volatile char *address) { *address = 1; }

/* ---- locals ------------------------------------------------------------------------------------------------------------ */

/* Changed in the block and volatile: seen after it. Not changed: kept, volatile or not, in registers or not. */
__attribute__((noinline)) static long keeps_locals(long a, long b, long c, double d, long e, long f, long g, long h) {
    volatile long changed = 1;
    long x = a * 3 + b, y = b * 5 + c, z = c * 7 + a, u = e ^ f, v = g - h, w = a + b + c;
    double r = d * 0.5, s = d + 1.5, t = d - 0.25;
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) {
        changed = changed + 10;
        touch(object + 24);
        changed = changed + 100;
    }
    VMARENA_CATCH(fault) {
        CHECK(fault->distance == 1 && fault->object == object);
        changed = changed + 1000;
    }
    CHECK(changed == 1011);
    CHECK(x == a * 3 + b && y == b * 5 + c && z == c * 7 + a && u == (e ^ f) && v == g - h && w == a + b + c);
    CHECK(r == d * 0.5 && s == d + 1.5 && t == d - 0.25);
    return x + y + z + u + v + w + (long)(r + s + t) + changed;
}

/* The caller keeps values in the registers that its callees must restore. */
static void test_locals(void) {
    for (long i = 0; i < 200; i++) {
        long a = i, b = i * 3, c = i * 7, e = i ^ 21, f = i << 3, g = i + 9, h = i - 4;
        double d = (double)i / 4;
        long expected = (a * 3 + b) + (b * 5 + c) + (c * 7 + a) + (e ^ f) + (g - h) + (a + b + c) +
                        (long)(d * 0.5 + (d + 1.5) + (d - 0.25)) + 1011;
        CHECK(keeps_locals(a, b, c, d, e, f, g, h) == expected);
    }
}

/* ---- frames ------------------------------------------------------------------------------------------------------------ */

static void deep(void *arg) {
    volatile char here[3000];
    long *depth = arg;
    memset((char *)here, (int)*depth, sizeof here);
    if (--*depth > 0) deep(arg);
    else touch(object + 25);
    CHECK(here[0] == here[sizeof here - 1]);
}

__attribute__((noinline)) static void in_a_big_frame(size_t size) {
    char *block = alloca(size);
    char fixed[2000];
    struct vmarena_scope scope;
    volatile int caught = 0;
    memset(block, 0x3c, size);
    memset(fixed, 0x5d, sizeof fixed);
    for (volatile int round = 0; round < 20; round = round + 1) {
        VMARENA_TRY_IN(&scope, arena) {
            volatile char *more = alloca(size);
            long depth = 20;
            more[0] = 1;
            if (round % 2 == 0) deep(&depth);
            else touch(object + 25);
        }
        VMARENA_CATCH(fault) caught = caught + (fault->distance == 2);
        for (size_t i = 0; i < size; i++) CHECK(block[i] == 0x3c);
        for (size_t i = 0; i < sizeof fixed; i++) CHECK(fixed[i] == 0x5d);
    }
    CHECK(caught == 20);
}

static void test_frames(void) {
    for (size_t size = 1; size < 60000; size = size * 5 + 3) in_a_big_frame(size);
    for (long round = 0; round < 100; round++) {
        struct vmarena_fault fault;
        long depth = 1 + round % 50;
        CHECK(vmarena_try(deep, &depth, &fault) == 1 && fault.distance == 2 && depth == 0);
    }
}

/* ---- scopes in scopes ---------------------------------------------------------------------------------------------------- */

__attribute__((noinline)) static int nested(int which) {
    struct vmarena_scope outer, middle, inner;
    volatile int result = 0;
    VMARENA_TRY(&outer) {
        VMARENA_TRY_IN(&middle, arena) {
            VMARENA_TRY_ANY(&inner) {
                if (which == 0) touch(object + 24);
                if (which == 1) touch(NULL);
                if (which == 2) return 200;
                if (which == 3) break;
                result = result + 1;
            }
            VMARENA_CATCH(fault) {
                result = result + 10;
                touch(object + 26);
            }
            result = result + 100;
        }
        VMARENA_CATCH(fault) {
            CHECK(fault->distance == 3);
            result = result + 1000;
            touch(object + 27);
        }
    }
    VMARENA_CATCH(fault) {
        CHECK(fault->distance == 4);
        result = result + 10000;
    }
    return result;
}

static void test_nested(void) {
    for (int round = 0; round < 50; round++) {
        CHECK(nested(0) == 11010);
        CHECK(nested(1) == 11010);
        CHECK(nested(2) == 200);
        CHECK(nested(3) == 100);
        CHECK(nested(4) == 101);
        CHECK(vmarena_scope_top() == NULL);
    }
}

/* A value that only the fault's own path sees changed, as C11 7.13.2.1 allows to rely on. */
__attribute__((noinline)) static size_t count_until_fault(const char *from) {
    volatile size_t count = 0;
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) {
        for (;;) {
            volatile const char *byte = from + count;
            (void)*byte;
            count = count + 1;
        }
    }
    VMARENA_CATCH(fault) CHECK(fault->address == from + count);
    return count;
}

static void test_counting(void) {
    for (size_t i = 0; i <= 24; i++) CHECK(count_until_fault(object + 24 - i) == i);
}

/* ---- recovery 18: copy and fill after truncation ------------------------------------------------------------------------- */

static void test_truncated(void) {
    size_t page = vmarena_page_size();
    char *buffer = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = fileno(file);
    CHECK(ftruncate(fd, (off_t)(4 * page)) == 0);
    char *map = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && buffer != MAP_FAILED);
    for (size_t round = 0; round < 40; round++) {
        struct vmarena_fault fault;
        size_t kept = page * (round % 4), shift = round % 17;
        CHECK(vmarena_fill(map, 'a', 4 * page, &fault) == 4 * page);
        CHECK(ftruncate(fd, (off_t)kept) == 0);
        memset(buffer, 'b', 4 * page);
        size_t expected = kept > shift ? kept - shift : 0;
        CHECK(vmarena_copy(buffer, map + shift, 4 * page - shift, &fault) == expected);
        CHECK(fault.signo == SIGBUS && fault.address == (expected > 0 ? map + kept : map + shift));
        for (size_t i = 0; i < 4 * page; i++) CHECK(buffer[i] == (i < expected ? 'a' : 'b'));
        CHECK(vmarena_fill(map + shift, 'c', 4 * page - shift, &fault) == expected);
        CHECK(vmarena_compare(map, map, 4 * page, &fault) == kept && fault.signo == SIGBUS);
        CHECK(vmarena_copy(map, buffer, 4 * page, &fault) == kept && fault.signo == SIGBUS);
        CHECK(ftruncate(fd, (off_t)(4 * page)) == 0);
    }
    munmap(map, 4 * page);
    munmap(buffer, 4 * page);
    fclose(file);
}

/* ---- the address of a fault in an access that the CPU may make in parts ---------------------------------------------------- */

/* The first byte that could not be accessed, in whichever order the parts of a word are. */
static void test_addresses(void) {
    char other[64];
    struct vmarena_fault fault;
    uint64_t value = 0;
    char *guard = object + 24;
    memset(object, 'o', 24);
    memset(other, 'o', sizeof other);
    for (size_t from = 0; from <= 24; from++) {
        CHECK(vmarena_compare(object + from, other, 40, &fault) == 24 - from);
        CHECK(fault.address == guard && fault.distance == 1 && fault.object == object);
        CHECK(vmarena_compare(other, object + from, 40, &fault) == 24 - from);
        CHECK(fault.address == guard && fault.distance == 1 && fault.object == object);
        CHECK(vmarena_copy(other, object + from, 40, &fault) == 24 - from);
        CHECK(fault.address == guard && fault.distance == 1 && fault.object == object);
        CHECK(vmarena_fill(object + from, 'o', 40, &fault) == 24 - from);
        CHECK(fault.address == guard && fault.distance == 1 && fault.object == object);
    }
    CHECK(vmarena_read(guard, &value, 8, &fault) == 1 && fault.address == guard && fault.distance == 1);
    CHECK(vmarena_write(guard + 8, &value, 8, &fault) == 1 && fault.address == guard + 8 && fault.distance == 9);
}

/* In a file, the offset goes with the address. */
static void test_file_offsets(void) {
    struct vmarena_view *view;
    struct vmarena_fault fault;
    uint64_t value;
    size_t page = vmarena_page_size();
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int fd = fileno(file);
    CHECK(ftruncate(fd, (off_t)(2 * page)) == 0 && vmarena_view_open_fd(&view, fd, NULL) == 0);
    CHECK(ftruncate(fd, (off_t)page) == 0);
    char *lost = (char *)view->data + page;
    CHECK(vmarena_read(lost, &value, 8, &fault) == 1 && fault.address == lost && fault.file_offset == page);
    CHECK(vmarena_compare(view->data, view->data, 2 * page, &fault) == page && fault.address == lost);
    CHECK(fault.file_offset == page);
    vmarena_view_close(view);
    fclose(file);
}

int main(void) {
    struct vmarena_options options = {.reserve = 64 * vmarena_page_size(), .fence = VMARENA_FENCE_END};
    CHECK(vmarena_create(&arena, &options) == 0);
    object = vmarena_alloc(arena, 24, 1);
    CHECK(object != NULL);
    test_locals();
    test_frames();
    test_nested();
    test_counting();
    test_truncated();
    test_addresses();
    test_file_offsets();
    vmarena_destroy(arena);
    return 0;
}
