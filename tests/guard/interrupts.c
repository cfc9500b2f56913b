/* SPDX-License-Identifier: MIT */
/*
 * Programs that test_interrupts runs under guard: fork() and signal handlers at the worst moments. The moments are forced:
 * this program, which is linked with -rdynamic, replaces functions of the C library that the preloaded malloc calls, and they
 * stop or raise a signal when a test says so.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) void *pass(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static __attribute__((noinline)) void overrun(void) {
    char *object = pass(malloc(16));
    *(volatile char *)(object + 16) = 1;
    free(object);
}

/* SIGALRM ends a child that hangs, too. */
static pid_t fork_with_alarm(void) {
    pid_t child = fork();
    if (child == 0) alarm(10);
    return child;
}

static int status_of(pid_t child) {
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- moments ---- */

static char *volatile outside; /* allocated before, freed at the moment */

/* volatile: the compiler assumes that malloc() reads no variable of the program. */
static _Thread_local volatile bool armed, stops;
static volatile int countdown; /* calls until SIGUSR1 is raised */
static sem_t stopped, go_on;

static void moment(bool unlocks) {
    int saved_errno = errno;
    if (armed && --countdown == 0) (void)raise(SIGUSR1);
    if (stops && unlocks) {
        stops = false;
        (void)sem_post(&stopped);
        while (sem_wait(&go_on) != 0) {}
    }
    errno = saved_errno;
}

int madvise(void *address, size_t size, int advice) {
    moment(false);
    return (int)syscall(SYS_madvise, address, size, advice);
}

int mprotect(void *address, size_t size, int prot) {
    moment(false);
    return (int)syscall(SYS_mprotect, address, size, prot);
}

/* The lock is still held. */
int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    static int (*_Atomic real)(pthread_mutex_t *);
    if (real == NULL) real = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    moment(true);
    return real(mutex);
}

/* Runs in fork(), behind the preloaded malloc's own handler: as if the C library waited there for a lock. */
static volatile bool waits_in_fork;
static void *allocate(void *unused) {
    char *object = NULL;
    for (int i = 0; i < 50; i++) {
        free(object);
        object = pass(malloc(100));
        object = pass(realloc(object, 200));
    }
    free(outside);
    free(object);
    return unused;
}
static void wait_for_others(void) {
    pthread_t other;
    if (!waits_in_fork) return;
    (void)pthread_create(&other, NULL, allocate, NULL);
    (void)pthread_join(other, NULL);
    free(pass(malloc(100)));
}

/* pthread_atfork(3) is this function. FAIL_ATFORK=N: the Nth call fails, and those after it succeed. The first call is the
 * preloaded malloc's; what is registered before it runs after it. */
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *object);
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *object) {
    static int calls;
    const char *fails = getenv("FAIL_ATFORK");
    if (fails != NULL && atoi(fails) == calls + 1) return calls++, ENOMEM;
    int (*real)(void (*)(void), void (*)(void), void (*)(void), void *) =
        (int (*)(void (*)(void), void (*)(void), void (*)(void), void *))dlsym(RTLD_NEXT, "__register_atfork");
    if (calls++ == 0) (void)real(wait_for_others, NULL, NULL, object);
    return real(before, parent, child, object);
}

/* Waits until the thread sleeps in the kernel. */
static void wait_until_it_sleeps(pid_t thread) {
    char path[64], text[256];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    for (;;) {
        int fd = open(path, O_RDONLY);
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        text[got > 0 ? got : 0] = '\0';
        const char *state = strrchr(text, ')');
        if (state != NULL && state[2] == 'S') return;
        usleep(1000);
    }
}

/* ---- fork() while one thread flushes all files and another allocates under a file's lock ---- */

static sem_t in_reader, release_reader;
static volatile pid_t flusher_id, forker_id;

static ssize_t read_slowly(void *cookie, char *buffer, size_t size) {
    (void)cookie, (void)size;
    (void)sem_post(&in_reader);
    while (sem_wait(&release_reader) != 0) {}
    for (int i = 0; i < 100; i++) free(pass(malloc(100)));
    buffer[0] = 'x';
    return 1;
}

