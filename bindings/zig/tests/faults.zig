// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

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

test "a fault prints itself" {
    var arena = try vmarena.Arena.init(.{ .fence = .end, .name = "tokens" });
    defer arena.deinit();
    const memory = try arena.allocator().alloc(u8, 24);
    const fault = (try vmarena.catchFault(memory, overrun)).?;
    var printed: [600]u8 = undefined;
    var wanted: [300]u8 = undefined;
    const start = @intFromPtr(memory.ptr);
    try std.testing.expectEqualStrings(
        try std.fmt.bufPrint(&wanted, "overrun: write 1 byte past the end of a 24-byte object at 0x{x} in \"tokens\" (SIGSEGV at 0x{x})", .{ start, start + 24 }),
        try std.fmt.bufPrint(&printed, "{f}", .{fault}),
    );
    const where = try std.fmt.bufPrint(&printed, "{f}", .{fault.where()});
    if (isDebug()) try expect(std.mem.indexOf(u8, where, "tests/faults.zig") != null);
}

/// Other modes lack parts of the debug information. Its name is written in two ways in two releases of Zig.
pub fn isDebug() bool {
    return std.ascii.eqlIgnoreCase(@tagName(@import("builtin").mode), "debug");
}

test "only types that take any pattern of bits are read" {
    const Open = enum(u16) { one = 1, _ };
    const Pair = extern struct { left: u16, right: i16 };
    const Bits = packed struct(u8) { flag: bool, rest: u7 };
    inline for (.{ u8, i16, u32, f64, Open, Pair, Bits, [4]u8, [2]Pair }) |T| try expect(vmarena.takesAnyPattern(T));
    const Shut = enum(u8) { one = 1 };
    const Mixed = extern struct { good: u8, bad: Shut };
    inline for (.{ bool, u7, Shut, Mixed, *u8, ?*u8, struct { a: u8 }, [4]bool, packed struct(u8) { shut: enum(u1) { zero }, rest: u7 } }) |T|
        try expect(!vmarena.takesAnyPattern(T));
    var pair: Pair = .{ .left = 1, .right = -1 };
    try expectEqual(pair, (try vmarena.tryRead(Pair, &pair)).ok);
    var open: Open = @enumFromInt(77);
    try expectEqual(open, (try vmarena.tryRead(Open, &open)).ok);
}
