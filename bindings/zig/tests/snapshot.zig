// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

fn countPages(count: *usize, _: *const c.Pages) bool {
    count.* += 1;
    return true;
}

test "back to a snapshot, and a clone of it" {
    var arena = try vmarena.Arena.init(.{ .flags = c.memfd });
    defer arena.deinit();
    const words = try arena.allocator().alloc(u64, 10_000);
    @memset(words, 1);
    var point = try vmarena.Snapshot.take(arena, .auto);
    defer point.free();
    try expectEqual(vmarena.Tracking.file, (try point.info()).tracking);
    for (1..4) |round| {
        words[5000] = 2;
        _ = arena.allocBytes(100, 1); // not through the allocator: in safe modes that would write to them
        var runs: usize = 0;
        try point.dirtyPages(arena, &runs, countPages);
        try expectEqual(1, runs);
        try point.restore(arena);
        try expectEqual(1, words[5000]);
        try expectEqual(round, (try point.info()).restores);
    }
    words[0] = 9;
    var clone = try point.clone();
    defer clone.deinit();
    try expectEqual(arena.stats().used, clone.stats().used);
    try expect(!clone.owns(words.ptr));
    var other = try vmarena.Arena.init(.{});
    defer other.deinit();
    try std.testing.expectError(error.InvalidArgument, point.restore(other));
    var fenced = try vmarena.Arena.init(.{ .fence = .end });
    defer fenced.deinit();
    try std.testing.expectError(error.Unsupported, vmarena.Snapshot.take(fenced, .auto));
}
