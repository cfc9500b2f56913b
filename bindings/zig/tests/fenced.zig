// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const expectEqual = std.testing.expectEqual;

/// The fault of a read at an address, which must be one.
fn distanceAt(address: usize) !isize {
    return (try vmarena.tryRead(u8, @ptrFromInt(address))).fault.distance();
}

test "slices of any type lie flush against a guard" {
    const values = [_]u32{ 1, 2, 3 };
    var at_end = try vmarena.Fenced(u32).copy(&values, .end);
    defer at_end.deinit();
    try std.testing.expectEqualSlices(u32, &values, at_end.items);
    const start = @intFromPtr(at_end.items.ptr);
    try expectEqual(1, try distanceAt(start + 12));
    var at_start = try vmarena.Fenced(u32).copy(&values, .start);
    defer at_start.deinit();
    try std.testing.expectEqualSlices(u32, &values, at_start.items);
    try expectEqual(-1, try distanceAt(@intFromPtr(at_start.items.ptr) - 1));
    at_start.items[2] = 7;
    try at_start.check();
    // Behind it there is no guard but a pattern.
    @as([*]u8, @ptrCast(at_start.items.ptr))[12] = 1;
    try std.testing.expectError(error.SlackOverwritten, at_start.check());
    try std.testing.expectError(error.OutOfMemory, vmarena.Fenced(u64).init(std.math.maxInt(usize) / 4, .end));
}

test "an empty slice faults on both sides" {
    for ([_]vmarena.Side{ .end, .start }) |side| {
        var none = try vmarena.Fenced(u64).copy(&.{}, side);
        defer none.deinit();
        try expectEqual(0, none.items.len);
        _ = try distanceAt(@intFromPtr(none.items.ptr));
        _ = try distanceAt(@intFromPtr(none.items.ptr) - 1);
        try none.check();
    }
}

const Body = struct {
    runs: usize = 0,

    fn count(body: *Body, input: []u8) anyerror!void {
        body.runs += 1;
        try std.testing.expectEqualStrings("GIF89a", input);
    }
    fn fail(_: *Body, _: []u8) anyerror!void {
        return error.Malformed;
    }
};

test "a body runs with its input at both sides" {
    var body: Body = .{};
    try vmarena.runFenced(&body, Body.count, "GIF89a");
    try expectEqual(2, body.runs);
    try std.testing.expectError(error.Malformed, vmarena.runFenced(&body, Body.fail, "x"));
}

test "fuzzed inputs lie flush against a guard" {
    var body: Body = .{};
    const any = struct {
        fn run(counted: *Body, input: []u8) anyerror!void {
            counted.runs += 1;
            try std.testing.expect(input.len <= 64);
        }
    };
    try vmarena.fuzzFenced(&body, 64, any.run, .{});
    try std.testing.expect(body.runs >= 2);
}
