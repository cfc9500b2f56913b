/* SPDX-License-Identifier: MIT */
/*
 * Allocates at every stage of a program's life: before main and after exit, in handlers of fork, of thread exit and of
 * signals, and while libraries are loaded and unloaded. Objects are freed at other stages than they were allocated. The
 * first argument names a library to load; a second one, "bad", adds an overrun at the very end.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static __attribute__((noinline)) void *pass(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}
static char *make(void) {
    char *object = pass(malloc(24));
    if (object == NULL) abort();
    memset(object, 'x', 24);
    return object;
}

static char *early, *prepared, *handed;
static volatile int overrun;

__attribute__((constructor)) static void before_main(void) { early = make(); }
__attribute__((destructor)) static void after_main(void) {
    char *object = make();
    if (overrun) *(volatile char *)(object + 32) = 1;
    free(object);
    free(early);
}
static void at_exit(void) { free(make()); }

/* ---- fork ---- */

static void prepare(void) { prepared = make(); }
static void parent(void) { free(prepared); }
static void child(void) {
    free(prepared);
    free(make());
}

static void forks(void) {
    int status;
    if (pthread_atfork(prepare, parent, child) != 0) abort();
    for (int i = 0; i < 3; i++) {
        char *object = make();
        pid_t id = fork();
        if (id == 0) {
            overrun = 0;
            free(object);
            exit(4);
        }
        if (waitpid(id, &status, 0) != id || status != 4 << 8) abort();
        free(object);
    }
}

static void spawns(void) {
    char *arguments[] = {(char[]){"true"}, NULL};
    int status;
    pid_t id;
    if (posix_spawnp(&id, "true", NULL, NULL, arguments, environ) != 0 || waitpid(id, &status, 0) != id || status != 0)
        abort();
}

/* ---- threads ---- */

static pthread_key_t key;
static void end_of_thread(void *object) {
    static _Thread_local int rounds;
    free(object);
    if (++rounds < 3) (void)pthread_setspecific(key, make()); /* so that destructors run again */
}
static void *thread(void *object) {
    free(object);
    (void)pthread_setspecific(key, make());
    return make();
}

static void threads(void) {
    pthread_attr_t small;
    if (pthread_key_create(&key, end_of_thread) != 0 || pthread_attr_init(&small) != 0) abort();
    (void)pthread_attr_setstacksize(&small, 32768);
    for (int i = 0; i < 20; i++) {
        pthread_t id;
        void *object;
        if (pthread_create(&id, &small, thread, make()) != 0 || pthread_join(id, &object) != 0) abort();
        free(object);
    }
    (void)pthread_attr_destroy(&small);
}

/* ---- signals: handlers that fault, on an alternate stack ---- */

static void handler(int signo) {
    (void)signo;
    if (overrun) *(volatile char *)(handed + 24 + 8) = 1;
}

static void signals(void) {
    struct sigaction action = {.sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = pass(malloc((size_t)SIGSTKSZ)), .ss_size = (size_t)SIGSTKSZ};
    action.sa_handler = handler;
    if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0) abort();
    handed = make();
    raise(SIGUSR1);
    free(handed);
    stack.ss_flags = SS_DISABLE;
    (void)sigaltstack(&stack, NULL);
    free(stack.ss_sp);
}

/* ---- libraries ---- */

static void libraries(const char *name) {
    for (int i = 0; i < 3; i++) {
        void *library = dlopen(name, RTLD_NOW);
        char *(*plug)(char *) = library == NULL ? NULL : (char *(*)(char *))dlsym(library, "vmarena_test_plug");
        if (plug == NULL) abort();
        free(plug(make()));
        dlclose(library);
        (void)dlsym(RTLD_DEFAULT, "no_such_function"); /* allocates its error message */
    }
}

int main(int count, char **arguments) {
    if (count < 2) return 1;
    overrun = count > 2;
    if (atexit(at_exit) != 0) abort();
    forks();
    spawns();
    threads();
    signals();
    libraries(arguments[1]);
    puts("lived");
    return 7;
}
