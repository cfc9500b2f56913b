/* SPDX-License-Identifier: MIT */
/* The call-frame instructions of .eh_frame, interpreted (DWARF 4, 6.4.2). Signal-safe. */
#ifndef VMARENA_MALLOC_UNWIND_CFI_H
#define VMARENA_MALLOC_UNWIND_CFI_H

#include "dwarf_reader.h"
#include "rule.h"

/* What a common information entry (CIE) says for all functions that refer to it. */
struct vmarena_eh_common {
    uint64_t code_align;
    int64_t data_align;
    unsigned encoding; /* of addresses */
    bool augmented, signal_frame;
    struct vmarena_dwarf_reader instructions;
};

/*
 * Runs the common instructions and then the function's own, from its start, until the row that covers pc is complete.
 * The rule's cfa is VMARENA_CFA_UNKNOWN where an instruction says what is not supported here.
 */
struct vmarena_unwind_rule vmarena_cfi_run(const struct vmarena_eh_common *common,
                                           struct vmarena_dwarf_reader instructions, uintptr_t start, uintptr_t pc);

#endif
