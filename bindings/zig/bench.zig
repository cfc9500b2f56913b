// SPDX-License-Identifier: MIT
//! Arena as std.mem.Allocator against std.heap.ArenaAllocator: 10,007 objects, then a reset, in turn; medians.

const std = @import("std");
const vmarena = @import("vmarena");

const objects = 10_007;
const rounds = 41;
const repeats = 40;

fn nowNs() f64 {
    var time: std.c.timespec = undefined;
    _ = std.c.clock_gettime(.MONOTONIC, &time);
    return @as(f64, @floatFromInt(time.sec)) * 1e9 + @as(f64, @floatFromInt(time.nsec));
}

fn median(values: *[rounds]f64) f64 {
    std.mem.sort(f64, values, {}, std.sort.asc(f64));
    return values[rounds / 2];
}

fn allocate(comptime T: type, allocator: std.mem.Allocator) !void {
    for (0..objects) |_| {
        const object = try allocator.create(T);
        std.mem.doNotOptimizeAway(object);
    }
}

fn ours(comptime T: type, arena: vmarena.Arena) !f64 {
    const start = nowNs();
    for (0..repeats) |_| {
        try allocate(T, arena.allocator());
        try arena.reset(std.math.maxInt(usize));
    }
    return (nowNs() - start) / (objects * repeats);
}

fn theirs(comptime T: type, arena: *std.heap.ArenaAllocator) !f64 {
    const start = nowNs();
    for (0..repeats) |_| {
        try allocate(T, arena.allocator());
        _ = arena.reset(.retain_capacity);
    }
    return (nowNs() - start) / (objects * repeats);
}

fn compare(comptime T: type, target: f64) !void {
    var arena = try vmarena.Arena.init(.{});
    defer arena.deinit();
    var peer = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer peer.deinit();
    var a: [rounds]f64 = undefined;
    var b: [rounds]f64 = undefined;
    var ratios: [rounds]f64 = undefined;
    for (0..rounds) |i| {
        if (i % 2 == 0) a[i] = try ours(T, arena);
        b[i] = try theirs(T, &peer);
        if (i % 2 != 0) a[i] = try ours(T, arena);
        ratios[i] = a[i] / b[i];
    }
    const ratio = median(&ratios);
    var line: [256]u8 = undefined;
    const text = try std.fmt.bufPrint(&line, "Zig, create {s} : std.heap.ArenaAllocator    {d:.2} ns {d:.2} ns  {d:.2}  {d:.2}  {s}\n", .{
        @typeName(T), median(&a), median(&b), ratio, target, if (ratio <= target) "ok" else "OVER",
    });
    _ = std.c.write(1, text.ptr, text.len);
}

pub fn main() !void {
    try compare(u8, 0.7);
    try compare(u64, 0.7);
    try compare([32]u8, 0.7);
    try compare([64]u8, 0.7);
}
