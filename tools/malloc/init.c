/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "deferred_free.h"
#include "prim/prim.h"
#include "state.h"
#include "vmarena/error.h"

struct vmarena_malloc_state vmarena_malloc;
_Thread_local struct vmarena_malloc_thread vmarena_malloc_thread;

/* ---- the channel to the command ---- */

/* Maps the command's file, opened through the command's descriptor table; no descriptor stays open in the program. */
static struct vmarena_channel *open_channel(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    void *mapped = mmap(NULL, sizeof(struct vmarena_channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) return NULL;
    struct vmarena_channel *channel = mapped;
    if (channel->magic == VMARENA_CHANNEL_MAGIC && channel->size == sizeof *channel) return channel;
    munmap(mapped, sizeof *channel);
    return NULL;
}

/* Takes a place for this process's figures. */
static void take_figures(void) {
    struct vmarena_guard_figures *mine = &vmarena_malloc.own;
    int process = (int)getpid();
    if (vmarena_malloc.channel != NULL) {
        uint32_t index = atomic_fetch_add(&vmarena_malloc.channel->processes, 1);
        if (index < VMARENA_CHANNEL_PROCESSES) mine = &vmarena_malloc.channel->figures[index];
    }
    atomic_store(&mine->process, (uint32_t)process);
    atomic_store(&vmarena_malloc.figures, mine);
    atomic_store(&vmarena_malloc.process, process);
}

void vmarena_malloc_publish(void) {
    struct vmarena_guard_figures *out = atomic_load(&vmarena_malloc.figures);
    struct vmarena_heap_stats now;
    /* A child of vfork(2) runs in its parent's memory, so these are the parent's figures. */
    vmarena_heap_stats(vmarena_malloc.heap, &now);
    const struct vmarena_heap_stats *before = &vmarena_malloc.before;
    atomic_store_explicit(&out->guard_kind, (uint32_t)now.guard_kind, memory_order_relaxed);
    atomic_store_explicit(&out->guarded, now.allocs - before->allocs, memory_order_relaxed);
    atomic_store_explicit(&out->unguarded, now.unguarded - before->unguarded + atomic_load(&vmarena_malloc.bypassed),
                          memory_order_relaxed);
    atomic_store_explicit(&out->unsampled, now.unsampled - before->unsampled, memory_order_relaxed);
    atomic_store_explicit(&out->failed, now.failed - before->failed, memory_order_relaxed);
    atomic_store_explicit(&out->live_peak, now.live_peak, memory_order_relaxed);
    atomic_store_explicit(&out->page_peak, now.page_peak, memory_order_relaxed);
    atomic_store_explicit(&out->errors, atomic_load(&vmarena_malloc.errors), memory_order_relaxed);
    atomic_store_explicit(&out->repeated, atomic_load(&vmarena_malloc.repeated), memory_order_relaxed);
}

/* ---- options ---- */

static void complain(const char *what, size_t length, const char *why) {
    char line[256];
    struct vmarena_text text = {.start = line, .size = sizeof line - 1};
    vmarena_text_add(&text, VMARENA_GUARD_VARIABLE ": ");
    for (size_t i = 0; i < length; i++) vmarena_text_char(&text, what[i]);
    vmarena_text_add(&text, ": ");
    vmarena_text_add(&text, why);
    line[vmarena_text_length(&text)] = '\0';
    vmarena_write_line(line);
}

static void read_options(void) {
    const char *value = secure_getenv(VMARENA_GUARD_VARIABLE), *bad, *why;
    size_t length;
    vmarena_malloc.options = vmarena_guard_defaults;
    if (value != NULL && !vmarena_options_parse(&vmarena_malloc.options, value, &bad, &length, &why))
        complain(bad, length, why);
}

static void heap_options(struct vmarena_heap_options *out) {
    static const struct vmarena_heap_fallback plain = {
        .alloc = vmarena_libc_alloc,
        .calloc = vmarena_libc_calloc,
        .realloc = vmarena_libc_realloc,
        .free = vmarena_libc_free,
        .usable_size = vmarena_libc_usable_size,
        .owns = vmarena_libc_owns,
    };
    static const enum vmarena_guard_kind kinds[] = {
        [VMARENA_BACKEND_AUTO] = VMARENA_GUARD_AUTO,
        [VMARENA_BACKEND_MARKER] = VMARENA_GUARD_MARKER,
        [VMARENA_BACKEND_USERFAULT] = VMARENA_GUARD_USERFAULT,
        [VMARENA_BACKEND_PROTECT] = VMARENA_GUARD_PROTECT,
    };
    const struct vmarena_guard_options *options = &vmarena_malloc.options;
    *out = (struct vmarena_heap_options){
        .name = "malloc",
        .align = options->align,
        .guard_kind = kinds[options->backend],
        .side = options->side == VMARENA_SIDE_START       ? VMARENA_HEAP_START
                : options->side == VMARENA_SIDE_ALTERNATE ? VMARENA_HEAP_ALTERNATE
                                                          : VMARENA_HEAP_END,
        .reuse = options->reuse == VMARENA_REUSE_RANDOM ? VMARENA_HEAP_RANDOM : VMARENA_HEAP_FIFO,
        .quarantine_bytes = options->quarantine_bytes,
        .quarantine_count = options->quarantine,
        .check_interval = options->check,
        .sample = options->sample,
        .guard_min = options->min_size,
        .guard_max = options->min_size == 0 && options->max_size == SIZE_MAX ? 0 : options->max_size,
        .memory_cap = options->memory,
        .full = options->full == VMARENA_FULL_FAIL ? VMARENA_HEAP_FAIL : VMARENA_HEAP_UNGUARDED,
        .flags = options->quarantine == 0 ? VMARENA_HEAP_NO_QUARANTINE : 0,
        .stack_depth = (unsigned)options->depth,
        .capture = vmarena_capture_stack,
        .report = vmarena_write_heap_error,
        .fallback = &plain,
    };
}

/* ---- start ---- */

static void read_program_name(void) {
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, vmarena_malloc.program, sizeof vmarena_malloc.program - 1);
    if (fd >= 0) close(fd);
    while (got > 0 && vmarena_malloc.program[got - 1] == '\n') got--;
    vmarena_malloc.program[got > 0 ? got : 0] = '\0';
}

