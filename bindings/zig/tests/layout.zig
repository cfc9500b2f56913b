// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expectEqual = std.testing.expectEqual;

extern const layout_options: [10]usize;
extern const layout_handle: [3]usize;
extern const layout_mark: [5]usize;
extern const layout_stats: [20]usize;
extern const layout_fault: [14]usize;
extern const layout_caps: [25]usize;
extern const layout_view_options: [9]usize;
extern const layout_view: [4]usize;
extern const layout_heap_object: [15]usize;
extern const layout_heap_report: [13]usize;
extern const layout_heap_options: [23]usize;
extern const layout_heap_stats: [29]usize;
extern const layout_view_info: [12]usize;
extern const layout_snapshot_info: [7]usize;
extern const layout_mapping: [16]usize;
extern const layout_pages: [4]usize;
extern const layout_totals: [13]usize;
extern const layout_counts: [5]usize;
extern const last_values: [18]c_uint;
extern const bits: [20]c_uint;

fn expectLayout(comptime T: type, layout: []const usize) !void {
    try expectEqual(layout[0], @sizeOf(T));
    const names = comptime std.meta.fieldNames(T);
    try expectEqual(layout.len - 1, names.len);
    inline for (names, 1..) |name, i| try expectEqual(layout[i], @offsetOf(T, name));
}

/// The values of each enum run from 0.
fn lastOf(comptime T: type) c_uint {
    return comptime std.meta.fieldNames(T).len - 1;
}

test "the declarations are those of the headers" {
    try expectLayout(c.Options, &layout_options);
    try expectLayout(c.Handle, &layout_handle);
    try expectLayout(c.Mark, &layout_mark);
    try expectLayout(c.Stats, &layout_stats);
    try expectLayout(c.Fault, &layout_fault);
    try expectLayout(c.Caps, &layout_caps);
    try expectLayout(c.ViewOptions, &layout_view_options);
    try expectLayout(c.View, &layout_view);
    try expectLayout(c.HeapObject, &layout_heap_object);
    try expectLayout(c.HeapReport, &layout_heap_report);
    try expectLayout(c.HeapOptions, &layout_heap_options);
    try expectLayout(c.HeapStats, &layout_heap_stats);
    try expectLayout(c.ViewInfo, &layout_view_info);
    try expectLayout(c.SnapshotInfo, &layout_snapshot_info);
    try expectLayout(c.Mapping, &layout_mapping);
    try expectLayout(c.Pages, &layout_pages);
    try expectLayout(c.Totals, &layout_totals);
    try expectLayout(c.Counts, &layout_counts);
    const enums = .{ c.Fence, c.GuardKind, c.CommitPolicy, c.Huge, c.Access, c.Kind, c.Thp, c.ViewMode } ++
        .{ c.HeapSide, c.HeapReuse, c.HeapFull, c.HeapState, c.HeapError, c.HeapCall } ++
        .{ c.ViewAdvice, c.Tracking, c.Owner, c.Counter };
    var last: [enums.len]c_uint = undefined;
    inline for (enums, &last) |T, *value| value.* = lastOf(T);
    try std.testing.expectEqualSlices(c_uint, &last_values, &last);
    const ours = [_]c_uint{ c.none, c.read, c.write, c.exec, c.lock, c.dont_dump, c.dont_fork, c.wipe_on_fork, c.prefault, c.allow_exec, c.memfd } ++
        [_]c_uint{ c.page_resident, c.page_swapped, c.page_dirty, c.page_file, c.page_shared, c.page_huge, c.page_guard, c.page_zero, c.page_cached };
    try std.testing.expectEqualSlices(c_uint, &bits, &ours);
}
