/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include "eh_frame.h"
#include "rule_cache.h"
#include "walk_cache.h"

/* ---- a walk that records what it depends on ---- */

struct trace {
    struct vmarena_walk *walk;
    uintptr_t fp_at; /* where the frame's fp was read; 0: it is the first frame's */
    bool repeatable; /* the record is complete */
};

static void depend_on_word(struct trace *trace, uintptr_t at, uintptr_t value) {
    struct vmarena_walk *walk = trace->walk;
    if (walk->words == VMARENA_WALK_WORDS) {
        trace->repeatable = false;
        return;
    }
    walk->word_at[walk->words] = at;
    walk->word[walk->words++] = value;
}

static void depend_on_fp(struct trace *trace, uintptr_t fp) {
    if (trace->fp_at == 0) trace->walk->by_fp = true;
    else depend_on_word(trace, trace->fp_at, fp);
}

/* ---- one step, by the tables ---- */

static __attribute__((noinline)) struct vmarena_unwind_rule read_rule(uintptr_t pc) {
    struct vmarena_unwind_rule rule = {.cfa = VMARENA_CFA_UNKNOWN};
    const uint8_t *table = pc == 0 ? NULL : vmarena_prim_unwind_table(pc);
    if (table == NULL) return rule;
    if (!vmarena_eh_frame_rule(table, pc, &rule)) rule.cfa = VMARENA_CFA_UNKNOWN;
    vmarena_rule_cache_keep(pc, &rule);
    return rule;
}

static struct vmarena_unwind_rule find_rule(uintptr_t pc) {
    struct vmarena_unwind_rule rule;
    return vmarena_rule_cache_find(pc, &rule) ? rule : read_rule(pc);
}

static bool find_cfa(const struct vmarena_prim_frame *frame, const struct vmarena_unwind_rule *rule, uintptr_t *cfa,
                     struct trace *trace) {
    uintptr_t offset = (uintptr_t)(intptr_t)rule->cfa_offset;
    if (rule->cfa == VMARENA_CFA_FP || rule->cfa == VMARENA_CFA_AT_FP) depend_on_fp(trace, frame->fp);
    if (rule->cfa == VMARENA_CFA_SP) *cfa = frame->sp + offset;
    else if (rule->cfa == VMARENA_CFA_FP) *cfa = frame->fp + offset;
    else {
        uintptr_t at = (rule->cfa == VMARENA_CFA_AT_SP ? frame->sp : frame->fp) + offset;
        struct vmarena_prim_word word = vmarena_prim_probe(at);
        if (!word.present) return false;
        depend_on_word(trace, at, word.value);
        *cfa = word.value + rule->cfa_add;
    }
    return *cfa > frame->sp && *cfa % sizeof(void *) == 0;
}

/* False: the walk ends here. It is repeatable only where a table says that this frame is the outermost. */
static bool step(struct vmarena_prim_frame *frame, struct trace *trace) {
    struct vmarena_unwind_rule rule = find_rule(frame->exact ? frame->pc : frame->pc - 1);
    if (rule.cfa == VMARENA_CFA_END) return false;
    uintptr_t cfa;
    trace->repeatable &= rule.cfa != VMARENA_CFA_UNKNOWN && rule.cfa != VMARENA_CFA_SIGNAL;
    if (rule.cfa == VMARENA_CFA_UNKNOWN) return vmarena_prim_frame_by_pointer(frame);
    if (rule.cfa == VMARENA_CFA_SIGNAL) return vmarena_prim_frame_behind_signal(frame);
    if (!find_cfa(frame, &rule, &cfa, trace)) return trace->repeatable = false;
    struct vmarena_prim_word pc = vmarena_prim_probe(cfa - sizeof(void *)), fp = {frame->fp, 1};
    if (rule.fp == VMARENA_FP_AT_FP) depend_on_fp(trace, frame->fp);
    if (rule.fp != VMARENA_FP_SAME) {
        uintptr_t base = rule.fp == VMARENA_FP_AT_CFA ? cfa : frame->fp;
        trace->fp_at = base + (uintptr_t)(intptr_t)rule.fp_offset * sizeof(void *);
        fp = vmarena_prim_probe(trace->fp_at);
    }
    if (!pc.present || !fp.present) return trace->repeatable = false;
    *frame = (struct vmarena_prim_frame){.pc = pc.value, .sp = cfa, .fp = fp.value, .exact = false};
    return true;
}

/* ---- walks ---- */

static size_t take_steps(const struct vmarena_prim_frame *from, void **pcs, size_t limit, struct trace *trace) {
    struct vmarena_prim_frame frame = *from;
    struct vmarena_walk *walk = trace->walk;
    size_t count = 0;
    for (; count < limit && frame.pc != 0; count++) {
        pcs[count] = (void *)frame.pc;
        if (count < VMARENA_WALK_FRAMES) {
            walk->pc[count] = frame.pc;
            walk->pc_at[count] = frame.sp - sizeof(void *);
        }
        if (count + 1 < limit && !step(&frame, trace)) return count + 1;
    }
    if (count < limit) trace->repeatable = false;
    return count;
}

static size_t walk_by_tables(struct vmarena_walk *walk, const struct vmarena_prim_frame *from, void **pcs,
                             size_t limit) {
    struct trace trace = {.walk = walk, .repeatable = true};
    walk->words = 0;
    walk->by_fp = false;
    walk->from = *from;
    walk->count = take_steps(from, pcs, limit, &trace);
    walk->limit = trace.repeatable ? limit : VMARENA_WALK_NOT_REPEATABLE;
    return walk->count;
}

static size_t walk_uncached(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    struct vmarena_walk walk;
    return walk_by_tables(&walk, from, pcs, limit);
}

static size_t walk_by_frame_pointers(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    struct vmarena_prim_frame frame = *from;
    size_t count = 0;
    while (count < limit && frame.pc != 0) {
        pcs[count++] = (void *)frame.pc;
        if (!vmarena_prim_frame_by_pointer(&frame)) break;
    }
    return count;
}

size_t vmarena_unwind(const struct vmarena_prim_frame *from, void **pcs, size_t limit) {
    if (!VMARENA_PRIM_HAS_UNWIND_TABLES) return walk_by_frame_pointers(from, pcs, limit);
    if (limit == 0 || limit > VMARENA_WALK_FRAMES) return walk_uncached(from, pcs, limit);
    size_t count = vmarena_walk_cache_find(from, pcs, limit);
    if (count != 0) return count;
    struct vmarena_walk *walk = vmarena_walk_cache_take(from);
    if (walk == NULL) return walk_uncached(from, pcs, limit);
    count = walk_by_tables(walk, from, pcs, limit);
    vmarena_walk_cache_release(walk);
    return count;
}
