/* SPDX-License-Identifier: MIT */
#include "dwarf_reader.h"

#include <string.h>

uint64_t vmarena_dwarf_fixed(struct vmarena_dwarf_reader *in, size_t size) {
    uint64_t value = 0;
    if ((size_t)(in->end - in->at) < size) {
        in->bad = true;
        return 0;
    }
    memcpy(&value, in->at, size); /* little-endian, as x86-64 is */
    in->at += size;
    return value;
}

uint64_t vmarena_dwarf_uleb(struct vmarena_dwarf_reader *in) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = vmarena_dwarf_fixed(in, 1);
        value |= (byte & 127) << shift;
        if ((byte & 128) == 0) break;
    }
    return value;
}

int64_t vmarena_dwarf_sleb(struct vmarena_dwarf_reader *in) {
    uint64_t value = 0, byte = 0;
    unsigned shift = 0;
    do {
        byte = vmarena_dwarf_fixed(in, 1);
        value |= (byte & 127) << shift;
        shift += 7;
    } while ((byte & 128) != 0 && shift < 64);
    if (shift < 64 && (byte & 64) != 0) value |= ~(uint64_t)0 << shift;
    return (int64_t)value;
}

/* The low four bits are the format; 0x10 says that the value is relative to its own place (LSB 5.0 core, 10.5.1). */
uintptr_t vmarena_dwarf_pointer(struct vmarena_dwarf_reader *in, unsigned encoding) {
    uintptr_t base = (encoding & 0x70) == 0x10 ? (uintptr_t)in->at : 0;
    switch (encoding & 15) {
    case 0x00:
    case 0x04:
    case 0x0c: return base + (uintptr_t)vmarena_dwarf_fixed(in, 8);
    case 0x01: return base + (uintptr_t)vmarena_dwarf_uleb(in);
    case 0x02: return base + (uintptr_t)vmarena_dwarf_fixed(in, 2);
    case 0x03: return base + (uintptr_t)vmarena_dwarf_fixed(in, 4);
    case 0x09: return base + (uintptr_t)vmarena_dwarf_sleb(in);
    case 0x0a: return base + (uintptr_t)(intptr_t)(int16_t)vmarena_dwarf_fixed(in, 2);
    case 0x0b: return base + (uintptr_t)(intptr_t)(int32_t)vmarena_dwarf_fixed(in, 4);
    default: in->bad = true; return 0;
    }
}
