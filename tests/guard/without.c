/* SPDX-License-Identifier: MIT */
/* without CALL... -- PROGRAM [ARGUMENT...]: runs a program with these system calls absent, as on an older kernel. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int number_of(const char *name) {
    static const struct {
        const char *name;
        int number;
    } calls[] = {{"memfd_create", SYS_memfd_create}, {"guard_markers", SYS_madvise}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (strcmp(calls[i].name, name) == 0) return calls[i].number;
    return -1;
}

#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, Linux 6.13 */

static int remove_call(int number) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, number == SYS_madvise ? 0 : 2, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])), /* little-endian */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUARD_INSTALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (number == SYS_madvise ? EINVAL : ENOSYS)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) : -1;
}

int main(int count, char **arguments) {
    int at = 1;
    for (; at < count && strcmp(arguments[at], "--") != 0; at++)
        if (number_of(arguments[at]) < 0 || remove_call(number_of(arguments[at])) != 0) return 77;
    if (at + 1 >= count) return 2;
    execv(arguments[at + 1], arguments + at + 1);
    perror(arguments[at + 1]);
    return 127;
}
