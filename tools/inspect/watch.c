/* SPDX-License-Identifier: MIT */
/* vmarena watch: draws an address space in the terminal, again and again while the process runs. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "command.h"
#include "common.h"
#include "layout.h"
#include "space.h"

static const char help[] =
    "usage: vmarena watch [--interval=MS] [--once] [--color=auto|always|never] PID\n"
    "\n"
    "Draws the address space of a process in the terminal until the process ends or q or ^C is\n"
    "pressed: the largest groups, to scale, with gaps folded, permissions by colour, pages as cells.\n"
    "If standard output is not a terminal, it draws all groups once.\n"
    "\n"
    "  -i, --interval=MS  milliseconds between pictures, 20 to 3600000 (default: 1000)\n"
    "  -1, --once         draw all groups once\n"
    "  --color=WHEN       auto (the default), always or never\n"
    "  -h, --help         print this help\n";

#define LEAST_INTERVAL 20
#define MOST_INTERVAL 3600000

struct options {
    pid_t pid;
    int interval; /* milliseconds */
    bool once, color;
};

/* ---- a frame ---------------------------------------------------------------------------------------------------------- */

#define HEAD 5       /* lines above the groups */
#define ONCE_ROWS 40 /* rows that a picture of everything is scaled to, without a screen */
#define NUMBER 9     /* columns of a size */
#define MOST_LABEL 30

struct screen {
    bool live, color;
    unsigned columns, rows; /* rows 0: no limit */
    unsigned label, cells;  /* columns of a group's title, 0 where there is no room, and of its cells */
    const char *now;        /* the colour that is set */
};

struct faults {
    uint64_t minor, major;
    bool known;
};

