// SPDX-License-Identifier: MIT
//! libvmarena for Zig: arenas between guard pages as std.mem.Allocator, and memory faults as values.
//!
//! What may fault is done in C (tryRead, tryWrite, tryCopy), so that no Zig frame is crossed. catchFault crosses frames:
//! a fault skips the `defer` and `errdefer` of everything the function called.

const std = @import("std");

/// The declarations of the C library.
pub const c = @import("c.zig");

pub const Access = c.Access;
pub const Kind = c.Kind;
pub const Fence = c.Fence;
pub const Huge = c.Huge;
pub const Options = c.Options;
pub const Stats = c.Stats;
pub const Caps = c.Caps;

/// Protections, to be combined with |.
pub const Prot = struct {
    pub const none = c.none;
    pub const read = c.read;
    pub const write = c.write;
    pub const exec = c.exec;
};

/// What the library's negative errnos become. `explain` has the sentence.
pub const Error = error{ OutOfMemory, InvalidArgument, AccessDenied, NotPermitted, Stale, SlackOverwritten, Unsupported, BadHandle, Unexpected };

fn check(code: c_int) Error!void {
    if (code >= 0) return;
    return switch (@as(std.posix.E, @enumFromInt(-code))) {
        .NOMEM, .NOSPC, .AGAIN => error.OutOfMemory,
        .INVAL => error.InvalidArgument,
        .ACCES => error.AccessDenied,
        .PERM => error.NotPermitted,
        .STALE => error.Stale,
        .ILSEQ => error.SlackOverwritten,
        .OPNOTSUPP => error.Unsupported,
        .BADF => error.BadHandle,
        else => error.Unexpected,
    };
}

/// A sentence about the calling thread's last failure; good until the next.
pub fn explain() [:0]const u8 {
    return std.mem.span(c.vmarena_explain());
}

pub fn pageSize() usize {
    return c.vmarena_page_size();
}

/// size in whole pages; 0 where that does not fit.
pub fn pageRoundUp(size: usize) usize {
    return c.vmarena_page_round_up(size);
}

/// What this system can do, found by trying it once.
pub fn caps() Error!Caps {
    var found: Caps = undefined;
    try check(c.vmarena_caps(&found));
    return found;
}

