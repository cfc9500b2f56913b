/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "child.h"
#include "color.h"
#include "command.h"
#include "complain.h"
#include "output_file.h"
#include "record_check.h"
#include "report.h"
#include "symbols.h"
#include "totals.h"

static void complain(const char *what, const char *why) { (void)vmarena_complain(0, "guard", "%s: %s", what, why); }

/* ---- where reports go ---- */

struct output {
    int fd;
    bool colour, json, warned_no_symbols, warned_damage, warned_failure, has_symbols;
};

/* Returns false after an error message. */
static bool open_output(const struct vmarena_run *run, struct output *out) {
    const char *why;
    *out = (struct output){.fd = STDERR_FILENO, .json = run->json != 0};
    /* 0600: reports hold bytes of the program's memory. */
    if (run->report_path != NULL) out->fd = vmarena_output_file_open(run->report_path, 0600, &why);
    if (out->fd < 0) {
        (void)vmarena_complain(0, "guard", "--report: %s: %s", run->report_path, why);
        return false;
    }
    bool colour = run->colour == 0 ? vmarena_color_is_wanted(out->fd) : run->colour == 1;
    out->colour = colour && !out->json;
    out->has_symbols = vmarena_symbols_open(run->symbolizer);
    if (out->has_symbols || run->symbolizer == NULL) return true;
    (void)vmarena_complain(0, "guard", "--symbolizer: %s: no such program", run->symbolizer);
    return false;
}

static void write_out(struct vmarena_text *text) {
    struct output *out = text->arg;
    for (size_t at = 0; at < text->length;) {
        ssize_t done = write(out->fd, text->start + at, text->length - at);
        if (done > 0) at += (size_t)done;
        else if (done == 0 || errno != EINTR) {
            if (!out->warned_failure) complain("writing a report", strerror(errno));
            out->warned_failure = true;
            return;
        }
    }
}

#define OUTPUT_BUFFER 4096

static void warn_no_symbols(struct output *out) {
    if (out->has_symbols || out->warned_no_symbols) return;
    out->warned_no_symbols = true;
    complain("addr2line", "not found; functions come from the files' own symbol tables, without lines");
}

static void warn_damage(struct output *out, const char *field) {
    if (out->warned_damage) return;
    out->warned_damage = true;
    (void)vmarena_complain(
        0, "guard", "a report was damaged by the program, in its field '%s', and is left out; so are others like it",
        field);
}

/* ---- reports ---- */

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

/* By the stack of the error; an error that a check found has none, so that its object's allocation decides. */
static bool is_suppressed(const struct vmarena_run *run, const struct vmarena_report *report) {
    bool no_stack = report->access_stack.count == 0;
    return run->pattern_count > 0 && matches(run, report, no_stack ? &report->alloc_stack : &report->access_stack);
}

static void show(struct output *out, const struct vmarena_report *report) {
    char buffer[OUTPUT_BUFFER];
    struct vmarena_text text = {.start = buffer, .size = sizeof buffer, .flush = write_out, .arg = out};
    const struct vmarena_report_style style = {out->colour, vmarena_symbols_resolve, NULL};
    if (out->json) vmarena_report_json(&text, report, &style);
    else vmarena_report_text(&text, report, &style);
    vmarena_text_flush(&text);
}

