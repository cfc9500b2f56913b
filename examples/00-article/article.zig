// SPDX-License-Identifier: MIT
//! Without the library: map a page, write, make it read-only, write again, and die by SIGSEGV.
const std = @import("std");
const say = @import("experiment").say;

/// Zig's own handler would turn the signal into a trace and an abort.
pub const std_options: std.Options = .{ .enable_segfault_handler = false };

pub fn main() !void {
    const size = std.heap.pageSize();
    say("a page is {d} bytes", .{size});

    const prot: std.posix.PROT = .{ .READ = true, .WRITE = true };
    const page = try std.posix.mmap(null, size, prot, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0);
    say("mapped one page at 0x{x}, readable and writable", .{@intFromPtr(page.ptr)});

    const byte: *volatile u8 = &page[0];
    byte.* = 42;
    say("wrote 42, read {d}", .{byte.*});

    try std.process.protectMemory(page, .{ .read = true });
    say("protected the page: it is read-only now", .{});
    say("read {d}: reading is still allowed", .{byte.*});

    say("writing 43: the CPU faults, the kernel sends SIGSEGV, and the program ends here", .{});
    byte.* = 43;
    say("this line is never printed: the page holds {d}", .{byte.*});
}
