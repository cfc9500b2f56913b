// SPDX-License-Identifier: MIT
//! What the experiments in Zig have in common: each checks what it claims, and ends with a plain line where it is not so.

const std = @import("std");
pub const vmarena = @import("vmarena");

/// Prints a line at once: some experiments end by a signal.
pub fn say(comptime format: []const u8, arguments: anytype) void {
    var buffer: [1024]u8 = undefined;
    const line = std.fmt.bufPrint(&buffer, format ++ "\n", arguments) catch @panic("a line is too long");
    _ = std.c.write(1, line.ptr, line.len);
}

/// Ends the program with the sentence unless it is so.
pub fn mustBe(so: bool, sentence: []const u8) void {
    if (so) return;
    std.debug.print("not as expected: {s}\n", .{sentence});
    std.process.exit(1);
}

/// The same for a count that must be exact.
pub fn mustCount(found: isize, expected: isize, what: []const u8) void {
    if (found == expected) return;
    std.debug.print("not as expected: {d} {s} instead of {d}\n", .{ found, what, expected });
    std.process.exit(1);
}

/// An arena of the given size on small pages, so that each page counts by itself.
pub fn smallPageArena(bytes: usize, name: [*:0]const u8) !vmarena.Arena {
    return vmarena.Arena.init(.{ .reserve = bytes, .huge = .never, .name = name });
}

/// Page-aligned bytes of the arena. Not through the allocator: in safe modes that would write to them.
pub fn mustAlloc(arena: vmarena.Arena, size: usize) []u8 {
    const bytes = arena.allocBytes(size, vmarena.pageSize()) orelse {
        std.debug.print("alloc: {s}\n", .{vmarena.explain()});
        std.process.exit(1);
    };
    return bytes[0..size];
}

/// Whether the fault was for this access, as far as the CPU tells at all.
pub fn accessIs(fault: vmarena.Fault, access: vmarena.Access) !bool {
    const caps = try vmarena.caps();
    return fault.access() == if (caps.fault_access) access else .unknown;
}

/// Page faults of this process so far: those that needed no disk, or all of them.
pub fn faults(disk_too: bool) isize {
    const usage = std.posix.getrusage(std.posix.rusage.SELF);
    return usage.minflt + if (disk_too) usage.majflt else 0;
}

pub fn nowMs() f64 {
    var time: std.c.timespec = undefined;
    _ = std.c.clock_gettime(.MONOTONIC, &time);
    return @as(f64, @floatFromInt(time.sec)) * 1e3 + @as(f64, @floatFromInt(time.nsec)) / 1e6;
}

/// A temporary file, by descriptor; it is gone with the process.
pub fn temporaryFile() c_int {
    const fd = std.c.memfd_create("experiment", 0);
    mustBe(fd >= 0, "a temporary file can be made");
    return fd;
}
