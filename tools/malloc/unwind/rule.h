/* SPDX-License-Identifier: MIT */
/* The rule for one program counter: how to get from a frame to its caller's. */
#ifndef VMARENA_MALLOC_UNWIND_RULE_H
#define VMARENA_MALLOC_UNWIND_RULE_H

#include <stdint.h>

/* Where the canonical frame address (CFA) is: the stack pointer's value in the caller after the call returned. */
enum vmarena_unwind_cfa {
    VMARENA_CFA_UNKNOWN, /* no table covers the program counter, or one says what is not supported here */
    VMARENA_CFA_SP,      /* sp + cfa_offset */
    VMARENA_CFA_FP,      /* fp + cfa_offset */
    VMARENA_CFA_AT_SP,   /* the word at sp + cfa_offset, plus cfa_add */
    VMARENA_CFA_AT_FP,   /* the word at fp + cfa_offset, plus cfa_add */
    VMARENA_CFA_SIGNAL,  /* the frame that the kernel made for a signal handler */
    VMARENA_CFA_END,     /* the outermost frame: its return address is undefined */
};

/* Where the caller's frame pointer is: still in its register, or saved in memory. */
enum vmarena_unwind_fp { VMARENA_FP_SAME, VMARENA_FP_AT_CFA, VMARENA_FP_AT_FP };

struct vmarena_unwind_rule {
    int32_t cfa_offset; /* 28 bits are kept in the cache */
    int16_t fp_offset;  /* in words */
    uint8_t cfa_add;
    uint8_t cfa, fp; /* of the enumerations above */
};

#endif
