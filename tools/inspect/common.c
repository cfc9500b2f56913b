/* SPDX-License-Identifier: MIT */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmarena/arena.h"
#include "vmarena/inspect.h"

#include "color.h"
#include "command.h"
#include "escape.h"
#include "output_file.h"

int vmarena_complain_option(const char *command, int what, char **arguments) {
    const char *last = arguments[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    if (optopt > ' ' && strncmp(last, "--", 2) != 0) last = letter;
    if (what == ':') return vmarena_complain(VMARENA_EXIT_USAGE, command, "%s needs a value", last);
    return vmarena_complain(VMARENA_EXIT_USAGE, command, "there is no option %s; try: vmarena %s --help", last,
                            command);
}

bool vmarena_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out) {
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == text || *at != '\0' || value < least || value > most) return false;
    *out = value;
    return true;
}

int vmarena_parse_process(const char *command, const char *text, pid_t *out) {
    uint64_t value;
    if (!vmarena_parse_number(text, 1, INT32_MAX, &value))
        return vmarena_complain(VMARENA_EXIT_USAGE, command, "'%s' is no process number", text);
    *out = (pid_t)value;
    if (kill(*out, 0) == 0 || errno == EPERM) return 0;
    return vmarena_complain(VMARENA_EXIT_FAILED, command, "there is no process %s", text);
}

int vmarena_finish_output(const char *command) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return vmarena_complain(VMARENA_EXIT_FAILED, command, "writing: %s", strerror(errno));
}

FILE *vmarena_open_output(const char *command, const char *path) {
    const char *why;
    int fd = vmarena_output_file_open(path, 0666, &why);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) (void)vmarena_complain(0, command, "%s: %s", path, fd < 0 ? why : strerror(errno));
    if (file == NULL && fd >= 0) close(fd);
    return file;
}

int vmarena_close_output(const char *command, FILE *file, const char *name) {
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed) return 0;
    return vmarena_complain(VMARENA_EXIT_FAILED, command, "%s: %s", name, strerror(errno));
}

int vmarena_print_help(const char *command, const char *text) {
    fputs(text, stdout);
    return vmarena_finish_output(command);
}

bool vmarena_parse_color(const char *word, FILE *out, bool *color) {
    if (strcmp(word, "always") == 0) *color = true;
    else if (strcmp(word, "never") == 0) *color = false;
    else if (strcmp(word, "auto") == 0) *color = vmarena_color_is_wanted(fileno(out));
    else return false;
    return true;
}

int vmarena_open_process(pid_t pid) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    return (void)pid, -1;
#endif
}

static size_t read_start(pid_t pid, const char *file, char *text, size_t size) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, text, size);
    close(fd);
    return got > 0 ? (size_t)got : 0;
}

void vmarena_process_title(pid_t pid, char *title, size_t size) {
    size_t got = read_start(pid, "cmdline", title, size - 1);
    if (got == 0) { /* a kernel thread, or a zombie */
        got = read_start(pid, "comm", title + 1, size - 3);
        title[0] = '[';
        while (got > 0 && title[got] == '\n') got--;
        title[got + 1] = ']';
        got += 2;
    }
    while (got > 0 && title[got - 1] == '\0') got--;
    title[got] = '\0';
    for (size_t i = 0; i < got; i++)
        if (title[i] == '\0') title[i] = ' ';
}

/* ---- escaped output ---- */

static void flush_to_file(struct vmarena_text *text) { (void)fwrite(text->start, 1, text->length, text->arg); }

/* A text that is written to a file; vmarena_text_flush() writes the rest. */
#define TEXT_FOR(out)                                                                                                  \
    (struct vmarena_text) { .start = (char[256]){0}, .size = 256, .flush = flush_to_file, .arg = (out) }

size_t vmarena_print_cut(FILE *out, const char *text, size_t characters) {
    struct vmarena_text escaped = TEXT_FOR(out);
    size_t count = vmarena_escape_terminal(&escaped, text, characters);
    vmarena_text_flush(&escaped);
    return count;
}

void vmarena_print_plain(FILE *out, const char *text) { (void)vmarena_print_cut(out, text, SIZE_MAX); }

void vmarena_print_markup(FILE *out, const char *text, size_t characters) {
    struct vmarena_text escaped = TEXT_FOR(out);
    vmarena_escape_markup(&escaped, text, characters);
    vmarena_text_flush(&escaped);
}

void vmarena_print_json(FILE *out, const char *text) {
    struct vmarena_text escaped = TEXT_FOR(out);
    vmarena_escape_json(&escaped, text);
    vmarena_text_flush(&escaped);
}

const char *vmarena_grouped(uint64_t value, char text[32]) {
    struct vmarena_text out = {.start = text, .size = 32};
    vmarena_text_grouped(&out, value);
    vmarena_text_end(&out);
    return text;
}

const char *vmarena_bytes(uint64_t bytes, char text[32]) {
    struct vmarena_text out = {.start = text, .size = 32};
    vmarena_text_bytes(&out, bytes);
    vmarena_text_end(&out);
    return text;
}

const char *vmarena_tail(const char *text, size_t characters) {
    const char *at = text + strlen(text);
    while (at > text && characters > 0)
        if (((unsigned char)*--at & 0xc0) != 0x80) characters--; /* not the middle of a character */
    return at;
}

enum vmarena_permission vmarena_permission(unsigned prot) {
    if (prot & VMARENA_EXEC) return prot & VMARENA_WRITE ? VMARENA_WRITES_AND_RUNS : VMARENA_RUNS;
    if (prot & VMARENA_WRITE) return VMARENA_WRITES;
    return prot & VMARENA_READ ? VMARENA_READS : VMARENA_NO_ACCESS;
}

const char *vmarena_permission_color(enum vmarena_permission permission) {
    static const char *const colors[] = {
        [VMARENA_NOTHING] = "0", [VMARENA_NO_ACCESS] = "90", [VMARENA_READS] = "36",
        [VMARENA_WRITES] = "33", [VMARENA_RUNS] = "32",      [VMARENA_WRITES_AND_RUNS] = "1;31"};
    return colors[permission];
}

const char *vmarena_permissions(unsigned prot, bool shared, char text[5]) {
    text[0] = prot & VMARENA_READ ? 'r' : '-';
    text[1] = prot & VMARENA_WRITE ? 'w' : '-';
    text[2] = prot & VMARENA_EXEC ? 'x' : '-';
    text[3] = shared ? 's' : 'p';
    text[4] = '\0';
    return text;
}

const char *vmarena_owner_kind(unsigned owner) {
    static const char *const kinds[] = {"", "arena", "heap", "view"};
    return owner < sizeof kinds / sizeof kinds[0] ? kinds[owner] : "";
}
