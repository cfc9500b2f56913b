/* SPDX-License-Identifier: MIT */
#include "prim/unwind.h"

#include <stdatomic.h>
#include <string.h>

#ifdef __linux__
#include <ucontext.h>
#endif

/* ---- one word of a stack, which may turn out not to be there ---- */

struct word {
    uintptr_t value;
    uintptr_t there;
};

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

/* Its address in, the word and whether it is there out, in the two registers that both ABIs return such a struct in. */
struct word vmarena_prim_probe(uintptr_t address) __attribute__((visibility("hidden")));
extern const char vmarena_prim_probe_load[] __attribute__((visibility("hidden")));
extern const char vmarena_prim_probe_failed[] __attribute__((visibility("hidden")));

#ifdef __x86_64__
#define PROBE "movl $1, %edx\n vmarena_prim_probe_load:\n movq (%rdi), %rax\n ret\n"
#define PROBE_FAILED "xorl %eax, %eax\n xorl %edx, %edx\n ret\n"
#define PC_OF(context) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_RIP])
#define SP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])
#define FP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.gregs[REG_RBP])
#else
#define PROBE "vmarena_prim_probe_load:\n ldr x0, [x0]\n mov x1, #1\n ret\n"
#define PROBE_FAILED "mov x0, #0\n mov x1, #0\n ret\n"
#define PC_OF(context) (((ucontext_t *)(context))->uc_mcontext.pc)
#define SP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.sp)
#define FP_OF(context) (((const ucontext_t *)(context))->uc_mcontext.regs[29])
#endif

__asm__(".pushsection .text\n"
        ".globl vmarena_prim_probe, vmarena_prim_probe_load, vmarena_prim_probe_failed\n"
        ".hidden vmarena_prim_probe, vmarena_prim_probe_load, vmarena_prim_probe_failed\n"
        ".type vmarena_prim_probe, %function\n"
        ".balign 16\n"
        "vmarena_prim_probe:\n"
        ".cfi_startproc\n" PROBE "vmarena_prim_probe_failed:\n" PROBE_FAILED ".cfi_endproc\n"
        ".size vmarena_prim_probe, . - vmarena_prim_probe\n"
        ".popsection\n");

bool vmarena_prim_peek_faulted(void *context) {
    if ((uintptr_t)PC_OF(context) != (uintptr_t)vmarena_prim_probe_load) return false;
    __typeof__(PC_OF(context)) *pc = &PC_OF(context);
    *pc = (__typeof__(*pc))(uintptr_t)vmarena_prim_probe_failed;
    return true;
}

void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context) {
    *frame = (struct vmarena_prim_frame){.pc = (uintptr_t)PC_OF((void *)(uintptr_t)context),
                                         .sp = (uintptr_t)SP_OF(context),
                                         .fp = (uintptr_t)FP_OF(context),
                                         .exact = true};
}

#else /* no instruction that may fault here: nothing but the first frame is ever read */

static struct word vmarena_prim_probe(uintptr_t address) {
    (void)address;
    return (struct word){0, 0};
}

bool vmarena_prim_peek_faulted(void *context) {
    (void)context;
    return false;
}

void vmarena_prim_frame_of_context(struct vmarena_prim_frame *frame, const void *context) {
    (void)context;
    *frame = (struct vmarena_prim_frame){.pc = 0};
}

#endif

bool vmarena_prim_peek(uintptr_t address, uintptr_t *value) {
    struct word word = vmarena_prim_probe(address);
    *value = word.value;
    return word.there != 0;
}

/* A frame pointer points at the caller's, the return address beside it: the same on x86-64, aarch64 and others. */
void vmarena_prim_frame_from(struct vmarena_prim_frame *frame, uintptr_t frame_address, uintptr_t return_address) {
    uintptr_t outer;
    memcpy(&outer, (const void *)frame_address,
           sizeof outer); /* the frame of a function that is running: it is there */
    *frame = (struct vmarena_prim_frame){
        .pc = return_address, .sp = frame_address + 2 * sizeof(void *), .fp = outer, .exact = false};
}

