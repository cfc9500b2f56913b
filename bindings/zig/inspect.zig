// SPDX-License-Identifier: MIT
//! What the system knows of a process's memory; pid 0 is this one. See vmarena/inspect.h.

const c = @import("c.zig");
const errors = @import("error.zig");
const Error = errors.Error;
const check = errors.check;

pub const FaultCounts = struct { minor: u64, major: u64 };

/// Calls function(context, mapping) for each mapping; false ends it.
pub fn maps(pid: c_int, context: anytype, comptime function: fn (@TypeOf(context), *const c.Mapping) bool) Error!void {
    var copy = context;
    return check(c.vmarena_maps(pid, visitor(@TypeOf(context), c.Mapping, function), @ptrCast(&copy)));
}
/// The mapping that holds the address; its name goes to the buffer.
pub fn mappingAt(pid: c_int, address: u64, name: []u8) Error!c.Mapping {
    var found: c.Mapping = undefined;
    try check(c.vmarena_mapping_at(pid, address, &found, name.ptr, name.len));
    return found;
}
/// Calls function(context, run) for each run of like pages, without those that are not there. Returns which of the
/// wanted states (0: all) this system reports.
pub fn residency(pid: c_int, memory: []const u8, wanted: c_uint, context: anytype, comptime function: fn (@TypeOf(context), *const c.Pages) bool) Error!c_uint {
    var copy = context;
    var known: c_uint = 0;
    try check(c.vmarena_residency(pid, @intFromPtr(memory.ptr), memory.len, wanted, &known, visitor(@TypeOf(context), c.Pages, function), @ptrCast(&copy)));
    return known;
}
/// The number of the physical page behind an address, 0 where none is.
pub fn frame(pointer: anytype) Error!u64 {
    var found: u64 = 0;
    try check(c.vmarena_frame(@intFromPtr(pointer), &found));
    return found;
}
pub fn totals(pid: c_int) Error!c.Totals {
    var found: c.Totals = undefined;
    try check(c.vmarena_totals(pid, &found));
    return found;
}
pub fn faultCounts(pid: c_int) Error!FaultCounts {
    var found: FaultCounts = undefined;
    try check(if (pid == 0) c.vmarena_fault_counts(&found.minor, &found.major) else c.vmarena_process_fault_counts(pid, &found.minor, &found.major));
    return found;
}
pub fn threadFaultCounts() Error!FaultCounts {
    var found: FaultCounts = undefined;
    try check(c.vmarena_thread_fault_counts(&found.minor, &found.major));
    return found;
}

/// A Zig function as a callback of the C library's.
pub fn visitor(comptime Context: type, comptime Item: type, comptime function: fn (Context, *const Item) bool) fn (*const Item, ?*anyopaque) callconv(.c) c_int {
    return struct {
        fn visit(item: *const Item, arg: ?*anyopaque) callconv(.c) c_int {
            const context: *const Context = @ptrCast(@alignCast(arg.?));
            return if (function(context.*, item)) 0 else 1;
        }
    }.visit;
}
