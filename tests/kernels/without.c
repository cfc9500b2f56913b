/* SPDX-License-Identifier: MIT */
/*
 * without FEATURE[,FEATURE...] PROGRAM [ARGUMENT...]: runs a program as on a kernel that has not got these features.
 * "all" stands for all of them. Without arguments it lists them. Exits with 77 where there are no seccomp filters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "absent.h"

static bool is_feature(const char *name) {
    for (size_t i = 0; i < ABSENT_FEATURES; i++)
        if (strcmp(absent_features[i].name, name) == 0) return true;
    return false;
}

static int remove_feature(const char *name) {
    if (!is_feature(name)) {
        fprintf(stderr, "without: %s: there is no such feature\n", name);
        exit(2);
    }
    int result = make_absent(name);
    if (result != 0) fprintf(stderr, "without: %s: %s\n", name, strerror(errno));
    return result;
}

static int remove_all(void) {
    int result = 0;
    for (size_t i = 0; i < ABSENT_FEATURES && result == 0; i++) result = remove_feature(absent_features[i].name);
    return result;
}

static int remove_these(char *names) {
    int result = 0;
    for (char *name = strtok(names, ","); name != NULL && result == 0; name = strtok(NULL, ","))
        result = strcmp(name, "all") == 0 ? remove_all() : remove_feature(name);
    return result;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        for (size_t i = 0; i < ABSENT_FEATURES; i++) puts(absent_features[i].name);
        return argc == 1 ? 0 : 2;
    }
    if (remove_these(argv[1]) != 0) return 77;
    execvp(argv[2], argv + 2);
    fprintf(stderr, "without: %s: %s\n", argv[2], strerror(errno));
    return 2;
}
