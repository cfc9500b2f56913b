// SPDX-License-Identifier: MIT
//! Protections are seen changing in /proc/self/maps, where each line is one mapping.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

const total = 16;

const Maps = struct { permissions: [4]u8, lines: isize };

/// Reads /proc/self/maps: the permissions at the address, and how many lines there are; null where there is no such file.
fn readMaps(address: usize) ?Maps {
    const file = std.c.fopen("/proc/self/maps", "r") orelse return null;
    defer _ = std.c.fclose(file);
    const Static = struct {
        var text: [1 << 20]u8 = undefined;
    };
    const length = std.c.fread(&Static.text, 1, Static.text.len, file);
    var maps: Maps = .{ .permissions = "none".*, .lines = 0 };
    var lines = std.mem.tokenizeScalar(u8, Static.text[0..length], '\n');
    while (lines.next()) |line| : (maps.lines += 1) {
        var words = std.mem.tokenizeScalar(u8, line, ' ');
        var range = std.mem.splitScalar(u8, words.next() orelse return null, '-');
        const start = std.fmt.parseInt(usize, range.next() orelse return null, 16) catch return null;
        const end = std.fmt.parseInt(usize, range.next() orelse return null, 16) catch return null;
        if (address >= start and address < end) maps.permissions = (words.next() orelse return null)[0..4].*;
    }
    return maps;
}

fn show(what: []const u8, address: usize, expected: []const u8) void {
    const maps = readMaps(address) orelse return x.mustBe(false, "/proc/self/maps can be read");
    x.mustBe(std.mem.eql(u8, &maps.permissions, expected), "the permissions in /proc/self/maps are those that were set");
    x.say("{s}: {s}", .{ what, maps.permissions });
}

fn countLines() isize {
    return (readMaps(0) orelse Maps{ .permissions = undefined, .lines = 0 }).lines;
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena(total * page, "article");
    defer arena.deinit();
    const pages = x.mustAlloc(arena, total * page);
    const address = @intFromPtr(pages.ptr);
    if (readMaps(address) == null) return x.say("this system has no /proc/self/maps: nothing is claimed", .{});
    const writable = vmarena.Prot.read | vmarena.Prot.write;
    show("a new arena", address, "rw-p");
    try arena.protect(vmarena.Prot.read);
    show("read-only", address, "r--p");
    try arena.protect(vmarena.Prot.none);
    show("closed to all", address, "---p");
    try arena.protect(writable);
    show("writable again", address, "rw-p");
    show("the guard before it", address - 1, "---p");
    show("the guard after it", address + total * page, "---p");

    const before = countLines();
    try arena.protectRange(pages[8 * page .. 9 * page], vmarena.Prot.read);
    const more = countLines() - before;
    x.mustCount(more, 2, "more mappings");
    x.say("one page of {d} read-only: the mapping is split in three, {d} lines more", .{ total, more });
    try arena.protectRange(pages[8 * page .. 9 * page], writable);
    x.mustCount(countLines() - before, 0, "more mappings");
    x.say("and writable again: it is one mapping, as before", .{});
}