static void measure(struct screen *screen) {
    struct winsize size = {.ws_row = 0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    screen->columns = size.ws_col;
    screen->rows = screen->live ? size.ws_row : 0;
    screen->label = screen->columns / 3 < MOST_LABEL ? screen->columns / 3 : MOST_LABEL;
    if (screen->columns < 40) screen->label = 0;
    unsigned taken = screen->label + (screen->label != 0 ? 1 + NUMBER + 1 : 0);
    screen->cells = screen->columns - taken > VMARENA_FOLD ? screen->columns - taken : VMARENA_FOLD;
}

static void set_color(struct screen *screen, const char *color) {
    if (!screen->color || strcmp(color, screen->now) == 0) return;
    printf("\033[%sm", color);
    screen->now = color;
}

/* Lines are cleared before they are written, because after a full line the cursor stays on its last cell. */
static void end_line(struct screen *screen) {
    set_color(screen, "0");
    fputs(screen->live ? "\n\033[K" : "\n", stdout);
}

/* Without colour, pages that are not in memory show their permissions as letters. */
static const char *glyph(const struct screen *screen, unsigned state, unsigned also,
                         enum vmarena_permission permission) {
    static const char *const letters[] = {
        [VMARENA_NOTHING] = " ", [VMARENA_NO_ACCESS] = "-", [VMARENA_READS] = "r",
        [VMARENA_WRITES] = "w",  [VMARENA_RUNS] = "x",      [VMARENA_WRITES_AND_RUNS] = "!"};
    if (state == VMARENA_PAGE_GUARD) return "×";
    if (also & VMARENA_PAGE_GUARD) return "▞";
    if (state & VMARENA_PAGE_SWAPPED) return "▼";
    if (state & VMARENA_PAGE_ZERO) return "○";
    if (state & VMARENA_PAGE_HUGE) return "▓";
    if (state & VMARENA_PAGE_SHARED) return "▒";
    if (state & VMARENA_PAGE_DIRTY) return "█";
    if (state & VMARENA_PAGE_RESIDENT) return "░";
    return permission == VMARENA_NOTHING ? " " : screen->color ? "·" : letters[permission];
}

static void draw_cell(struct screen *screen, const struct vmarena_space *space, const struct vmarena_cell *cell) {
    char text[16];
    bool guard = cell->state == VMARENA_PAGE_GUARD, mapped = cell->mapping != VMARENA_NO_MAPPING;
    enum vmarena_permission permission =
        mapped ? vmarena_permission(space->mappings[cell->mapping].mapping.prot) : VMARENA_NOTHING;
    set_color(screen, guard ? "31" : vmarena_permission_color(permission));
    if (cell->fold) printf("[%s%5s]", guard ? "×" : " ", vmarena_short_bytes(cell->end - cell->start, text));
    else fputs(glyph(screen, cell->state, cell->also, permission), stdout);
}

static void draw_label(struct screen *screen, const struct vmarena_space *space, const struct vmarena_group *group) {
    char title[VMARENA_TITLE_SIZE], text[32];
    const char *shown = title;
    if (screen->label == 0) return;
    vmarena_group_title(space, group, title);
    if (title[0] == '/') shown = vmarena_tail(title, screen->label); /* the end of a path says most */
    size_t printed = vmarena_print_cut(stdout, shown, screen->label);
    printf("%*s %*s ", (int)(screen->label - printed), "", NUMBER, vmarena_bytes(group->pages.resident, text));
}

/* Draws at most that many lines and returns how many it drew. */
static unsigned draw_group(struct screen *screen, const struct vmarena_space *space,
                           const struct vmarena_layout *layout, const struct vmarena_group *group, unsigned most) {
    struct vmarena_place place = {0, 0, 0};
    unsigned row = 0;
    draw_label(screen, space, group);
    for (size_t i = 0; i < group->cell_count; i++) {
        const struct vmarena_cell *cell = &layout->cells[group->first_cell + i];
        vmarena_place_next(&place, cell, screen->cells);
        if (place.row == most) break;
        if (place.row != row) {
            end_line(screen);
            if (screen->label != 0) printf("%*s", (int)screen->label + 1 + NUMBER + 1, "");
            row = place.row;
        }
        draw_cell(screen, space, cell);
    }
    end_line(screen);
    return row + 1;
}

static void draw_legend(struct screen *screen) {
    static const struct {
        unsigned state, also;
        const char *text;
    } pages[] = {{VMARENA_PAGE_RESIDENT, 0, "resident"},
                 {VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY, 0, "dirty"},
                 {VMARENA_PAGE_RESIDENT | VMARENA_PAGE_SHARED, 0, "shared"},
                 {VMARENA_PAGE_RESIDENT | VMARENA_PAGE_HUGE, 0, "huge"},
                 {VMARENA_PAGE_RESIDENT | VMARENA_PAGE_ZERO, 0, "zero"},
                 {VMARENA_PAGE_SWAPPED, 0, "swapped"},
                 {VMARENA_PAGE_GUARD, 0, "guard"},
                 {VMARENA_PAGE_RESIDENT, VMARENA_PAGE_GUARD, "guarded"}};
    static const struct {
        enum vmarena_permission permission;
        const char *text;
    } permissions[] = {{VMARENA_READS, "r--"},
                       {VMARENA_WRITES, "rw-"},
                       {VMARENA_RUNS, "r-x"},
                       {VMARENA_WRITES_AND_RUNS, "rwx"},
                       {VMARENA_NO_ACCESS, "---"}};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        printf("%s%s %s", i > 0 ? "  " : "", glyph(screen, pages[i].state, pages[i].also, VMARENA_WRITES),
               pages[i].text);
    end_line(screen);
    fputs("not there: ", stdout);
    for (size_t i = 0; i < sizeof permissions / sizeof permissions[0]; i++) {
        set_color(screen, vmarena_permission_color(permissions[i].permission));
        printf("%s %s  ", glyph(screen, 0, 0, permissions[i].permission), permissions[i].text);
    }
}

static void draw_faults(const struct faults *before, const struct faults *now) {
    char text[32];
    if (!now->known) return;
    printf("%s minor faults", vmarena_grouped(now->minor, text));
    if (before->known) printf(" (+%s)", vmarena_grouped(now->minor - before->minor, text));
    printf(", %s major", vmarena_grouped(now->major, text));
    if (before->known) printf(" (+%s)", vmarena_grouped(now->major - before->major, text));
}

/* Draws HEAD lines. */
static void draw_head(struct screen *screen, const struct vmarena_space *space, const struct vmarena_layout *layout,
                      const struct faults *before, const struct faults *now) {
    char text[32];
    printf("%d: ", (int)space->pid);
    vmarena_print_cut(stdout, space->title, screen->columns);
    end_line(screen);
    vmarena_print_sums(stdout, space);
    end_line(screen);
    draw_faults(before, now);
    end_line(screen);
    draw_legend(screen);
    set_color(screen, "0");
    printf("a cell is %s", vmarena_bytes(layout->pages_per_cell * space->page, text));
    end_line(screen);
}

/* ---- what fits ------------------------------------------------------------------------------------------------------- */

static int by_resident(const void *one, const void *other) {
    const struct vmarena_group *a = *(const struct vmarena_group *const *)one;
    const struct vmarena_group *b = *(const struct vmarena_group *const *)other;
    if (a->pages.resident != b->pages.resident) return a->pages.resident > b->pages.resident ? -1 : 1;
    return a->first_mapping < b->first_mapping ? -1 : a > b;
}

static int by_place(const void *one, const void *other) {
    const struct vmarena_group *a = *(const struct vmarena_group *const *)one;
    const struct vmarena_group *b = *(const struct vmarena_group *const *)other;
    return a->first_mapping < b->first_mapping ? -1 : a != b;
}

/* The groups to draw: all, or those with most memory resident. */
struct choice {
    const struct vmarena_group **groups;
    size_t count, left_out;
    uint64_t left_out_bytes; /* resident */
    size_t rows;
};

/* rows: how many fit; 0: no limit. */
static bool choose(struct choice *choice, const struct vmarena_layout *layout, unsigned rows, unsigned columns) {
    *choice = (struct choice){.groups = calloc(layout->group_count + 1, sizeof choice->groups[0])};
    if (choice->groups == NULL) return false;
    for (size_t i = 0; i < layout->group_count; i++) choice->groups[i] = &layout->groups[i];
    choice->count = layout->group_count;
    if (rows != 0 && choice->count > rows) {
        qsort(choice->groups, layout->group_count, sizeof choice->groups[0], by_resident);
        choice->count = rows - 1; /* one line is for the sum of the others */
        choice->left_out = layout->group_count - choice->count;
        for (size_t i = choice->count; i < layout->group_count; i++)
            choice->left_out_bytes += choice->groups[i]->pages.resident;
        qsort(choice->groups, choice->count, sizeof choice->groups[0], by_place);
    }
    for (size_t i = 0; i < choice->count; i++) choice->rows += vmarena_group_rows(layout, choice->groups[i], columns);
    return true;
}

/* Tries smaller and smaller scales until one fits. */
static bool lay_out(const struct screen *screen, const struct vmarena_space *space, unsigned rows,
                    struct vmarena_layout *layout, struct choice *choice) {
    size_t cells = (size_t)(rows != 0 ? rows : ONCE_ROWS) * screen->cells;
    for (;; cells -= cells / 4 + 1) {
        if (!vmarena_layout_make(layout, space, cells)) return false;
        if (!choose(choice, layout, rows, screen->cells)) {
            vmarena_layout_free(layout);
            return false;
        }
        if (rows == 0 || choice->rows + (choice->left_out != 0) <= rows || cells <= layout->group_count) return true;
        free(choice->groups);
        vmarena_layout_free(layout);
    }
}

/* 0, or a negative errno. */
static int draw_frame(struct screen *screen, const struct vmarena_space *space, const struct faults *before,
                      const struct faults *now) {
    struct vmarena_layout layout;
    struct choice choice;
    char text[32];
    measure(screen);
    /* The last line stays free for the cursor. */
    unsigned lines = screen->rows > HEAD + 2 ? screen->rows - HEAD - 1 : 1, drawn = 0;
    if (!lay_out(screen, space, screen->live ? lines : 0, &layout, &choice)) return -ENOMEM;
    if (screen->live) fputs("\033[H\033[K", stdout);
    screen->now = "0";
    draw_head(screen, space, &layout, before, now);
    for (size_t i = 0; i < choice.count; i++) {
        if (screen->live && drawn == lines) break;
        drawn += draw_group(screen, space, &layout, choice.groups[i], screen->live ? lines - drawn : UINT32_MAX);
    }
    if (choice.left_out != 0) {
        printf("... and %zu more, %s resident", choice.left_out, vmarena_bytes(choice.left_out_bytes, text));
        end_line(screen);
    }
    if (screen->live) fputs("\033[J", stdout);
    free(choice.groups);
    vmarena_layout_free(&layout);
    return 0;
}

/* ---- the terminal ------------------------------------------------------------------------------------------------------ */

/* Signals are read from a descriptor, so that the terminal is restored before any of them ends the command. */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};

