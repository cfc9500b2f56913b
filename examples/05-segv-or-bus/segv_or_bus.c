/* SPDX-License-Identifier: MIT */
/* Two signals: SIGSEGV where no mapping allows the access, SIGBUS where one does and the page behind it cannot be had. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
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
    if (fault->signo == SIGSEGV && fault->code == SI_KERNEL) code = "SI_KERNEL, no address is told";
    if (fault->signo == SIGSEGV && fault->code == SEGV_PKUERR) code = "SEGV_PKUERR, a protection key forbids it";
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

/* ---- more: all the other causes ----------------------------------------------------------------------------------------- */

/* Addresses that are no memory of anybody's: nothing in this process can have put something there. */
static void show_wild_pointers(void) {
    try_read("reading through NULL", NULL, VMARENA_FAULT_UNMAPPED);
    try_read("reading an address of the kernel's", (void *)(UINTPTR_MAX - 0xfff), VMARENA_FAULT_UNMAPPED);
    /* On x86-64 an address must repeat its bit 47 (or 56) up to the top, or the CPU does not even look it up. */
    struct vmarena_fault fault;
    int faulted = vmarena_read((void *)(UINTPTR_MAX / 2 + 0x1000), &(char){0}, 1, &fault);
    show("reading an address that no page table has", faulted, &fault, 0);
}

static void call(void *code) {
    void (*function)(void);
    memcpy(&function, &code, sizeof function);
    function();
}

/* Bytes are no code unless the mapping says so: the first step of many an attack. */
static void show_execution(size_t page) {
    struct vmarena *arena = small_page_arena(page, "data");
    unsigned char *bytes = (unsigned char *)must_alloc(arena, page, page);
    struct vmarena_fault fault;
    memset(bytes, 0xc3, page); /* x86-64's "return" */
    int faulted = vmarena_try(call, bytes, &fault);
    must_be(faulted == 1 && access_is(&fault, VMARENA_ACCESS_EXEC), "calling what may not be executed faults");
    show("calling memory that holds data", faulted, &fault, 0);
    vmarena_destroy(arena);
}

/* One mapping, readable and writable all over, and yet the page after each object faults. */
static void show_guards(void) {
    struct vmarena *arena;
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .name = "fenced"};
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    try_read("reading a guard after an object", must_alloc(arena, 24, 1) + 24, VMARENA_FAULT_OVERRUN);
    vmarena_destroy(arena);
}

/* A right that a thread takes from itself, without a system call and without a change to the mapping. */
static void show_protection_key(size_t page) {
    const char *what = "reading memory under a protection key";
    struct vmarena *arena = small_page_arena(page, "key");
    char *byte = must_alloc(arena, page, page);
    int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (key >= 0 && pkey_mprotect(byte, page, PROT_READ | PROT_WRITE, key) == 0)
        try_read(what, byte, VMARENA_FAULT_PROTECTED);
    else printf("%s: this system has no protection keys\n", what);
    vmarena_destroy(arena);
    if (key >= 0) pkey_free(key);
}

/* Promised without looking into the pool (MAP_NORESERVE), which is empty when the page is wanted. */
static void show_empty_pool(void) {
    const char *what = "reading a huge page that the pool does not have";
    size_t size = (size_t)2 << 20;
    struct vmarena_fault fault;
    unsigned char value = 0;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    int faulted = map != MAP_FAILED ? vmarena_read(map, &value, 1, &fault) : 0;
    if (faulted == 1) show(what, faulted, &fault, value);
    else printf("%s: %s\n", what, map != MAP_FAILED ? "the pool has one" : "this system has no such pool");
    if (map != MAP_FAILED) munmap(map, size);
}

/* ---- what is not caught here, but looked at from outside: a child and how it ends ---- */

