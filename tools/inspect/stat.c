/* SPDX-License-Identifier: MIT */
/*
 * vmarena stat: runs a program and tells how often it faulted, how much memory it took and how long. The kernel's own
 * counters serve where they are allowed in full, as for perf stat; otherwise what wait4(2) tells, less what this command's
 * own child took up to execve(2).
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

#include "../command.h"
#include "common.h"
#include "vmarena/inspect.h"

static const char help[] =
    "usage: vmarena stat [--json] [--output=FILE] [--] PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs a program and tells its page faults, peak memory, time and, where the CPU's counters are\n"
    "allowed, TLB misses. It writes to standard error, after the program ended.\n"
    "\n"
    "  -j, --json         for programs\n"
    "  -o, --output=FILE  write there instead\n"
    "  -h, --help         this\n"
    "\n"
    "The exit code is the program's, 128 + N where signal N ended it; 127: no such program, 126: it\n"
    "cannot be run, 2: bad arguments, 1: other failures.\n";

/* Faults over time, in columns of equal width. When all are used, neighbours are joined and the width doubles. */
#define COLUMNS 64
#define FIRST_WIDTH 1000000 /* nanoseconds */

struct history {
    uint64_t faults[COLUMNS];
    uint64_t width;
    size_t used;
    uint64_t last; /* faults counted so far */
};

struct run {
    pid_t pid;
    int from_child;                    /* says the child's faults before execve(2), or its errno */
    struct vmarena_counters *counters; /* NULL: not allowed */
    struct vmarena_counts counts;
    uint64_t begun, ended; /* CLOCK_MONOTONIC, nanoseconds */
    struct history history;
    struct rusage usage;
    uint64_t own_minor, own_major; /* the child's before execve(2) */
    int status;
};

