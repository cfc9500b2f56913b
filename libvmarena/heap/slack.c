/* SPDX-License-Identifier: MIT */
/* The pattern in the slack around one object. */
#include "heap/heap.h"
#include "region/guard_layout.h"

/* The slack on both sides of an object: [before, start) and [end, after). */
struct slack {
    uintptr_t before, start, end, after;
};

/* false: none. An object of no bytes has no pages. */
static bool slack_of(const struct vmarena_heap *heap, const struct vmarena_slot *slot, struct slack *out) {
    uintptr_t start = vmarena_load_relaxed(slot->start), pages = vmarena_slot_pages(heap, slot);
    *out = (struct slack){pages, start, start + vmarena_load_relaxed(slot->size),
                          pages + vmarena_slot_page_bytes(heap, slot)};
    return out->before != out->after;
}

void vmarena_slack_fill(const struct vmarena_heap *heap, const struct vmarena_slot *slot) {
    struct slack slack;
    if (!slack_of(heap, slot, &slack)) return;
    vmarena_pattern_fill(slack.before, slack.start);
    vmarena_pattern_fill(slack.end, slack.after);
}

/* From the first bad byte to the last. */
static size_t length_of_damage(uintptr_t bad, uintptr_t end) {
    uintptr_t last = bad;
    for (uintptr_t at = bad; at < end; at++)
        if (vmarena_pattern_check(at, at + 1) == at) last = at;
    return last - bad + 1;
}

int vmarena_slack_check(struct vmarena_heap *heap, const struct vmarena_slot *slot, enum vmarena_heap_call call,
                        uint32_t stack) {
    struct slack slack;
    int error = 0;
    if (!slack_of(heap, slot, &slack)) return 0;
    uintptr_t bad = vmarena_pattern_check(slack.before, slack.start);
    if (VMARENA_UNLIKELY(bad != slack.start))
        error = vmarena_report_slack(heap, slot, call, stack, bad, length_of_damage(bad, slack.start));
    bad = vmarena_pattern_check(slack.end, slack.after);
    if (VMARENA_UNLIKELY(bad != slack.after))
        error = vmarena_report_slack(heap, slot, call, stack, bad, length_of_damage(bad, slack.after));
    return error;
}
