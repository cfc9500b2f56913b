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
pub const Tracking = c.Tracking;

/// Protections, to be combined with |.
pub const Prot = struct {
    pub const none = c.none;
    pub const read = c.read;
    pub const write = c.write;
    pub const exec = c.exec;
};

/// What the library's negative errnos become. `explain` has the sentence.
pub const Error = error{ OutOfMemory, InvalidArgument, AccessDenied, NotPermitted, Stale, SlackOverwritten, Unsupported, BadHandle, OutOfRange, Busy, NotFound, NoSuchProcess, Unexpected };

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
        .RANGE => error.OutOfRange,
        .BUSY => error.Busy,
        .NOENT => error.NotFound,
        .SRCH => error.NoSuchProcess,
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
    /// Brings the pages of the next bytes of the arena in now.
    pub fn prefault(arena: Arena, size: usize) Error!void {
        return check(c.vmarena_prefault(arena.handle, size));
    }
    /// Forbids every later change of the mapping and its protection, until the process ends.
    pub fn seal(arena: Arena) Error!void {
        return check(c.vmarena_seal(arena.handle));
    }
    /// As vmarena.catchFault, for faults in this arena alone.
    pub fn catchFault(arena: Arena, context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
        return catchBy(arena, context, function);
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

    /// Of a fenced arena no object is: its guard comes after it.
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

    pub fn stats(guarded: GuardedAllocator) c.HeapStats {
        var found: c.HeapStats = undefined;
        c.vmarena_heap_stats(guarded.heap, &found);
        return found;
    }

    pub fn allocator(guarded: *const GuardedAllocator) std.mem.Allocator {
        return .{ .ptr = guarded.heap, .vtable = &vtable };
    }

    const vtable: std.mem.Allocator.VTable = .{
        .alloc = alloc,
        .resize = std.mem.Allocator.noResize,
        .remap = remap,
        .free = free,
    };

    fn alloc(context: *anyopaque, len: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
        return c.vmarena_heap_alloc(@ptrCast(context), len, alignment.toByteUnits());
    }

    /// Moves in all but a few cases: an object's end stays at its guard.
    fn remap(context: *anyopaque, memory: []u8, _: std.mem.Alignment, new_len: usize, _: usize) ?[*]u8 {
        return c.vmarena_heap_realloc(@ptrCast(context), memory.ptr, new_len);
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
        try checkOpen(c.vmarena_view_open_with(&raw, path, &options));
        return .{ .raw = raw.? };
    }
    fn checkOpen(code: c_int) OpenError!void {
        if (code < 0) switch (@as(std.posix.E, @enumFromInt(-code))) {
            .NOENT => return error.FileNotFound,
            .ISDIR => return error.IsDir,
            .NODEV => return error.NotRegular,
            .NODATA => return error.Empty,
            else => try check(code),
        };
    }
    pub fn close(view: *View) void {
        c.vmarena_view_close(view.raw);
        view.* = undefined;
    }
    pub fn bytes(view: View) []u8 {
        return view.raw.data[0..view.raw.size];
    }
    /// Of an open descriptor, which stays the caller's.
    pub fn openFile(fd: c_int, options: c.ViewOptions) OpenError!View {
        var raw: ?*c.View = null;
        try checkOpen(c.vmarena_view_open_fd(&raw, fd, &options));
        return .{ .raw = raw.? };
    }
    pub fn offset(view: View) u64 {
        return view.raw.offset;
    }
    // Ranges are bytes of the window; length 0: all that follows.

    /// Shows another part of the file through the same address space; bytes() may change. length 0: as much as fits.
    pub fn moveTo(view: View, position: u64, length: usize) Error!void {
        return check(c.vmarena_view_move(view.raw, position, length));
    }
    pub fn advise(view: View, from: usize, length: usize, advice: c.ViewAdvice) Error!void {
        return check(c.vmarena_view_advise(view.raw, from, length, advice));
    }
    pub fn populate(view: View, from: usize, length: usize) Error!void {
        return check(c.vmarena_view_populate(view.raw, from, length));
    }
    pub fn lock(view: View, from: usize, length: usize) Error!void {
        return check(c.vmarena_view_lock(view.raw, from, length));
    }
    pub fn unlock(view: View, from: usize, length: usize) Error!void {
        return check(c.vmarena_view_unlock(view.raw, from, length));
    }
    pub fn info(view: View) Error!c.ViewInfo {
        var found: c.ViewInfo = undefined;
        try check(c.vmarena_view_info(view.raw, &found));
        return found;
    }
    /// As Arena.onFault: it may bring the file back and have the access tried again.
    pub fn onFault(view: View, function: ?*const c.FaultFn, arg: ?*anyopaque) Error!void {
        return check(c.vmarena_view_on_fault(view.raw, function, arg));
    }
    /// Waits until what was changed in a shared view is on the device.
    pub fn sync(view: View) Error!void {
        return check(c.vmarena_view_sync(view.raw, 0, 0));
    }
};

