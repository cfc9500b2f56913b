/* SPDX-License-Identifier: MIT */
/*
 * unload LIBRARY: loads the shared library at run time, as Python, a JVM or a plug-in does, lets it install its handlers and
 * end of thread functions, and unloads it. What it installed must still be there. Prints TAP.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmarena.h>

typedef int try_function(void (*body)(void *), void *arg, struct vmarena_fault *fault);
static try_function *try_any;
static sem_t faulted, unloaded;

static void touch(void *address) { *(volatile char *)address = 1; }

static int report(int number, bool good, const char *what) {
    printf("%sok %d - %s\n", good ? "" : "not ", number, what);
    return good ? 0 : 1;
}

static void *fault_in_a_thread(void *result) {
    struct vmarena_fault fault = {.signo = 0};
    *(bool *)result = try_any(touch, NULL, &fault) == 1 && fault.signo == SIGSEGV;
    sem_post(&faulted);
    sem_wait(&unloaded);
    return NULL; /* and so to the library's function for the end of a thread */
}

static void earlier(int signo) { _exit(signo == SIGSEGV ? 42 : 43); }

/* The fault is not the library's: its handler must be there to hand it on. */
static bool is_handed_on(void) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        touch(NULL);
        _exit(0);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

int main(int argc, char **argv) {
    bool thread_good = false;
    pthread_t thread;
    int failures = 0;
    if (argc != 2) return 2;
    puts("1..5");
    signal(SIGSEGV, earlier);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    failures += report(1, library != NULL, "loaded at run time");
    if (library == NULL) {
        printf("Bail out! %s\n", dlerror());
        return 1;
    }
    *(void **)(void *)&try_any = dlsym(library, "vmarena_try_any");
    struct vmarena_fault fault = {.signo = 0};
    failures += report(2, try_any != NULL && try_any(touch, NULL, &fault) == 1 && fault.signo == SIGSEGV, "catches");
    sem_init(&faulted, 0, 0);
    sem_init(&unloaded, 0, 0);
    if (pthread_create(&thread, NULL, fault_in_a_thread, &thread_good) != 0) return 1;
    sem_wait(&faulted);
    failures += report(3, thread_good, "catches in another thread");
    dlclose(library);
    sem_post(&unloaded);
    pthread_join(thread, NULL);
    failures += report(4, true, "a thread ends after the library was closed");
    failures += report(5, is_handed_on(), "a fault after the library was closed goes to the earlier handler");
    return failures != 0;
}