/* No frame is that large; a frame pointer further off is a register that holds something else. */
#define FRAME_MAX ((uintptr_t)1 << 20)

static bool step_by_frame_pointer(struct vmarena_prim_frame *frame) {
    if (frame->fp < frame->sp || frame->fp - frame->sp > FRAME_MAX || frame->fp % sizeof(void *) != 0) return false;
    struct word outer = vmarena_prim_probe(frame->fp), pc = vmarena_prim_probe(frame->fp + sizeof(void *));
    if (!outer.there || !pc.there) return false;
    *frame = (struct vmarena_prim_frame){
        .pc = pc.value, .sp = frame->fp + 2 * sizeof(void *), .fp = outer.value, .exact = false};
    return true;
}

#if defined(__linux__) && defined(__x86_64__) && defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)

/* ---- rules: how to get from a frame to its caller's ---- */

#include <dlfcn.h>

enum cfa_kind {
    CFA_UNKNOWN, /* no table covers it, or one says what we do not follow */
    CFA_SP,      /* sp + offset */
    CFA_FP,      /* fp + offset */
    CFA_AT_SP,   /* the word at sp + offset, plus add */
    CFA_AT_FP,   /* the word at fp + offset, plus add */
    CFA_SIGNAL,  /* the frame that the kernel made for a signal handler */
    CFA_END,     /* the outermost: the return address is undefined */
};
enum fp_kind { FP_SAME, FP_AT_CFA, FP_AT_FP };

struct rule {
    int32_t cfa_offset; /* 28 bits in the cache */
    int16_t fp_offset;  /* in words */
    uint8_t cfa_add;
    uint8_t cfa, fp;
};

static uint64_t pack(const struct rule *rule) {
    return (uint64_t)((uint32_t)rule->cfa_offset & 0xfffffff) | (uint64_t)(uint16_t)rule->fp_offset << 28 |
           (uint64_t)rule->cfa_add << 44 | (uint64_t)rule->cfa << 52 | (uint64_t)rule->fp << 56;
}

static struct rule unpack(uint64_t packed) {
    struct rule rule = {.cfa_offset = (int32_t)((uint32_t)packed << 4) / 16,
                        .fp_offset = (int16_t)(uint16_t)(packed >> 28),
                        .cfa_add = (uint8_t)(packed >> 44),
                        .cfa = packed >> 52 & 15,
                        .fp = packed >> 56 & 15};
    return rule;
}

/* ---- .eh_frame: the System V ABI for AMD64, 4.2.4; LSB 5.0 core, 10.6; DWARF 4, 6.4 ---- */

#define REGISTER_FP 6
#define REGISTER_SP 7
#define REGISTER_PC 16

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t read_fixed(struct reader *in, size_t size) {
    uint64_t value = 0;
    if ((size_t)(in->end - in->at) < size) {
        in->bad = true;
        return 0;
    }
    memcpy(&value, in->at, size); /* little-endian, as x86-64 is */
    in->at += size;
    return value;
}

static uint64_t read_uleb(struct reader *in) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = read_fixed(in, 1);
        value |= (byte & 127) << shift;
        if ((byte & 128) == 0) break;
    }
    return value;
}

static int64_t read_sleb(struct reader *in) {
    uint64_t value = 0, byte = 0;
    unsigned shift = 0;
    do {
        byte = read_fixed(in, 1);
        value |= (byte & 127) << shift;
        shift += 7;
    } while ((byte & 128) != 0 && shift < 64);
    if (shift < 64 && (byte & 64) != 0) value |= ~(uint64_t)0 << shift;
    return (int64_t)value;
}

/* DW_EH_PE_*: the low four bits are the format, the next three what it is relative to. */
static uintptr_t read_encoded(struct reader *in, unsigned encoding) {
    uintptr_t base = (encoding & 0x70) == 0x10 ? (uintptr_t)in->at : 0;
    switch (encoding & 15) {
    case 0x00:
    case 0x04:
    case 0x0c: return base + (uintptr_t)read_fixed(in, 8);
    case 0x01: return base + (uintptr_t)read_uleb(in);
    case 0x02: return base + (uintptr_t)read_fixed(in, 2);
    case 0x03: return base + (uintptr_t)read_fixed(in, 4);
    case 0x09: return base + (uintptr_t)read_sleb(in);
    case 0x0a: return base + (uintptr_t)(intptr_t)(int16_t)read_fixed(in, 2);
    case 0x0b: return base + (uintptr_t)(intptr_t)(int32_t)read_fixed(in, 4);
    default: in->bad = true; return 0;
    }
}

