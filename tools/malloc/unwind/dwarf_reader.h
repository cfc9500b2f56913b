/* SPDX-License-Identifier: MIT */
/* The encodings of numbers in DWARF data (DWARF 4, 7.6, and DW_EH_PE_* of LSB 5.0 core, 10.5.1). Signal-safe. */
#ifndef VMARENA_MALLOC_UNWIND_DWARF_READER_H
#define VMARENA_MALLOC_UNWIND_DWARF_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmarena_dwarf_reader {
    const uint8_t *at, *end;
    bool bad; /* the data ended too early, or has an encoding that is not known here; numbers read since are 0 */
};

uint64_t vmarena_dwarf_fixed(struct vmarena_dwarf_reader *in, size_t size);
uint64_t vmarena_dwarf_uleb(struct vmarena_dwarf_reader *in);
int64_t vmarena_dwarf_sleb(struct vmarena_dwarf_reader *in);
uintptr_t vmarena_dwarf_pointer(struct vmarena_dwarf_reader *in, unsigned encoding);

#endif
