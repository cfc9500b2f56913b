/* SPDX-License-Identifier: MIT */
/*
 * Runs a program as a child of the command: reports why it could not start, and passes on the signals that are meant for it.
 * One child at a time. Linux.
 */
#ifndef VMARENA_TOOLS_CHILD_H
#define VMARENA_TOOLS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vmarena_child_options {
    const char *path;                  /* NULL: arguments[0]; a name without a slash is looked for in PATH */
    char **arguments;                  /* of the program, its name first */
    bool (*prepare)(void *arg);        /* in the child, before execve(2); false: errno says why not. May be NULL */
    void (*created)(pid_t, void *arg); /* in the parent, while the child waits to go on. May be NULL */
    void *arg;
    void (*on_child_signal)(int); /* for SIGCHLD; NULL: the default action, whatever our own parent chose */
};

struct vmarena_child {
    pid_t pid;
    uint64_t minor_faults, major_faults; /* the child's own before execve(2) */
};

/*
 * Takes over the signals listed below and starts the program. Returns 0 or a negative errno: that of execve(2) if it failed,
 * -ECHILD if the child ended before it got there. After an error there is no child, and the signals are as before.
 */
int vmarena_child_start(struct vmarena_child *child, const struct vmarena_child_options *options);

/*
 * Undoes what start did to the signals. In between, SIGINT and SIGQUIT, which the terminal sends to the program as well, are ignored; SIGTERM, SIGHUP,
 * SIGUSR1, SIGUSR2 and SIGCONT are passed on to the program, unless they were ignored before, as under nohup(1). SIGXFSZ is
 * ignored: beyond RLIMIT_FSIZE a write fails with EFBIG.
 */
void vmarena_child_release_signals(void);

/* Call this before waiting for the child: afterwards its process number may belong to another process. */
void vmarena_child_stop_passing(void);

/* Dies of the signal that the child died of, or returns the exit code to end with. */
int vmarena_child_end_alike(int status);

#endif
