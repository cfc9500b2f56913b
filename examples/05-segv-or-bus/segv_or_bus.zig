// SPDX-License-Identifier: MIT
//! Two signals: SIGSEGV where no mapping allows the access, SIGBUS where one does and the page behind it cannot be had.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

const segv: c_int = @intCast(@intFromEnum(std.posix.SIG.SEGV));
const bus: c_int = @intCast(@intFromEnum(std.posix.SIG.BUS));
// The codes of asm-generic/siginfo.h, which std does not name.
const segv_maperr = 1;
const segv_accerr = 2;
const bus_adrerr = 2;

fn showFault(what: []const u8, fault: vmarena.Fault, expected: vmarena.Kind) void {
    x.mustBe(fault.kind() == expected, "the fault's kind is what was done to the memory");
    const signal = if (fault.raw.signo == bus) "SIGBUS" else "SIGSEGV";
    var code: []const u8 = "another code";
    if (fault.raw.signo == segv and fault.raw.code == segv_maperr) code = "SEGV_MAPERR, nothing is mapped there";
    if (fault.raw.signo == segv and fault.raw.code == segv_accerr) code = "SEGV_ACCERR, the mapping forbids it";
    if (fault.raw.signo == bus and fault.raw.code == bus_adrerr) code = "BUS_ADRERR, the mapping has no page for it";
    x.say("{s}: {s}, {s}", .{ what, signal, code });
}

fn tryRead(what: []const u8, byte: *const volatile u8, expected: vmarena.Kind) !void {
    switch (try vmarena.tryRead(u8, byte)) {
        .ok => |value| x.say("{s}: no fault, the byte is {d}", .{ what, value }),
        .fault => |fault| showFault(what, fault, expected),
    }
}

fn tryWrite(what: []const u8, byte: *volatile u8, expected: vmarena.Kind) !void {
    switch (try vmarena.tryWrite(u8, byte, 1)) {
        .ok => x.mustBe(false, "writing to read-only memory faults"),
        .fault => |fault| showFault(what, fault, expected),
    }
}

/// A file of 100 bytes, mapped over two pages.
fn mapShortFile(page: usize) !void {
    const fd = x.temporaryFile();
    x.mustBe(std.c.ftruncate(fd, 100) == 0, "the file can be cut");
    const map = try std.posix.mmap(null, 2 * page, .{ .READ = true, .WRITE = true }, .{ .TYPE = .SHARED }, fd, 0);
    defer std.posix.munmap(map);
    map[99] = 7;
    try tryRead("the last byte of a file of 100", &map[99], .other);
    try tryRead("past its length, on its last page", &map[100], .other);
    try tryRead("past its last page", &map[page], .past_end_of_file);
    x.mustBe(std.c.ftruncate(fd, 0) == 0, "the file can be cut");
    try tryRead("the byte that was its last, now that the file is cut to 0", &map[99], .past_end_of_file);
    x.mustBe(std.c.ftruncate(fd, @intCast(2 * page)) == 0, "the file can grow");
    try tryRead("the same byte, now that the file has grown again", &map[99], .other);
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena(page, "article");
    const byte = &x.mustAlloc(arena, page)[0];
    try arena.protect(vmarena.Prot.read);
    try tryRead("reading read-only memory", byte, .other);
    try tryWrite("writing read-only memory", byte, .protected);
    try arena.protect(vmarena.Prot.none);
    try tryRead("reading memory closed to all", byte, .protected);
    arena.deinit();
    try tryRead("reading memory that was unmapped", byte, .unmapped);
    try mapShortFile(page);
}
