// SPDX-License-Identifier: MIT
//! After fork(2) parent and child share every page until one of them writes: then that page is copied, by a fault.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

const total = 256;
const written = 64;

const Reading = struct { faults: isize, sum: isize };

fn reading(pages: []u8, count: usize) Reading {
    const page = vmarena.pageSize();
    const before = x.faults(false);
    var sum: isize = 0;
    for (0..count) |i| sum += @as(*volatile u8, &pages[i * page]).*;
    return .{ .faults = x.faults(false) - before, .sum = sum };
}

fn writing(pages: []u8, count: usize, value: u8) isize {
    const page = vmarena.pageSize();
    const before = x.faults(false);
    for (0..count) |i| @as(*volatile u8, &pages[i * page]).* = value;
    return x.faults(false) - before;
}

fn runChild(pages: []u8, warm: []u8) noreturn {
    _ = .{ reading(warm, 1), writing(warm, 1, 1) }; // the child's stack and code have faults of their own
    const read = reading(pages, total);
    const write = writing(pages, written, 2);
    const again = writing(pages, written, 2);
    x.mustCount(read.sum, total, "as the sum of what the parent wrote");
    x.mustCount(read.faults, 0, "faults of reading shared pages");
    x.mustCount(write, written, "faults of writing to shared pages");
    x.mustCount(again, 0, "faults of writing to pages copied before");
    x.say("child: read all {d} pages: {d} faults, as they are shared", .{ total, read.faults });
    x.say("child: wrote to {d} pages: {d} faults, one for each page copied", .{ written, write });
    x.say("child: wrote to them again: {d} faults, as they are its own now", .{again});
    x.say("child: the byte at 0x{x} is {d}", .{ @intFromPtr(pages.ptr), pages[0] });
    std.process.exit(0);
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena((total + 1) * page, "shared");
    defer arena.deinit();
    const pages = x.mustAlloc(arena, total * page);
    const warm = x.mustAlloc(arena, page);
    _ = .{ writing(pages, total, 1), writing(warm, 1, 1) };
    x.say("parent: wrote 1 to {d} pages from 0x{x} on", .{ total, @intFromPtr(pages.ptr) });

    const child = std.c.fork();
    x.mustBe(child >= 0, "fork works");
    if (child == 0) runChild(pages, warm);
    var status: c_int = 0;
    x.mustBe(std.c.waitpid(child, &status, 0) == child, "the child can be waited for");
    x.mustBe(status == 0, "the child ends well");

    const byte = @as(*volatile u8, &pages[0]).*;
    x.mustBe(byte == 1, "what the child wrote is not seen by the parent");
    x.mustCount(reading(pages, total).sum, total, "as the sum of the parent's bytes");
    x.say("parent: the byte at 0x{x} is {d}: the same address, another page", .{ @intFromPtr(pages.ptr), byte });
}