/* x86-64 forgives misaligned accesses, unless a program sets the flag AC. Others may raise this for atomic operations. */
#if defined(__x86_64__)
#define MINDS_ALIGNMENT 1
/* The red zone is stepped over, as the flags go by the stack. */
#define CHANGE_FLAGS(change) "lea -128(%%rsp), %%rsp; pushfq; " change ", (%%rsp); popfq; lea 128(%%rsp), %%rsp; "
#define MIND_ALIGNMENT CHANGE_FLAGS("orq $0x40000")
#define FORGIVE CHANGE_FLAGS("andq $~0x40000")
static void read_minding_alignment(const char *word) {
    __asm__ volatile(MIND_ALIGNMENT "movl (%0), %%eax; " FORGIVE : : "r"(word) : "rax", "cc", "memory");
}
static void forgive(void) { __asm__ volatile(FORGIVE "" : : : "cc", "memory"); }
#else
#define MINDS_ALIGNMENT 0
static void read_minding_alignment(const char *word) { (void)word; }
static void forgive(void) {}
#endif

/* In the handler the flag is still set, and the C library reads what is misaligned all the time. */
static void end_with_code(int signo, siginfo_t *info, void *context) {
    forgive();
    (void)context;
    _exit(signo == SIGBUS && info->si_code == BUS_ADRALN ? 1 : 2);
}

static void read_misaligned(void) {
    static const char words[16];
    struct sigaction action = {.sa_sigaction = end_with_code, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    read_minding_alignment(words + 1);
    _exit(0);
}

/* In a child, which ends in its handler: from a handler that returned the flag would go on. */
static void show_misalignment(void) {
    const char *what = "reading a word at an odd address, the CPU being told to mind";
    int status = 0;
    if (!MINDS_ALIGNMENT) {
        printf("%s: not tried on this CPU\n", what);
        return;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) read_misaligned();
    must_be(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status), "the child ends by itself");
    must_be(WEXITSTATUS(status) <= 1, "if there is a signal, it is SIGBUS with BUS_ADRALN");
    printf("%s: %s\n", what, WEXITSTATUS(status) == 1 ? "SIGBUS, BUS_ADRALN, it is misaligned" : "this CPU does not");
}

/* A signal that was sent looks alike and is none of a fault's: its code says so, and no scope claims it. */
static void show_sent_signal(void) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct vmarena_scope scope;
        signal(SIGSEGV, SIG_DFL);
        VMARENA_TRY_ANY(&scope) kill(getpid(), SIGSEGV);
        VMARENA_CATCH(fault) _exit(fault->code != 0);
        _exit(2);
    }
    must_be(child > 0 && waitpid(child, &status, 0) == child, "the child can be waited for");
    must_be(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a SIGSEGV that was sent is not taken for a fault");
    printf("a SIGSEGV that kill(2) sent: not claimed, and the child dies of it\n");
}

/* The kernel's own accesses raise no signal: it looks first, and the call says so. */
static void show_system_call(size_t page) {
    struct vmarena *arena = small_page_arena(page, "buffer");
    char *byte = must_alloc(arena, page, page);
    int zeroes = open("/dev/zero", O_RDONLY);
    must_work(vmarena_protect(arena, VMARENA_READ) == 0, "vmarena_protect");
    ssize_t got = read(zeroes, byte, 1);
    must_be(got == -1 && errno == EFAULT, "read(2) into read-only memory is EFAULT");
    printf("read(2) into read-only memory: EFAULT and no signal\n");
    must_be(vmarena_write(byte, &(char){1}, 1, NULL) == 1, "an access of one's own faults");
    printf("the library's own check of it: it would fault\n");
    close(zeroes);
    vmarena_destroy(arena);
}

static void show_all_causes(size_t page) {
    show_wild_pointers();
    show_execution(page);
    show_guards();
    show_protection_key(page);
    show_empty_pool();
    show_misalignment();
    printf("broken memory (BUS_MCEERR_AR): not provoked, as it would take a page away from the machine\n");
    show_sent_signal();
    show_system_call(page);
}

int main(int argc, char **argv) {
    bool more = wants_more(argc, argv);
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
    if (more) show_all_causes(page);
    return 0;
}
