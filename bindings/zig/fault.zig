// SPDX-License-Identifier: MIT
//! Memory faults as values.

const std = @import("std");
const c = @import("c.zig");
const errors = @import("error.zig");
const Error = errors.Error;
const check = errors.check;

/// A memory fault: which byte, read or write, of which object.
///
/// `{f}` prints it in words.
pub const Fault = struct {
    raw: c.Fault,

    pub fn kind(fault: Fault) c.Kind {
        return fault.raw.kind;
    }
    pub fn access(fault: Fault) c.Access {
        return fault.raw.access;
    }
    pub fn address(fault: Fault) usize {
        return fault.raw.address;
    }
    /// From the object's nearest edge: +1 is the first byte past the end, -1 the last before the start.
    pub fn distance(fault: Fault) isize {
        return fault.raw.distance;
    }
    /// One line, in the buffer as far as it fits.
    pub fn describe(fault: *const Fault, buffer: []u8) []const u8 {
        const length = c.vmarena_fault_describe(&fault.raw, buffer.ptr, buffer.len);
        return buffer[0..@min(length, buffer.len -| 1)];
    }
    pub fn format(fault: Fault, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        var buffer: [512]u8 = undefined;
        try writer.writeAll(fault.describe(&buffer));
    }
    /// The line of source that touched the memory, as far as the debug information has it.
    pub fn where(fault: Fault) Where {
        return .{ .pc = fault.raw.pc };
    }

    /// To be printed with `{f}`.
    pub const Where = struct {
        pc: usize,

        pub fn format(place: Where, writer: *std.Io.Writer) std.Io.Writer.Error!void {
            // A stack trace is made of return addresses: one past the instruction that is meant.
            var addresses = [_]usize{place.pc + 1};
            if (place.pc == 0) return writer.writeAll("?");
            const trace: std.debug.StackTrace = .{ .return_addresses = &addresses, .skipped = .none };
            try std.debug.FormatStackTrace.format(.{ .stack_trace = trace, .terminal_mode = std.log.terminalMode() }, writer);
        }
    };
};

/// From now on a fault in memory of this library that nobody catches is written to the descriptor in words, with the object and
/// its stacks as addresses, before it goes to the handler that was there: Zig's prints the line of source. null turns it off.
pub fn reportFaults(fd: ?c_int) Error!void {
    return check(c.vmarena_report_faults(fd orelse -1));
}

/// Runs function(context) and returns the fault it was left by, or null. Only faults in memory that the library
/// registered are caught. A fault skips every `defer` between: hold nothing in there that needs one.
pub fn catchFault(context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
    return catchBy(null, context, function);
}

pub fn catchBy(arena: ?*c.Handle, context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
    const Context = @TypeOf(context);
    const trampoline = struct {
        fn run(arg: ?*anyopaque) callconv(.c) void {
            const pointer: *const Context = @ptrCast(@alignCast(arg.?));
            function(pointer.*);
        }
    };
    var fault: Fault = undefined;
    var copy = context;
    const code = if (arena) |one|
        c.vmarena_try_in(one, trampoline.run, @ptrCast(&copy), &fault.raw)
    else
        c.vmarena_try(trampoline.run, @ptrCast(&copy), &fault.raw);
    try check(code);
    return if (code == 1) fault else null;
}

/// The outcome of an access that may fault.
pub fn Outcome(comptime T: type) type {
    return union(enum) { ok: T, fault: Fault };
}

/// One load of 1, 2, 4 or 8 bytes at any address. T must be a type to which every pattern of its bits belongs: integers and
/// floats of 8, 16, 32 or 64 bits, non-exhaustive enums of them, and arrays, extern and packed structs of such.
/// A bool or another enum is read as an integer of its size.
pub fn tryRead(comptime T: type, pointer: *const volatile T) Error!Outcome(T) {
    comptime requireAccessSize("tryRead", T);
    comptime if (!takesAnyPattern(T))
        @compileError("tryRead: not every pattern of bits is a valid " ++ @typeName(T) ++ ": read an integer of its size");
    var value: T = undefined;
    var fault: Fault = undefined;
    const code = c.vmarena_read(@intFromPtr(pointer), &value, @sizeOf(T), &fault.raw);
    try check(code);
    return if (code == 0) .{ .ok = value } else .{ .fault = fault };
}

