/* SPDX-License-Identifier: MIT */
/*
 * Makes what older kernels have not got fail for this process and its descendants, as it fails there, by a seccomp filter
 * (seccomp(2)). Linux only.
 */
#ifndef VMARENA_TESTS_KERNELS_ABSENT_H
#define VMARENA_TESTS_KERNELS_ABSENT_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A system call that fails with error; if argument is not NO_ARGUMENT, only where that argument is value. */
struct absent_call {
    int number, argument;
    unsigned value;
    int error;
};
#define NO_ARGUMENT (-1)

struct absent_feature {
    const char *name;
    struct absent_call calls[3];
};

static const struct absent_feature absent_features[] = {
    /* Linux 6.13 */
    {"markers", {{SYS_madvise, 2, 102, EINVAL}, {SYS_madvise, 2, 103, EINVAL}, {440, 3, 102, EINVAL}}},
    {"process_madvise", {{440, NO_ARGUMENT, 0, ENOSYS}}}, /* 5.10 */
    /* UFFDIO_POISON, 6.6 */
    {"poison", {{SYS_ioctl, 1, 0xc020aa08, EINVAL}}},
    /* The system call, and USERFAULTFD_IOC_NEW on /dev/userfaultfd */
    {"userfaultfd", {{SYS_userfaultfd, NO_ARGUMENT, 0, EPERM}, {SYS_ioctl, 1, 0xaa00, EPERM}}},
    {"procmap_query", {{SYS_ioctl, 1, 0xc0686611, ENOTTY}}},                    /* 6.11 */
    {"pagemap_scan", {{SYS_ioctl, 1, 0xc0606610, ENOTTY}}},                     /* 6.7 */
    {"memfd", {{SYS_memfd_create, NO_ARGUMENT, 0, ENOSYS}}},                    /* 3.17 */
    {"collapse", {{SYS_madvise, 2, 25, EINVAL}}},                               /* 6.1 */
    {"populate", {{SYS_madvise, 2, 22, EINVAL}, {SYS_madvise, 2, 23, EINVAL}}}, /* 5.14 */
};
#define ABSENT_FEATURES (sizeof absent_features / sizeof absent_features[0])

/* The low half of an argument: all that is compared here has 32 bits. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define ABSENT_ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (unsigned)(n) + 4)
#else
#define ABSENT_ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (unsigned)(n))
#endif

/* Adds one more filter for one call: the kernel asks all of them, and the strictest answer counts. 0, or -1 with errno. */
static int make_call_absent(const struct absent_call *call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call->number, 0, call->argument == NO_ARGUMENT ? 1 : 3),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)call->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    if (call->argument != NO_ARGUMENT) {
        code[2] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ABSENT_ARGUMENT(call->argument));
        code[3] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call->value, 0, 1);
        code[4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)call->error);
    }
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/* 0, or -1 with errno; EINVAL: there is no such feature here. */
static inline int make_absent(const char *name) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    for (size_t i = 0; i < ABSENT_FEATURES; i++) {
        const struct absent_feature *feature = &absent_features[i];
        if (strcmp(feature->name, name) != 0) continue;
        for (size_t n = 0; n < 3 && feature->calls[n].error != 0; n++)
            if (make_call_absent(&feature->calls[n]) != 0) return -1;
        return 0;
    }
    errno = EINVAL;
    return -1;
}

#endif
