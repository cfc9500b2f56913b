// SPDX-License-Identifier: MIT
//! The article's program with the library: the write to read-only memory is caught, told in words, and survived.
const x = @import("experiment");
const vmarena = x.vmarena;

fn write43(byte: *volatile u8) void {
    byte.* = 43;
}

pub fn main() !void {
    const page = vmarena.pageSize();
    var arena = try x.smallPageArena(page, "article");
    defer arena.deinit();
    const byte: *volatile u8 = &x.mustAlloc(arena, page)[0];

    byte.* = 42;
    x.say("wrote 42 to 0x{x}", .{@intFromPtr(byte)});
    try arena.protect(vmarena.Prot.read);
    x.say("protected the arena: it is read-only now", .{});

    const fault = try vmarena.catchFault(byte, write43) orelse return x.mustBe(false, "writing to read-only memory faults");
    x.mustBe(fault.address() == @intFromPtr(byte), "the fault's address is the byte that was written to");
    x.mustBe(fault.kind() == .protected, "the fault's kind is PROTECTED");
    x.mustBe(try x.accessIs(fault, .write), "the fault was a write");
    x.say("writing 43 faulted, and the program goes on", .{});
    var words: [256]u8 = undefined;
    x.say("{s}", .{fault.describe(&words)});

    x.mustBe(byte.* == 42, "the write did not happen");
    x.say("the value is still {d}", .{byte.*});
    try arena.protect(vmarena.Prot.read | vmarena.Prot.write);
    x.mustBe(try vmarena.catchFault(byte, write43) == null, "writing to writable memory does not fault");
    x.say("writable again: wrote 43, read {d}", .{byte.*});
}
