/* SPDX-License-Identifier: MIT */
/*
 * From an instruction to a line of source: addr2line(1) of binutils reads it from the debug information. Where that tool
 * is not installed, dladdr(3) still tells the function, if it is exported, or else the place in the file.
 */
#include "where.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Starts addr2line with its output in *out. */
static bool start(const char *object, uintptr_t offset, pid_t *child, int *out) {
    char address[32];
    int ends[2];
    (void)snprintf(address, sizeof address, "0x%zx", (size_t)offset);
    /* -i: the innermost of inlined functions comes first. */
    const char *argv[] = {"addr2line", "-f", "-i", "-s", "-e", object, address, NULL};
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    posix_spawn_file_actions_t actions;
    bool good = posix_spawn_file_actions_init(&actions) == 0;
    if (good) {
        good = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0 &&
               posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
               posix_spawnp(child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ) == 0;
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    (void)close(ends[1]);
    *out = ends[0];
    if (!good) (void)close(ends[0]);
    return good;
}

/* Its first two lines are the function and FILE:LINE, sometimes with a "(discriminator N)" after it. */
static bool ask_addr2line(const char *object, uintptr_t offset, char *text, size_t size) {
    char function[128] = "??", place[256] = "??";
    pid_t child;
    int out, status = -1;
    if (!start(object, offset, &child, &out)) return false;
    FILE *lines = fdopen(out, "r");
    if (lines == NULL) (void)close(out);
    else {
        if (fscanf(lines, "%127s %255s%*[^\n]", function, place) == EOF) function[0] = '?';
        while (fgetc(lines) != EOF) continue;
        (void)fclose(lines);
    }
    (void)waitpid(child, &status, 0);
    if (status != 0 || function[0] == '?' || place[0] == '?') return false;
    (void)snprintf(text, size, "in %s, %s", function, place);
    return true;
}

void where_is(const void *pc, char *text, size_t size) {
    Dl_info info;
    struct link_map *map;
    if (pc == NULL || dladdr1(pc, &info, (void **)&map, RTLD_DL_LINKMAP) == 0) {
        (void)snprintf(text, size, "at %p", pc);
        return;
    }
    /* A file's addresses begin at 0, or where it was linked to: l_addr is what loading added. */
    uintptr_t offset = (uintptr_t)pc - map->l_addr;
    const char *object = map->l_name[0] != '\0' ? map->l_name : "/proc/self/exe";
    char program[4096];
    if (map->l_name[0] == '\0') { /* for the child /proc/self is another */
        ssize_t length = readlink(object, program, sizeof program - 1);
        if (length > 0) {
            program[length] = '\0';
            object = program;
        }
    }
    if (ask_addr2line(object, offset, text, size)) return;
    if (info.dli_sname != NULL) (void)snprintf(text, size, "in %s", info.dli_sname);
    else
        (void)snprintf(text, size, "in %s+0x%zx", strrchr(object, '/') ? strrchr(object, '/') + 1 : object,
                       (size_t)offset);
}