/* An entry's own bytes; at behind the length. */
static struct reader open_entry(const uint8_t *entry) {
    uint32_t length;
    memcpy(&length, entry, sizeof length);
    struct reader in = {entry + 4, entry + 4 + length, length == 0 || length == UINT32_MAX};
    return in;
}

struct common {
    uint64_t code_align;
    int64_t data_align;
    unsigned encoding;
    bool augmented, signal_frame;
    struct reader instructions;
};

static void read_augmentation(struct reader *in, const char *letters, struct common *common) {
    for (; *letters != '\0'; letters++) {
        if (*letters == 'R') common->encoding = (unsigned)read_fixed(in, 1);
        else if (*letters == 'L') (void)read_fixed(in, 1);
        else if (*letters == 'P') (void)read_encoded(in, (unsigned)read_fixed(in, 1) & 0x0f);
        else if (*letters == 'S') common->signal_frame = true;
        else return;
    }
}

static bool read_common(const uint8_t *entry, struct common *common) {
    struct reader in = open_entry(entry);
    *common = (struct common){.code_align = 1};
    if (in.bad || read_fixed(&in, 4) != 0) return false;
    uint64_t version = read_fixed(&in, 1);
    const char *letters = (const char *)in.at;
    while (!in.bad && read_fixed(&in, 1) != 0) {}
    common->code_align = read_uleb(&in);
    common->data_align = read_sleb(&in);
    if (version == 1) (void)read_fixed(&in, 1);
    else (void)read_uleb(&in); /* the return address's column */
    if (*letters == 'z') {
        uint64_t length = read_uleb(&in);
        const uint8_t *after = in.at + length;
        common->augmented = true;
        read_augmentation(&in, letters + 1, common);
        in.at = after;
    } else if (*letters != '\0') return false;
    common->instructions = in;
    return !in.bad && in.at <= in.end;
}

/* The state that call-frame instructions build up, and what DW_CFA_remember_state stacks. */
struct state {
    struct rule rule;
    bool pc_undefined;
};
#define REMEMBERED 8

struct machine {
    const struct common *common;
    struct state now, initial, remembered[REMEMBERED];
    unsigned depth;
    uintptr_t location, target;
    bool bad;
};

static void define_cfa(struct machine *m, uint64_t reg, int64_t offset) {
    struct rule *rule = &m->now.rule;
    rule->cfa = reg == REGISTER_SP ? CFA_SP : reg == REGISTER_FP ? CFA_FP : CFA_UNKNOWN;
    rule->cfa_offset = (int32_t)offset;
    rule->cfa_add = 0;
}

static void saved_at(struct machine *m, uint64_t reg, int64_t offset) {
    if (reg == REGISTER_PC) m->now.pc_undefined = false;
    if (reg != REGISTER_FP) return;
    m->now.rule.fp = FP_AT_CFA;
    m->now.rule.fp_offset = (int16_t)(offset / 8);
}

static void restore(struct machine *m, uint64_t reg) {
    if (reg != REGISTER_FP) return;
    m->now.rule.fp = m->initial.rule.fp;
    m->now.rule.fp_offset = m->initial.rule.fp_offset;
}

static struct reader read_block(struct reader *in) {
    uint64_t length = read_uleb(in);
    struct reader block = {in->at, in->at, true};
    if (length > (uint64_t)(in->end - in->at)) in->bad = true;
    else block = (struct reader){in->at, in->at += length, false};
    return block;
}

#define OP_DEREF 0x06
#define OP_PLUS_CONSTANT 0x23
#define OP_BASE_REGISTER 0x70

