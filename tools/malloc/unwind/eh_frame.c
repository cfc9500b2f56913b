/* SPDX-License-Identifier: MIT */
#include "eh_frame.h"

#include <string.h>

#include "cfi.h"

/* The bytes of an entry behind its length. */
static struct vmarena_dwarf_reader open_entry(const uint8_t *entry) {
    uint32_t length;
    memcpy(&length, entry, sizeof length);
    struct vmarena_dwarf_reader in = {entry + 4, entry + 4 + length, length == 0 || length == UINT32_MAX};
    return in;
}

static void read_augmentation(struct vmarena_dwarf_reader *in, const char *letters, struct vmarena_eh_common *common) {
    for (; *letters != '\0'; letters++) {
        if (*letters == 'R') common->encoding = (unsigned)vmarena_dwarf_fixed(in, 1);
        else if (*letters == 'L') (void)vmarena_dwarf_fixed(in, 1);
        else if (*letters == 'P') (void)vmarena_dwarf_pointer(in, (unsigned)vmarena_dwarf_fixed(in, 1) & 0x0f);
        else if (*letters == 'S') common->signal_frame = true;
        else return;
    }
}

static bool read_common(const uint8_t *entry, struct vmarena_eh_common *common) {
    struct vmarena_dwarf_reader in = open_entry(entry);
    *common = (struct vmarena_eh_common){.code_align = 1};
    if (in.bad || vmarena_dwarf_fixed(&in, 4) != 0) return false;
    uint64_t version = vmarena_dwarf_fixed(&in, 1);
    const char *letters = (const char *)in.at;
    while (!in.bad && vmarena_dwarf_fixed(&in, 1) != 0) {}
    common->code_align = vmarena_dwarf_uleb(&in);
    common->data_align = vmarena_dwarf_sleb(&in);
    if (version == 1) (void)vmarena_dwarf_fixed(&in, 1);
    else (void)vmarena_dwarf_uleb(&in); /* the return address's column */
    if (*letters == 'z') {
        uint64_t length = vmarena_dwarf_uleb(&in);
        const uint8_t *after = in.at + length;
        common->augmented = true;
        read_augmentation(&in, letters + 1, common);
        in.at = after;
    } else if (*letters != '\0') return false;
    common->instructions = in;
    return !in.bad && in.at <= in.end;
}

static bool read_rule(const uint8_t *entry, uintptr_t pc, struct vmarena_unwind_rule *rule) {
    struct vmarena_dwarf_reader in = open_entry(entry);
    struct vmarena_eh_common common;
    const uint8_t *here = in.at;
    uint64_t back = vmarena_dwarf_fixed(&in, 4);
    if (in.bad || back == 0 || !read_common(here - back, &common)) return false;
    uintptr_t start = vmarena_dwarf_pointer(&in, common.encoding),
              size = vmarena_dwarf_pointer(&in, common.encoding & 0x0f);
    if (in.bad || pc - start >= size) return false;
    if (common.augmented) {
        uint64_t length = vmarena_dwarf_uleb(&in);
        in.at += length;
    }
    *rule = vmarena_cfi_run(&common, in, start, pc);
    return true;
}

/* .eh_frame_hdr: a sorted table of (start, entry), both relative to the header (LSB 5.0 core, 10.6.2). */
#define TABLE_ENCODING 0x3b1b

static const uint8_t *find_entry(const uint8_t *header, uintptr_t pc) {
    uint16_t encodings;
    int32_t row[2];
    uint32_t count;
    memcpy(&encodings, (const uint8_t[2]){header[1], header[3]}, sizeof encodings);
    if (header[0] != 1 || encodings != TABLE_ENCODING || header[2] != 0x03) return NULL;
    memcpy(&count, header + 8, sizeof count);
    const uint8_t *table = header + 12, *found = NULL;
    for (uint32_t low = 0, high = count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        memcpy(row, table + (size_t)middle * sizeof row, sizeof row);
        if ((uintptr_t)header + (uintptr_t)(intptr_t)row[0] <= pc) {
            found = header + row[1];
            low = middle + 1;
        } else high = middle;
    }
    return found;
}

bool vmarena_eh_frame_rule(const uint8_t *header, uintptr_t pc, struct vmarena_unwind_rule *rule) {
    const uint8_t *entry = find_entry(header, pc);
    return entry != NULL && read_rule(entry, pc, rule);
}
