// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const expectEqual = std.testing.expectEqual;

test "a file as memory, and a file that shrinks" {
    const fd = std.c.memfd_create("view", 0);
    const page = vmarena.pageSize();
    try expectEqual(0, std.c.ftruncate(fd, @intCast(2 * page)));
    var path_buffer: [64]u8 = undefined;
    const path: [*:0]const u8 = @ptrCast((try std.fmt.bufPrint(&path_buffer, "/proc/self/fd/{d}\x00", .{fd})).ptr);
    var view = try vmarena.View.open(path, .{ .mode = .shared });
    defer view.close();
    (try view.writableBytes())[page] = 7;
    try view.sync();
    var byte: [1]u8 = undefined;
    try expectEqual(1, std.c.pread(fd, &byte, 1, @intCast(page)));
    try expectEqual(7, byte[0]);
    try expectEqual(0, std.c.ftruncate(fd, @intCast(page)));
    const copied = vmarena.tryCopy(&byte, view.bytes().ptr + page);
    try expectEqual(vmarena.Kind.past_end_of_file, copied.fault.?.kind());
    try expectEqual(page, copied.fault.?.raw.file_offset);
    try std.testing.expectError(error.FileNotFound, vmarena.View.open("/nonexistent", .{}));
    try std.testing.expectError(error.IsDir, vmarena.View.open("/", .{}));
}

test "windows of a file that move" {
    const fd = std.c.memfd_create("window", 0);
    const page = vmarena.pageSize();
    try expectEqual(0, std.c.ftruncate(fd, @intCast(4 * page)));
    try expectEqual(1, std.c.pwrite(fd, "x", 1, @intCast(3 * page)));
    var view = try vmarena.View.openFile(fd, .{ .length = page });
    defer view.close();
    try expectEqual(page, view.bytes().len);
    try view.moveTo(3 * page, 0);
    try expectEqual('x', view.bytes()[0]);
    try expectEqual(3 * page, view.offset());
    try std.testing.expectError(error.OutOfRange, view.moveTo(5 * page, 0));
    try view.populate(0, 0);
    try expectEqual(page, (try view.info()).resident);
    try view.advise(0, 0, .dont_need);
    try expectEqual(0, (try view.info()).resident);
    try view.lock(0, 1);
    try view.unlock(0, 1);
    try std.testing.expectError(error.OutOfRange, view.populate(1, page));
    try std.testing.expectError(error.BadHandle, vmarena.View.openFile(-1, .{}));
}

test "a view to be read has no bytes to be written" {
    const fd = std.c.memfd_create("read-only", 0);
    try expectEqual(4, std.c.write(fd, "text", 4));
    var view = try vmarena.View.openFile(fd, .{});
    defer view.close();
    try std.testing.expectEqualStrings("text", view.bytes());
    comptime std.debug.assert(@TypeOf(view.bytes()) == []const u8);
    try std.testing.expectError(error.ReadOnly, view.writableBytes());
    var copy = try vmarena.View.openFile(fd, .{ .mode = .copy_on_write });
    defer copy.close();
    (try copy.writableBytes())[0] = 'n';
    try std.testing.expectEqualStrings("next", copy.bytes());
    try std.testing.expectEqualStrings("text", view.bytes());
}