/* What compilers and hand-written cryptography use: the word at a register and an offset, perhaps plus a constant. */
static void define_cfa_expression(struct machine *m, struct reader block) {
    struct rule *rule = &m->now.rule;
    rule->cfa = CFA_UNKNOWN;
    uint64_t reg = read_fixed(&block, 1) - OP_BASE_REGISTER;
    int64_t offset = read_sleb(&block);
    if (block.bad || (reg != REGISTER_FP && reg != REGISTER_SP) || read_fixed(&block, 1) != OP_DEREF) return;
    uint64_t add = 0;
    if (block.at < block.end) {
        if (read_fixed(&block, 1) != OP_PLUS_CONSTANT) return;
        add = read_uleb(&block);
    }
    if (block.bad || block.at < block.end || add > 255) return;
    rule->cfa = reg == REGISTER_SP ? CFA_AT_SP : CFA_AT_FP;
    rule->cfa_offset = (int32_t)offset;
    rule->cfa_add = (uint8_t)add;
}

static void saved_at_expression(struct machine *m, uint64_t reg, struct reader block) {
    if (reg != REGISTER_FP) return;
    uint64_t op = read_fixed(&block, 1);
    int64_t offset = read_sleb(&block);
    m->bad |= block.bad || op != OP_BASE_REGISTER + REGISTER_FP || block.at < block.end;
    m->now.rule.fp = FP_AT_FP;
    m->now.rule.fp_offset = (int16_t)(offset / 8);
}

static void remember(struct machine *m) {
    if (m->depth == REMEMBERED) m->bad = true;
    else m->remembered[m->depth++] = m->now;
}

static void recall(struct machine *m) {
    if (m->depth == 0) m->bad = true;
    else m->now = m->remembered[--m->depth];
}

static void advance(struct machine *m, uint64_t units) { m->location += units * m->common->code_align; }

static void run_extended(struct machine *m, struct reader *in, unsigned op) {
    int64_t align = m->common->data_align;
    uint64_t reg;
    switch (op) {
    case 0x00: break;                                                      /* nop */
    case 0x01: m->location = read_encoded(in, m->common->encoding); break; /* set_loc */
    case 0x02: advance(m, read_fixed(in, 1)); break;
    case 0x03: advance(m, read_fixed(in, 2)); break;
    case 0x04: advance(m, read_fixed(in, 4)); break;
    case 0x05: reg = read_uleb(in), saved_at(m, reg, (int64_t)read_uleb(in) * align); break; /* offset_extended */
    case 0x06: restore(m, read_uleb(in)); break;
    case 0x07:
        if (read_uleb(in) == REGISTER_PC) m->now.pc_undefined = true;
        break;
    case 0x08:
        if (read_uleb(in) == REGISTER_FP) m->now.rule.fp = FP_SAME;
        break;
    case 0x09: m->bad |= read_uleb(in) == REGISTER_FP, (void)read_uleb(in); break; /* register */
    case 0x0a: remember(m); break;
    case 0x0b: recall(m); break;
    case 0x0c: reg = read_uleb(in), define_cfa(m, reg, (int64_t)read_uleb(in)); break;
    case 0x0d: define_cfa(m, read_uleb(in), m->now.rule.cfa_offset); break;
    case 0x0e: m->now.rule.cfa_offset = (int32_t)read_uleb(in); break;
    case 0x0f: define_cfa_expression(m, read_block(in)); break;
    case 0x10: reg = read_uleb(in), saved_at_expression(m, reg, read_block(in)); break;
    case 0x11: reg = read_uleb(in), saved_at(m, reg, read_sleb(in) * align); break;
    case 0x12: reg = read_uleb(in), define_cfa(m, reg, read_sleb(in) * align); break;
    case 0x13: m->now.rule.cfa_offset = (int32_t)(read_sleb(in) * align); break;
    case 0x14: m->bad |= read_uleb(in) == REGISTER_FP, (void)read_uleb(in); break; /* val_offset */
    case 0x15: m->bad |= read_uleb(in) == REGISTER_FP, (void)read_sleb(in); break;
    case 0x16: m->bad |= read_uleb(in) == REGISTER_FP, (void)read_block(in); break; /* val_expression */
    case 0x2e: (void)read_uleb(in); break;                                          /* GNU_args_size */
    default: m->bad = true;
    }
}

