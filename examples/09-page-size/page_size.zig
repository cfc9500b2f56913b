// SPDX-License-Identifier: MIT
//! Protection goes by whole pages. What is not whole pages is refused, in words, and nothing changes.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

fn refused(what: []const u8, result: vmarena.Error!void) void {
    const so = if (result) |_| false else |err| err == error.InvalidArgument;
    x.mustBe(so, "a range that is not whole pages of the arena is refused with EINVAL");
    x.say("{s}: EINVAL, {s}", .{ what, vmarena.explain() });
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena(4 * page, "article");
    defer arena.deinit();
    const start = x.mustAlloc(arena, page).ptr;
    const byte: *volatile u8 = &start[0];
    const read = vmarena.Prot.read;

    x.say("a page is {d} bytes", .{page});
    x.say("1 byte rounds up to {d} bytes", .{vmarena.pageRoundUp(1)});
    x.say("a page and 1 byte round up to {d} pages", .{vmarena.pageRoundUp(page + 1) / page});
    x.say("SIZE_MAX bytes round up to {d}: there is no such size", .{vmarena.pageRoundUp(std.math.maxInt(usize))});

    refused("from the middle of a page on", arena.protectRange((start + page / 2)[0..page], read));
    refused("half a page", arena.protectRange(start[0 .. page / 2], read));
    refused("no page at all", arena.protectRange(start[0..0], read));
    refused("more pages than there are", arena.protectRange(start[0 .. 5 * page], read));
    byte.* = 42;
    x.say("nothing has changed: wrote 42, read {d}", .{byte.*});

    try arena.protectRange(start[0..page], read);
    x.mustBe(try vmarena.tryWrite(u8, byte, 43) == .fault, "the page is read-only");
    x.say("one whole page: read-only, and still {d}", .{byte.*});
}
