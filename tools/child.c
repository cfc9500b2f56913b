/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- signals ---- */

static volatile pid_t receiver; /* 0: nobody */

static void pass_on(int signo) {
    int saved_errno = errno;
    if (receiver > 0) (void)kill(receiver, signo);
    errno = saved_errno;
}

static const struct {
    int number;
    void (*handler)(int); /* NULL: the caller's choice */
} taken[] = {{SIGINT, SIG_IGN},  {SIGQUIT, SIG_IGN}, {SIGTERM, pass_on}, {SIGHUP, pass_on}, {SIGUSR1, pass_on},
             {SIGUSR2, pass_on}, {SIGCONT, pass_on}, {SIGXFSZ, SIG_IGN}, {SIGCHLD, NULL}};
#define TAKEN (sizeof taken / sizeof taken[0])
static struct sigaction before[TAKEN];

/* SA_RESTART: passing a signal on does not interrupt the wait for the child. */
static void take_signals(void (*on_child_signal)(int)) {
    for (size_t i = 0; i < TAKEN; i++) {
        struct sigaction action = {.sa_flags = SA_RESTART};
        action.sa_handler = taken[i].handler;
        if (taken[i].number == SIGCHLD) action.sa_handler = on_child_signal != NULL ? on_child_signal : SIG_DFL;
        (void)sigaction(taken[i].number, NULL, &before[i]);
        bool stays_ignored = taken[i].handler == pass_on && before[i].sa_handler == SIG_IGN;
        if (!stays_ignored) (void)sigaction(taken[i].number, &action, NULL);
    }
}

void vmarena_child_release_signals(void) {
    for (size_t i = 0; i < TAKEN; i++) (void)sigaction(taken[i].number, &before[i], NULL);
}

void vmarena_child_stop_passing(void) { receiver = 0; }

/* ---- start ---- */

/* The child sends one with error 0 before execve(2), and a second one with errno if that fails. */
struct message {
    int error;
    uint64_t minor_faults, major_faults;
};

/* Messages are shorter than PIPE_BUF and arrive whole or not at all. */
static bool receive(int fd, struct message *message) {
    ssize_t got;
    *message = (struct message){.error = ECHILD};
    do got = read(fd, message, sizeof *message);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof *message) return true;
    *message = (struct message){.error = ECHILD};
    return false;
}

static void send_message(int fd, int error) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    struct message message = {error, (uint64_t)usage.ru_minflt, (uint64_t)usage.ru_majflt};
    if (write(fd, &message, sizeof message) != (ssize_t)sizeof message) _exit(127);
}

static void become_program(const struct vmarena_child_options *options, int go, int answer, const sigset_t *mask) {
    const char *path = options->path != NULL ? options->path : options->arguments[0];
    char byte;
    if (read(go, &byte, 1) != 1) _exit(127); /* the parent gave up */
    vmarena_child_release_signals();
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    if (options->prepare == NULL || options->prepare(options->arg)) {
        send_message(answer, 0);
        (void)execvp(path, options->arguments);
    } else send_message(answer, 0);
    send_message(answer, errno);
    _exit(127);
}

static void close_both(const int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

/* A successful execve(2) closes the child's end of the pipe. */
static int hear_from(struct vmarena_child *child, int answer) {
    struct message first, second;
    if (!receive(answer, &first)) return -ECHILD;
    child->minor_faults = first.minor_faults;
    child->major_faults = first.major_faults;
    return receive(answer, &second) ? -second.error : 0;
}

/* Signals are blocked meanwhile, so that one to be passed on waits until there is a child to receive it. */
static int start_with_pipes(struct vmarena_child *child, const struct vmarena_child_options *options, int go[2],
                            int answer[2]) {
    sigset_t all, mask;
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    child->pid = fork();
    if (child->pid == 0) {
        close(go[1]);
        become_program(options, go[0], answer[1], &mask);
    }
    int error = child->pid < 0 ? -errno : 0;
    close(answer[1]);
    if (error == 0 && options->created != NULL) options->created(child->pid, options->arg);
    receiver = error == 0 ? child->pid : 0;
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    if (error == 0) {
        (void)!write(go[1], "", 1);
        error = hear_from(child, answer[0]);
    }
    close_both(go);
    close(answer[0]);
    return error;
}

int vmarena_child_start(struct vmarena_child *child, const struct vmarena_child_options *options) {
    int go[2], answer[2];
    *child = (struct vmarena_child){.pid = -1};
    if (pipe2(go, O_CLOEXEC) != 0) return -errno;
    if (pipe2(answer, O_CLOEXEC) != 0) {
        int error = -errno;
        close_both(go);
        return error;
    }
    take_signals(options->on_child_signal);
    int error = start_with_pipes(child, options, go, answer);
    if (error == 0) return 0;
    vmarena_child_stop_passing();
    if (child->pid > 0)
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) {}
    vmarena_child_release_signals();
    return error;
}

/* ---- end ---- */

/* Our own parent, such as a shell, should see the same signal. No core file: the child has left one already. */
int vmarena_child_end_alike(int status) {
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    struct rlimit none = {0, 0};
    int signo = WTERMSIG(status);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
    return 128 + signo;
}
