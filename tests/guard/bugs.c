/* SPDX-License-Identifier: MIT */
/*
 * Programs with one bug each, and the same programs without it: `bugs NAME bad`, `bugs NAME good`; `bugs all good` runs all
 * short ones in turn. test_bugs knows the report of each, and finds lines by the comments "at: NAME", "alloc: NAME" and
 * "free: NAME". They are compiled with -O2; pointers go through pass(), whose result the compiler cannot know, so that no
 * access is optimised away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

static __attribute__((noinline)) void *pass(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static volatile char sink;
static size_t extra; /* 1 for bad, 0 for good; added to sizes and offsets */

/* Neither inlined nor moved by the compiler. */
#if defined(__has_attribute) && __has_attribute(noipa)
#define APART __attribute__((noipa))
#else
#define APART __attribute__((noinline))
#endif

static APART void touch_read(const char *at) { sink = *at; /* at: read */ }
static APART void touch_write(char *at) { *at = 1; /* at: write */ }

static APART char *make(size_t size) {
    char *object = pass(malloc(size)); /* alloc: make */
    if (object == NULL) abort();
    memset(object, 'a', size);
    return object;
}

static APART void drop(void *object) {
    free(pass(object)); /* free: drop */
    __asm__ volatile("");
}

/* ---- past the end ---- */

static void read_past(size_t bytes) {
    char *object = make(48);
    touch_read(object + 47 + bytes * extra);
    drop(object);
}
static void write_past(size_t bytes) {
    char *object = make(48);
    touch_write(object + 47 + bytes * extra);
    drop(object);
}
static void read_past_1(void) { read_past(1); }
static void read_past_8(void) { read_past(8); }
static void read_past_4096(void) { read_past(4096); }
static void write_past_1(void) { write_past(1); }
static void write_past_8(void) { write_past(8); }
static void write_past_4096(void) { write_past(4096); }

/* 20 bytes with an alignment of 16 leave 12 bytes of slack. */
static void write_into_slack(void) {
    char *object = make(20);
    touch_write(object + 19 + 2 * extra);
    drop(object);
}
static void read_into_slack(void) {
    char *object = make(20);
    touch_read(object + 19 + 2 * extra);
    drop(object);
}
static void write_into_slack_unfreed(void) {
    static char *kept;
    kept = make(20);
    touch_write(kept + 19 + 2 * extra);
}
static void write_into_slack_realloc(void) {
    char *object = make(20);
    touch_write(object + 19 + 2 * extra);
    drop(realloc(object, 100000)); /* at: realloc */
}

/* ---- before the start ---- */

static void read_before(void) {
    char *object = make(48);
    touch_read(object - extra);
    drop(object);
}
static void write_before(void) {
    char *object = make(48);
    touch_write(object - extra);
    drop(object);
}
static void write_before_8(void) {
    char *object = make(48);
    touch_write(object - 8 * extra);
    drop(object);
}

/* ---- after free ---- */

static void read_freed(void) {
    char *object = make(48);
    if (extra) drop(object);
    touch_read(object + 5);
    if (!extra) drop(object);
}
static void write_freed(void) {
    char *object = make(48);
    if (extra) drop(object);
    touch_write(object + 5);
    if (!extra) drop(object);
}
static void others(size_t count) {
    for (size_t i = 0; i < count; i++) free(pass(malloc(32)));
}
static void read_freed_late(void) {
    char *object = make(48);
    if (extra) drop(object);
    others(1000000);
    touch_read(object + 5);
    if (!extra) drop(object);
}
static void write_freed_late(void) {
    char *object = make(48);
    if (extra) drop(object);
    others(1000000);
    touch_write(object + 5);
    if (!extra) drop(object);
}
static void read_after_realloc(void) {
    char *object = make(48), *moved = pass(realloc(object, 100000)); /* free: realloc */
    touch_read((extra ? object : moved) + 5);
    drop(moved);
}

/* ---- frees ---- */

static void free_twice(void) {
    char *object = make(48);
    drop(object);
    if (extra) free(pass(object)); /* at: free_twice */
    __asm__ volatile("");
}
static void free_interior(void) {
    char *object = make(48);
    free(pass(object + 8 * extra)); /* at: free_interior */
    __asm__ volatile("");
}
static void free_stack(void) {
    char local[32];
    char *object = extra ? pass(local) : make(32);
    free(pass(object)); /* at: free_stack */
    __asm__ volatile("");
}
static char at_rest[64] = "static";
static void free_static(void) {
    char *object = extra ? at_rest + 16 : make(32);
    free(pass(object)); /* at: free_static */
    __asm__ volatile("");
}
static void free_foreign(void) {
    char *mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *object = extra ? mapped + 64 : make(32);
    free(pass(object)); /* at: free_foreign */
    munmap(mapped, 8192);
}
static void realloc_freed(void) {
    char *object = make(48), *other = extra ? object : make(48);
    drop(object);
    object = pass(realloc(pass(other), 96)); /* at: realloc_freed */
    if (!extra) drop(object);
}
static void realloc_interior(void) {
    char *object = make(48);
    char *moved = pass(realloc(pass(object + 16 * extra), 96)); /* at: realloc_interior */
    drop(extra ? object : moved);
}

