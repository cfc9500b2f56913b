/* SPDX-License-Identifier: MIT */
/* Small programs that test_command runs under guard, each for one feature of the command. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) void *pass(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static __attribute__((noinline)) int pass_number(int number) {
    __asm__ volatile("" : "+r"(number));
    return number;
}

static __attribute__((noinline)) void overrun(void) {
    char *object = pass(malloc(16));
    *(volatile char *)(object + 16) = 1;
    free(object);
}
static __attribute__((noinline)) void other_overrun(void) {
    char *object = pass(malloc(32));
    *(volatile char *)(object + 32) = 1;
    free(object);
}

static int exit_code(char **arguments) { return atoi(arguments[0]); }

static int echo(char **arguments) {
    char line[256];
    (void)arguments;
    while (fgets(line, sizeof line, stdin) != NULL) fputs(line, stdout);
    return 0;
}

static int two_errors(char **arguments) {
    (void)arguments;
    overrun();
    other_overrun();
    return 3;
}

static int repeated(char **arguments) {
    for (int i = atoi(arguments[0]); i > 0; i--) overrun();
    return 3;
}

/* Makes 4^levels errors with different stacks. */
static __attribute__((noinline)) void spread(int levels) {
    if (levels == 0) {
        overrun();
        return;
    }
    spread(pass_number(levels) - 1);
    spread(pass_number(levels) - 1);
    spread(pass_number(levels) - 1);
    spread(pass_number(levels) - 1);
    __asm__ volatile("");
}
static int many_places(char **arguments) {
    spread(atoi(arguments[0]));
    return 3;
}

static int count(char **arguments) {
    size_t objects = (size_t)atol(arguments[0]), size = (size_t)atol(arguments[1]), failed = 0;
    char **all = malloc(objects * sizeof *all);
    for (size_t i = 0; i < objects; i++) {
        all[i] = pass(malloc(size));
        if (all[i] != NULL) memset(all[i], 1, size);
        else failed += errno == ENOMEM;
    }
    for (size_t i = 0; i < objects; i++) free(all[i]);
    free(all);
    printf("%zu refused with ENOMEM\n", failed);
    return 0;
}

/* Requests that exceed the address space: each is refused. */
static int huge(char **arguments) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 4};
    (void)arguments;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (pass(malloc(sizes[i])) != NULL) return 1;
    if (pass(calloc(SIZE_MAX / 8, 4)) != NULL) return 1;
    return 0;
}

/* Not a canonical address on x86-64: its upper bits differ. */
static int non_canonical(char **arguments) {
    (void)arguments;
    return *(volatile char *)pass((void *)(uintptr_t)UINT64_C(0x6161616161616161));
}

/* As count, in a process that first locks its memory. */
static int locked(char **arguments) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 4;
    return count(arguments);
}

static int die(char **arguments) {
    (void)signal(SIGTERM, SIG_DFL);
    raise(atoi(arguments[0]));
    return 0;
}

static int crowded_death(char **arguments) {
    for (int i = atoi(arguments[0]); i > 0; i--) pass(malloc(10));
    abort();
}

static volatile sig_atomic_t got;
static void note(int signo) { got = signo; }
static int wait_signal(char **arguments) {
    int signo = atoi(arguments[0]);
    (void)signal(signo, note);
    puts("ready");
    fflush(stdout);
    while (got == 0) usleep(1000);
    printf("got %d\n", (int)got);
    return 0;
}

/* Prints what the program sees of its descriptors and signal handlers, which must be the same as without guard. */
static int inside(char **arguments) {
    struct sigaction action;
    (void)arguments;
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("fd %d\n", fd);
    (void)sigaction(SIGSEGV, NULL, &action);
    printf("SIGSEGV %s\n", action.sa_handler == SIG_DFL ? "default" : "handled");
    return 0;
}

/* Loads a library that would bind to its own dependencies before preloaded libraries. */
static int deepbind(char **arguments) {
    void *library = dlopen(arguments[0], RTLD_NOW | RTLD_DEEPBIND);
    char *(*plug)(char *) = library == NULL ? NULL : (char *(*)(char *))dlsym(library, "vmarena_test_plug");
    if (plug == NULL) {
        puts(dlerror());
        return 1;
    }
    free(plug(pass(malloc(40))));
    dlclose(library);
    return 3;
}

/* ---- programs with handlers of their own ---- */

static sigjmp_buf back;
static char *shut;
static void jump(int signo) { siglongjmp(back, signo); }
static void open_page(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    if (info->si_addr != shut || mprotect(shut, 4096, PROT_READ | PROT_WRITE) != 0) _exit(9);
}

static int own_handler(char **arguments) {
    struct sigaction action = {.sa_flags = SA_SIGINFO}, before;
    (void)arguments;
    shut = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (signal(SIGSEGV, jump) != SIG_DFL) return 1;
    for (volatile int i = 0; i < 3; i++) {
        volatile int landed = sigsetjmp(back, 1);
        if (landed == 0) shut[0] = 1;
        printf("caught %d\n", landed);
    }
    action.sa_sigaction = open_page;
    if (sigaction(SIGSEGV, &action, &before) != 0 || before.sa_handler != jump) return 2;
    shut[0] = 5;
    printf("opened %d\n", shut[0]);
    overrun(); /* reported, although the program has a handler */
    return 0;
}

static int block_all(char **arguments) {
    sigset_t all;
    (void)arguments;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    overrun();
    return 3;
}

/* ---- more than one process ---- */

static int forked(char **arguments) {
    int status;
    (void)arguments;
    char *object = pass(malloc(16));
    pid_t child = fork();
    if (child == 0) {
        other_overrun();
        free(object);
        exit(5);
    }
    (void)waitpid(child, &status, 0);
    overrun();
    free(object);
    printf("child %d\n", WEXITSTATUS(status));
    return 3;
}

static int vforked(char **arguments) {
    int status;
    pid_t child = vfork();
    if (child == 0) {
        execl(arguments[0], arguments[0], "exit_code", "6", (char *)NULL);
        _exit(1);
    }
    (void)waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    free(pass(malloc(10)));
    return 3;
}

static int run_child(char **arguments) {
    char command[512];
    fflush(stdout);
    (void)snprintf(command, sizeof command, "%s two_errors", arguments[0]);
    int status = system(command);
    printf("child %d\n", WEXITSTATUS(status));
    return 0;
}

static int exec_self(char **arguments) {
    execl(arguments[0], arguments[0], "two_errors", (char *)NULL);
    return 1;
}

static const struct {
    const char *name;
    int (*run)(char **arguments);
} programs[] = {
    {"exit_code", exit_code},
    {"echo", echo},
    {"two_errors", two_errors},
    {"repeated", repeated},
    {"many_places", many_places},
    {"count", count},
    {"huge", huge},
    {"non_canonical", non_canonical},
    {"locked", locked},
    {"die", die},
    {"crowded_death", crowded_death},
    {"wait_signal", wait_signal},
    {"inside", inside},
    {"deepbind", deepbind},
    {"own_handler", own_handler},
    {"block_all", block_all},
    {"forked", forked},
    {"vforked", vforked},
    {"run_child", run_child},
    {"exec_self", exec_self},
};

int main(int argument_count, char **arguments) {
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && argument_count > 1; i++)
        if (strcmp(arguments[1], programs[i].name) == 0) return programs[i].run(arguments + 2);
    return 1;
}