/// A point in an arena's life whose contents can be brought back. May be freed before or after the arena.
pub const Snapshot = struct {
    raw: *c.Snapshot,

    pub fn take(arena: Arena, tracking: Tracking) Error!Snapshot {
        var raw: ?*c.Snapshot = null;
        try check(c.vmarena_snapshot(&raw, arena.handle, tracking));
        return .{ .raw = raw.? };
    }
    pub fn free(snapshot: *Snapshot) void {
        c.vmarena_snapshot_free(snapshot.raw);
        snapshot.* = undefined;
    }
    /// What was allocated since is taken back; what was there is as it was.
    pub fn restore(snapshot: Snapshot, arena: Arena) Error!void {
        return check(c.vmarena_restore(arena.handle, snapshot.raw));
    }
    /// A new arena with the contents, at another address.
    pub fn clone(snapshot: Snapshot) Error!Arena {
        var handle: ?*c.Handle = null;
        try check(c.vmarena_clone(&handle, snapshot.raw));
        return .{ .handle = handle.? };
    }
    /// Calls function(context, run) for each run of pages written since; false ends it.
    pub fn dirtyPages(snapshot: Snapshot, arena: Arena, context: anytype, comptime function: fn (@TypeOf(context), *const c.Pages) bool) Error!void {
        var copy = context;
        return check(c.vmarena_dirty_pages(arena.handle, snapshot.raw, visitor(@TypeOf(context), c.Pages, function), @ptrCast(&copy)));
    }
    pub fn info(snapshot: Snapshot) Error!c.SnapshotInfo {
        var found: c.SnapshotInfo = undefined;
        try check(c.vmarena_snapshot_info(snapshot.raw, &found));
        return found;
    }
};

fn visitor(comptime Context: type, comptime Item: type, comptime function: fn (Context, *const Item) bool) fn (*const Item, ?*anyopaque) callconv(.c) c_int {
    return struct {
        fn visit(item: *const Item, arg: ?*anyopaque) callconv(.c) c_int {
            const context: *const Context = @ptrCast(@alignCast(arg.?));
            return if (function(context.*, item)) 0 else 1;
        }
    }.visit;
}

/// What the system knows of a process's memory; pid 0 is this one. See vmarena/inspect.h.
pub const inspect = struct {
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
    /// wanted states (0: all) this system tells.
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
};

/// In place of std.testing: an allocator that needs no set-up, every allocation guarded.
///
///     const allocator = vmarena.testing.allocator;
///     test "parse" {
///         defer vmarena.testing.expectNoLeaks() catch |err| @panic(@errorName(err));
///         try parse(allocator, input);
///     }
pub const testing = struct {
    pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &vtable };

    var shared: std.atomic.Value(?*c.Heap) = .init(null);

    /// What the shared heap holds, none of it freed: each is logged.
    pub fn expectNoLeaks() error{Leaked}!void {
        const heap = shared.load(.acquire) orelse return;
        if ((GuardedAllocator{ .heap = heap }).detectLeaks() != 0) return error.Leaked;
    }

    pub fn countLeaks() usize {
        var count: usize = 0;
        if (shared.load(.acquire)) |heap| _ = c.vmarena_heap_for_each(heap, false, countOne, &count);
        return count;
    }

    /// Allocations so far.
    pub fn countAllocations() u64 {
        var stats: c.HeapStats = undefined;
        c.vmarena_heap_stats(shared.load(.acquire), &stats);
        return stats.allocs;
    }

    fn countOne(_: *const c.HeapObject, arg: ?*anyopaque) callconv(.c) bool {
        @as(*usize, @ptrCast(@alignCast(arg.?))).* += 1;
        return true;
    }

    fn make() ?*c.Heap {
        const made = GuardedAllocator.init(.{ .name = "testing" }) catch return null;
        const other = shared.cmpxchgStrong(null, made.heap, .acq_rel, .acquire) orelse return made.heap;
        c.vmarena_heap_destroy(made.heap); // another thread was first
        return other;
    }

    const vtable: std.mem.Allocator.VTable = .{
        .alloc = alloc,
        .resize = std.mem.Allocator.noResize,
        .remap = remap,
        .free = free,
    };

    fn alloc(_: *anyopaque, len: usize, alignment: std.mem.Alignment, ret_addr: usize) ?[*]u8 {
        return GuardedAllocator.alloc(shared.load(.acquire) orelse make() orelse return null, len, alignment, ret_addr);
    }

    fn remap(_: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) ?[*]u8 {
        return GuardedAllocator.remap(shared.load(.acquire).?, memory, alignment, new_len, ret_addr);
    }

    fn free(_: *anyopaque, memory: []u8, alignment: std.mem.Alignment, ret_addr: usize) void {
        GuardedAllocator.free(shared.load(.acquire).?, memory, alignment, ret_addr);
    }
};

/// Runs function(context) and returns the fault it was left by, or null. Only faults in memory that the library
/// registered are caught. A fault skips every `defer` between: hold nothing in there that needs one.
pub fn catchFault(context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
    return catchBy(null, context, function);
}

fn catchBy(arena: ?Arena, context: anytype, comptime function: fn (@TypeOf(context)) void) Error!?Fault {
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
        c.vmarena_try_in(one.handle, trampoline.run, @ptrCast(&copy), &fault.raw)
    else
        c.vmarena_try(trampoline.run, @ptrCast(&copy), &fault.raw);
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

/// How many bytes were done; the fault, if one is why there are no more. (Where the handlers cannot be installed, nothing is
/// done and no fault told.)
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