/// One store of 1, 2, 4 or 8 bytes at any address.
pub fn tryWrite(comptime T: type, pointer: *volatile T, value: T) Error!Outcome(void) {
    comptime requireAccessSize("tryWrite", T);
    var fault: Fault = undefined;
    const code = c.vmarena_write(@intFromPtr(pointer), &value, @sizeOf(T), &fault.raw);
    try check(code);
    return if (code == 0) .{ .ok = {} } else .{ .fault = fault };
}

fn requireAccessSize(comptime function: []const u8, comptime T: type) void {
    switch (@sizeOf(T)) {
        1, 2, 4, 8 => {},
        else => @compileError(std.fmt.comptimePrint("{s}: {s} has {d} bytes, and one access has 1, 2, 4 or 8", .{ function, @typeName(T), @sizeOf(T) })),
    }
}

/// Whether every pattern of T's bits is a value of T.
pub fn takesAnyPattern(comptime T: type) bool {
    return switch (@typeInfo(T)) {
        .int, .float => @bitSizeOf(T) == 8 * @sizeOf(T),
        .@"enum" => |info| isOpen(info) and takesAnyPattern(info.tag_type),
        .array => |info| info.sentinel_ptr == null and takesAnyPattern(info.child),
        .@"struct" => |info| switch (info.layout) {
            .auto => false,
            .@"extern" => everyFieldTakes(T, takesAnyPattern),
            .@"packed" => @bitSizeOf(T) == 8 * @sizeOf(T) and everyFieldTakes(T, takesAnyBits),
        },
        else => false,
    };
}

/// The same of a field of a packed struct, which has no padding.
fn takesAnyBits(comptime T: type) bool {
    return switch (@typeInfo(T)) {
        .int, .float, .bool => true,
        .@"enum" => |info| isOpen(info),
        .@"struct" => everyFieldTakes(T, takesAnyBits),
        else => false,
    };
}

/// Whether an enum has values without names. Zig 0.17 calls the member otherwise.
fn isOpen(comptime info: anytype) bool {
    return if (@hasField(@TypeOf(info), "mode")) info.mode == .nonexhaustive else !info.is_exhaustive;
}

fn everyFieldTakes(comptime T: type, comptime takes: fn (comptime type) bool) bool {
    inline for (comptime std.meta.fieldNames(T)) |name| {
        if (!takes(@FieldType(T, name))) return false;
    }
    return true;
}

/// How many bytes were done; the fault, if one is why there are no more. (Where the handlers cannot be installed, nothing is
/// done and there is no fault to report.)
pub const Done = struct { done: usize, fault: ?Fault };

/// Copies to.len bytes from any address.
pub fn tryCopy(to: []u8, from: [*]const u8) Done {
    var fault: Fault = undefined;
    const done = c.vmarena_copy(@intFromPtr(to.ptr), @intFromPtr(from), to.len, &fault.raw);
    return .{ .done = done, .fault = if (fault.raw.signo != 0) fault else null };
}

/// Fills length bytes at any address.
pub fn tryFill(to: [*]u8, byte: u8, length: usize) Done {
    var fault: Fault = undefined;
    const done = c.vmarena_fill(@intFromPtr(to), byte, length, &fault.raw);
    return .{ .done = done, .fault = if (fault.raw.signo != 0) fault else null };
}

/// How many of length bytes at any two addresses are the same.
pub fn tryCompare(left: [*]const u8, right: [*]const u8, length: usize) Done {
    var fault: Fault = undefined;
    const done = c.vmarena_compare(@intFromPtr(left), @intFromPtr(right), length, &fault.raw);
    return .{ .done = done, .fault = if (fault.raw.signo != 0) fault else null };
}
