/* SPDX-License-Identifier: MIT */
/*
 * Writes errors as reports. All of it may run in a signal handler, on the program's small alternate stack: records are filled
 * in place, and little is kept on the stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "deferred_free.h"
#include "guard/report.h"
#include "prim/prim.h"
#include "state.h"

/* The heap leaves room for frames of its own, but the walk starts outside it. */
size_t vmarena_capture_stack(void **frames, size_t depth, void *unused) {
    (void)unused;
    if (depth > vmarena_malloc.options.depth) depth = vmarena_malloc.options.depth;
    size_t kept = vmarena_deferred_stack(frames, depth);
    if (kept != 0) return kept;
    return vmarena_unwind(&vmarena_malloc_thread.caller, frames, depth);
}

static void write_pieces(const char *text, size_t length) {
    while (length > 0) {
        ssize_t done = write(STDERR_FILENO, text, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return;
        text += done;
        length -= (size_t)done;
    }
}

/*
 * A write beyond RLIMIT_FSIZE raises SIGXFSZ, and a report must not end the program. The signal is directed at the writing
 * thread, which blocks it and consumes it afterwards; one that was pending before stays pending.
 */
static void write_all(const char *text, size_t length) {
    const struct timespec now = {.tv_sec = 0};
    sigset_t xfsz, before, pending;
    (void)sigpending(&pending);
    sigemptyset(&xfsz);
    sigaddset(&xfsz, SIGXFSZ);
    (void)pthread_sigmask(SIG_BLOCK, &xfsz, &before);
    write_pieces(text, length);
    if (!sigismember(&pending, SIGXFSZ))
        while (sigtimedwait(&xfsz, NULL, &now) < 0 && errno == EINTR) {}
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void vmarena_write_line(const char *line) {
    char text[300];
    struct vmarena_text out = {.start = text, .size = sizeof text};
    vmarena_text_add(&out, line);
    vmarena_text_char(&out, '\n');
    write_all(text, vmarena_text_length(&out));
}

/* ---- once per place ---- */

#define PLACES 8192
static _Atomic uint64_t places[PLACES];

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* Whether no report of this kind and stack was made before. When the table is full, errors may be reported repeatedly. */
static bool is_new(uint32_t kind, void *const *frames, size_t count) {
    uint64_t hash = mix(1, kind);
    for (size_t i = 0; i < count && i < 8; i++) hash = mix(hash, (uintptr_t)frames[i]);
    if (hash == 0) hash = 1;
    for (size_t i = 0; i < 64; i++) {
        uint64_t seen = 0;
        if (atomic_compare_exchange_strong(&places[(hash + i) % PLACES], &seen, hash)) return true;
        if (seen == hash) return false;
    }
    return true;
}

/* ---- the record ---- */

/* Without a channel, all threads share one record and take turns. */
static struct vmarena_report single;
static _Atomic bool single_taken;

static bool take_single(void) {
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (thread->writes_report) return false; /* a fault while it is being written */
    thread->writes_report = true;
    while (atomic_exchange_explicit(&single_taken, true, memory_order_acquire)) (void)sched_yield();
    return true;
}

static void release_single(void) {
    atomic_store_explicit(&single_taken, false, memory_order_release);
    vmarena_malloc_thread.writes_report = false;
}

/* Another thread that was writing a report does not exist in the child. */
void vmarena_reports_after_fork(void) { atomic_store(&single_taken, vmarena_malloc_thread.writes_report); }

static struct vmarena_report *take_record(void) {
    struct vmarena_report *report = &single;
    struct vmarena_channel *channel = vmarena_malloc.channel;
    if (channel != NULL && atomic_load(&channel->closed) == 0) {
        uint32_t index = atomic_fetch_add(&channel->reports, 1);
        if (index >= VMARENA_CHANNEL_REPORTS) return NULL;
        report = &channel->report[index];
    } else if (!take_single()) return NULL;
    memset(report, 0, sizeof *report);
    report->process = (uint32_t)getpid();
    report->thread = vmarena_prim_thread_id();
    memcpy(report->program, vmarena_malloc.program, sizeof report->program);
    return report;
}

static void fill_stack(struct vmarena_report_stack *stack, void *const *frames, size_t count, bool exact) {
    if (count > VMARENA_REPORT_FRAMES) count = VMARENA_REPORT_FRAMES;
    stack->count = count;
    for (size_t i = 0; i < count; i++) {
        stack->frames[i].pc = (uintptr_t)frames[i];
        stack->frames[i].exact = exact && i == 0;
    }
}

static void fill_kept(struct vmarena_report_stack *stack, uint32_t id) {
    void *frames[VMARENA_REPORT_FRAMES];
    size_t count = vmarena_heap_stack(vmarena_malloc.heap, id, frames, VMARENA_REPORT_FRAMES);
    fill_stack(stack, frames, count, false);
}

static void fill_object(struct vmarena_report *report, const struct vmarena_heap_object *object) {
    struct vmarena_heap_stats stats;
    if (object->state == VMARENA_HEAP_NONE) return;
    vmarena_heap_stats(vmarena_malloc.heap, &stats);
    report->has_object = 1;
    report->freed = object->state == VMARENA_HEAP_FREED;
    report->object = (uintptr_t)object->start;
    report->size = object->size;
    report->align = object->align;
    report->slack_before = object->slack_before;
    report->slack_after = object->slack_after;
    report->alloc_thread = object->alloc_thread;
    report->free_thread = object->free_thread;
    report->alloc_number = object->alloc_number;
    report->free_number = object->free_number;
    report->now_number = stats.allocs;
    fill_kept(&report->alloc_stack, object->alloc_stack);
    if (report->freed) fill_kept(&report->free_stack, object->free_stack);
}

/* The bytes around the address. */
static void fill_picture(struct vmarena_report *report) {
    if (!report->has_object) return;
    uint64_t middle = report->address & ~(uint64_t)15;
    report->window = middle < VMARENA_REPORT_BYTES / 2 ? 0 : middle - VMARENA_REPORT_BYTES / 2;
    report->window_length = VMARENA_REPORT_BYTES;
    for (size_t i = 0; i < VMARENA_REPORT_BYTES; i += sizeof(uintptr_t)) {
        uintptr_t word;
        bool there = vmarena_prim_peek((uintptr_t)report->window + i, &word);
        memcpy(report->bytes + i, &word, sizeof word);
        memset(report->readable + i, there, sizeof word);
    }
}

/* ---- modules: which file a program counter is in, from /proc/self/maps, since asking the dynamic linker takes locks ---- */

struct map_line {
    uint64_t start, end, offset;
    unsigned field; /* 0: start, 1: end, 2: permissions, 3: offset, 4: device, 5: inode, 6: path */
    size_t path_length;
    char path[VMARENA_REPORT_PATH];
};

static uint32_t module_for(struct vmarena_report *report, const char *path) {
    for (uint32_t i = 0; i < report->modules; i++)
        if (strcmp(report->module[i], path) == 0) return i + 1;
    if (report->modules == VMARENA_REPORT_MODULES) return 0;
    strcpy(report->module[report->modules], path);
    return (uint32_t)++report->modules;
}

static void place_frames(struct vmarena_report *report, struct vmarena_report_stack *stack,
                         const struct map_line *line) {
    for (uint64_t i = 0; i < stack->count; i++) {
        struct vmarena_report_frame *frame = &stack->frames[i];
        if (frame->pc < line->start || frame->pc >= line->end || line->path[0] != '/') continue;
        frame->module = module_for(report, line->path);
        frame->offset = frame->pc - line->start + line->offset;
    }
}

static void use_line(struct vmarena_report *report, const struct map_line *line) {
    place_frames(report, &report->access_stack, line);
    place_frames(report, &report->alloc_stack, line);
    place_frames(report, &report->free_stack, line);
    if (!report->has_object && report->address >= line->start && report->address < line->end)
        strcpy(report->where, line->path);
}

static unsigned hex_value(char c) {
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* "start-end perms offset dev inode    path\n" (proc_pid_maps(5)), a character at a time. */
static void read_character(struct vmarena_report *report, struct map_line *line, char c) {
    uint64_t *const numbers[] = {&line->start, &line->end, NULL, &line->offset};
    if (c == '\n') {
        line->path[line->path_length] = '\0';
        use_line(report, line);
        memset(line, 0, offsetof(struct map_line, path));
    } else if (line->field == 6) {
        if (line->path_length + 1 < sizeof line->path && (c != ' ' || line->path_length > 0))
            line->path[line->path_length++] = c;
    } else if (c == ' ' || (c == '-' && line->field == 0)) line->field++;
    else if (line->field <= 3 && line->field != 2) *numbers[line->field] = *numbers[line->field] << 4 | hex_value(c);
}

static void fill_modules(struct vmarena_report *report) {
    char text[1024];
    struct map_line line;
    memset(&line, 0, sizeof line);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++) read_character(report, &line, text[i]);
    close(fd);
}

/* ---- telling ---- */

static void count(bool repeated) {
    atomic_fetch_add(&vmarena_malloc.errors, 1);
    if (repeated) atomic_fetch_add(&vmarena_malloc.repeated, 1);
}

static void write_text(struct vmarena_text *text) { write_all(text->start, text->length); }

static void print_single(void) {
    static char buffer[4096];
    const struct vmarena_report_style style = {.colour = false};
    struct vmarena_text text = {.start = buffer, .size = sizeof buffer, .flush = write_text};
    vmarena_report_text(&text, &single, &style);
    vmarena_text_flush(&text);
    release_single();
}

static void futex_wake(_Atomic uint32_t *word) { (void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

#define PATIENCE 10 /* seconds for the command to look at a report */

/* Whether to end the program here; the command may have suppressed this error. */
static bool is_to_stop(struct vmarena_report *report) {
    struct timespec patience = {.tv_sec = PATIENCE};
    if (vmarena_malloc.options.stop == 0) return false;
    if (vmarena_malloc.channel == NULL) return true;
    while (atomic_load(&report->verdict) == 0 && atomic_load(&vmarena_malloc.channel->closed) == 0)
        if (syscall(SYS_futex, &report->verdict, FUTEX_WAIT, 0, &patience, NULL, 0) != 0 && errno == ETIMEDOUT) break;
    return atomic_load(&report->verdict) != 2;
}

static void hand_over(struct vmarena_report *report) {
    bool to_channel = report != &single;
    fill_picture(report);
    fill_modules(report);
    vmarena_malloc_publish();
    if (to_channel) {
        atomic_store(&report->ready, 1);
        atomic_fetch_add(&vmarena_malloc.channel->events, 1);
        futex_wake(&vmarena_malloc.channel->events);
    } else print_single();
    if (is_to_stop(report))
        for (;;) (void)syscall(SYS_exit_group, (int)vmarena_malloc.options.exit_code);
}

/* Returns a record for an error at these frames, or NULL if it is not to be reported (again). */
static struct vmarena_report *begin(enum vmarena_report_kind kind, void *const *frames, size_t frame_count,
                                    bool exact) {
    bool first = is_new(kind, frames, frame_count);
    count(!first);
    struct vmarena_report *report = first ? take_record() : NULL;
    if (report == NULL) return NULL;
    report->kind = kind;
    fill_stack(&report->access_stack, frames, frame_count, exact);
    return report;
}

static enum vmarena_report_kind kind_of_error(enum vmarena_heap_error error) {
    switch (error) {
    case VMARENA_HEAP_DOUBLE_FREE: return VMARENA_REPORT_DOUBLE_FREE;
    case VMARENA_HEAP_INTERIOR_FREE: return VMARENA_REPORT_INTERIOR_FREE;
    case VMARENA_HEAP_SLACK_BEFORE: return VMARENA_REPORT_SLACK_BEFORE;
    case VMARENA_HEAP_SLACK_AFTER: return VMARENA_REPORT_SLACK_AFTER;
    case VMARENA_HEAP_SIZE_MISMATCH: return VMARENA_REPORT_SIZE_MISMATCH;
    case VMARENA_HEAP_ALIGN_MISMATCH: return VMARENA_REPORT_ALIGN_MISMATCH;
    default: return VMARENA_REPORT_INVALID_FREE;
    }
}

static enum vmarena_report_call call_of_error(enum vmarena_heap_call call) {
    switch (call) {
    case VMARENA_HEAP_IN_ALLOC: return VMARENA_FOUND_IN_ALLOC;
    case VMARENA_HEAP_IN_FREE: return VMARENA_FOUND_IN_FREE;
    case VMARENA_HEAP_IN_REALLOC: return VMARENA_FOUND_IN_REALLOC;
    default: return VMARENA_FOUND_IN_CHECK;
    }
}

static void tell_limit(void) {
    vmarena_write_line("vmarena guard: guards by mprotect have nearly used up the process's map entries "
                       "(vm.max_map_count); objects beyond are not guarded, and counted");
}

/* A check of all slack has no stack that says anything about the error, so the stack of the object's allocation decides
 * whether the error was reported before. */
void vmarena_write_heap_error(const struct vmarena_heap_report *error, void *unused) {
    (void)unused;
    if (error->kind == VMARENA_HEAP_NEAR_LIMIT) {
        tell_limit();
        return;
    }
    void *frames[VMARENA_REPORT_FRAMES];
    bool in_check = error->call == VMARENA_HEAP_IN_CHECK;
    uint32_t place = in_check ? error->object.alloc_stack : error->stack;
    size_t frame_count = vmarena_heap_stack(vmarena_malloc.heap, place, frames, VMARENA_REPORT_FRAMES);
    struct vmarena_report *report = begin(kind_of_error(error->kind), frames, frame_count, false);
    if (report == NULL) return;
    if (in_check) report->access_stack.count = 0;
    report->call = call_of_error(error->call);
    report->address = (uintptr_t)(error->bad != NULL ? error->bad : error->pointer);
    report->distance = error->distance;
    report->length = error->bad_length;
    report->found = error->found;
    report->expected = error->expected;
    report->given = error->given;
    if (error->bad != NULL) report->access = VMARENA_BY_WRITE;
    fill_object(report, &error->object);
    hand_over(report);
}

static uint32_t access_of(const struct vmarena_fault *fault) {
    switch (fault->access) {
    case VMARENA_ACCESS_READ: return VMARENA_BY_READ;
    case VMARENA_ACCESS_WRITE: return VMARENA_BY_WRITE;
    case VMARENA_ACCESS_EXEC: return VMARENA_BY_EXEC;
    default: return VMARENA_BY_UNKNOWN;
    }
}

static struct vmarena_report *begin_fault(enum vmarena_report_kind kind, const struct vmarena_fault *fault,
                                          const void *context) {
    struct vmarena_prim_frame frame;
    void *frames[VMARENA_REPORT_FRAMES];
    vmarena_prim_frame_of_context(&frame, context);
    size_t frame_count = vmarena_unwind(&frame, frames, vmarena_malloc.options.depth);
    struct vmarena_report *report = begin(kind, frames, frame_count, true);
    if (report == NULL) return NULL;
    report->call = VMARENA_FOUND_AT_ACCESS;
    report->access = access_of(fault);
    report->address = (uintptr_t)fault->address;
    return report;
}

static enum vmarena_report_kind kind_of_fault(enum vmarena_fault_kind kind) {
    switch (kind) {
    case VMARENA_FAULT_OVERRUN: return VMARENA_REPORT_OVERRUN;
    case VMARENA_FAULT_UNDERRUN: return VMARENA_REPORT_UNDERRUN;
    case VMARENA_FAULT_USE_AFTER_FREE: return VMARENA_REPORT_USE_AFTER_FREE;
    default: return VMARENA_REPORT_WILD_ACCESS;
    }
}

/* The fault names the object's address, by which the heap knows the rest. */
void vmarena_write_fault(const struct vmarena_fault *fault, const void *context) {
    struct vmarena_heap_object object = {.state = VMARENA_HEAP_NONE};
    struct vmarena_report *report = begin_fault(kind_of_fault(fault->kind), fault, context);
    if (report == NULL) return;
    report->distance = fault->distance;
    if (fault->object != NULL && report->kind != VMARENA_REPORT_WILD_ACCESS &&
        vmarena_heap_find(vmarena_malloc.heap, fault->object, &object) == 0)
        fill_object(report, &object);
    hand_over(report);
}

/* Programs never map the first pages (vm.mmap_min_addr is 64 KiB by default). */
#define NULL_AREA ((uintptr_t)65536)

void vmarena_write_wild_access(const struct vmarena_fault *fault, bool named, const void *context) {
    enum vmarena_report_kind kind = !named                                  ? VMARENA_REPORT_UNNAMED_ACCESS
                                    : (uintptr_t)fault->address < NULL_AREA ? VMARENA_REPORT_NULL_ACCESS
                                                                            : VMARENA_REPORT_WILD_ACCESS;
    struct vmarena_report *report = begin_fault(kind, fault, context);
    if (report != NULL) hand_over(report);
}

void vmarena_write_bad_buffer(const char *name, bool writes, const void *buffer, size_t length,
                              const struct vmarena_heap_object *object) {
    void *frames[VMARENA_REPORT_FRAMES];
    size_t frame_count = vmarena_unwind(&vmarena_malloc_thread.caller, frames, vmarena_malloc.options.depth);
    bool freed = object->state == VMARENA_HEAP_FREED;
    uintptr_t from = (uintptr_t)buffer, end = (uintptr_t)object->start + object->size;
    struct vmarena_report *report =
        begin(freed ? VMARENA_REPORT_USE_AFTER_FREE : VMARENA_REPORT_OVERRUN, frames, frame_count, false);
    if (report == NULL) return;
    report->call = VMARENA_FOUND_IN_SYSTEM_CALL;
    report->access = writes ? VMARENA_BY_WRITE : VMARENA_BY_READ;
    strncpy(report->call_name, name, sizeof report->call_name - 1);
    report->address = freed || from > end ? from : end;
    report->distance = freed ? 0 : (int64_t)(report->address - end) + 1;
    report->length = from + length - end;
    fill_object(report, object);
    hand_over(report);
}