/* Runs until the target's row is complete: the rules as of the first instruction whose row lies behind it. */
static void run(struct machine *m, struct reader in) {
    while (in.at < in.end && !in.bad && !m->bad) {
        unsigned byte = (unsigned)read_fixed(&in, 1), low = byte & 63;
        struct state before = m->now;
        switch (byte >> 6) {
        case 1: advance(m, low); break;
        case 2: saved_at(m, low, (int64_t)read_uleb(&in) * m->common->data_align); break;
        case 3: restore(m, low); break;
        default: run_extended(m, &in, low); break;
        }
        if (m->location > m->target) {
            m->now = before;
            return;
        }
    }
    m->bad |= in.bad;
}

static bool read_rule(const uint8_t *entry, uintptr_t pc, struct rule *rule) {
    struct reader in = open_entry(entry);
    struct common common;
    const uint8_t *here = in.at;
    uint64_t back = read_fixed(&in, 4);
    if (in.bad || back == 0 || !read_common(here - back, &common)) return false;
    uintptr_t start = read_encoded(&in, common.encoding), size = read_encoded(&in, common.encoding & 0x0f);
    if (in.bad || pc - start >= size) return false;
    if (common.augmented) {
        uint64_t length = read_uleb(&in);
        in.at += length;
    }
    struct machine m = {.common = &common, .location = start, .target = pc};
    run(&m, common.instructions);
    m.initial = m.now;
    run(&m, in);
    *rule = m.now.rule;
    if (common.signal_frame) rule->cfa = CFA_SIGNAL;
    else if (m.bad) rule->cfa = CFA_UNKNOWN;
    else if (m.now.pc_undefined) rule->cfa = CFA_END;
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

/* ---- the cache ---- */

/* Written without a lock: the key is 0 while its rule changes, and read before and after the rule. */
static struct {
    _Atomic uintptr_t key;
    _Atomic uint64_t rule;
} cache[1 << 15];

static size_t slot(uintptr_t pc) { return (size_t)((pc * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - 15)); }

static void keep(uintptr_t pc, const struct rule *rule) {
    size_t i = slot(pc);
    atomic_store_explicit(&cache[i].key, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&cache[i].rule, pack(rule), memory_order_relaxed);
    atomic_store_explicit(&cache[i].key, pc, memory_order_release);
}

/* _dl_find_object (glibc 2.35) takes no lock and may be called in a signal handler. */
static __attribute__((noinline)) struct rule work_out(uintptr_t pc) {
    struct rule rule = {.cfa = CFA_UNKNOWN};
    struct dl_find_object object;
    if (pc == 0 || _dl_find_object((void *)pc, &object) != 0 || object.dlfo_eh_frame == NULL) return rule;
    const uint8_t *entry = find_entry(object.dlfo_eh_frame, pc);
    if (entry == NULL || !read_rule(entry, pc, &rule)) rule.cfa = CFA_UNKNOWN;
    keep(pc, &rule);
    return rule;
}

static struct rule find_rule(uintptr_t pc) {
    size_t i = slot(pc);
    if (atomic_load_explicit(&cache[i].key, memory_order_acquire) == pc) {
        uint64_t packed = atomic_load_explicit(&cache[i].rule, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&cache[i].key, memory_order_relaxed) == pc) return unpack(packed);
    }
    return work_out(pc);
}

/* ---- walks remembered ---- */

/*
 * A walk is what follows from its first frame and the words that it reads on the stack. Where all of these are as they were
 * the last time, so is the walk: a load and a comparison for each frame, that wait for nothing, in place of a rule.
 */
#define MEMO_FRAMES 16
#define MEMO_WORDS 16

struct walk {
    struct vmarena_prim_frame from;
    size_t limit, count; /* frames asked for and found */
    size_t words;        /* that were read beside the return addresses: saved frame pointers that had a part in it */
    bool by_fp;          /* so had the first frame's */
    uintptr_t pc[MEMO_FRAMES], pc_at[MEMO_FRAMES], word[MEMO_WORDS],
        word_at[MEMO_WORDS]; /* values, and where they are */
};