static void *read_line(void *file) {
    (void)getc(file);
    return NULL;
}
static void *flush_all(void *unused) {
    flusher_id = (pid_t)syscall(SYS_gettid);
    (void)fflush(NULL);
    return unused;
}
static void *fork_once(void *status) {
    forker_id = (pid_t)syscall(SYS_gettid);
    pid_t child = fork_with_alarm();
    if (child == 0) {
        free(pass(malloc(50)));
        overrun();
        _exit(7);
    }
    *(int *)status = status_of(child);
    return NULL;
}

static int fork_in_fflush(void) {
    pthread_t reader, flusher, forker;
    int status = -1;
    FILE *file = fopencookie(NULL, "r", (cookie_io_functions_t){.read = read_slowly});
    (void)setvbuf(file, NULL, _IONBF, 0);
    (void)pthread_create(&reader, NULL, read_line, file);
    while (sem_wait(&in_reader) != 0) {}
    (void)pthread_create(&flusher, NULL, flush_all, NULL); /* has the list of files, waits for this file */
    while (flusher_id == 0) usleep(1000);
    wait_until_it_sleeps(flusher_id);
    (void)pthread_create(&forker, NULL, fork_once, &status); /* waits for the list of files */
    while (forker_id == 0) usleep(1000);
    wait_until_it_sleeps(forker_id);
    (void)sem_post(&release_reader); /* allocates while it has the file */
    (void)pthread_join(forker, NULL);
    (void)pthread_join(flusher, NULL);
    (void)pthread_join(reader, NULL);
    printf("child %d\n", status);
    return 0;
}

/* ---- a handler that interrupts malloc ---- */

static volatile bool in_child;
static volatile pid_t child_of_handler;
static bool forks;

static void use_malloc(int signo) {
    (void)signo;
    char *object = pass(malloc(40));
    memset(object, 1, 40);
    object = pass(realloc(object, 400));
    memset(object, 2, 400);
    free(object);
    outside = pass(realloc(outside, 100));
    free(outside);
    outside = NULL;
    if (!forks) return;
    child_of_handler = fork_with_alarm();
    in_child = child_of_handler == 0;
    free(pass(malloc(30)));
}

static void *object;
static void do_malloc(void) { object = pass(malloc(100)); }
static void do_large(void) { object = pass(malloc(9 << 20)); }
static void do_free(void) {
    free(object);
    object = NULL;
}
static void do_realloc(void) { object = pass(realloc(object, 5000)); }
static void do_many(void) {
    for (int i = 0; i < 600; i++) (void)pass(malloc(3000));
}
static void (*const operations[])(void) = {do_malloc, do_realloc, do_free, do_large, do_free, do_many};

/* Interrupts each operation at its first moment, then at its second and so on. */
static int interrupted(void) {
    int moments = 0, children = 0;
    (void)signal(SIGUSR1, use_malloc);
    for (int at = 1, more = 1; more != 0; at++) {
        more = 0;
        for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
            outside = pass(malloc(20));
            countdown = at;
            armed = true;
            operations[i]();
            armed = false;
            if (in_child) {
                for (int n = 0; n < 100; n++) free(pass(malloc(100)));
                _exit(7);
            }
            if (countdown <= 0) more++, moments++;
            if (forks && countdown <= 0) children += status_of(child_of_handler) == 7;
            free(outside);
        }
        if (at == 40) break;
    }
    overrun();
    printf("%s\n", moments < 20 ? "too few moments" : forks && children != moments ? "children died" : "lived");
    return 0;
}

static int handler_allocates(void) { return interrupted(); }
static int handler_forks(void) {
    forks = true;
    return interrupted();
}

/* ---- fork() while another thread cannot leave malloc ---- */

static void *stop_in_malloc(void *unused) {
    stops = true;
    free(pass(malloc(100)));
    return unused;
}

