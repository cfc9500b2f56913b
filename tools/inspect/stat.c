/* SPDX-License-Identifier: MIT */
/*
 * vmarena stat: runs a program and reports its page faults, peak memory and time. The faults come from the kernel's counters
 * where these are permitted in full, as for perf stat, and otherwise from wait4(2), less the child's own faults before
 * execve(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "command.h"
#include "common.h"
#include "vmarena/inspect.h"

static const char help[] =
    "usage: vmarena stat [--json] [--output=FILE] [--] PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs a program and reports its page faults, peak memory, time and, where the CPU's counters are\n"
    "permitted, TLB misses. It writes to standard error when the program has ended.\n"
    "\n"
    "  -j, --json         print JSON\n"
    "  -o, --output=FILE  write to this file instead\n"
    "  -h, --help         print this help\n"
    "\n"
    "The exit code is the program's, 128 + N where signal N ended it; 127: no such program, 126: it\n"
    "cannot be run, 2: bad arguments, 1: other failures.\n";

/* Faults over time, in columns of equal width. When all are used, pairs are joined and the width doubles. */
#define COLUMNS 64
#define FIRST_WIDTH 1000000 /* nanoseconds */

struct history {
    uint64_t faults[COLUMNS];
    uint64_t width;
    size_t used;
    uint64_t last; /* faults counted so far */
};

struct run {
    struct vmarena_child child;
    struct vmarena_counters *counters; /* NULL: not allowed */
    struct vmarena_counts counts;
    uint64_t begun, ended; /* CLOCK_MONOTONIC, nanoseconds */
    struct history history;
    struct rusage usage;
    int status;
};

