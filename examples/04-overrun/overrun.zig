// SPDX-License-Identifier: MIT
//! Off by one, read and write, over and under: with a guard at the object's edge the first wrong byte faults.
const x = @import("experiment");
const vmarena = x.vmarena;

const size = 24;

fn readByte(byte: *volatile u8) void {
    _ = byte.*;
}

fn writeByte(byte: *volatile u8) void {
    byte.* = 1;
}

fn expect(access: vmarena.Access, object: usize, index: isize, distance: isize) !void {
    const byte: *volatile u8 = @ptrFromInt(object +% @as(usize, @bitCast(index)));
    const caught = if (access == .write) try vmarena.catchFault(byte, writeByte) else try vmarena.catchFault(byte, readByte);
    const verb = if (access == .write) "writing" else "reading";
    x.mustBe((caught != null) == (distance != 0), "the object's own bytes, and no others, work");
    const fault = caught orelse return x.say("{s} byte {d}: no fault", .{ verb, index });
    x.mustBe(fault.raw.object == object and fault.raw.object_size == size, "the fault is attributed to the object");
    x.mustBe(fault.distance() == distance, "the fault's distance is that of the byte from the object");
    x.mustBe(fault.address() == @intFromPtr(byte), "the fault's address is that of the byte");
    x.mustBe(try x.accessIs(fault, access), "the fault was for this access");
    var words: [256]u8 = undefined;
    x.say("{s} byte {d}: {s}", .{ verb, index, fault.describe(&words) });
}

pub fn main() !void {
    var over = try vmarena.Arena.init(.{ .fence = .end, .name = "over" });
    defer over.deinit();
    var object = @intFromPtr((try over.allocator().alloc(u8, size)).ptr);
    x.say("an object of {d} bytes at 0x{x} ends at a guard page", .{ size, object });
    try expect(.read, object, size - 1, 0);
    try expect(.read, object, size, 1);
    try expect(.write, object, size, 1);

    var under = try vmarena.Arena.init(.{ .fence = .start, .name = "under" });
    defer under.deinit();
    object = @intFromPtr((try under.allocator().alloc(u8, size)).ptr);
    x.say("an object of {d} bytes at 0x{x} starts after a guard page", .{ size, object });
    try expect(.read, object, 0, 0);
    try expect(.read, object, -1, -1);
    try expect(.write, object, -1, -1);
}
