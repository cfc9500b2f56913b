// SPDX-License-Identifier: MIT
//! Copies of slices flush against a guard page, for tests of what reads them.

const std = @import("std");
const c = @import("c.zig");
const errors = @import("error.zig");
const faults = @import("fault.zig");
const Arena = @import("arena.zig").Arena;
const Error = errors.Error;

pub const Side = enum { end, start };
pub const sides = [_]Side{ .end, .start };

/// A slice of its own, of which the end or the start lies at a guard page: the first element past it (before it) faults. An
/// empty one faults on both sides.
///
///     var input = try vmarena.Fenced(u8).copy("GIF89a", .end);
///     defer input.deinit();
///     try parse(input.items);
pub fn Fenced(comptime T: type) type {
    return struct {
        items: []T,
        arena: Arena,

        const Self = @This();

        pub fn copy(source: []const T, side: Side) Error!Self {
            const made = try init(source.len, side);
            @memcpy(made.items, source);
            return made;
        }

        /// All bytes zero.
        pub fn init(count: usize, side: Side) Error!Self {
            comptime std.debug.assert(@sizeOf(T) > 0);
            const page = c.vmarena_page_size();
            const size = std.math.mul(usize, count, @sizeOf(T)) catch return error.OutOfMemory;
            var arena = try Arena.init(.{
                .reserve = std.math.add(usize, size, 4 * page) catch return error.OutOfMemory,
                .fence = if (side == .end or count == 0) .end else .start,
                .name = "fenced copy",
            });
            errdefer arena.deinit();
            const first: [*]T = @ptrCast(@alignCast(if (count == 0) try empty(arena, page) else try place(arena, size, @alignOf(T))));
            return .{ .items = first[0..count], .arena = arena };
        }

        fn place(arena: Arena, size: usize, alignment: usize) Error![*]u8 {
            return arena.allocBytes(size, alignment) orelse error.OutOfMemory;
        }

        /// The guard behind two pages, of which the second is closed.
        fn empty(arena: Arena, page: usize) Error![*]u8 {
            const pages = try place(arena, 2 * page, page);
            try arena.protectRange(pages[page .. 2 * page], c.none);
            return pages + 2 * page;
        }

        /// Fails where a byte beside the slice, where no guard is, was overwritten.
        pub fn check(fenced: Self) Error!void {
            return if (fenced.items.len == 0) {} else fenced.arena.checkSlack();
        }

        pub fn deinit(fenced: *Self) void {
            fenced.arena.deinit();
            fenced.* = undefined;
        }
    };
}

/// Runs body(context, input) twice: with a copy of the input that ends at a guard page, then with one that starts at one. A
/// fault in it is printed in words, with the line that touched the memory, and is error.MemoryFault. It skips the `defer`s
/// of the body.
pub fn runFenced(context: anytype, comptime body: fn (@TypeOf(context), []u8) anyerror!void, input: []const u8) anyerror!void {
    for (sides) |side| {
        var copy = try Fenced(u8).copy(input, side);
        defer copy.deinit();
        var run: Run(@TypeOf(context), body) = .{ .context = context, .input = copy.items };
        if (try faults.catchFault(&run, @TypeOf(run).call)) |fault| {
            std.debug.print("with its input against a guard at the {t}: {f}{f}", .{ side, fault, fault.where() });
            return error.MemoryFault;
        }
        try run.result;
        copy.check() catch |err| {
            std.debug.print("with its input against a guard at the {t}: {s}\n", .{ side, errors.explain() });
            return err;
        };
    }
}

fn Run(comptime Context: type, comptime body: fn (Context, []u8) anyerror!void) type {
    return struct {
        context: Context,
        input: []u8,
        result: anyerror!void = {},

        fn call(run: *@This()) void {
            run.result = body(run.context, run.input);
        }
    };
}

/// std.testing.fuzz whose inputs, of up to most bytes, lie flush against a guard page, as runFenced has them.
pub fn fuzzFenced(
    context: anytype,
    comptime most: usize,
    comptime body: fn (@TypeOf(context), []u8) anyerror!void,
    options: std.testing.FuzzInputOptions,
) anyerror!void {
    const one = struct {
        fn testOne(inner: @TypeOf(context), smith: *std.testing.Smith) anyerror!void {
            var buffer: [most]u8 = undefined;
            const length = smith.slice(&buffer);
            try runFenced(inner, body, buffer[0..length]);
        }
    };
    return std.testing.fuzz(context, one.testOne, options);
}
