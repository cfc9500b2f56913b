/* SPDX-License-Identifier: MIT */
#include "cfi.h"

#include "prim/unwind.h"

/* What the instructions build up, and what DW_CFA_remember_state pushes on a stack. */
struct state {
    struct vmarena_unwind_rule rule;
    bool pc_undefined;
};
#define REMEMBERED 8

struct machine {
    const struct vmarena_eh_common *common;
    struct state now, initial, remembered[REMEMBERED];
    unsigned depth;
    uintptr_t location, target;
    bool bad;
};

static void define_cfa(struct machine *m, uint64_t reg, int64_t offset) {
    struct vmarena_unwind_rule *rule = &m->now.rule;
    rule->cfa = reg == VMARENA_PRIM_DWARF_SP   ? VMARENA_CFA_SP
                : reg == VMARENA_PRIM_DWARF_FP ? VMARENA_CFA_FP
                                               : VMARENA_CFA_UNKNOWN;
    rule->cfa_offset = (int32_t)offset;
    rule->cfa_add = 0;
}

static void saved_at(struct machine *m, uint64_t reg, int64_t offset) {
    if (reg == VMARENA_PRIM_DWARF_PC) m->now.pc_undefined = false;
    if (reg != VMARENA_PRIM_DWARF_FP) return;
    m->now.rule.fp = VMARENA_FP_AT_CFA;
    m->now.rule.fp_offset = (int16_t)(offset / 8);
}

static void restore_fp(struct machine *m, uint64_t reg) {
    if (reg != VMARENA_PRIM_DWARF_FP) return;
    m->now.rule.fp = m->initial.rule.fp;
    m->now.rule.fp_offset = m->initial.rule.fp_offset;
}

static struct vmarena_dwarf_reader read_block(struct vmarena_dwarf_reader *in) {
    uint64_t length = vmarena_dwarf_uleb(in);
    struct vmarena_dwarf_reader block = {in->at, in->at, true};
    if (length > (uint64_t)(in->end - in->at)) in->bad = true;
    else block = (struct vmarena_dwarf_reader){in->at, in->at += length, false};
    return block;
}

#define OP_DEREF 0x06
#define OP_PLUS_CONSTANT 0x23
#define OP_BASE_REGISTER 0x70

/* The form that compilers and hand-written cryptography use: the word at a register plus offset, perhaps plus a constant. */
static void define_cfa_expression(struct machine *m, struct vmarena_dwarf_reader block) {
    struct vmarena_unwind_rule *rule = &m->now.rule;
    rule->cfa = VMARENA_CFA_UNKNOWN;
    uint64_t reg = vmarena_dwarf_fixed(&block, 1) - OP_BASE_REGISTER;
    int64_t offset = vmarena_dwarf_sleb(&block);
    if (block.bad || (reg != VMARENA_PRIM_DWARF_FP && reg != VMARENA_PRIM_DWARF_SP) ||
        vmarena_dwarf_fixed(&block, 1) != OP_DEREF)
        return;
    uint64_t add = 0;
    if (block.at < block.end) {
        if (vmarena_dwarf_fixed(&block, 1) != OP_PLUS_CONSTANT) return;
        add = vmarena_dwarf_uleb(&block);
    }
    if (block.bad || block.at < block.end || add > 255) return;
    rule->cfa = reg == VMARENA_PRIM_DWARF_SP ? VMARENA_CFA_AT_SP : VMARENA_CFA_AT_FP;
    rule->cfa_offset = (int32_t)offset;
    rule->cfa_add = (uint8_t)add;
}

static void saved_at_expression(struct machine *m, uint64_t reg, struct vmarena_dwarf_reader block) {
    if (reg != VMARENA_PRIM_DWARF_FP) return;
    uint64_t op = vmarena_dwarf_fixed(&block, 1);
    int64_t offset = vmarena_dwarf_sleb(&block);
    m->bad |= block.bad || op != OP_BASE_REGISTER + VMARENA_PRIM_DWARF_FP || block.at < block.end;
    m->now.rule.fp = VMARENA_FP_AT_FP;
    m->now.rule.fp_offset = (int16_t)(offset / 8);
}

static void remember_state(struct machine *m) {
    if (m->depth == REMEMBERED) m->bad = true;
    else m->remembered[m->depth++] = m->now;
}

static void restore_state(struct machine *m) {
    if (m->depth == 0) m->bad = true;
    else m->now = m->remembered[--m->depth];
}

