/* SPDX-License-Identifier: MIT */
#include "rule_cache.h"

#include <stdatomic.h>
#include <stddef.h>

static uint64_t pack(const struct vmarena_unwind_rule *rule) {
    return (uint64_t)((uint32_t)rule->cfa_offset & 0xfffffff) | (uint64_t)(uint16_t)rule->fp_offset << 28 |
           (uint64_t)rule->cfa_add << 44 | (uint64_t)rule->cfa << 52 | (uint64_t)rule->fp << 56;
}

static struct vmarena_unwind_rule unpack(uint64_t packed) {
    struct vmarena_unwind_rule rule = {.cfa_offset = (int32_t)((uint32_t)packed << 4) / 16,
                                       .fp_offset = (int16_t)(uint16_t)(packed >> 28),
                                       .cfa_add = (uint8_t)(packed >> 44),
                                       .cfa = packed >> 52 & 15,
                                       .fp = packed >> 56 & 15};
    return rule;
}

/*
 * Each entry is a sequence lock: its version is odd while it is written, and different after each writer. A writer that
 * finds it odd gives up, because waiting could be for the thread that its own signal handler interrupted.
 */
static struct entry {
    _Atomic uint64_t version;
    _Atomic uintptr_t key;
    _Atomic uint64_t rule;
} cache[1 << 15];

static struct entry *entry_for(uintptr_t pc) { return &cache[(pc * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - 15)]; }

void vmarena_rule_cache_keep(uintptr_t pc, const struct vmarena_unwind_rule *rule) {
    struct entry *entry = entry_for(pc);
    uint64_t version = atomic_load_explicit(&entry->version, memory_order_relaxed);
    if ((version & 1) != 0 || !atomic_compare_exchange_strong_explicit(&entry->version, &version, version + 1,
                                                                       memory_order_acquire, memory_order_relaxed))
        return;
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&entry->key, pc, memory_order_relaxed);
    atomic_store_explicit(&entry->rule, pack(rule), memory_order_relaxed);
    atomic_store_explicit(&entry->version, version + 2, memory_order_release);
}

bool vmarena_rule_cache_find(uintptr_t pc, struct vmarena_unwind_rule *rule) {
    const struct entry *entry = entry_for(pc);
    uint64_t version = atomic_load_explicit(&entry->version, memory_order_acquire);
    uintptr_t key = atomic_load_explicit(&entry->key, memory_order_relaxed);
    uint64_t packed = atomic_load_explicit(&entry->rule, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    bool whole = (version & 1) == 0 && atomic_load_explicit(&entry->version, memory_order_relaxed) == version;
    if (!whole || key != pc) return false;
    *rule = unpack(packed);
    return true;
}
