// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expect = std.testing.expect;
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
extern const layout_heap_stats: [28]usize;
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

test "an arena as an allocator" {
    for ([_]vmarena.Fence{ .off, .end, .start }) |fence| {
        var arena = try vmarena.Arena.init(.{ .fence = fence });
        defer arena.deinit();
        const allocator = arena.allocator();
        var list: std.ArrayList(u64) = .empty;
        var map: std.AutoHashMapUnmanaged(u32, u32) = .empty;
        for (0..2000) |i| {
            try list.append(allocator, i);
            try map.put(allocator, @intCast(i), @intCast(i * 2));
        }
        for (list.items, 0..) |item, i| try expectEqual(i, item);
        try expectEqual(2000, map.get(1000).?);
        try expect(arena.owns(list.items.ptr));
        const wide = try allocator.alignedAlloc(u8, .fromByteUnits(4096), 100);
        try expectEqual(0, @intFromPtr(wide.ptr) % 4096);
        try arena.checkSlack();
    }
}

test "the standard library's own checks of an allocator" {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    const allocator = arena.allocator();
    try std.heap.testAllocator(allocator);
    try std.heap.testAllocatorAligned(allocator);
    try std.heap.testAllocatorLargeAlignment(allocator);
    try std.heap.testAllocatorAlignedShrink(allocator);
}

test "the last object grows in place" {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    const allocator = arena.allocator();
    var memory = try allocator.alloc(u8, 10);
    try expect(allocator.resize(memory, 100_000));
    memory.len = 100_000;
    try expect(allocator.resize(memory, 5));
    memory.len = 5;
    _ = try allocator.alloc(u8, 1);
    try expect(!allocator.resize(memory, 6));
}

test "bad requests are errors" {
    try std.testing.expectError(error.InvalidArgument, vmarena.Arena.init(.{ .flags = 1 << 30 }));
    try std.testing.expectEqualStrings("vmarena_create: unknown bits 0x40000000 in flags", vmarena.explain());
    var arena = try vmarena.Arena.init(.{ .reserve = 1 });
    defer arena.deinit();
    try std.testing.expectError(error.OutOfMemory, arena.allocator().alloc(u8, 1 << 20));
    try expectEqual(null, arena.allocBytes(0, 8));
    try expectEqual(null, arena.allocBytes(8, 3));
    try expectEqual(null, arena.allocBytes(8, 0));
    try expectEqual(null, arena.allocBytes(std.math.maxInt(usize), 1));
    try std.testing.expectError(error.AccessDenied, arena.protect(c.exec));
    const point = arena.mark();
    _ = arena.allocBytes(8, 8).?;
    const stale = arena.mark();
    try arena.rewind(point);
    try std.testing.expectError(error.Stale, arena.rewind(stale));
}

test "a write to read-only memory is caught and the value stays" {
    var arena = try vmarena.Arena.init(.{ .name = "article" });
    defer arena.deinit();
    const value = try arena.allocator().create(u32);
    value.* = 1;
    try arena.protect(c.read);
    for (0..100) |_| {
        const outcome = try vmarena.tryWrite(u32, value, 2);
        try expectEqual(vmarena.Kind.protected, outcome.fault.kind());
        try expectEqual(vmarena.Access.write, outcome.fault.access());
        try expectEqual(@intFromPtr(value), outcome.fault.address());
    }
    try expectEqual(1, (try vmarena.tryRead(u32, value)).ok);
    try arena.protect(c.read | c.write);
    try expectEqual({}, (try vmarena.tryWrite(u32, value, 2)).ok);
    try expectEqual(2, value.*);
}

fn overrun(memory: []u8) void {
    @setRuntimeSafety(false);
    const beyond: *volatile u8 = @ptrCast(memory.ptr + memory.len);
    beyond.* = 1;
}

fn inside(memory: []u8) void {
    memory[0] = 1;
}

test "an overrun is caught at the byte" {
    var arena = try vmarena.Arena.init(.{ .fence = .end, .name = "fenced" });
    defer arena.deinit();
    const memory = try arena.allocator().alloc(u8, 24);
    const fault = (try vmarena.catchFault(memory, overrun)).?;
    try expectEqual(vmarena.Kind.overrun, fault.kind());
    try expectEqual(1, fault.distance());
    try expectEqual(@intFromPtr(memory.ptr) + 24, fault.address());
    try expectEqual(24, fault.raw.object_size);
    var text: [200]u8 = undefined;
    try expect(std.mem.startsWith(u8, fault.describe(&text), "overrun: write 1 byte past the end of a 24-byte object at "));
    try expectEqual(null, try vmarena.catchFault(memory, inside));
}