static void futex_wake(_Atomic uint32_t *word) { (void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

/* With stop=yes the program waits for the verdict. */
static void give_verdict(struct vmarena_report *shared, uint32_t verdict) {
    atomic_store(&shared->verdict, verdict);
    futex_wake(&shared->verdict);
}

static void look_at(const struct vmarena_run *run, struct output *out, struct vmarena_tally *tally,
                    struct vmarena_report *shared) {
    static struct vmarena_report report;
    const char *field;
    if (!vmarena_record_take(&report, shared, &field)) {
        tally->damaged++;
        warn_damage(out, field);
        give_verdict(shared, 1);
        return;
    }
    warn_no_symbols(out);
    vmarena_symbols_load(&report);
    bool suppressed = is_suppressed(run, &report);
    if (suppressed) tally->suppressed++;
    else tally->reported++;
    if (!suppressed) show(out, &report);
    give_verdict(shared, suppressed ? 2 : 1);
}

/* Reads the reports in the order in which they were begun. all: skips a report that was never finished. */
static void read_reports(const struct vmarena_run *run, struct output *out, struct vmarena_tally *tally,
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

static void show_totals(const struct vmarena_run *run, struct output *out, const struct vmarena_channel *channel,
                        const struct vmarena_tally *tally) {
    char buffer[OUTPUT_BUFFER];
    struct vmarena_text text = {.start = buffer, .size = sizeof buffer, .flush = write_out, .arg = out};
    struct vmarena_totals_line sum;
    vmarena_totals_add_up(channel, &sum);
    if (run->quiet && tally->reported + tally->damaged == 0) return;
    if (out->json) vmarena_totals_json(&text, &sum, tally);
    else vmarena_totals_text(&text, &sum, tally);
    vmarena_text_flush(&text);
}

/* ---- the program ---- */

static struct vmarena_channel *volatile waking; /* for the handler */

static void on_child(int signo) {
    (void)signo;
    if (waking != NULL) atomic_fetch_add(&waking->events, 1);
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

/* In the child. */
static bool prepare_program(void *arg) {
    struct vmarena_run *run = arg;
    if (run->options.follow == 0) run->options.root = (size_t)getpid();
    errno = ENOMEM;
    return set_environment(run);
}

/* The program can write to `events`, too, and so hide the child's end: no wait lasts longer than this. */
static const struct timespec longest_wait = {.tv_sec = 1};

static int wait_for(const struct vmarena_run *run, struct output *out, struct vmarena_tally *tally,
                    struct vmarena_channel *channel, pid_t child) {
    int status = 0;
    siginfo_t info;
    for (bool ended = false; !ended;) {
        uint32_t events = atomic_load(&channel->events);
        info.si_pid = 0;
        int failed = waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
        ended = info.si_pid == child || (failed != 0 && errno != EINTR);
        read_reports(run, out, tally, channel, ended);
        if (!ended) (void)syscall(SYS_futex, &channel->events, FUTEX_WAIT, events, &longest_wait, NULL, 0);
    }
    vmarena_child_stop_passing();
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

static int run_with_channel(struct vmarena_run *run, struct output *out, struct vmarena_tally *tally,
                            struct vmarena_channel *channel, int *status) {
    struct vmarena_child child;
    const struct vmarena_child_options options = {.path = run->path,
                                                  .arguments = run->arguments,
                                                  .prepare = prepare_program,
                                                  .arg = run,
                                                  .on_child_signal = on_child};
    waking = channel;
    int error = vmarena_child_start(&child, &options);
    if (error != 0) complain(run->path, strerror(-error));
    else *status = wait_for(run, out, tally, channel, child.pid);
    atomic_store(&channel->closed, 1);
    if (error == 0) {
        show_totals(run, out, channel, tally);
        vmarena_child_release_signals();
    }
    waking = NULL;
    return error == 0 ? 0 : VMARENA_EXIT_USAGE;
}

static int run_once(struct vmarena_run *run, struct output *out, struct vmarena_tally *tally, int *status) {
    int fd;
    struct vmarena_channel *channel = vmarena_channel_open(&fd, run->options.channel, sizeof run->options.channel);
    int error = channel == NULL ? VMARENA_EXIT_USAGE : 0;
    if (channel == NULL) complain("shared memory for the reports", strerror(errno));
    else error = run_with_channel(run, out, tally, channel, status);
    vmarena_channel_close(channel, fd);
    return error;
}

static int finish(const struct vmarena_run *run, const struct vmarena_tally *tally, int status) {
    bool found = tally->reported + tally->damaged > 0;
    return found && run->options.exit_code != 0 ? (int)run->options.exit_code : vmarena_child_end_alike(status);
}

/* Runs the program once for each side and rewinds standard input in between, if it can. The exit code is the first run's. */
static int run_both(struct vmarena_run *run, struct output *out) {
    struct vmarena_tally end = {.read = 0}, start = {.read = 0};
    int status = 0, second_status = 0;
    off_t input = lseek(STDIN_FILENO, 0, SEEK_CUR);
    run->options.side = VMARENA_SIDE_END;
    int error = run_once(run, out, &end, &status);
    if (error != 0) return error;
    if (input >= 0) (void)lseek(STDIN_FILENO, input, SEEK_SET);
    run->options.side = VMARENA_SIDE_START;
    error = run_once(run, out, &start, &second_status);
    if (error != 0) return error;
    end.reported += start.reported;
    end.damaged += start.damaged;
    return finish(run, &end, status);
}

int vmarena_run(struct vmarena_run *run) {
    struct output out;
    struct vmarena_tally tally = {.read = 0};
    int status = 0;
    if (!open_output(run, &out)) return VMARENA_EXIT_USAGE;
    if (run->options.side == VMARENA_SIDE_BOTH) return run_both(run, &out);
    int error = run_once(run, &out, &tally, &status);
    return error != 0 ? error : finish(run, &tally, status);
}
