/* SPDX-License-Identifier: MIT */
#include "preload_check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "elf.h"

/* ---- where it is ---- */

static bool is_program(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool say_why_not(const char *path, const char **why) {
    struct stat status;
    if (stat(path, &status) != 0) *why = strerror(errno);
    else if (S_ISDIR(status.st_mode)) *why = "is a directory";
    else *why = "is not executable";
    return false;
}

bool vmarena_program_find(const char *name, char *path, size_t size, const char **why) {
    if (strchr(name, '/') != NULL) {
        if ((size_t)snprintf(path, size, "%s", name) >= size) return *why = strerror(ENAMETOOLONG), false;
        return is_program(path) || say_why_not(path, why);
    }
    const char *list = getenv("PATH");
    for (const char *at = list == NULL ? "/bin:/usr/bin" : list; *name != '\0';) {
        size_t length = strcspn(at, ":");
        int needs = snprintf(path, size, "%.*s%s%s", (int)length, at, length == 0 ? "./" : "/", name);
        if (needs >= 0 && (size_t)needs < size && is_program(path)) return true;
        if (at[length] == '\0') break;
        at += length + 1;
    }
    *why = "no such program in PATH";
    return false;
}

/* ---- what it is ---- */

#define SCRIPT_DEPTH 5  /* the kernel's own limit: exec_binprm() in Linux's fs/exec.c */
#define SCRIPT_LINE 256 /* bytes that the kernel reads: BINPRM_BUF_SIZE */

/* The interpreter of "#!interpreter argument", into line; NULL: not a script. */
static char *script_interpreter(const char *path, char line[SCRIPT_LINE]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, line, SCRIPT_LINE - 1);
    if (fd >= 0) close(fd);
    if (got < 3 || line[0] != '#' || line[1] != '!') return NULL;
    line[got] = '\0';
    char *start = line + 2 + strspn(line + 2, " \t");
    start[strcspn(start, " \t\r\n")] = '\0';
    return *start == '\0' ? NULL : start;
}

/* Where the kernel sets AT_SECURE, the dynamic linker ignores LD_PRELOAD outside its standard folders (ld.so(8)). */
static const char *is_privileged(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return NULL;
    if (status.st_mode & S_ISUID) return "is setuid";
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) return "is setgid";
    return getxattr(path, "security.capability", NULL, 0) > 0 ? "has file capabilities" : NULL;
}

static bool refuse(char *why, size_t size, const char *path, const char *reason) {
    (void)snprintf(why, size, "%s %s; nothing in it would be guarded", path, reason);
    return false;
}

/* A sanitizer replaces malloc itself, and must be the first library that is loaded. */
static bool has_sanitizer(const struct vmarena_elf *elf) {
    return vmarena_elf_needed(elf, "libasan.") != NULL || vmarena_elf_needed(elf, "libtsan.") != NULL ||
           vmarena_elf_needed(elf, "liblsan.") != NULL;
}

static bool check_elf(const struct vmarena_elf *program, const struct vmarena_elf *preload, const char *path, char *why,
                      size_t size) {
    char reason[256];
    if (program->class != preload->class || program->machine != preload->machine ||
        program->big_endian != preload->big_endian)
        return refuse(why, size, path, "is for another architecture");
    if (program->type != ET_EXEC && program->type != ET_DYN) return refuse(why, size, path, "is not a program");
    const char *loader = vmarena_elf_interpreter(program);
    if (loader == NULL) return refuse(why, size, path, "is statically linked");
    if (strstr(loader, "ld-linux") == NULL) {
        (void)snprintf(reason, sizeof reason, "uses another C library (loaded by %.100s)", loader);
        return refuse(why, size, path, reason);
    }
    /* A program's own functions take precedence over preloaded ones. */
    if (vmarena_elf_offers(program, "malloc")) return refuse(why, size, path, "has a malloc of its own");
    return !has_sanitizer(program) || refuse(why, size, path, "is built with a sanitizer, which has its own malloc");
}

static bool check_file(const char *path, const char *preload, char *why, size_t size) {
    struct vmarena_elf program, ours;
    int error = vmarena_elf_open(&program, path);
    if (error == -ENOEXEC) return refuse(why, size, path, "is neither an ELF file nor a script with an interpreter");
    if (error != 0) {
        (void)snprintf(why, size, "%s cannot be read: %s", path, strerror(-error));
        return false;
    }
    error = vmarena_elf_open(&ours, preload);
    bool good = error == 0 && check_elf(&program, &ours, path, why, size);
    if (error != 0) (void)snprintf(why, size, "%s cannot be read: %s", preload, strerror(-error));
    vmarena_elf_close(&ours);
    vmarena_elf_close(&program);
    return good;
}

bool vmarena_preload_check(const char *path, const char *preload, char *why, size_t size) {
    char line[SCRIPT_LINE], interpreter[SCRIPT_LINE];
    for (unsigned depth = 0; depth < SCRIPT_DEPTH; depth++) {
        const char *next = script_interpreter(path, line);
        if (next == NULL) break;
        (void)snprintf(interpreter, sizeof interpreter, "%s", next);
        path = interpreter;
    }
    const char *privilege = is_privileged(path);
    if (privilege != NULL) return refuse(why, size, path, privilege);
    return check_file(path, preload, why, size);
}
