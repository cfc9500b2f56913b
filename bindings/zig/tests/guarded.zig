// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expectEqual = std.testing.expectEqual;

fn overrun(memory: []u8) void {
    @setRuntimeSafety(false);
    const beyond: *volatile u8 = @ptrCast(memory.ptr + memory.len);
    beyond.* = 1;
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

noinline fn makeLeak(allocator: std.mem.Allocator) ![]u8 {
    return allocator.alloc(u8, 100);
}

test "a heap's stacks print with lines of source" {
    var guarded = try vmarena.GuardedAllocator.init(.{});
    const memory = try makeLeak(guarded.allocator());
    var object: c.HeapObject = undefined;
    try expectEqual(0, c.vmarena_heap_find(guarded.heap, @intFromPtr(memory.ptr), &object));
    var text: [1 << 14]u8 = undefined;
    const printed = try std.fmt.bufPrint(&text, "{f}", .{guarded.stack(object.alloc_stack)});
    if (@import("faults.zig").isDebug()) {
        try std.testing.expect(std.mem.indexOf(u8, printed, "in makeLeak") != null);
        try std.testing.expect(std.mem.indexOf(u8, printed, "tests/guarded.zig") != null);
    }
    try std.testing.expectEqualStrings("no stack is known\n", try std.fmt.bufPrint(&text, "{f}", .{guarded.stack(0)}));
    guarded.allocator().free(memory);
    try guarded.deinit();
}
