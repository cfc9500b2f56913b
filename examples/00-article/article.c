/* SPDX-License-Identifier: MIT */
/* Without the library: map a page, write, make it read-only, write again, and die by SIGSEGV. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed must be out before the end */
    printf("a page is %zu bytes\n", size);

    volatile unsigned char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    printf("mapped one page at %p, readable and writable\n", (void *)page);

    page[0] = 42;
    printf("wrote 42, read %d\n", page[0]);

    if (mprotect((void *)page, size, PROT_READ) != 0) {
        perror("mprotect");
        return 1;
    }
    printf("protected the page: it is read-only now\n");
    printf("read %d: reading is still allowed\n", page[0]);

    printf("writing 43: the CPU faults, the kernel sends SIGSEGV, and the program ends here\n");
    page[0] = 43;
    printf("this line is never printed: the page holds %d\n", page[0]);
    return 0;
}
