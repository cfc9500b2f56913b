// SPDX-License-Identifier: MIT
//! One file, read twice: by read(2), with a call for each piece, and by mmap(2), with a fault for each few pages.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

const mib = 1 << 20;
const size = 64 * mib;
const piece_size = 64 << 10;

const Pass = struct { sum: u64 = 0, calls: usize = 0, faults: isize = 0, ms: f64 = 0 };

fn sumOf(words: []const u64) u64 {
    var sum: u64 = 0;
    for (words) |word| sum +%= word;
    return sum;
}

/// Written through the page cache, so that both passes find it in memory.
fn makeFile(piece: []u64) c_int {
    const fd = x.temporaryFile();
    var done: usize = 0;
    while (done < size) : (done += piece_size) {
        for (piece, 0..) |*word, i| word.* = done + i;
        x.mustBe(std.c.write(fd, @ptrCast(piece.ptr), piece_size) == piece_size, "the temporary file can be written");
    }
    return fd;
}

fn byRead(fd: c_int, piece: []u64) Pass {
    const before = x.faults(true);
    const start = x.nowMs();
    var pass: Pass = .{};
    var done: usize = 0;
    while (done < size) : (done += piece_size) {
        x.mustBe(std.c.pread(fd, @ptrCast(piece.ptr), piece_size, @intCast(done)) == piece_size, "the file can be read");
        pass.sum +%= sumOf(piece);
        pass.calls += 1;
    }
    pass.ms = x.nowMs() - start;
    pass.faults = x.faults(true) - before;
    return pass;
}

fn byMmap(fd: c_int) !Pass {
    const before = x.faults(true);
    const start = x.nowMs();
    const map = try std.posix.mmap(null, size, .{ .READ = true }, .{ .TYPE = .PRIVATE }, fd, 0);
    defer std.posix.munmap(map);
    const sum = sumOf(@as([*]const u64, @ptrCast(map.ptr))[0 .. size / 8]);
    return .{ .sum = sum, .calls = 1, .ms = x.nowMs() - start, .faults = x.faults(true) - before };
}

pub fn main() !void {
    var arena = try x.smallPageArena(piece_size, "buffer");
    defer arena.deinit();
    const piece = @as([*]u64, @ptrCast(@alignCast(x.mustAlloc(arena, piece_size).ptr)))[0 .. piece_size / 8];
    const fd = makeFile(piece);
    _ = .{ byRead(fd, piece), try byMmap(fd) }; // brings file and code in
    const read = byRead(fd, piece);
    const map = try byMmap(fd);
    const pages: isize = @intCast(size / vmarena.pageSize());

    x.mustBe(read.sum == map.sum, "both ways give the same bytes");
    x.mustCount(read.faults, 0, "faults of reading into a buffer that is there");
    x.mustBe(map.faults >= 1 and map.faults <= pages, "a mapped file takes at least one fault and at most one a page");
    x.say("a file of {d} MiB, in the page cache", .{size / mib});
    x.say("read: {d} calls, {d} faults, {d:.1} ms", .{ read.calls, read.faults, read.ms });
    x.say("mmap: {d} call, {d} faults for {d} pages, {d:.1} ms", .{ map.calls, map.faults, pages, map.ms });
    x.say("both saw the same bytes", .{});
}