struct terminal {
    bool has_keys; /* standard input is a terminal, and settings are its */
    struct termios settings;
    sigset_t mask;
};

static void enter(struct terminal *terminal) {
    terminal->has_keys = tcgetattr(STDIN_FILENO, &terminal->settings) == 0;
    if (terminal->has_keys) {
        struct termios raw = terminal->settings;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l\033[?7l", stdout); /* alternate screen, no cursor, no line wrap */
}

static void leave(struct terminal *terminal) {
    fputs("\033[?7h\033[?25h\033[?1049l", stdout);
    (void)fflush(stdout);
    if (terminal->has_keys) (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal->settings);
}

static int open_signals(struct terminal *terminal) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, &terminal->mask);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void stop(struct terminal *terminal) {
    leave(terminal);
    (void)raise(SIGSTOP);
    enter(terminal);
}

/* ---- watching ---------------------------------------------------------------------------------------------------------- */

enum { GO_ON, QUIT, ENDED, FAILED }; /* or a negated signal number */

static int take_signal(struct terminal *terminal, int fd) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info || info.ssi_signo == SIGWINCH) return GO_ON;
    if (info.ssi_signo != SIGTSTP) return -(int)info.ssi_signo;
    stop(terminal);
    return GO_ON;
}

static int take_key(struct pollfd *keys) {
    char key;
    ssize_t got = read(keys->fd, &key, 1);
    if (got == 1) return key == 'q' || key == 'Q' ? QUIT : GO_ON;
    keys->fd = -1;
    return GO_ON;
}