void vmarena_malloc_after_fork(bool torn) {
    vmarena_signals_after_fork();
    vmarena_reports_after_fork();
    if (atomic_load(&vmarena_malloc.mode) != VMARENA_MALLOC_GUARDING) return;
    vmarena_heap_stats(vmarena_malloc.heap, &vmarena_malloc.before);
    atomic_store(&vmarena_malloc.errors, 0);
    atomic_store(&vmarena_malloc.repeated, 0);
    atomic_store(&vmarena_malloc.bypassed, 0);
    take_figures();
    if (!torn) return;
    atomic_store(&vmarena_malloc.mode, VMARENA_MALLOC_UNGUARDED);
    vmarena_write_line(
        "vmarena guard: fork() came while another thread could not leave malloc; the child's objects are not "
        "guarded from here on");
}

/* With follow=no, only the program itself is guarded, also after it calls execve(2), and none of its children. */
static bool is_wanted(void) {
    const struct vmarena_guard_options *options = &vmarena_malloc.options;
    return options->follow != 0 || options->root == 0 || options->root == (size_t)getpid();
}

static bool set_up(void) {
    struct vmarena_heap_options options;
    read_options();
    if (!is_wanted()) return false;
    read_program_name();
    if (vmarena_malloc.options.channel[0] != '\0') {
        vmarena_malloc.channel = open_channel(vmarena_malloc.options.channel);
        if (vmarena_malloc.channel == NULL)
            vmarena_write_line("vmarena guard: the command cannot be reached from this process; reports follow here");
    }
    heap_options(&options);
    take_figures();
    if (vmarena_heap_create(&vmarena_malloc.heap, &options) != 0) {
        complain("nothing is guarded", strlen("nothing is guarded"), vmarena_explain());
        return false;
    }
    vmarena_signals_open();
    return true;
}

/* The thread counts as inside the heap meanwhile, so that its own calls are served by the C library and a fork waits. */
bool vmarena_malloc_start(void) {
    struct vmarena_gate_pass *pass = &vmarena_malloc_thread.pass;
    int expected = VMARENA_MALLOC_NEW, saved_errno = errno;
    if (!vmarena_gate_enter(pass)) return false;
    if (atomic_compare_exchange_strong(&vmarena_malloc.mode, &expected, VMARENA_MALLOC_STARTING)) {
        expected = set_up() ? VMARENA_MALLOC_GUARDING : VMARENA_MALLOC_UNGUARDED;
        atomic_store(&vmarena_malloc.mode, expected);
    }
    vmarena_gate_leave(pass);
    errno = saved_errno;
    return expected == VMARENA_MALLOC_GUARDING;
}

/* The faults of a program that allocates nothing are reported, too. */
__attribute__((constructor)) static void start(void) {
    if (atomic_load(&vmarena_malloc.mode) == VMARENA_MALLOC_NEW) (void)vmarena_malloc_start();
}

/* ---- end ---- */

void vmarena_malloc_finish(void) {
    static _Atomic bool done;
    struct vmarena_malloc_thread *thread = &vmarena_malloc_thread;
    if (atomic_load(&vmarena_malloc.mode) != VMARENA_MALLOC_GUARDING) return;
    if (atomic_load(&vmarena_malloc.process) != (int)getpid())
        return; /* in a child of vfork(2), which shares our memory */
    /* Not entered: _exit(2) in a signal handler that interrupted the heap. */
    if (vmarena_gate_enter(&thread->pass)) {
        vmarena_deferred_free_all();
        thread->caller = (struct vmarena_prim_frame){.pc = 0};
        if (!atomic_exchange(&done, true)) (void)vmarena_heap_check(vmarena_malloc.heap);
        vmarena_gate_leave(&thread->pass);
    }
    vmarena_malloc_publish();
}

__attribute__((destructor)) static void finish(void) { vmarena_malloc_finish(); }

/* The two functions that end a process without running destructors; exit(3) calls neither of them here. */
VMARENA_REPLACES void _exit(int code) {
    vmarena_malloc_finish();
    for (;;) (void)syscall(SYS_exit_group, code);
}
VMARENA_REPLACES void _Exit(int code) { _exit(code); }
