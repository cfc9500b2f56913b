/* SPDX-License-Identifier: MIT */
/* The article's program with the library: the write to read-only memory is caught, told in words, and survived. */
#include "../experiment.h"

static void write_43(void *arg) { *(volatile unsigned char *)arg = 43; }

int main(void) {
    size_t page = vmarena_page_size();
    struct vmarena *arena = small_page_arena(page, "article");
    volatile unsigned char *byte = (unsigned char *)must_alloc(arena, page, page);
    struct vmarena_fault fault;
    char words[256];

    *byte = 42;
    printf("wrote 42 to %p\n", (void *)byte);
    must_work(vmarena_protect(arena, VMARENA_READ) == 0, "vmarena_protect");
    printf("protected the arena: it is read-only now\n");

    int faulted = vmarena_try(write_43, (void *)byte, &fault);
    must_be(faulted == 1, "writing to read-only memory faults");
    must_be(fault.address == byte, "the fault's address is the byte that was written to");
    must_be(fault.kind == VMARENA_FAULT_PROTECTED, "the fault's kind is PROTECTED");
    must_be(access_is(&fault, VMARENA_ACCESS_WRITE), "the fault was a write");
    vmarena_fault_describe(&fault, words, sizeof words);
    printf("writing 43 faulted, and the program goes on\n");
    printf("%s\n", words);

    must_be(*byte == 42, "the write did not happen");
    printf("the value is still %d\n", *byte);
    must_work(vmarena_protect(arena, VMARENA_READ | VMARENA_WRITE) == 0, "vmarena_protect");
    must_be(vmarena_try(write_43, (void *)byte, &fault) == 0, "writing to writable memory does not fault");
    printf("writable again: wrote 43, read %d\n", *byte);
    vmarena_destroy(arena);
    return 0;
}