test "copies are counted exactly" {
    var arena = try vmarena.Arena.init(.{ .fence = .end });
    defer arena.deinit();
    const source = try arena.allocator().dupe(u8, "0123456789");
    var target: [20]u8 = undefined;
    const copied = vmarena.tryCopy(&target, source.ptr + 4);
    try expectEqual(6, copied.done);
    try std.testing.expectEqualStrings("456789", target[0..6]);
    try expectEqual(1, copied.fault.?.distance());
    try expectEqual(null, vmarena.tryCopy(target[0..10], source.ptr).fault);
}

fn faultOften(count: *usize) void {
    var arena = vmarena.Arena.init(.{ .fence = .end }) catch return;
    defer arena.deinit();
    const memory = arena.allocator().alloc(u8, 8) catch return;
    for (0..1000) |_| {
        const fault = (vmarena.catchFault(memory, overrun) catch return) orelse return;
        if (fault.distance() == 1) count.* += 1;
    }
}

test "threads have their own faults" {
    var counts: [4]usize = @splat(0);
    var threads: [4]std.Thread = undefined;
    for (&threads, &counts) |*thread, *count| thread.* = try std.Thread.spawn(.{}, faultOften, .{count});
    for (threads) |thread| thread.join();
    for (counts) |count| try expectEqual(1000, count);
}

test "every allocation guarded" {
    var guarded = try vmarena.GuardedAllocator.init(.{});
    const allocator = guarded.allocator();
    try std.heap.testAllocator(allocator);
    try std.heap.testAllocatorAligned(allocator);
    try std.heap.testAllocatorLargeAlignment(allocator);
    try std.heap.testAllocatorAlignedShrink(allocator);
    const memory = try allocator.alloc(u8, 24);
    const fault = (try vmarena.catchFault(memory, overrun)).?;
    try expectEqual(vmarena.Kind.overrun, fault.kind());
    try expectEqual(1, fault.distance());
    allocator.free(memory);
    switch (try vmarena.tryRead(u8, &memory.ptr[5])) {
        .ok => return error.FreedMemoryWasRead,
        .fault => |after| try expectEqual(vmarena.Kind.use_after_free, after.kind()),
    }
    try guarded.deinit();
}

test "leaks are told" {
    var guarded = try vmarena.GuardedAllocator.init(.{ .side = .start });
    const memory = try guarded.allocator().alloc(u8, 100);
    try expectEqual(1, countSilently(guarded));
    guarded.allocator().free(memory);
    try expectEqual(0, countSilently(guarded));
    try guarded.deinit();
}

fn countOne(_: *const c.HeapObject, arg: ?*anyopaque) callconv(.c) bool {
    @as(*usize, @ptrCast(@alignCast(arg.?))).* += 1;
    return true;
}

/// detectLeaks logs, which a test run counts as a failure.
fn countSilently(guarded: vmarena.GuardedAllocator) usize {
    var leaks: usize = 0;
    _ = c.vmarena_heap_for_each(guarded.heap, false, countOne, &leaks);
    return leaks;
}

test "a file as memory, and a file that shrinks" {
    const fd = std.c.memfd_create("view", 0);
    const page = vmarena.pageSize();
    try expectEqual(0, std.c.ftruncate(fd, @intCast(2 * page)));
    var path_buffer: [64]u8 = undefined;
    const path: [*:0]const u8 = @ptrCast((try std.fmt.bufPrint(&path_buffer, "/proc/self/fd/{d}\x00", .{fd})).ptr);
    var view = try vmarena.View.open(path, .{ .mode = .shared });
    defer view.close();
    view.bytes()[page] = 7;
    try view.sync();
    var byte: [1]u8 = undefined;
    try expectEqual(1, std.c.pread(fd, &byte, 1, @intCast(page)));
    try expectEqual(7, byte[0]);
    try expectEqual(0, std.c.ftruncate(fd, @intCast(page)));
    const copied = vmarena.tryCopy(&byte, view.bytes().ptr + page);
    try expectEqual(vmarena.Kind.past_end_of_file, copied.fault.?.kind());
    try expectEqual(page, copied.fault.?.raw.file_offset);
    try std.testing.expectError(error.FileNotFound, vmarena.View.open("/nonexistent", .{}));
    try std.testing.expectError(error.IsDir, vmarena.View.open("/", .{}));
}

test "windows of a file that move" {
    const fd = std.c.memfd_create("window", 0);
    const page = vmarena.pageSize();
    try expectEqual(0, std.c.ftruncate(fd, @intCast(4 * page)));
    try expectEqual(1, std.c.pwrite(fd, "x", 1, @intCast(3 * page)));
    var view = try vmarena.View.openFile(fd, .{ .length = page });
    defer view.close();
    try expectEqual(page, view.bytes().len);
    try view.moveTo(3 * page, 0);
    try expectEqual('x', view.bytes()[0]);
    try expectEqual(3 * page, view.offset());
    try std.testing.expectError(error.OutOfRange, view.moveTo(5 * page, 0));
    try view.populate(0, 0);
    try expectEqual(page, (try view.info()).resident);
    try view.advise(0, 0, .dont_need);
    try expectEqual(0, (try view.info()).resident);
    try view.lock(0, 1);
    try view.unlock(0, 1);
    try std.testing.expectError(error.OutOfRange, view.populate(1, page));
    try std.testing.expectError(error.BadHandle, vmarena.View.openFile(-1, .{}));
}