static void advance(struct machine *m, uint64_t units) { m->location += units * m->common->code_align; }

static void run_extended(struct machine *m, struct vmarena_dwarf_reader *in, unsigned op) {
    int64_t align = m->common->data_align;
    uint64_t reg;
    switch (op) {
    case 0x00: break;                                                               /* nop */
    case 0x01: m->location = vmarena_dwarf_pointer(in, m->common->encoding); break; /* set_loc */
    case 0x02: advance(m, vmarena_dwarf_fixed(in, 1)); break;
    case 0x03: advance(m, vmarena_dwarf_fixed(in, 2)); break;
    case 0x04: advance(m, vmarena_dwarf_fixed(in, 4)); break;
    case 0x05:
        reg = vmarena_dwarf_uleb(in), saved_at(m, reg, (int64_t)vmarena_dwarf_uleb(in) * align);
        break; /* offset_extended */
    case 0x06: restore_fp(m, vmarena_dwarf_uleb(in)); break;
    case 0x07:
        if (vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_PC) m->now.pc_undefined = true;
        break;
    case 0x08:
        if (vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_FP) m->now.rule.fp = VMARENA_FP_SAME;
        break;
    case 0x09:
        m->bad |= vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_FP, (void)vmarena_dwarf_uleb(in);
        break; /* register */
    case 0x0a: remember_state(m); break;
    case 0x0b: restore_state(m); break;
    case 0x0c: reg = vmarena_dwarf_uleb(in), define_cfa(m, reg, (int64_t)vmarena_dwarf_uleb(in)); break;
    case 0x0d: define_cfa(m, vmarena_dwarf_uleb(in), m->now.rule.cfa_offset); break;
    case 0x0e: m->now.rule.cfa_offset = (int32_t)vmarena_dwarf_uleb(in); break;
    case 0x0f: define_cfa_expression(m, read_block(in)); break;
    case 0x10: reg = vmarena_dwarf_uleb(in), saved_at_expression(m, reg, read_block(in)); break;
    case 0x11: reg = vmarena_dwarf_uleb(in), saved_at(m, reg, vmarena_dwarf_sleb(in) * align); break;
    case 0x12: reg = vmarena_dwarf_uleb(in), define_cfa(m, reg, vmarena_dwarf_sleb(in) * align); break;
    case 0x13: m->now.rule.cfa_offset = (int32_t)(vmarena_dwarf_sleb(in) * align); break;
    case 0x14:
        m->bad |= vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_FP, (void)vmarena_dwarf_uleb(in);
        break; /* val_offset */
    case 0x15: m->bad |= vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_FP, (void)vmarena_dwarf_sleb(in); break;
    case 0x16:
        m->bad |= vmarena_dwarf_uleb(in) == VMARENA_PRIM_DWARF_FP, (void)read_block(in);
        break;                                      /* val_expression */
    case 0x2e: (void)vmarena_dwarf_uleb(in); break; /* GNU_args_size */
    default: m->bad = true;
    }
}

/* Stops at the first instruction whose row begins beyond the target, with the state from before it. */
static void run(struct machine *m, struct vmarena_dwarf_reader in) {
    while (in.at < in.end && !in.bad && !m->bad) {
        unsigned byte = (unsigned)vmarena_dwarf_fixed(&in, 1), low = byte & 63;
        struct state before = m->now;
        switch (byte >> 6) {
        case 1: advance(m, low); break;
        case 2: saved_at(m, low, (int64_t)vmarena_dwarf_uleb(&in) * m->common->data_align); break;
        case 3: restore_fp(m, low); break;
        default: run_extended(m, &in, low); break;
        }
        if (m->location > m->target) {
            m->now = before;
            return;
        }
    }
    m->bad |= in.bad;
}

struct vmarena_unwind_rule vmarena_cfi_run(const struct vmarena_eh_common *common,
                                           struct vmarena_dwarf_reader instructions, uintptr_t start, uintptr_t pc) {
    struct machine m = {.common = common, .location = start, .target = pc};
    run(&m, common->instructions);
    m.initial = m.now;
    run(&m, instructions);
    struct vmarena_unwind_rule rule = m.now.rule;
    if (common->signal_frame) rule.cfa = VMARENA_CFA_SIGNAL;
    else if (m.bad) rule.cfa = VMARENA_CFA_UNKNOWN;
    else if (m.now.pc_undefined) rule.cfa = VMARENA_CFA_END;
    return rule;
}
