/* SPDX-License-Identifier: MIT */
/* Two signals: SIGSEGV where no mapping allows the access, SIGBUS where one does and the page behind it cannot be had. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../experiment.h"

static void show(const char *what, int faulted, const struct vmarena_fault *fault, unsigned char value) {
    if (faulted == 0) {
        printf("%s: no fault, the byte is %d\n", what, value);
        return;
    }
    must_be(faulted == 1, "the access was tried");
    const char *signal = fault->signo == SIGBUS ? "SIGBUS" : "SIGSEGV", *code = "another code";
    if (fault->signo == SIGSEGV && fault->code == SEGV_MAPERR) code = "SEGV_MAPERR, nothing is mapped there";
    if (fault->signo == SIGSEGV && fault->code == SEGV_ACCERR) code = "SEGV_ACCERR, the mapping forbids it";
    if (fault->signo == SIGBUS && fault->code == BUS_ADRERR) code = "BUS_ADRERR, the mapping has no page for it";
    printf("%s: %s, %s\n", what, signal, code);
}

static void try_read(const char *what, const volatile void *address, enum vmarena_fault_kind expected) {
    struct vmarena_fault fault;
    unsigned char value = 0;
    int faulted = vmarena_read((const void *)address, &value, 1, &fault);
    must_be(faulted == 0 || fault.kind == expected, "the fault's kind is what was done to the memory");
    show(what, faulted, &fault, value);
}

static void try_write(const char *what, void *address, enum vmarena_fault_kind expected) {
    struct vmarena_fault fault;
    unsigned char value = 1;
    int faulted = vmarena_write(address, &value, 1, &fault);
    must_be(faulted == 1 && fault.kind == expected, "the fault's kind is what was done to the memory");
    show(what, faulted, &fault, value);
}

/* A file of 100 bytes, mapped over two pages. */
static void map_short_file(size_t page) {
    FILE *file = tmpfile();
    must_be(file != NULL && ftruncate(fileno(file), 100) == 0, "a temporary file can be made");
    volatile unsigned char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    must_be(map != MAP_FAILED, "the file can be mapped");
    map[99] = 7;
    try_read("the last byte of a file of 100", map + 99, VMARENA_FAULT_OTHER);
    try_read("past its length, on its last page", map + 100, VMARENA_FAULT_OTHER);
    try_read("past its last page", map + page, VMARENA_FAULT_PAST_END_OF_FILE);
    must_be(ftruncate(fileno(file), 0) == 0, "the file can be cut");
    try_read("the byte that was its last, now that the file is cut to 0", map + 99, VMARENA_FAULT_PAST_END_OF_FILE);
    must_be(ftruncate(fileno(file), (off_t)(2 * page)) == 0, "the file can grow");
    try_read("the same byte, now that the file has grown again", map + 99, VMARENA_FAULT_OTHER);
    munmap((void *)map, 2 * page);
    fclose(file);
}

int main(void) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(page, "article");
    char *byte = must_alloc(arena, page, page);
    must_work(vmarena_protect(arena, VMARENA_READ) == 0, "vmarena_protect");
    try_read("reading read-only memory", byte, VMARENA_FAULT_OTHER);
    try_write("writing read-only memory", byte, VMARENA_FAULT_PROTECTED);
    must_work(vmarena_protect(arena, VMARENA_NONE) == 0, "vmarena_protect");
    try_read("reading memory closed to all", byte, VMARENA_FAULT_PROTECTED);
    vmarena_destroy(arena);
    try_read("reading memory that was unmapped", byte, VMARENA_FAULT_UNMAPPED);
    map_short_file(page);
    return 0;
}
