// SPDX-License-Identifier: MIT
//! Memory comes with the first touch, a page at a time, and each time by a page fault that can be counted.
const x = @import("experiment");
const vmarena = x.vmarena;

const total = 1000;
const given_back = 500;
const closed = 100;

/// Writes one byte in each of count pages and returns the faults that this took.
fn faultsOfWriting(pages: []u8, count: usize) isize {
    const page = vmarena.pageSize();
    const before = x.faults(false);
    for (0..count) |i| @as(*volatile u8, &pages[i * page]).* = 1;
    return x.faults(false) - before;
}

const Pager = struct { arena: vmarena.Arena, calls: isize = 0 };

/// Demand paging in user space: opens the one page that was touched, and has the access tried again.
fn openPage(fault: *const vmarena.c.Fault, arg: ?*anyopaque) callconv(.c) bool {
    const pager: *volatile Pager = @ptrCast(@alignCast(arg.?));
    const page = vmarena.pageSize();
    const start: [*]u8 = @ptrFromInt(fault.address / page * page);
    pager.calls += 1;
    pager.arena.protectRange(start[0..page], vmarena.Prot.read | vmarena.Prot.write) catch return false;
    return true;
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena(total * page, "demand");
    defer arena.deinit();
    const warm = try x.smallPageArena(page, "warm");
    _ = faultsOfWriting(x.mustAlloc(warm, page), 1); // brings the code itself in

    const before = x.faults(false);
    const pages = x.mustAlloc(arena, total * page);
    var faults = x.faults(false) - before;
    x.mustCount(faults, 0, "faults of allocating");
    x.say("allocated {d} pages: {d} faults, as addresses are not memory yet", .{ total, faults });

    faults = faultsOfWriting(pages, total);
    x.mustCount(faults, total, "faults of the first write");
    x.say("first write to each of the {d} pages: {d} faults, one a page", .{ total, faults });

    faults = faultsOfWriting(pages, total);
    x.mustCount(faults, 0, "faults of the second write");
    x.say("second write to each of the {d} pages: {d} faults, as they are there now", .{ total, faults });

    try arena.discard(pages[0 .. given_back * page]);
    x.mustBe(@as(*volatile u8, &pages[0]).* == 0, "a page that was given back reads as zero");
    try arena.discard(pages[0 .. given_back * page]);
    faults = faultsOfWriting(pages, total);
    x.mustCount(faults, given_back, "faults after giving pages back");
    x.say("gave {d} pages back and wrote to all {d}: {d} faults", .{ given_back, total, faults });

    var pager: Pager = .{ .arena = arena };
    try arena.protect(vmarena.Prot.none);
    try arena.onFault(openPage, &pager);
    _ = faultsOfWriting(pages, closed);
    const calls = @as(*volatile Pager, &pager).calls;
    x.mustCount(calls, closed, "calls of the function that opens a page");
    x.say("closed all pages and wrote to {d}: our own function was called {d} times, to open one each", .{ closed, calls });
}