static void fork_here(int signo) {
    (void)signo;
    child_of_handler = fork_with_alarm();
    in_child = child_of_handler == 0;
}

static int fork_torn(void) {
    pthread_t other;
    char *before = pass(malloc(200));
    (void)pthread_create(&other, NULL, stop_in_malloc, NULL);
    while (sem_wait(&stopped) != 0) {}
    (void)signal(SIGUSR1, fork_here);
    countdown = 1;
    armed = true;
    do_malloc();
    armed = false;
    if (in_child) {
        memset(before, 1, 200);
        before = pass(realloc(before, 1000));
        memset(before, 2, 1000);
        free(before);
        for (int n = 0; n < 100; n++) free(pass(malloc(100)));
        _exit(7);
    }
    int status = status_of(child_of_handler);
    (void)sem_post(&go_on);
    (void)pthread_join(other, NULL);
    printf("child %d\n", status);
    overrun();
    return 0;
}

/* ---- fork() while another thread sets a handler ---- */

static void *set_handler(void *unused) {
    stops = true;
    (void)signal(SIGSEGV, SIG_IGN);
    return unused;
}

static int fork_in_sigaction(void) {
    pthread_t other;
    (void)pthread_create(&other, NULL, set_handler, NULL);
    while (sem_wait(&stopped) != 0) {}
    pid_t child = fork_with_alarm();
    if (child == 0) _exit(signal(SIGSEGV, SIG_DFL) == SIG_ERR ? 1 : signal(SIGSEGV, SIG_DFL) == SIG_DFL ? 7 : 2);
    printf("child %d\n", status_of(child));
    (void)sem_post(&go_on);
    (void)pthread_join(other, NULL);
    return 0;
}

/* ---- fork() while another thread writes a report: to standard error, a pipe that is full ---- */

static volatile pid_t writer_id;
static void *make_error(void *unused) {
    writer_id = (pid_t)syscall(SYS_gettid);
    overrun();
    return unused;
}

static void fill_pipe(int fd) {
    char bytes[4096] = {0};
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, bytes, sizeof bytes) > 0) {}
    while (write(fd, bytes, 1) > 0) {}
    (void)fcntl(fd, F_SETFL, flags);
}

static int fork_in_report(const char *path) {
    pthread_t other;
    fill_pipe(STDERR_FILENO);
    (void)pthread_create(&other, NULL, make_error, NULL);
    while (writer_id == 0) usleep(1000);
    wait_until_it_sleeps(writer_id);
    pid_t child = fork_with_alarm();
    if (child == 0) {
        (void)dup2(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
        overrun();
        _exit(7);
    }
    printf("child %d\n", status_of(child));
    fflush(stdout);
    _exit(0);
}

/* ---- programs ---- */

static int fork_waits(void) {
    outside = pass(malloc(30));
    waits_in_fork = true;
    pid_t child = fork_with_alarm();
    waits_in_fork = false;
    overrun();
    if (child == 0) _exit(7);
    printf("child %d\n", status_of(child));
    return 0;
}

static int forked(void) {
    pid_t child = fork_with_alarm();
    if (child == 0) {
        overrun();
        _exit(7);
    }
    printf("child %d\n", status_of(child));
    return 0;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        int (*run)(void);
    } programs[] = {{"fork_in_fflush", fork_in_fflush},
                    {"handler_allocates", handler_allocates},
                    {"handler_forks", handler_forks},
                    {"fork_torn", fork_torn},
                    {"forked", forked},
                    {"fork_waits", fork_waits},
                    {"fork_in_sigaction", fork_in_sigaction}};
    alarm(60);
    (void)sem_init(&in_reader, 0, 0);
    (void)sem_init(&release_reader, 0, 0);
    (void)sem_init(&stopped, 0, 0);
    (void)sem_init(&go_on, 0, 0);
    if (count > 2 && strcmp(arguments[1], "fork_in_report") == 0) return fork_in_report(arguments[2]);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && count > 1; i++)
        if (strcmp(arguments[1], programs[i].name) == 0) return programs[i].run();
    return 1;
}