/* Waits until the next frame is due, or a signal or a key arrives. */
static int wait_a_while(struct terminal *terminal, struct pollfd fds[3], int interval) {
    int count = poll(fds, 3, interval), outcome = GO_ON;
    if (count <= 0) return GO_ON;
    if (fds[0].revents != 0) outcome = take_signal(terminal, fds[0].fd);
    if (outcome == GO_ON && fds[1].revents != 0) outcome = ENDED;
    if (outcome == GO_ON && fds[2].revents != 0) outcome = take_key(&fds[2]);
    return outcome;
}

static struct faults count_faults(pid_t pid) {
    struct faults faults = {.minor = 0};
    faults.known = vmarena_process_fault_counts(pid, &faults.minor, &faults.major) == 0;
    return faults;
}

/* Reads the address space and draws one frame. Returns 0 or a negative errno, -ESRCH if the process ended. */
static int look_and_draw(struct screen *screen, pid_t pid, struct faults *faults) {
    struct vmarena_space space;
    int error = vmarena_space_read(&space, pid, true);
    if (error != 0) return error;
    struct faults now = count_faults(pid);
    if (space.count == 0) error = -ESRCH;
    else error = draw_frame(screen, &space, faults, &now);
    *faults = now;
    vmarena_space_free(&space);
    return error;
}