/* ---- in the C library ---- */

static const char text[65] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void in_memcpy(void) {
    char *object = make(48);
    memcpy(pass(object), pass((void *)(size_t)text), 48 + 16 * extra); /* at: memcpy */
    drop(object);
}
static void in_memmove(void) {
    char *object = make(48);
    memmove(pass(object), pass(object + 8), 40 + 16 * extra); /* at: memmove */
    drop(object);
}
static void in_strcpy(void) {
    char *object = make(48);
    strcpy(pass(object), (const char *)pass((void *)(size_t)text) + (extra ? 0 : 17)); /* at: strcpy */
    drop(object);
}
static void in_snprintf(void) {
    char *object = make(48);
    snprintf(pass(object), 48 + 64 * extra, "%s/%s", text, text); /* at: snprintf */
    drop(object);
}
static void in_strlen(void) {
    char *object = make(48);
    object[47] = extra ? 'a' : '\0';
    sink = (char)strlen(pass(object)); /* at: strlen */
    drop(object);
}
static void in_wcscpy(void) {
    const wchar_t *letters = extra ? L"sixteen letters." : L"fifteen letters";
    wchar_t *object = (wchar_t *)(void *)make(64);
    wcscpy(pass(object), letters); /* at: wcscpy */
    drop(object);
}
static void in_wmemset(void) {
    wchar_t *object = (wchar_t *)(void *)make(64);
    wmemset(pass(object), L'x', 16 + extra); /* at: wmemset */
    drop(object);
}

/* ---- in the kernel ---- */

static void in_read(void) {
    int fd = open("/dev/zero", O_RDONLY);
    char *object = make(48);
    ssize_t got = read(fd, pass(object), 48 + 4096 * extra); /* at: read_call */
    if (got < 0) printf("errno %d\n", errno == EFAULT ? 14 : errno);
    close(fd);
    drop(object);
}

/* ---- outside the heap ---- */

static void null_read(void) {
    char *object = make(48);
    touch_read(extra ? (char *)8 : object);
    drop(object);
}
static void wild_write(void) {
    char *object = make(48);
    touch_write(extra ? (char *)pass((void *)(size_t)0x123456789000) : object);
    drop(object);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"read_past_1", read_past_1},
    {"read_past_8", read_past_8},
    {"read_past_4096", read_past_4096},
    {"write_past_1", write_past_1},
    {"write_past_8", write_past_8},
    {"write_past_4096", write_past_4096},
    {"write_into_slack", write_into_slack},
    {"read_into_slack", read_into_slack},
    {"write_into_slack_unfreed", write_into_slack_unfreed},
    {"write_into_slack_realloc", write_into_slack_realloc},
    {"read_before", read_before},
    {"write_before", write_before},
    {"write_before_8", write_before_8},
    {"read_freed", read_freed},
    {"write_freed", write_freed},
    {"read_freed_late", read_freed_late},
    {"write_freed_late", write_freed_late},
    {"read_after_realloc", read_after_realloc},
    {"free_twice", free_twice},
    {"free_interior", free_interior},
    {"free_stack", free_stack},
    {"free_static", free_static},
    {"free_foreign", free_foreign},
    {"realloc_freed", realloc_freed},
    {"realloc_interior", realloc_interior},
    {"memcpy", in_memcpy},
    {"memmove", in_memmove},
    {"strcpy", in_strcpy},
    {"snprintf", in_snprintf},
    {"strlen", in_strlen},
    {"wcscpy", in_wcscpy},
    {"wmemset", in_wmemset},
    {"read", in_read},
    {"null_read", null_read},
    {"wild_write", wild_write},
};

int main(int count, char **arguments) {
    if (count < 3) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) puts(cases[i].name);
        return 0;
    }
    extra = strcmp(arguments[2], "bad") == 0;
    bool all = strcmp(arguments[1], "all") == 0, any = false;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (all ? strstr(cases[i].name, "_late") != NULL : strcmp(arguments[1], cases[i].name) != 0) continue;
        cases[i].run();
        any = true;
    }
    if (!any) return 1;
    puts("done");
    return 7;
}