struct options {
    bool json;
    const char *output;
    char **program;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- the program ---------------------------------------------------------------------------------------------------- */

/* Attaches the counters to the child before it executes the program. */
static void count_child(pid_t pid, void *arg) {
    struct run *run = arg;
    if (vmarena_counters_open(&run->counters, pid, VMARENA_COUNT_CHILDREN | VMARENA_COUNT_AT_EXEC) != 0)
        run->counters = NULL;
    run->begun = now();
}

/* Returns 0, or the exit code after an error message. */
static int start(struct run *run, char **program) {
    const struct vmarena_child_options options = {.arguments = program, .created = count_child, .arg = run};
    int error = vmarena_child_start(&run->child, &options);
    if (error == 0) return 0;
    if (error == -ECHILD)
        return vmarena_complain(VMARENA_EXIT_FAILED, "stat", "%s: the child ended before it could start the program",
                                program[0]);
    return vmarena_complain(error == -ENOENT ? 127 : 126, "stat", "%s: %s", program[0], strerror(-error));
}

/* ---- while it runs -------------------------------------------------------------------------------------------------- */

static void join_columns(struct history *history) {
    for (size_t i = 0; i < COLUMNS / 2; i++) history->faults[i] = history->faults[2 * i] + history->faults[2 * i + 1];
    memset(history->faults + COLUMNS / 2, 0, sizeof history->faults / 2);
    history->width *= 2;
}

static void note(struct run *run, uint64_t faults) {
    struct history *history = &run->history;
    uint64_t column = (now() - run->begun) / history->width;
    for (; column >= COLUMNS; column /= 2) join_columns(history);
    if (faults > history->last) history->faults[column] += faults - history->last;
    if (faults > history->last) history->last = faults;
    history->used = (size_t)column + 1;
}

/* Counted in full, kernel included. */
static bool is_whole(const struct vmarena_counts *counts, enum vmarena_counter counter) {
    return counts->error[counter] == 0 && !counts->user_only[counter];
}

static uint64_t faults_so_far(const struct run *run) {
    struct vmarena_counts counts;
    uint64_t minor = 0, major = 0;
    if (run->counters != NULL && vmarena_counters_read(run->counters, &counts) == 0 &&
        is_whole(&counts, VMARENA_COUNT_PAGE_FAULTS))
        return counts.value[VMARENA_COUNT_PAGE_FAULTS];
    (void)vmarena_process_fault_counts(run->child.pid, &minor, &major);
    return minor + major - run->child.minor_faults - run->child.major_faults < UINT64_MAX / 2
               ? minor + major - run->child.minor_faults - run->child.major_faults
               : 0;
}

static void sample_until_it_ends(struct run *run) {
    siginfo_t info = {.si_pid = 0};
    int end = vmarena_open_process(run->child.pid); /* -1: the loop below polls instead */
    struct pollfd wait = {.fd = end, .events = POLLIN};
    for (;;) {
        uint64_t width = run->history.width;
        int left = (int)((width - (now() - run->begun) % width + 999999) / 1000000);
        (void)poll(&wait, end >= 0 ? 1 : 0, left);
        if (waitid(P_PID, (id_t)run->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) break;
        note(run, faults_so_far(run));
    }
    run->ended = now();
    if (end >= 0) close(end);
}

static void watch(struct run *run) {
    sample_until_it_ends(run);
    vmarena_child_stop_passing();
    (void)wait4(run->child.pid, &run->status, 0, &run->usage);
    /* The counts of a child process are added when it ends; some may outlive the program. */
    if (run->counters == NULL || vmarena_counters_read(run->counters, &run->counts) != 0)
        for (unsigned i = 0; i < VMARENA_COUNTERS; i++) run->counts.error[i] = -EACCES;
}

/* ---- what came out -------------------------------------------------------------------------------------------------- */

struct result {
    uint64_t minor, major, all;
    double elapsed, user, system;
    uint64_t peak; /* bytes */
    bool by_counters;
};

static double seconds(const struct timeval *time) { return (double)time->tv_sec + (double)time->tv_usec / 1e6; }

static struct result result_of(const struct run *run) {
    const struct vmarena_counts *counts = &run->counts;
    struct result result = {.elapsed = (double)(run->ended - run->begun) / 1e9,
                            .user = seconds(&run->usage.ru_utime),
                            .system = seconds(&run->usage.ru_stime),
                            .peak = (uint64_t)run->usage.ru_maxrss * 1024};
    result.by_counters = is_whole(counts, VMARENA_COUNT_PAGE_FAULTS) && is_whole(counts, VMARENA_COUNT_MINOR_FAULTS) &&
                         is_whole(counts, VMARENA_COUNT_MAJOR_FAULTS);
    if (result.by_counters) {
        result.minor = counts->value[VMARENA_COUNT_MINOR_FAULTS];
        result.major = counts->value[VMARENA_COUNT_MAJOR_FAULTS];
        result.all = counts->value[VMARENA_COUNT_PAGE_FAULTS];
        return result;
    }
    uint64_t minor = (uint64_t)run->usage.ru_minflt, major = (uint64_t)run->usage.ru_majflt;
    result.minor = minor > run->child.minor_faults ? minor - run->child.minor_faults : 0;
    result.major = major > run->child.major_faults ? major - run->child.major_faults : 0;
    result.all = result.minor + result.major;
    return result;
}

static int exit_code(const struct run *run) {
    return WIFSIGNALED(run->status) ? 128 + WTERMSIG(run->status) : WEXITSTATUS(run->status);
}

static void print_ending(FILE *out, const struct run *run) {
    if (WIFSIGNALED(run->status))
        fprintf(out, "ended by signal %d (%s)", WTERMSIG(run->status), strsignal(WTERMSIG(run->status)));
    else fprintf(out, "exit code %d", WEXITSTATUS(run->status));
}

static void print_sparkline(FILE *out, const struct history *history) {
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint64_t most = 1;
    for (size_t i = 0; i < history->used; i++)
        if (history->faults[i] > most) most = history->faults[i];
    for (size_t i = 0; i < history->used; i++)
        fputs(history->faults[i] == 0
                  ? " "
                  : bars[(history->faults[i] * 8 - 1) / most > 7 ? 7 : (history->faults[i] * 8 - 1) / most],
              out);
}

static void print_counter(FILE *out, const struct run *run, enum vmarena_counter counter) {
    char number[32];
    int error = run->counts.error[counter];
    if (error == 0)
        fprintf(out, "  %16s  %s\n", vmarena_grouped(run->counts.value[counter], number),
                vmarena_counter_name(counter));
    else
        fprintf(out, "  %16s  %s (%s)\n", "not counted", vmarena_counter_name(counter),
                error == -EACCES || error == -EPERM ? "not allowed: kernel.perf_event_paranoid"
                                                    : "no such counter in this CPU or guest");
}

static void print_report(FILE *out, const struct run *run, char **program) {
    char number[32];
    struct result result = result_of(run);
    fputs("\n  ", out);
    for (size_t i = 0; program[i] != NULL && i < 8; i++) {
        if (i > 0) putc(' ', out);
        vmarena_print_plain(out, program[i]);
    }
    fputs(": ", out);
    print_ending(out, run);
    fprintf(out, "\n\n  %16s  page faults%s\n", vmarena_grouped(result.all, number),
            result.by_counters ? "" : " (from wait4: of the program and the children it waited for)");
    fprintf(out, "  %16s  minor: the page was in memory, or fresh\n", vmarena_grouped(result.minor, number));
    fprintf(out, "  %16s  major: it had to be read from a device\n", vmarena_grouped(result.major, number));
    fprintf(out, "  %16s  peak memory, of its largest process\n", vmarena_bytes(result.peak, number));
    fprintf(out, "  %14.3f s  elapsed (%.3f s user, %.3f s system)\n", result.elapsed, result.user, result.system);
    print_counter(out, run, VMARENA_COUNT_DTLB_LOAD_MISSES);
    print_counter(out, run, VMARENA_COUNT_DTLB_STORE_MISSES);
    fputs("\n  faults over time  ", out);
    print_sparkline(out, &run->history);
    fprintf(out, "  (%.3g ms a column)\n\n", (double)run->history.width / 1e6);
}

static void print_json_counter(FILE *out, const struct run *run, enum vmarena_counter counter, const char *key) {
    if (run->counts.error[counter] == 0)
        fprintf(out, ",\"%s\":%llu", key, (unsigned long long)run->counts.value[counter]);
    else fprintf(out, ",\"%s\":null", key);
}

static void print_json(FILE *out, const struct run *run, char **program) {
    struct result result = result_of(run);
    fputs("{\"command\":[", out);
    for (size_t i = 0; program[i] != NULL; i++) {
        if (i > 0) putc(',', out);
        vmarena_print_json(out, program[i]);
    }
    fprintf(out, "],\"exit_code\":%d,\"signal\":%d", WIFEXITED(run->status) ? WEXITSTATUS(run->status) : -1,
            WIFSIGNALED(run->status) ? WTERMSIG(run->status) : 0);
    fprintf(out, ",\"page_faults\":%llu,\"minor_faults\":%llu,\"major_faults\":%llu,\"source\":\"%s\"",
            (unsigned long long)result.all, (unsigned long long)result.minor, (unsigned long long)result.major,
            result.by_counters ? "perf_event_open" : "wait4");
    fprintf(out, ",\"peak_bytes\":%llu,\"elapsed\":%.6f,\"user\":%.6f,\"system\":%.6f", (unsigned long long)result.peak,
            result.elapsed, result.user, result.system);
    print_json_counter(out, run, VMARENA_COUNT_DTLB_LOAD_MISSES, "dtlb_load_misses");
    print_json_counter(out, run, VMARENA_COUNT_DTLB_STORE_MISSES, "dtlb_store_misses");
    fprintf(out, ",\"column_seconds\":%.6f,\"faults_over_time\":[", (double)run->history.width / 1e9);
    for (size_t i = 0; i < run->history.used; i++)
        fprintf(out, "%s%llu", i > 0 ? "," : "", (unsigned long long)run->history.faults[i]);
    fputs("]}\n", out);
}

/* Returns -1 to go on, or the exit code. */
static int parse(int count, char **arguments, struct options *options) {
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'},
                                                 {"output", required_argument, NULL, 'o'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, "+:jo:h", long_options, NULL)) != -1;) {
        if (option == 'j') options->json = true;
        else if (option == 'o') options->output = optarg;
        else if (option == 'h') return vmarena_print_help("stat", help);
        else return vmarena_complain_option("stat", option, arguments);
    }
    if (optind == count) return vmarena_complain(VMARENA_EXIT_USAGE, "stat", "which program? try: vmarena stat --help");
    options->program = arguments + optind;
    return -1;
}

int vmarena_command_stat(int count, char **arguments) {
    struct options options = {.json = false};
    struct run run = {.history.width = FIRST_WIDTH};
    int code = parse(count, arguments, &options);
    if (code >= 0) return code;
    FILE *out = options.output != NULL ? vmarena_open_output("stat", options.output) : stderr;
    if (out == NULL) return VMARENA_EXIT_FAILED;
    code = start(&run, options.program);
    if (code == 0) {
        watch(&run);
        note(&run, result_of(&run).all);
        if (options.json) print_json(out, &run, options.program);
        else print_report(out, &run, options.program);
        code = exit_code(&run);
    }
    vmarena_counters_close(run.counters);
    int failed = vmarena_close_output("stat", out, options.output != NULL ? options.output : "standard error");
    return failed != 0 ? failed : code;
}
