/* SPDX-License-Identifier: MIT */
/* Rules that were found once, by program counter. Any thread, without a lock; signal-safe. */
#ifndef VMARENA_MALLOC_UNWIND_RULE_CACHE_H
#define VMARENA_MALLOC_UNWIND_RULE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "rule.h"

/* False: the rule for pc is not kept. What is found is always the rule that was kept for this pc. */
bool vmarena_rule_cache_find(uintptr_t pc, struct vmarena_unwind_rule *rule);
/* Keeps the rule in place of another, or does nothing where another write to the same entry is going on. */
void vmarena_rule_cache_keep(uintptr_t pc, const struct vmarena_unwind_rule *rule);

#endif
