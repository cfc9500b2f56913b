/* SPDX-License-Identifier: MIT */
/* The report about a fault that nobody claimed, written from the signal handler. */
#include "prim/prim.h"

#include <stddef.h>

#include "base/text.h"
#include "fault/fault.h"

_Atomic int vmarena_report_fd = -1;

/* Enough for a line about the fault and two call stacks; what does not fit is left out. An alternate signal stack of the
 * least size that POSIX programs use (SIGSTKSZ, 8 KiB) has room for it. */
#define REPORT_SIZE 2048

static void add_sentence(struct vmarena_text *text, const struct vmarena_fault *fault) {
    vmarena_text_add(text, "vmarena: ");
    text->length += vmarena_fault_describe(fault, text->start + text->length, text->size - text->length);
    vmarena_text_add(text, "\n  thread ");
    vmarena_text_decimal(text, vmarena_prim_thread_id());
    if (fault->pc != NULL) {
        vmarena_text_add(text, ", at pc ");
        vmarena_text_hex(text, (uintptr_t)fault->pc);
    }
    vmarena_text_char(text, '\n');
}

/* A handler that returns has its fault come again, at the same place for ever: it is reported once. */
static bool is_repeated(const struct vmarena_fault *fault) {
    struct vmarena_fault_thread *thread = &vmarena_fault_thread;
    if (thread->reported_address == fault->address && thread->reported_pc == fault->pc) return true;
    thread->reported_address = fault->address;
    thread->reported_pc = fault->pc;
    return false;
}

void vmarena_fault_report(const struct vmarena_fault *fault, const struct vmarena_region *region) {
    int fd = atomic_load_explicit(&vmarena_report_fd, memory_order_relaxed);
    if (fd < 0 || is_repeated(fault)) return;
    char buffer[REPORT_SIZE];
    struct vmarena_text text = {.start = buffer, .size = sizeof buffer};
    add_sentence(&text, fault);
    vmarena_history_fn *history = region->history;
    if (history != NULL && fault->owner != NULL) history(fault->owner, fault, &text);
    /* One call, so that the reports of two threads do not mix. */
    vmarena_prim_write(fd, buffer, vmarena_text_length(&text));
}