struct wish {
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

/* ^C and ^\ are for the program, which has the terminal, too; what is sent to this command alone is passed on. It stays to
 * tell. And it waits for the program, whatever its own parent does with children. */
static volatile pid_t receiver;

static void pass_on(int signal_number) {
    int error = errno;
    if (receiver > 0) (void)kill(receiver, signal_number);
    errno = error;
}

static const struct {
    int number;
    void (*handler)(int);
} taken[] = {{SIGINT, SIG_IGN}, {SIGQUIT, SIG_IGN}, {SIGTERM, pass_on}, {SIGHUP, pass_on}, {SIGCHLD, SIG_DFL}};
#define TAKEN (sizeof taken / sizeof taken[0])
static struct sigaction before[TAKEN];
static sigset_t mask_before;

/* What is to be passed on waits until there is somebody to pass it on to. */
static void take_signals(void) {
    sigset_t wait;
    sigemptyset(&wait);
    for (size_t i = 0; i < TAKEN; i++)
        if (taken[i].handler == pass_on) sigaddset(&wait, taken[i].number);
    sigprocmask(SIG_BLOCK, &wait, &mask_before);
    for (size_t i = 0; i < TAKEN; i++) {
        struct sigaction own = {.sa_handler = taken[i].handler, .sa_flags = SA_RESTART};
        sigaction(taken[i].number, NULL, &before[i]);
        bool stays = taken[i].handler == pass_on && before[i].sa_handler == SIG_IGN; /* as under nohup(1) */
        if (!stays) sigaction(taken[i].number, &own, NULL);
    }
}

static void give_signals_back(void) {
    for (size_t i = 0; i < TAKEN; i++) sigaction(taken[i].number, &before[i], NULL);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

/* What the child says: first this, with error 0; then, if execve(2) failed, with its errno. */
struct message {
    int error;
    uint64_t minor, major;
};

static void be_program(int go, int to_parent, char **program) {
    struct rusage usage;
    struct message message = {.error = 0};
    char byte;
    if (read(go, &byte, 1) != 1) _exit(1); /* the parent gave up */
    give_signals_back();
    getrusage(RUSAGE_SELF, &usage);
    message.minor = (uint64_t)usage.ru_minflt;
    message.major = (uint64_t)usage.ru_majflt;
    if (write(to_parent, &message, sizeof message) != sizeof message) _exit(1);
    execvp(program[0], program);
    message.error = errno;
    (void)!write(to_parent, &message, sizeof message);
    _exit(127);
}

/* Starts the child, puts the counters on it, and lets it go. 0, or the exit code after a complaint. */
static int start(struct run *run, char **program) {
    int go[2], answer[2];
    struct message message;
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0)
        return vmarena_complain(VMARENA_EXIT_FAILED, "stat", "pipe: %s", strerror(errno));
    take_signals();
    run->pid = fork();
    if (run->pid < 0) return vmarena_complain(VMARENA_EXIT_FAILED, "stat", "fork: %s", strerror(errno));
    if (run->pid == 0) {
        close(go[1]);
        be_program(go[0], answer[1], program);
    }
    close(go[0]);
    close(answer[1]);
    if (vmarena_counters_open(&run->counters, run->pid, VMARENA_COUNT_CHILDREN | VMARENA_COUNT_AT_EXEC) != 0)
        run->counters = NULL;
    run->begun = now();
    (void)!write(go[1], "", 1);
    close(go[1]);
    if (read(answer[0], &message, sizeof message) != sizeof message) message.error = EIO;
    run->own_minor = message.minor;
    run->own_major = message.major;
    ssize_t failed = read(answer[0], &message, sizeof message); /* closed by a successful execve(2) */
    close(answer[0]);
    receiver = run->pid;
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    if (failed <= 0) return 0;
    (void)waitpid(run->pid, NULL, 0);
    return vmarena_complain(message.error == ENOENT ? 127 : 126, "stat", "%s: %s", program[0], strerror(message.error));
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
    (void)vmarena_process_fault_counts(run->pid, &minor, &major);
    return minor + major - run->own_minor - run->own_major < UINT64_MAX / 2
               ? minor + major - run->own_minor - run->own_major
               : 0;
}

static void sample_until_it_ends(struct run *run) {
    siginfo_t info = {.si_pid = 0};
    int end = vmarena_open_process(run->pid); /* without it, it is asked after now and then */
    struct pollfd wait = {.fd = end, .events = POLLIN};
    for (;;) {
        uint64_t width = run->history.width;
        int left = (int)((width - (now() - run->begun) % width + 999999) / 1000000);
        (void)poll(&wait, end >= 0 ? 1 : 0, left);
        if (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) break;
        note(run, faults_so_far(run));
    }
    run->ended = now();
    if (end >= 0) close(end);
}

static void watch(struct run *run) {
    sample_until_it_ends(run);
    receiver = 0; /* its number may be somebody else's from here on */
    (void)wait4(run->pid, &run->status, 0, &run->usage);
    /* Its children have their counts added to it as they end; the last ones may outlive it. */
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
    result.minor = minor > run->own_minor ? minor - run->own_minor : 0;
    result.major = major > run->own_major ? major - run->own_major : 0;
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

/* -1: go on. Otherwise the exit code. */
static int parse(int count, char **arguments, struct wish *wish) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, "+:jo:h", options, NULL)) != -1;) {
        if (option == 'j') wish->json = true;
        else if (option == 'o') wish->output = optarg;
        else if (option == 'h') return vmarena_print_help("stat", help);
        else return vmarena_complain_option("stat", option, arguments);
    }
    if (optind == count) return vmarena_complain(VMARENA_EXIT_USAGE, "stat", "which program? try: vmarena stat --help");
    wish->program = arguments + optind;
    return -1;
}

int vmarena_command_stat(int count, char **arguments) {
    struct wish wish = {.json = false};
    struct run run = {.history.width = FIRST_WIDTH};
    int code = parse(count, arguments, &wish);
    if (code >= 0) return code;
    FILE *out = wish.output != NULL ? fopen(wish.output, "we") : stderr;
    if (out == NULL) return vmarena_complain(VMARENA_EXIT_FAILED, "stat", "%s: %s", wish.output, strerror(errno));
    code = start(&run, wish.program);
    if (code == 0) {
        watch(&run);
        note(&run, result_of(&run).all);
        if (wish.json) print_json(out, &run, wish.program);
        else print_report(out, &run, wish.program);
        code = exit_code(&run);
    }
    vmarena_counters_close(run.counters);
    int failed = vmarena_close_output("stat", out, wish.output != NULL ? wish.output : "standard error");
    return failed != 0 ? failed : code;
}