/// A memory fault: which byte, read or write, of which object.
pub const Fault = struct {
    raw: c.Fault,

    pub fn kind(fault: Fault) Kind {
        return fault.raw.kind;
    }
    pub fn access(fault: Fault) Access {
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
};

/// One reservation of address space between guard pages. One owner at a time.
pub const Arena = struct {
    handle: *c.Handle,

    pub fn init(options: Options) Error!Arena {
        var handle: ?*c.Handle = null;
        try check(c.vmarena_create(&handle, &options));
        return .{ .handle = handle.? };
    }

    pub fn deinit(arena: *Arena) void {
        c.vmarena_destroy(arena.handle);
        arena.* = undefined;
    }

    /// The inline fast path of vmarena/arena.h, test for test.
    pub inline fn allocBytes(arena: Arena, size: usize, alignment: usize) ?[*]u8 {
        const mask = alignment -% 1;
        const uneven = alignment & mask;
        const spread = if (@bitSizeOf(usize) > 32) 0 -% uneven else 0 -% @as(usize, @intFromBool(uneven != 0));
        const before = arena.handle.cursor | mask | spread;
        const sum = @addWithOverflow(before, size -% 1);
        const last = sum[0] | (0 -% @as(usize, sum[1]));
        if (last >= arena.handle.limit) return c.vmarena_alloc_slow(arena.handle, size, alignment);
        arena.handle.cursor = last + 1;
        return @ptrFromInt(before + 1);
    }

    /// As an allocator. Freeing gives nothing back but to a rewind or reset; the last object grows and shrinks in place.
    pub fn allocator(arena: *const Arena) std.mem.Allocator {
        return .{ .ptr = arena.handle, .vtable = &vtable };
    }

    pub fn mark(arena: Arena) c.Mark {
        return c.vmarena_mark(arena.handle);
    }
    pub fn rewind(arena: Arena, point: c.Mark) Error!void {
        return check(c.vmarena_rewind(arena.handle, point));
    }
    pub fn reset(arena: Arena, keep_bytes: usize) Error!void {
        return check(c.vmarena_reset(arena.handle, keep_bytes));
    }
    /// In a fenced arena: whether a byte around an object was overwritten.
    pub fn checkSlack(arena: Arena) Error!void {
        return check(c.vmarena_check(arena.handle));
    }
    pub fn protect(arena: Arena, prot: c_uint) Error!void {
        return check(c.vmarena_protect(arena.handle, prot));
    }
    pub fn protectRange(arena: Arena, pages: []u8, prot: c_uint) Error!void {
        return check(c.vmarena_protect_range(arena.handle, pages.ptr, pages.len, prot));
    }
    /// Gives whole pages back to the system: they read as zero from now on.
    pub fn discard(arena: Arena, pages: []u8) Error!void {
        return check(c.vmarena_discard(arena.handle, pages.ptr, pages.len));
    }
    /// function runs in the signal handler for each fault in the arena; true has the access tried again.
    pub fn onFault(arena: Arena, function: ?*const c.FaultFn, arg: ?*anyopaque) Error!void {
        return check(c.vmarena_on_fault(arena.handle, function, arg));
    }
    pub fn stats(arena: Arena) Stats {
        var figures: Stats = undefined;
        c.vmarena_stats(arena.handle, &figures);
        return figures;
    }
    pub fn owns(arena: Arena, pointer: anytype) bool {
        return c.vmarena_owns(arena.handle, @intFromPtr(pointer));
    }

    const vtable: std.mem.Allocator.VTable = .{ .alloc = alloc, .resize = resize, .remap = remap, .free = free };

    fn of(context: *anyopaque) Arena {
        return .{ .handle = @ptrCast(@alignCast(context)) };
    }

    fn alloc(context: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
        return of(context).allocBytes(len, alignment.toByteUnits());
    }

    fn isLast(arena: Arena, memory: []u8) bool {
        return @intFromPtr(memory.ptr) + memory.len - 1 == arena.handle.cursor;
    }

    fn resize(context: *anyopaque, memory: []u8, _: std.mem.Alignment, new_len: usize, _: usize) bool {
        const arena = of(context);
        return arena.isLast(memory) and c.vmarena_resize(arena.handle, memory.ptr, memory.len, new_len) != null;
    }

    fn remap(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) ?[*]u8 {
        return if (resize(context, memory, alignment, new_len, ret_addr)) memory.ptr else null;
    }

    fn free(_: *anyopaque, _: []u8, _: std.mem.Alignment, _: usize) void {}
};

/// A drop-in for std.testing.allocator in tests of code that handles memory itself: every allocation has pages and a
/// guard of its own, so that an overrun faults at the byte, a freed object faults at its next use, and deinit() tells of
/// what was never freed.
///
///     var guarded = try GuardedAllocator.init(.{});
///     defer guarded.deinit() catch |err| @panic(@errorName(err));
///     try parse(guarded.allocator(), input);
pub const GuardedAllocator = struct {
    heap: *c.Heap,

    pub const DeinitError = error{ Leaked, SlackOverwritten };

    /// A failure that the heap finds (double free, a wrong size or alignment, overwritten slack) panics.
    pub fn init(options: c.HeapOptions) Error!GuardedAllocator {
        var wanted = options;
        if (wanted.report == null) wanted.report = &panicOnReport;
        var heap: ?*c.Heap = null;
        try check(c.vmarena_heap_create(&heap, &wanted));
        return .{ .heap = heap.? };
    }

    fn panicOnReport(report: *const c.HeapReport, _: ?*anyopaque) callconv(.c) void {
        if (report.kind == .near_limit) return;
        std.debug.panic("{t}: pointer 0x{x}, object 0x{x} of {d} bytes, distance {d}", .{
            report.kind, report.pointer, report.object.start, report.object.size, report.distance,
        });
    }

    fn countLeak(object: *const c.HeapObject, arg: ?*anyopaque) callconv(.c) bool {
        const count: *usize = @ptrCast(@alignCast(arg.?));
        count.* += 1;
        std.log.err("memory address 0x{x} leaked: {d} bytes, the allocation number {d}", .{ object.start, object.size, object.alloc_number });
        return true;
    }

    /// Allocations that were not freed, each logged.
    pub fn detectLeaks(guarded: GuardedAllocator) usize {
        var count: usize = 0;
        _ = c.vmarena_heap_for_each(guarded.heap, false, countLeak, &count);
        return count;
    }

    /// Checks what is left, then unmaps everything.
    pub fn deinit(guarded: *GuardedAllocator) DeinitError!void {
        const intact = c.vmarena_heap_check(guarded.heap) >= 0;
        const leaks = guarded.detectLeaks();
        c.vmarena_heap_destroy(guarded.heap);
        guarded.* = undefined;
        if (!intact) return error.SlackOverwritten;
        if (leaks != 0) return error.Leaked;
    }

    pub fn allocator(guarded: *const GuardedAllocator) std.mem.Allocator {
        return .{ .ptr = guarded.heap, .vtable = &vtable };
    }

    const vtable: std.mem.Allocator.VTable = .{
        .alloc = alloc,
        .resize = std.mem.Allocator.noResize,
        .remap = std.mem.Allocator.noRemap,
        .free = free,
    };

    fn alloc(context: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
        return c.vmarena_heap_alloc(@ptrCast(context), len, alignment.toByteUnits());
    }

    fn free(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, _: usize) void {
        _ = c.vmarena_heap_free_sized(@ptrCast(context), memory.ptr, memory.len, alignment.toByteUnits());
    }
};

/// A file as memory between two guards. It may shrink while it is mapped: read it with tryCopy, which tells of that.
pub const View = struct {
    raw: *c.View,

    pub const Mode = c.ViewMode;
    pub const OpenError = Error || error{ FileNotFound, IsDir, NotRegular, Empty };

    pub fn open(path: [*:0]const u8, options: c.ViewOptions) OpenError!View {
        var raw: ?*c.View = null;
        const code = c.vmarena_view_open_with(&raw, path, &options);
        if (code < 0) switch (@as(std.posix.E, @enumFromInt(-code))) {
            .NOENT => return error.FileNotFound,
            .ISDIR => return error.IsDir,
            .NODEV => return error.NotRegular,
            .NODATA => return error.Empty,
            else => try check(code),
        };
        return .{ .raw = raw.? };
    }
    pub fn close(view: *View) void {
        c.vmarena_view_close(view.raw);
        view.* = undefined;
    }
    pub fn bytes(view: View) []u8 {
        return view.raw.data[0..view.raw.size];
    }
    /// Waits until what was changed in a shared view is on the device.
    pub fn sync(view: View) Error!void {
        return check(c.vmarena_view_sync(view.raw, 0, 0));
    }
};

/// Runs function(context) and returns the fault it was left by, or null. Only faults in memory that the library
/// registered are caught. A fault skips every `defer` between: hold nothing in there that needs one.
pub fn catchFault(context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
    const Context = @TypeOf(context);
    const trampoline = struct {
        fn run(arg: ?*anyopaque) callconv(.c) void {
            const pointer: *const Context = @ptrCast(@alignCast(arg.?));
            function(pointer.*);
        }
    };
    var fault: Fault = undefined;
    var copy = context;
    const code = c.vmarena_try(trampoline.run, @ptrCast(&copy), &fault.raw);
    try check(code);
    return if (code == 1) fault else null;
}

/// The outcome of an access that may fault.
pub fn Outcome(comptime T: type) type {
    return union(enum) { ok: T, fault: Fault };
}

/// One load of 1, 2, 4 or 8 bytes at any address.
pub fn tryRead(comptime T: type, pointer: *const volatile T) Error!Outcome(T) {
    var value: T = undefined;
    var fault: Fault = undefined;
    const code = c.vmarena_read(@intFromPtr(pointer), &value, @sizeOf(T), &fault.raw);
    try check(code);
    return if (code == 0) .{ .ok = value } else .{ .fault = fault };
}

/// One store of 1, 2, 4 or 8 bytes at any address.
pub fn tryWrite(comptime T: type, pointer: *volatile T, value: T) Error!Outcome(void) {
    var fault: Fault = undefined;
    const code = c.vmarena_write(@intFromPtr(pointer), &value, @sizeOf(T), &fault.raw);
    try check(code);
    return if (code == 0) .{ .ok = {} } else .{ .fault = fault };
}

pub const Copied = struct { done: usize, fault: ?Fault };

/// Copies to.len bytes from any address; tells how many were copied and why no more.
pub fn tryCopy(to: []u8, from: [*]const u8) Copied {
    var fault: Fault = undefined;
    const done = c.vmarena_copy(@intFromPtr(to.ptr), @intFromPtr(from), to.len, &fault.raw);
    return .{ .done = done, .fault = if (done < to.len) fault else null };
}