/* A walk being made. */
struct trace {
    struct walk *walk;
    uintptr_t fp_at; /* where the frame's fp was read; 0: it is the first frame's */
    bool whole;      /* the walk can be remembered */
};

/*
 * Walks that begin with the same frame differ further out: a few of them are kept side by side. Whoever finds one in use
 * passes it over: another thread has it, or the thread that a signal handler interrupted.
 */
#define WAYS 4
struct memo {
    _Atomic bool busy;
    struct walk walk;
};
static struct memo memos[256][WAYS];

static bool seize(struct memo *memo) { return !atomic_exchange_explicit(&memo->busy, true, memory_order_acquire); }
static void let_go(struct memo *memo) { atomic_store_explicit(&memo->busy, false, memory_order_release); }

static struct memo *memos_for(const struct vmarena_prim_frame *from) {
    uint64_t hash = (from->pc ^ from->sp << 20) * UINT64_C(0x9e3779b97f4a7c15);
    return memos[hash >> 56];
}

/* A page of the stack that was read a moment ago is still there. */
#define SMALLEST_PAGE 4096
static inline bool holds(uintptr_t *page, uintptr_t address, uintptr_t value) {
    if (address / SMALLEST_PAGE == *page) return *(const uintptr_t *)address == value;
    struct word word = vmarena_prim_probe(address);
    *page = address / SMALLEST_PAGE;
    return word.there && word.value == value;
}

static bool repeats(const struct walk *walk, const struct vmarena_prim_frame *from, size_t limit) {
    uintptr_t page = 0;
    if (walk->from.pc != from->pc || walk->from.sp != from->sp || walk->from.exact != from->exact ||
        walk->limit != limit || (walk->by_fp && walk->from.fp != from->fp))
        return false;
    for (size_t i = 1; i < walk->count; i++)
        if (!holds(&page, walk->pc_at[i], walk->pc[i])) return false;
    for (size_t i = 0; i < walk->words; i++)
        if (!holds(&page, walk->word_at[i], walk->word[i])) return false;
    return true;
}

static void depend_on_word(struct trace *trace, uintptr_t at, uintptr_t value) {
    struct walk *walk = trace->walk;
    if (walk->words == MEMO_WORDS) {
        trace->whole = false;
        return;
    }
    walk->word_at[walk->words] = at;
    walk->word[walk->words++] = value;
}

static void depend_on_fp(struct trace *trace, uintptr_t fp) {
    if (trace->fp_at == 0) trace->walk->by_fp = true;
    else depend_on_word(trace, trace->fp_at, fp);
}

/* ---- the walk ---- */

/* At the restorer's first instruction the stack pointer is at the ucontext: its registers, as sigcontext has them. */
#define SIGNAL_REGISTER(number) (offsetof(ucontext_t, uc_mcontext) + (number) * sizeof(greg_t))

static bool step_out_of_signal(struct vmarena_prim_frame *frame) {
    struct word pc = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RIP));
    struct word sp = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RSP));
    struct word fp = vmarena_prim_probe(frame->sp + SIGNAL_REGISTER(REG_RBP));
    if (!pc.there || !sp.there || !fp.there) return false;
    *frame = (struct vmarena_prim_frame){.pc = pc.value, .sp = sp.value, .fp = fp.value, .exact = true};
    return true;
}

static bool find_cfa(const struct vmarena_prim_frame *frame, const struct rule *rule, uintptr_t *cfa,
                     struct trace *trace) {
    uintptr_t offset = (uintptr_t)(intptr_t)rule->cfa_offset;
    if (rule->cfa == CFA_FP || rule->cfa == CFA_AT_FP) depend_on_fp(trace, frame->fp);
    if (rule->cfa == CFA_SP) *cfa = frame->sp + offset;
    else if (rule->cfa == CFA_FP) *cfa = frame->fp + offset;
    else {
        uintptr_t at = (rule->cfa == CFA_AT_SP ? frame->sp : frame->fp) + offset;
        struct word word = vmarena_prim_probe(at);
        if (!word.there) return false;
        depend_on_word(trace, at, word.value);
        *cfa = word.value + rule->cfa_add;
    }
    return *cfa > frame->sp && *cfa % sizeof(void *) == 0;
}

