// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const expectEqual = std.testing.expectEqual;

fn overrun(memory: []u8) void {
    @setRuntimeSafety(false);
    const beyond: *volatile u8 = @ptrCast(memory.ptr + memory.len);
    beyond.* = 1;
}

fn fillFive(memory: []u8) void {
    @memset(memory, 5);
}

test "the allocator for tests" {
    const allocator = vmarena.testing.allocator;
    const memory = try allocator.alloc(u8, 24);
    try expectEqual(null, try vmarena.catchFault(memory, fillFive));
    try expectEqual(1, (try vmarena.catchFault(memory, overrun)).?.distance());
    try expectEqual(1, vmarena.testing.countLeaks());
    allocator.free(memory);
    try vmarena.testing.expectNoLeaks();
}
