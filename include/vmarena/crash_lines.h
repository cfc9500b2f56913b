/* SPDX-License-Identifier: MIT */
/*
 * For test programs: the lines of source on the stack of a fault that kills the program. A handler below the library's,
 * which has reported the object by then, runs addr2line(1), if it is installed, on the frames of the program itself. It
 * does what a handler must not do in a program that goes on, and then leaves the signal to whoever had it before.
 * testing.h and the header for GoogleTest use it. It does nothing where the C library has no backtrace(3), or where a
 * strict mode (-std=c11) hides what it needs.
 */
#ifndef VMARENA_CRASH_LINES_H
#define VMARENA_CRASH_LINES_H

#include "export.h"

#include <signal.h>

/* SA_ONSTACK is hidden where a program asks for POSIX's base alone (sigaction(2)). */
#if defined(__has_include) && defined(SA_ONSTACK) && !defined(VMARENA_POSIX_HIDDEN_)
#if __has_include(<execinfo.h>)
#define VMARENA_HAS_CRASH_LINES_ 1
#endif
#endif

#ifdef VMARENA_HAS_CRASH_LINES_

#include <execinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

VMARENA_BEGIN_DECLS

#define VMARENA_CRASH_FRAMES_ 32

struct vmarena_crash_lines_ {
    struct sigaction earlier[2]; /* of SIGSEGV and of SIGBUS */
    char program[1024];
    uintptr_t low, high, bias; /* where the program lies, and what debug information counts its addresses from */
};

static inline struct vmarena_crash_lines_ *vmarena_crash_lines_state_(void) {
    static struct vmarena_crash_lines_ state;
    return &state;
}

/* Finds the program's mappings. An executable that is not position-independent (e_type 2, ELF) has its own addresses. */
static inline int vmarena_crash_find_program_(struct vmarena_crash_lines_ *state) {
    char line[1400], path[1024];
    unsigned long low, high;
    ssize_t length = readlink("/proc/self/exe", state->program, sizeof state->program - 1);
    FILE *maps = length > 0 ? fopen("/proc/self/maps", "r") : NULL;
    if (maps == NULL) return 0;
    state->program[length] = '\0';
    state->low = state->high = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %1023[^\n]", &low, &high, path) != 3) continue;
        if (strcmp(path, state->program) != 0) continue;
        if (state->low == 0) state->low = low;
        state->high = high;
    }
    (void)fclose(maps);
    if (state->low == 0) return 0;
    state->bias = ((const unsigned char *)state->low)[16] == 2 ? 0 : state->low;
    return 1;
}

/* Its output goes to standard error. */
static inline void vmarena_crash_run_(char *const *words) {
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execvp(words[0], words);
        _exit(127);
    }
    if (child > 0) (void)waitpid(child, NULL, 0);
}

static inline void vmarena_crash_print_(struct vmarena_crash_lines_ *state, void *const *frames, int count) {
    static const char *const options[] = {"addr2line", "-C", "-f", "-p", "-i", "-e"};
    const int fixed = sizeof options / sizeof options[0];
    char texts[VMARENA_CRASH_FRAMES_][24];
    char *words[VMARENA_CRASH_FRAMES_ + 8];
    int used = 0;
    for (int i = 0; i < fixed; i++) words[i] = (char *)(uintptr_t)options[i];
    words[fixed] = state->program;
    for (int i = 0; i < count; i++) {
        uintptr_t at = (uintptr_t)frames[i];
        if (at < state->low || at >= state->high) continue;
        /* The faulting frame's address is exact; the others are returns, behind their call. */
        (void)snprintf(texts[used], sizeof texts[used], "0x%lx", (unsigned long)(at - state->bias - (used > 0)));
        words[fixed + 1 + used] = texts[used];
        used++;
    }
    words[fixed + 1 + used] = NULL;
    if (used > 0) vmarena_crash_run_(words);
}

static inline void vmarena_crash_handler_(int signo, siginfo_t *info, void *context) {
    struct vmarena_crash_lines_ *state = vmarena_crash_lines_state_();
    void *frames[VMARENA_CRASH_FRAMES_];
    (void)info, (void)context;
    /* The first frame is this function's. */
    int count = backtrace(frames, VMARENA_CRASH_FRAMES_);
    if (count > 1 && vmarena_crash_find_program_(state)) vmarena_crash_print_(state, frames + 1, count - 1);
    /* Back to who would have had the signal: the access is tried again. */
    (void)sigaction(signo, &state->earlier[signo == SIGBUS], NULL);
}

static inline int vmarena_crash_install_one_(int signo) {
    struct sigaction action, *earlier = &vmarena_crash_lines_state_()->earlier[signo == SIGBUS];
    struct sigaction now;
    if (sigaction(signo, NULL, &now) != 0) return -1;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == vmarena_crash_handler_) return 0;
    *earlier = now;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = vmarena_crash_handler_;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(signo, &action, NULL);
}

/* To be called while the library's handlers are not on top, and before they are set, which then pass on to this one. 0, or
 * -1 with errno. Not thread-safe. */
static inline int vmarena_crash_lines_install(void) {
    void *frame;
    (void)backtrace(&frame, 1); /* loads what it needs now, not in the handler */
    return vmarena_crash_install_one_(SIGSEGV) == 0 ? vmarena_crash_install_one_(SIGBUS) : -1;
}

VMARENA_END_DECLS

#else

static inline int vmarena_crash_lines_install(void) { return 0; }

#endif

#endif