fn countPages(count: *usize, _: *const c.Pages) bool {
    count.* += 1;
    return true;
}

test "back to a snapshot, and a clone of it" {
    var arena = try vmarena.Arena.init(.{ .flags = c.memfd });
    defer arena.deinit();
    const words = try arena.allocator().alloc(u64, 10_000);
    @memset(words, 1);
    var point = try vmarena.Snapshot.take(arena, .auto);
    defer point.free();
    try expectEqual(vmarena.Tracking.file, (try point.info()).tracking);
    for (1..4) |round| {
        words[5000] = 2;
        _ = arena.allocBytes(100, 1); // not through the allocator: in safe modes that would write to them
        var runs: usize = 0;
        try point.dirtyPages(arena, &runs, countPages);
        try expectEqual(1, runs);
        try point.restore(arena);
        try expectEqual(1, words[5000]);
        try expectEqual(round, (try point.info()).restores);
    }
    words[0] = 9;
    var clone = try point.clone();
    defer clone.deinit();
    try expectEqual(arena.stats().used, clone.stats().used);
    try expect(!clone.owns(words.ptr));
    var other = try vmarena.Arena.init(.{});
    defer other.deinit();
    try std.testing.expectError(error.InvalidArgument, point.restore(other));
    var fenced = try vmarena.Arena.init(.{ .fence = .end });
    defer fenced.deinit();
    try std.testing.expectError(error.Unsupported, vmarena.Snapshot.take(fenced, .auto));
}

const Search = struct { address: u64, found: bool = false };

fn isMapped(search: *Search, mapping: *const c.Mapping) bool {
    if (mapping.start <= search.address and search.address < mapping.end) {
        search.found = mapping.owner == .arena and std.mem.eql(u8, std.mem.span(mapping.owner_name.?), "inspected");
        return false;
    }
    return true;
}

fn addBytes(bytes: *u64, run: *const c.Pages) bool {
    bytes.* += run.end - run.start;
    return true;
}

test "what the system tells of this process" {
    var arena = try vmarena.Arena.init(.{ .name = "inspected", .huge = .never });
    defer arena.deinit();
    const page = vmarena.pageSize();
    const memory = arena.allocBytes(10 * page, page).?[0 .. 10 * page];
    const before = try vmarena.inspect.threadFaultCounts();
    @memset(memory[0 .. 2 * page], 1);
    try expect((try vmarena.inspect.threadFaultCounts()).minor >= before.minor + 2);
    try expect((try vmarena.inspect.faultCounts(0)).minor >= before.minor + 2);
    var search: Search = .{ .address = @intFromPtr(memory.ptr) };
    try vmarena.inspect.maps(0, &search, isMapped);
    try expect(search.found);
    var resident: u64 = 0;
    try expectEqual(c.page_resident, try vmarena.inspect.residency(0, memory, c.page_resident, &resident, addBytes));
    try expectEqual(2 * page, resident);
    try expect((try vmarena.inspect.totals(0)).rss > 0);
    try std.testing.expectError(error.NoSuchProcess, vmarena.inspect.totals(0x3fffffff));
}

test "bytes filled and compared at any address" {
    var arena = try vmarena.Arena.init(.{ .fence = .end });
    defer arena.deinit();
    const memory = try arena.allocator().dupe(u8, "0123456789");
    const filled = vmarena.tryFill(memory.ptr + 8, '-', 5);
    try expectEqual(2, filled.done);
    try expectEqual(vmarena.Access.write, filled.fault.?.access());
    try std.testing.expectEqualStrings("01234567--", memory);
    try expectEqual(3, vmarena.tryCompare(memory.ptr, "012x", 4).done);
    try expectEqual(null, vmarena.tryCompare(memory.ptr, "012x", 4).fault);
    try expectEqual(1, vmarena.tryCompare(memory.ptr + 9, memory.ptr + 9, 2).fault.?.distance());
}

fn fillFive(memory: []u8) void {
    @memset(memory, 5);
}

test "the allocator for tests" {
    const allocator = vmarena.testing.allocator;
    const memory = try allocator.alloc(u8, 24);
    try expectEqual(null, try vmarena.catchFault(memory, fillFive));
    try expectEqual(1, (try vmarena.catchFault(memory, overrun)).?.distance());
    try expectEqual(1, vmarena.testing.countLeaks());
    allocator.free(memory);
    try vmarena.testing.expectNoLeaks();
}
