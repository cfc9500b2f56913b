/* SPDX-License-Identifier: MIT */
/*
 * The report channel from the preloaded malloc to `vmarena guard`: memory shared by the command, the program and its
 * children. It needs none of the program's descriptors or signals, and reports outlive the program.
 */
#ifndef VMARENA_TOOLS_RECORD_H
#define VMARENA_TOOLS_RECORD_H

#include <stdatomic.h>
#include <stdint.h>

enum vmarena_report_kind {
    VMARENA_REPORT_OVERRUN,
    VMARENA_REPORT_UNDERRUN,
    VMARENA_REPORT_USE_AFTER_FREE,
    VMARENA_REPORT_DOUBLE_FREE,
    VMARENA_REPORT_INVALID_FREE,
    VMARENA_REPORT_INTERIOR_FREE,
    VMARENA_REPORT_SLACK_BEFORE,
    VMARENA_REPORT_SLACK_AFTER,
    VMARENA_REPORT_SIZE_MISMATCH,
    VMARENA_REPORT_ALIGN_MISMATCH,
    VMARENA_REPORT_NULL_ACCESS,
    VMARENA_REPORT_WILD_ACCESS,
    VMARENA_REPORT_UNNAMED_ACCESS, /* the kernel names no address: see vmarena_prim_fault_is_general_protection() */
    VMARENA_REPORT_KINDS
};

enum vmarena_report_access { VMARENA_BY_UNKNOWN, VMARENA_BY_READ, VMARENA_BY_WRITE, VMARENA_BY_EXEC };

/* Where the error was found; the name of a system call is in `call_name`. */
enum vmarena_report_call {
    VMARENA_FOUND_AT_ACCESS,
    VMARENA_FOUND_IN_ALLOC,
    VMARENA_FOUND_IN_FREE,
    VMARENA_FOUND_IN_REALLOC,
    VMARENA_FOUND_IN_CHECK,
    VMARENA_FOUND_IN_SYSTEM_CALL,
};

#define VMARENA_REPORT_FRAMES 64
#define VMARENA_REPORT_MODULES 32
#define VMARENA_REPORT_PATH 240
#define VMARENA_REPORT_BYTES 96

struct vmarena_report_frame {
    uint64_t pc;
    uint64_t offset; /* in the module's file */
    uint32_t module; /* index + 1; 0: in no file */
    uint32_t exact;  /* 1: the instruction itself; 0: a return address */
};

struct vmarena_report_stack {
    uint64_t count;
    struct vmarena_report_frame frames[VMARENA_REPORT_FRAMES];
};

struct vmarena_report {
    _Atomic uint32_t ready;   /* 1: complete */
    _Atomic uint32_t verdict; /* 0: not looked at yet; 1: reported; 2: suppressed. A futex */
    uint32_t kind, access, call;
    uint32_t process, thread;
    char program[16];
    char call_name[16];
    uint64_t address;        /* touched, freed, or the first byte overwritten */
    int64_t distance;        /* from the object's nearest edge, as in fault.h */
    uint64_t length;         /* SLACK_*: bytes overwritten; system calls: bytes past the end; 0: not known */
    uint64_t given;          /* *_MISMATCH: what the caller stated */
    uint8_t found, expected; /* SLACK_*: at address */
    uint8_t has_object, freed;
    uint32_t alloc_thread, free_thread;
    uint64_t object, size, align, slack_before, slack_after;
    uint64_t alloc_number, free_number, now_number; /* sequence numbers of allocations; 0: not known */
    struct vmarena_report_stack access_stack, alloc_stack, free_stack;
    uint64_t modules;
    char module[VMARENA_REPORT_MODULES][VMARENA_REPORT_PATH];
    char where[VMARENA_REPORT_PATH]; /* INVALID_FREE: the mapping that the pointer lies in; "": none */
    uint64_t window;                 /* the address of bytes[0] */
    uint64_t window_length;
    uint8_t bytes[VMARENA_REPORT_BYTES];
    uint8_t readable[VMARENA_REPORT_BYTES];
};

/* The figures of one process, at its end or a few allocations before. */
struct vmarena_guard_figures {
    _Atomic uint32_t process;    /* 0: free */
    _Atomic uint32_t guard_kind; /* enum vmarena_guard_kind, obtained; 0: not known yet */
    _Atomic uint64_t guarded, unguarded, unsampled, failed;
    _Atomic uint64_t live_peak, page_peak;
    _Atomic uint64_t errors, repeated; /* repeated: at a place that was reported before */
};

#define VMARENA_CHANNEL_MAGIC UINT32_C(0x564d4733) /* changes with the layout or the enumerations: "VMG3" */
#define VMARENA_CHANNEL_PROCESSES 4096
#define VMARENA_CHANNEL_REPORTS 1024

struct vmarena_channel {
    uint32_t magic, size;                /* size: of this structure */
    _Atomic uint32_t events;             /* a futex: changes with every report */
    _Atomic uint32_t processes, reports; /* entries taken; they count on when the arrays are full */
    _Atomic uint32_t closed;             /* 1: the command no longer reads */
    struct vmarena_guard_figures figures[VMARENA_CHANNEL_PROCESSES];
    struct vmarena_report report[VMARENA_CHANNEL_REPORTS];
};

#endif
