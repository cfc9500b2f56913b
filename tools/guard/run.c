/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "report.h"
#include "symbols.h"
#include "base/text.h"

/* ---- where reports go ---- */

struct output {
    int fd;
    bool colour, json, told_no_symbols, has_symbols;
};

static void complain(const char *what, const char *why) { fprintf(stderr, "vmarena guard: %s: %s\n", what, why); }

static bool wants_colour(const struct vmarena_run *run, int fd) {
    const char *terminal = getenv("TERM"), *refused = getenv("NO_COLOR"); /* no-color.org */
    if (run->colour != 0) return run->colour == 1;
    return isatty(fd) && (refused == NULL || *refused == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* A report file that cannot be written is no reason not to run the program. */
static void open_output(const struct vmarena_run *run, struct output *out) {
    out->fd = STDERR_FILENO;
    if (run->report_path != NULL) {
        int fd = open(run->report_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
        if (fd >= 0) out->fd = fd;
        else
            fprintf(stderr, "vmarena guard: --report: %s: %s; reports follow here\n", run->report_path,
                    strerror(errno));
    }
    out->json = run->json != 0;
    out->colour = !out->json && wants_colour(run, out->fd);
    out->has_symbols = vmarena_symbols_open(run->symbolizer);
}

static void write_out(const struct output *out, const struct vmarena_text *text) {
    size_t length = vmarena_text_length(text);
    for (size_t at = 0; at < length;) {
        ssize_t done = write(out->fd, text->start + at, length - at);
        if (done < 0 && errno != EINTR) return;
        if (done > 0) at += (size_t)done;
    }
}

static void tell_no_symbols(const struct vmarena_run *run, struct output *out) {
    if (out->has_symbols || out->told_no_symbols) return;
    out->told_no_symbols = true;
    complain(run->symbolizer == NULL ? "addr2line" : run->symbolizer,
             "not found; functions come from the files' own symbol tables, without lines");
}

/* ---- reports ---- */

struct tally {
    uint32_t read; /* reports looked at */
    uint64_t reported, suppressed;
};

static bool matches(const struct vmarena_run *run, const struct vmarena_report *report,
                    const struct vmarena_report_stack *stack) {
    for (uint64_t i = 0; i < stack->count; i++) {
        const struct vmarena_name *names;
        unsigned count = vmarena_symbols_resolve(report, &stack->frames[i], &names, NULL);
        for (unsigned n = 0; n < count; n++)
            for (size_t p = 0; p < run->pattern_count && names[n].function != NULL; p++)
                if (fnmatch(run->patterns[p], names[n].function, 0) == 0) return true;
    }
    return false;
}

/* The stack of the error; what a check found has none, so that its object's allocation must do. */
static bool is_suppressed(const struct vmarena_run *run, const struct vmarena_report *report) {
    bool no_stack = report->access_stack.count == 0;
    return run->pattern_count > 0 && matches(run, report, no_stack ? &report->alloc_stack : &report->access_stack);
}

static void show(const struct output *out, const struct vmarena_report *report) {
    static char buffer[1 << 18];
    struct vmarena_text text = {buffer, sizeof buffer, 0};
    const struct vmarena_report_style style = {out->colour, vmarena_symbols_resolve, NULL};
    if (out->json) vmarena_report_json(&text, report, &style);
    else vmarena_report_text(&text, report, &style);
    write_out(out, &text);
}

static void futex_wake(_Atomic uint32_t *word) { (void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

static void look_at(const struct vmarena_run *run, struct output *out, struct tally *tally,
                    struct vmarena_report *report) {
    tell_no_symbols(run, out);
    vmarena_symbols_load(report);
    bool suppressed = is_suppressed(run, report);
    if (suppressed) tally->suppressed++;
    else tally->reported++;
    if (!suppressed) show(out, report);
    atomic_store(&report->verdict, suppressed ? 2 : 1);
    futex_wake(&report->verdict);
}

/* The reports that are there, in the order in which they were begun. `all`: one that was never finished is passed over. */
static void read_reports(const struct vmarena_run *run, struct output *out, struct tally *tally,
                         struct vmarena_channel *channel, bool all) {
    uint32_t there = atomic_load(&channel->reports);
    if (there > VMARENA_CHANNEL_REPORTS) there = VMARENA_CHANNEL_REPORTS;
    for (; tally->read < there; tally->read++) {
        struct vmarena_report *report = &channel->report[tally->read];
        bool ready = atomic_load(&report->ready) == 1;
        if (!ready && !all) return;
        if (ready) look_at(run, out, tally, report);
    }
}

/* ---- totals ---- */

struct totals {
    uint64_t guarded, unguarded, unsampled, failed, live_peak, page_peak, repeated, unrecorded, processes;
};

/* exec(3) takes figures of its own, but is no other process. */
static bool is_seen(const struct vmarena_channel *channel, uint32_t index) {
    for (uint32_t i = 0; i < index; i++)
        if (channel->figures[i].process == channel->figures[index].process) return true;
    return false;
}

static void add_up(const struct vmarena_channel *channel, struct totals *sum) {
    uint32_t taken = atomic_load(&channel->processes);
    uint32_t reports = atomic_load(&channel->reports);
    *sum = (struct totals){
        .unrecorded = reports > VMARENA_CHANNEL_REPORTS ? reports - VMARENA_CHANNEL_REPORTS : 0,
        .processes = taken > VMARENA_CHANNEL_PROCESSES ? taken - VMARENA_CHANNEL_PROCESSES : 0,
    };
    for (uint32_t i = 0; i < taken && i < VMARENA_CHANNEL_PROCESSES; i++) {
        const struct vmarena_guard_figures *one = &channel->figures[i];
        sum->processes += !is_seen(channel, i);
        sum->guarded += atomic_load(&one->guarded);
        sum->unguarded += atomic_load(&one->unguarded);
        sum->unsampled += atomic_load(&one->unsampled);
        sum->failed += atomic_load(&one->failed);
        sum->repeated += atomic_load(&one->repeated);
        if (atomic_load(&one->live_peak) > sum->live_peak) sum->live_peak = atomic_load(&one->live_peak);
        if (atomic_load(&one->page_peak) > sum->page_peak) sum->page_peak = atomic_load(&one->page_peak);
    }
}

static void add_if(struct vmarena_text *text, uint64_t count, const char *words) {
    if (count == 0) return;
    vmarena_text_add(text, ", ");
    vmarena_text_grouped(text, count);
    vmarena_text_add(text, words);
}

static void totals_text(struct vmarena_text *text, const struct totals *sum, const struct tally *tally) {
    vmarena_text_add(text, "vmarena guard: ");
    vmarena_text_count(text, sum->guarded, "object");
    vmarena_text_add(text, " guarded, ");
    vmarena_text_grouped(text, sum->unguarded);
    vmarena_text_add(text, " unguarded");
    add_if(text, sum->unsampled, " not sampled");
    add_if(text, sum->failed, " refused");
    vmarena_text_add(text, ", peak ");
    vmarena_text_grouped(text, sum->live_peak);
    vmarena_text_add(text, " live in ");
    vmarena_text_bytes(text, sum->page_peak);
    vmarena_text_add(text, ", ");
    vmarena_text_count(text, tally->reported, "error");
    add_if(text, sum->repeated, " repeated");
    add_if(text, sum->unrecorded, " more places not recorded");
    add_if(text, tally->suppressed, " suppressed");
    if (sum->processes > 1) add_if(text, sum->processes, " processes");
    vmarena_text_char(text, '\n');
}

static void json_number(struct vmarena_text *text, const char *name, uint64_t value) {
    vmarena_text_add(text, ",\"");
    vmarena_text_add(text, name);
    vmarena_text_add(text, "\":");
    vmarena_text_decimal(text, value);
}

static void totals_json(struct vmarena_text *text, const struct totals *sum, const struct tally *tally) {
    vmarena_text_add(text, "{\"kind\":\"totals\"");
    json_number(text, "guarded", sum->guarded);
    json_number(text, "unguarded", sum->unguarded);
    json_number(text, "not_sampled", sum->unsampled);
    json_number(text, "refused", sum->failed);
    json_number(text, "peak_live", sum->live_peak);
    json_number(text, "peak_bytes", sum->page_peak);
    json_number(text, "errors", tally->reported);
    json_number(text, "repeated", sum->repeated);
    json_number(text, "not_recorded", sum->unrecorded);
    json_number(text, "suppressed", tally->suppressed);
    json_number(text, "processes", sum->processes);
    vmarena_text_add(text, "}\n");
}

static void show_totals(const struct vmarena_run *run, const struct output *out, const struct vmarena_channel *channel,
                        const struct tally *tally) {
    char buffer[1024];
    struct vmarena_text text = {buffer, sizeof buffer, 0};
    struct totals sum;
    add_up(channel, &sum);
    if (run->quiet && tally->reported == 0) return;
    if (out->json) totals_json(&text, &sum, tally);
    else totals_text(&text, &sum, tally);
    write_out(out, &text);
}

/* ---- the program ---- */

/* The handlers' share: who runs, and what wakes the wait. */
static volatile pid_t running;
static struct vmarena_channel *volatile waking;

static void on_child(int signo) {
    (void)signo;
    if (waking != NULL) atomic_fetch_add(&waking->events, 1);
}

static void pass_on(int signo) {
    if (running > 0) (void)kill(running, signo);
}

/* What the terminal sends goes to the program as well; what is sent to us alone is passed on. */
static const int terminal_signals[] = {SIGINT, SIGQUIT}, own_signals[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
static struct sigaction before_terminal[COUNT(terminal_signals)], before_own[COUNT(own_signals)], before_child;

static void set_signals(void) {
    /* A futex(2) that is restarted looks at its word again, and returns if a handler changed it. */
    struct sigaction ignore = {.sa_flags = 0}, forward = {.sa_flags = SA_RESTART}, child = {.sa_flags = SA_RESTART};
    ignore.sa_handler = SIG_IGN;
    forward.sa_handler = pass_on;
    child.sa_handler = on_child;
    for (size_t i = 0; i < COUNT(terminal_signals); i++)
        (void)sigaction(terminal_signals[i], &ignore, &before_terminal[i]);
    for (size_t i = 0; i < COUNT(own_signals); i++) (void)sigaction(own_signals[i], &forward, &before_own[i]);
    (void)sigaction(SIGCHLD, &child, &before_child);
}

/* As they were when we were started: the program inherits what is ignored. */
static void restore_signals(void) {
    for (size_t i = 0; i < COUNT(terminal_signals); i++)
        (void)sigaction(terminal_signals[i], &before_terminal[i], NULL);
    for (size_t i = 0; i < COUNT(own_signals); i++) (void)sigaction(own_signals[i], &before_own[i], NULL);
    (void)sigaction(SIGCHLD, &before_child, NULL);
}

static struct vmarena_channel *open_channel(struct vmarena_run *run, int *fd) {
    *fd = memfd_create("vmarena-guard", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, sizeof(struct vmarena_channel)) != 0) return NULL;
    void *mapped = mmap(NULL, sizeof(struct vmarena_channel), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (mapped == MAP_FAILED) return NULL;
    struct vmarena_channel *channel = mapped;
    channel->magic = VMARENA_CHANNEL_MAGIC;
    channel->size = sizeof *channel;
    (void)snprintf(run->options.channel, sizeof run->options.channel, "/proc/%d/fd/%d", (int)getpid(), *fd);
    return channel;
}

static bool set_environment(const struct vmarena_run *run) {
    char options[1024], *preload = NULL;
    const char *before = getenv("LD_PRELOAD");
    if (vmarena_options_print(&run->options, options, sizeof options) >= sizeof options) return false;
    if (asprintf(&preload, "%s%s%s", run->preload, before == NULL ? "" : ":", before == NULL ? "" : before) < 0)
        return false;
    bool set = setenv("LD_PRELOAD", preload, 1) == 0 && setenv(VMARENA_GUARD_VARIABLE, options, 1) == 0;
    free(preload);
    return set;
}

static void become_program(struct vmarena_run *run, int failure, const sigset_t *mask) {
    restore_signals();
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    if (run->options.follow == 0) run->options.root = (size_t)getpid();
    errno = ENOMEM;
    if (set_environment(run)) (void)execv(run->path, run->arguments);
    int error = errno;
    (void)!write(failure, &error, sizeof error);
    _exit(127);
}

/* 0, or the errno with which the program could not be started. A signal that comes meanwhile waits for its receiver. */
static int start_program(struct vmarena_run *run, pid_t *child) {
    sigset_t all, mask;
    int ends[2], error = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    *child = fork();
    if (*child == 0) become_program(run, ends[1], &mask);
    if (*child < 0) error = errno;
    running = *child;
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    close(ends[1]);
    if (*child > 0)
        while (read(ends[0], &error, sizeof error) < 0 && errno == EINTR) {}
    close(ends[0]);
    if (error != 0 && *child > 0)
        while (waitpid(*child, NULL, 0) < 0 && errno == EINTR) {}
    return error;
}

static int wait_for(const struct vmarena_run *run, struct output *out, struct tally *tally,
                    struct vmarena_channel *channel, pid_t child) {
    int status = 0;
    for (;;) {
        uint32_t events = atomic_load(&channel->events);
        pid_t ended = waitpid(child, &status, WNOHANG);
        read_reports(run, out, tally, channel, ended == child);
        if (ended == child || (ended < 0 && errno != EINTR)) break;
        (void)syscall(SYS_futex, &channel->events, FUTEX_WAIT, events, NULL, NULL, 0);
    }
    running = 0;
    return status;
}

static int run_with_channel(struct vmarena_run *run, struct output *out, struct tally *tally,
                            struct vmarena_channel *channel, int *status) {
    pid_t child = 0;
    waking = channel;
    set_signals();
    int error = start_program(run, &child);
    if (error != 0) complain(run->path, strerror(error));
    else *status = wait_for(run, out, tally, channel, child);
    atomic_store(&channel->closed, 1);
    restore_signals();
    waking = NULL;
    if (error == 0) show_totals(run, out, channel, tally);
    return error == 0 ? 0 : VMARENA_EXIT_USAGE;
}

static int run_once(struct vmarena_run *run, struct output *out, struct tally *tally, int *status) {
    int fd;
    struct vmarena_channel *channel = open_channel(run, &fd);
    int error = channel == NULL ? VMARENA_EXIT_USAGE : run_with_channel(run, out, tally, channel, status);
    if (channel == NULL) complain("shared memory for the reports", strerror(errno));
    if (channel != NULL) munmap(channel, sizeof *channel);
    if (fd >= 0) close(fd);
    return error;
}

/* Dying as the program died tells the shell so; one core file is enough. */
static int end_as(int status) {
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    struct rlimit none = {0, 0};
    int signo = WTERMSIG(status);
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
    return 128 + signo;
}

static int finish(const struct vmarena_run *run, uint64_t errors, int status) {
    return errors > 0 && run->options.exit_code != 0 ? (int)run->options.exit_code : end_as(status);
}

/* Each side once. A standard input that can be rewound is, for the second run. */
static int run_both(struct vmarena_run *run, struct output *out) {
    static const size_t sides[] = {VMARENA_SIDE_END, VMARENA_SIDE_START};
    struct tally tally[COUNT(sides)] = {{0}, {0}};
    int status[COUNT(sides)] = {0, 0};
    off_t input = lseek(STDIN_FILENO, 0, SEEK_CUR);
    for (size_t i = 0; i < COUNT(sides); i++) {
        run->options.side = sides[i];
        if (i > 0 && input >= 0) (void)lseek(STDIN_FILENO, input, SEEK_SET);
        int error = run_once(run, out, &tally[i], &status[i]);
        if (error != 0) return error;
    }
    return finish(run, tally[0].reported + tally[1].reported, status[0]);
}

int vmarena_run(struct vmarena_run *run) {
    struct output out = {.fd = -1};
    struct tally tally = {0};
    int status = 0;
    open_output(run, &out);
    if (run->options.side == VMARENA_SIDE_BOTH) return run_both(run, &out);
    int error = run_once(run, &out, &tally, &status);
    return error != 0 ? error : finish(run, tally.reported, status);
}
