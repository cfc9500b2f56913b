/* SPDX-License-Identifier: MIT */
/* The pattern in the slack around one object. */
#include "prim/prim.h"

#include "heap/heap.h"
#include "region/guard_layout.h"

/* false: none. An object of no bytes has no pages. */
static bool slack_of(const struct vmarena_heap *heap, const struct vmarena_slot *slot, struct vmarena_slack *out) {
    uintptr_t start = vmarena_load_relaxed(slot->start), pages = vmarena_slot_pages(heap, slot);
    *out = (struct vmarena_slack){pages, start, start + vmarena_load_relaxed(slot->size),
                                  pages + vmarena_slot_page_bytes(heap, slot)};
    return out->before != out->after;
}

void vmarena_slack_fill(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    struct vmarena_slack slack;
    if (slack_of(heap, slot, &slack)) vmarena_slack_fill_pattern(&slack);
}

int vmarena_slack_check(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_call call,
                        uint32_t stack) {
    struct vmarena_slack slack;
    size_t length;
    int error = 0;
    if (!slack_of(heap, slot, &slack)) return 0;
    uintptr_t bad = vmarena_slack_find_damage(&slack, slack.before, &length);
    for (; VMARENA_UNLIKELY(bad != 0); bad = vmarena_slack_find_damage(&slack, bad + length, &length))
        error = vmarena_report_slack(heap, slot, call, stack, bad, length);
    return error;
}
