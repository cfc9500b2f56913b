/* SPDX-License-Identifier: MIT */
/* What the C compiler makes of the headers, for tests.zig to compare with c.zig. */
#include <stddef.h>
#include <vmarena.h>
#include <vmarena/heap.h>
#include <vmarena/view.h>

const size_t layout_options[] = {
    sizeof(struct vmarena_options),
    offsetof(struct vmarena_options, reserve),
    offsetof(struct vmarena_options, commit),
    offsetof(struct vmarena_options, guard),
    offsetof(struct vmarena_options, huge),
    offsetof(struct vmarena_options, fence),
    offsetof(struct vmarena_options, guard_kind),
    offsetof(struct vmarena_options, commit_policy),
    offsetof(struct vmarena_options, flags),
    offsetof(struct vmarena_options, name),
};
const size_t layout_handle[] = {sizeof(struct vmarena), offsetof(struct vmarena, cursor),
                                offsetof(struct vmarena, limit)};
const size_t layout_mark[] = {
    sizeof(struct vmarena_mark),
    offsetof(struct vmarena_mark, arena),
    offsetof(struct vmarena_mark, generation),
    offsetof(struct vmarena_mark, cursor),
    offsetof(struct vmarena_mark, objects),
};
const size_t layout_stats[] = {
    sizeof(struct vmarena_stats),
    offsetof(struct vmarena_stats, reserved),
    offsetof(struct vmarena_stats, committed),
    offsetof(struct vmarena_stats, used),
    offsetof(struct vmarena_stats, peak),
    offsetof(struct vmarena_stats, objects),
    offsetof(struct vmarena_stats, resident),
    offsetof(struct vmarena_stats, huge),
    offsetof(struct vmarena_stats, guard),
    offsetof(struct vmarena_stats, page_size),
    offsetof(struct vmarena_stats, prot),
    offsetof(struct vmarena_stats, flags),
    offsetof(struct vmarena_stats, huge_asked),
    offsetof(struct vmarena_stats, huge_obtained),
    offsetof(struct vmarena_stats, guard_kind),
    offsetof(struct vmarena_stats, commit_policy),
    offsetof(struct vmarena_stats, named),
    offsetof(struct vmarena_stats, sealed),
    offsetof(struct vmarena_stats, annotated),
};
const size_t layout_fault[] = {
    sizeof(struct vmarena_fault),
    offsetof(struct vmarena_fault, signo),
    offsetof(struct vmarena_fault, code),
    offsetof(struct vmarena_fault, address),
    offsetof(struct vmarena_fault, pc),
    offsetof(struct vmarena_fault, access),
    offsetof(struct vmarena_fault, kind),
    offsetof(struct vmarena_fault, object),
    offsetof(struct vmarena_fault, object_size),
    offsetof(struct vmarena_fault, distance),
    offsetof(struct vmarena_fault, owner),
    offsetof(struct vmarena_fault, owner_name),
    offsetof(struct vmarena_fault, file_offset),
    offsetof(struct vmarena_fault, reserved),
};
const size_t layout_caps[] = {
    sizeof(struct vmarena_caps),
    offsetof(struct vmarena_caps, page_size),
    offsetof(struct vmarena_caps, huge_page_size),
    offsetof(struct vmarena_caps, thp_sizes),
    offsetof(struct vmarena_caps, hugetlb_2m_free),
    offsetof(struct vmarena_caps, hugetlb_1g_free),
    offsetof(struct vmarena_caps, map_entry_limit),
    offsetof(struct vmarena_caps, protection_keys),
    offsetof(struct vmarena_caps, thp),
    offsetof(struct vmarena_caps, guard_markers),
    offsetof(struct vmarena_caps, vectored_madvise),
    offsetof(struct vmarena_caps, collapse),
    offsetof(struct vmarena_caps, populate),
    offsetof(struct vmarena_caps, wipe_on_fork),
    offsetof(struct vmarena_caps, procmap_query),
    offsetof(struct vmarena_caps, pagemap_scan),
    offsetof(struct vmarena_caps, seal),
    offsetof(struct vmarena_caps, userfaultfd),
    offsetof(struct vmarena_caps, userfaultfd_wp),
    offsetof(struct vmarena_caps, perf_counters),
    offsetof(struct vmarena_caps, perf_tlb),
    offsetof(struct vmarena_caps, vma_names),
    offsetof(struct vmarena_caps, fault_access),
    offsetof(struct vmarena_caps, strict_overcommit),
};
const size_t layout_view_options[] = {
    sizeof(struct vmarena_view_options),           offsetof(struct vmarena_view_options, mode),
    offsetof(struct vmarena_view_options, fence),  offsetof(struct vmarena_view_options, huge),
    offsetof(struct vmarena_view_options, flags),  offsetof(struct vmarena_view_options, offset),
    offsetof(struct vmarena_view_options, length), offsetof(struct vmarena_view_options, guard),
    offsetof(struct vmarena_view_options, name),
};
const size_t layout_view[] = {
    sizeof(struct vmarena_view),
    offsetof(struct vmarena_view, data),
    offsetof(struct vmarena_view, size),
    offsetof(struct vmarena_view, offset),
};
const size_t layout_heap_object[] = {
    sizeof(struct vmarena_heap_object),
    offsetof(struct vmarena_heap_object, start),
    offsetof(struct vmarena_heap_object, size),
    offsetof(struct vmarena_heap_object, align),
    offsetof(struct vmarena_heap_object, state),
    offsetof(struct vmarena_heap_object, side),
    offsetof(struct vmarena_heap_object, slack_before),
    offsetof(struct vmarena_heap_object, slack_after),
    offsetof(struct vmarena_heap_object, alloc_stack),
    offsetof(struct vmarena_heap_object, free_stack),
    offsetof(struct vmarena_heap_object, alloc_thread),
    offsetof(struct vmarena_heap_object, free_thread),
    offsetof(struct vmarena_heap_object, alloc_number),
    offsetof(struct vmarena_heap_object, free_number),
};
const size_t layout_heap_report[] = {
    sizeof(struct vmarena_heap_report),           offsetof(struct vmarena_heap_report, kind),
    offsetof(struct vmarena_heap_report, call),   offsetof(struct vmarena_heap_report, pointer),
    offsetof(struct vmarena_heap_report, object), offsetof(struct vmarena_heap_report, distance),
    offsetof(struct vmarena_heap_report, bad),    offsetof(struct vmarena_heap_report, bad_length),
    offsetof(struct vmarena_heap_report, found),  offsetof(struct vmarena_heap_report, expected),
    offsetof(struct vmarena_heap_report, given),  offsetof(struct vmarena_heap_report, stack),
    offsetof(struct vmarena_heap_report, thread),
};
const size_t layout_heap_options[] = {
    sizeof(struct vmarena_heap_options),
    offsetof(struct vmarena_heap_options, name),
    offsetof(struct vmarena_heap_options, reserve),
    offsetof(struct vmarena_heap_options, align),
    offsetof(struct vmarena_heap_options, guard),
    offsetof(struct vmarena_heap_options, guard_kind),
    offsetof(struct vmarena_heap_options, side),
    offsetof(struct vmarena_heap_options, reuse),
    offsetof(struct vmarena_heap_options, quarantine_bytes),
    offsetof(struct vmarena_heap_options, quarantine_count),
    offsetof(struct vmarena_heap_options, check_interval),
    offsetof(struct vmarena_heap_options, sample),
    offsetof(struct vmarena_heap_options, guard_min),
    offsetof(struct vmarena_heap_options, guard_max),
    offsetof(struct vmarena_heap_options, memory_cap),
    offsetof(struct vmarena_heap_options, full),
    offsetof(struct vmarena_heap_options, flags),
    offsetof(struct vmarena_heap_options, stack_depth),
    offsetof(struct vmarena_heap_options, capture),
    offsetof(struct vmarena_heap_options, capture_arg),
    offsetof(struct vmarena_heap_options, report),
    offsetof(struct vmarena_heap_options, report_arg),
    offsetof(struct vmarena_heap_options, fallback),
};
/* The last of each enum: their numbers run from 0. */
const unsigned last_values[] = {
    VMARENA_FENCE_START,    VMARENA_GUARD_PROTECT, VMARENA_COMMIT_PROTECT,  VMARENA_HUGE_1G,        VMARENA_ACCESS_EXEC,
    VMARENA_FAULT_HARDWARE, VMARENA_THP_ALWAYS,    VMARENA_VIEW_SHARED,     VMARENA_HEAP_ALTERNATE, VMARENA_HEAP_RANDOM,
    VMARENA_HEAP_UNGUARDED, VMARENA_HEAP_FREED,    VMARENA_HEAP_NEAR_LIMIT, VMARENA_HEAP_IN_CHECK};
const unsigned bits[] = {VMARENA_NONE,     VMARENA_READ,      VMARENA_WRITE,     VMARENA_EXEC,
                         VMARENA_LOCK,     VMARENA_DONT_DUMP, VMARENA_DONT_FORK, VMARENA_WIPE_ON_FORK,
                         VMARENA_PREFAULT, VMARENA_ALLOW_EXEC};
