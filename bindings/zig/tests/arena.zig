// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

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

test "the last object is given back, and others shrink where they are" {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    const allocator = arena.allocator();
    var first = try allocator.alloc(u8, 100);
    const second = try allocator.alloc(u8, 50);
    try expect(allocator.resize(first, 10)); // not the last
    first.len = 10;
    try expect(!allocator.resize(first, 11));
    allocator.free(second);
    try expectEqual(100, arena.info().used);
    try expectEqual(second.ptr, (try allocator.alloc(u8, 1)).ptr);
    allocator.free(first);
    try expectEqual(101, arena.info().used);
}

test "in a fenced arena what was freed faults" {
    var arena = try vmarena.Arena.init(.{ .fence = .end });
    defer arena.deinit();
    const allocator = arena.allocator();
    const first = try allocator.alloc(u8, 24);
    const second = try allocator.alloc(u8, 24);
    allocator.free(first);
    const fault = (try vmarena.tryRead(u8, &first[3])).fault;
    try expectEqual(vmarena.Kind.use_after_free, fault.kind());
    try expectEqual(@intFromPtr(first.ptr), fault.raw.object);
    try expectEqual(1, arena.info().objects);
    allocator.free(second);
    try expectEqual(0, arena.info().objects);
}

test "what an arena knows without a system call" {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    _ = arena.allocBytes(100, 1).?;
    try expectEqual(100, arena.info().used);
    try expectEqual(0, arena.info().resident);
    try expectEqual(arena.stats().reserved, arena.info().reserved);
}

fn fillShared(allocator: std.mem.Allocator, mark: u8) void {
    for (0..2000) |_| {
        const memory = allocator.alloc(u8, 16) catch return;
        @memset(memory, mark);
    }
}

test "one arena for several threads" {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    var shared: vmarena.ThreadSafeAllocator = .{ .child = arena.allocator() };
    var threads: [4]std.Thread = undefined;
    for (&threads, 1..) |*thread, mark| thread.* = try std.Thread.spawn(.{}, fillShared, .{ shared.allocator(), @as(u8, @intCast(mark)) });
    for (threads) |thread| thread.join();
    try expectEqual(4 * 2000 * 16, arena.info().used);
    const start: [*]const u8 = @ptrFromInt(arena.handle.cursor - 4 * 2000 * 16 + 1);
    var counts: [5]usize = @splat(0);
    for (0..4 * 2000) |i| {
        const object = start[i * 16 ..][0..16];
        for (object) |byte| try expectEqual(object[0], byte); // no object was handed out twice
        counts[object[0]] += 1;
    }
    try std.testing.expectEqualSlices(usize, &.{ 0, 2000, 2000, 2000, 2000 }, &counts);
    try std.heap.testAllocator(shared.allocator());
    try std.heap.testAllocatorAligned(shared.allocator());
}