/* false: the walk ends here; it can be remembered only where the tables say so. */
static bool step(struct vmarena_prim_frame *frame, struct trace *trace) {
    struct rule rule = find_rule(frame->exact ? frame->pc : frame->pc - 1);
    if (rule.cfa == CFA_END) return false;
    uintptr_t cfa;
    bool by_table = rule.cfa != CFA_UNKNOWN && rule.cfa != CFA_SIGNAL;
    trace->whole &= by_table;
    if (rule.cfa == CFA_UNKNOWN) return step_by_frame_pointer(frame);
    if (rule.cfa == CFA_SIGNAL) return step_out_of_signal(frame);
    if (!find_cfa(frame, &rule, &cfa, trace)) return trace->whole = false;
    struct word pc = vmarena_prim_probe(cfa - sizeof(void *)), fp = {frame->fp, 1};
    if (rule.fp == FP_AT_FP) depend_on_fp(trace, frame->fp);
    if (rule.fp != FP_SAME) {
        trace->fp_at = (rule.fp == FP_AT_CFA ? cfa : frame->fp) + (uintptr_t)(intptr_t)rule.fp_offset * sizeof(void *);
        fp = vmarena_prim_probe(trace->fp_at);
    }
    if (!pc.there || !fp.there) return trace->whole = false;
    *frame = (struct vmarena_prim_frame){.pc = pc.value, .sp = cfa, .fp = fp.value, .exact = false};
    return true;
}

static size_t walk_anew(const struct vmarena_prim_frame *from, void **pcs, size_t limit, struct trace *trace) {
    struct vmarena_prim_frame frame = *from;
    struct walk *walk = trace->walk;
    size_t count = 0;
    for (; count < limit && frame.pc != 0; count++) {
        pcs[count] = (void *)frame.pc;
        if (count < MEMO_FRAMES) {
            walk->pc[count] = frame.pc;
            walk->pc_at[count] = frame.sp - sizeof(void *);
        }
        if (count + 1 < limit && !step(&frame, trace)) return count + 1;
    }
    if (count < limit) trace->whole = false;
    return count;
}

/* 0: no such walk is remembered. */
static size_t recall_walk(struct memo *ways, const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    size_t count = 0;
    for (size_t way = 0; way < WAYS && count == 0; way++) {
        if (!seize(&ways[way])) continue;
        const struct walk *walk = &ways[way].walk;
        if (repeats(walk, from, limit))
            for (count = 0; count < walk->count; count++) pcs[count] = (void *)walk->pc[count];
        let_go(&ways[way]);
    }
    return count;
}

static size_t walk_and_remember(struct memo *memo, const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    struct walk forgotten, *walk = memo != NULL ? &memo->walk : &forgotten;
    struct trace trace = {.walk = walk, .whole = true};
    walk->words = 0;
    walk->by_fp = false;
    walk->from = *from;
    walk->count = walk_anew(from, pcs, limit, &trace);
    walk->limit = trace.whole ? limit : SIZE_MAX; /* which nobody asks for */
    return walk->count;
}

size_t vmarena_prim_unwind(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    static _Atomic unsigned turn;
    if (limit == 0 || limit > MEMO_FRAMES) return walk_and_remember(NULL, from, pcs, limit);
    struct memo *ways = memos_for(from);
    size_t count = recall_walk(ways, from, pcs, limit);
    if (count != 0) return count;
    struct memo *memo = &ways[atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % WAYS];
    if (!seize(memo)) return walk_and_remember(NULL, from, pcs, limit);
    count = walk_and_remember(memo, from, pcs, limit);
    let_go(memo);
    return count;
}

#else

size_t vmarena_prim_unwind(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    struct vmarena_prim_frame frame = *from;
    size_t count = 0;
    while (count < limit && frame.pc != 0) {
        pcs[count++] = (void *)frame.pc;
        if (!step_by_frame_pointer(&frame)) break;
    }
    return count;
}

#endif