static int watch_live(struct screen *screen, const struct options *options, struct terminal *terminal, int *error) {
    struct faults faults = {.known = false};
    struct pollfd fds[3] = {{.fd = open_signals(terminal), .events = POLLIN},
                            {.fd = vmarena_open_process(options->pid), .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    int outcome = GO_ON;
    enter(terminal);
    if (!terminal->has_keys) fds[2].fd = -1;
    while (outcome == GO_ON) {
        *error = look_and_draw(screen, options->pid, &faults);
        if (*error == -ESRCH) outcome = ENDED;
        else if (*error != 0 || fflush(stdout) != 0) outcome = FAILED;
        else outcome = wait_a_while(terminal, fds, options->interval);
    }
    leave(terminal);
    for (size_t i = 0; i < 2; i++)
        if (fds[i].fd >= 0) close(fds[i].fd);
    return outcome;
}

/* Dies of a signal that was read from the descriptor. */
static void die_by(int signal_number, const struct terminal *terminal) {
    signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
    sigprocmask(SIG_SETMASK, &terminal->mask, NULL);
}

static int watch(struct screen *screen, const struct options *options) {
    struct terminal terminal;
    int error = 0, outcome = watch_live(screen, options, &terminal, &error);
    if (outcome < 0) die_by(-outcome, &terminal);
    if (outcome == ENDED) printf("process %d ended\n", (int)options->pid);
    if (outcome == FAILED && error != 0) return vmarena_space_complain("watch", error);
    return vmarena_finish_output("watch");
}

static int draw_once(struct screen *screen, const struct options *options) {
    struct faults faults = {.known = false};
    int error = look_and_draw(screen, options->pid, &faults);
    if (error == -ESRCH) return vmarena_complain(VMARENA_EXIT_FAILED, "watch", "process %d ended", (int)options->pid);
    return error != 0 ? vmarena_space_complain("watch", error) : vmarena_finish_output("watch");
}

/* Returns -1 to go on, or the exit code. */
static int parse(int count, char **arguments, struct options *options) {
    static const struct option long_options[] = {{"interval", required_argument, NULL, 'i'},
                                                 {"once", no_argument, NULL, '1'},
                                                 {"color", required_argument, NULL, 'c'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *color = "auto", *interval = "1000";
    uint64_t milliseconds;
    opterr = 0;
    for (int option; (option = getopt_long(count, arguments, ":i:1h", long_options, NULL)) != -1;) {
        if (option == 'i') interval = optarg;
        else if (option == '1') options->once = true;
        else if (option == 'c') color = optarg;
        else if (option == 'h') return vmarena_print_help("watch", help);
        else return vmarena_complain_option("watch", option, arguments);
    }
    if (!vmarena_parse_color(color, stdout, &options->color))
        return vmarena_complain(VMARENA_EXIT_USAGE, "watch", "--color is auto, always or never, not '%s'", color);
    if (!vmarena_parse_number(interval, LEAST_INTERVAL, MOST_INTERVAL, &milliseconds))
        return vmarena_complain(VMARENA_EXIT_USAGE, "watch",
                                "--interval is a number of milliseconds from %d to %d, not '%s'", LEAST_INTERVAL,
                                MOST_INTERVAL, interval);
    options->interval = (int)milliseconds;
    if (optind == count)
        return vmarena_complain(VMARENA_EXIT_USAGE, "watch", "which process? try: vmarena watch --help");
    if (count - optind > 1) return vmarena_complain(VMARENA_EXIT_USAGE, "watch", "one process, not %d", count - optind);
    int code = vmarena_parse_process("watch", arguments[optind], &options->pid);
    return code != 0 ? code : -1;
}

/* Whether there is anything to draw; checked before the screen is taken over. */
static int check(pid_t pid) {
    struct vmarena_space space;
    int error = vmarena_space_read(&space, pid, false);
    if (error != 0) return vmarena_space_complain("watch", error);
    size_t count = space.count;
    vmarena_space_free(&space);
    if (count != 0) return 0;
    return vmarena_complain(VMARENA_EXIT_FAILED, "watch", "process %d has no memory to draw", (int)pid);
}

/* Whether standard output is a terminal with cursor movement. */
static bool is_screen(void) {
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) && kind != NULL && *kind != '\0' && strcmp(kind, "dumb") != 0;
}

int vmarena_command_watch(int count, char **arguments) {
    struct options options = {.once = false};
    int code = parse(count, arguments, &options);
    if (code >= 0) return code;
    code = check(options.pid);
    if (code != 0) return code;
    struct screen screen = {.live = !options.once && is_screen(), .color = options.color, .now = "0"};
    return screen.live ? watch(&screen, &options) : draw_once(&screen, &options);
}
