/* SPDX-License-Identifier: MIT */
/* System calls that fail, or kill, when the test wants them to. (The tests are built for the system's own ABI alone.) */
#ifndef VMARENA_TESTS_SECCOMP_H
#define VMARENA_TESTS_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From now on the call `number` has the action in this process and its children. false: no seccomp filters here. */
static inline bool filter_call(long number, unsigned action) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The same for calls with this value in the lower half of the argument with that index alone. */
static inline bool filter_call_with(long number, unsigned index, unsigned value, unsigned action) {
    unsigned half = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args) + 8 * index + half),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* filter_call, and the call fails with this errno. */
static inline bool fail_call(long number, int error) {
    return filter_call(number, SECCOMP_RET_ERRNO | (unsigned)error);
}

/* How a child ends in which filter_call() failed, and what its parent does then. */
#define NO_SECCOMP 55
#define skip_without_seccomp(status)                                                                                   \
    do {                                                                                                               \
        if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SECCOMP) {                                                  \
            print_message("skip: this system has no seccomp filters\n");                                               \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

#endif
