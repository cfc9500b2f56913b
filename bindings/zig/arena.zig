// SPDX-License-Identifier: MIT
const std = @import("std");
const c = @import("c.zig");
const errors = @import("error.zig");
const faults = @import("fault.zig");
const Error = errors.Error;
const Fault = faults.Fault;
const check = errors.check;

/// One reservation of address space between guard pages. One owner at a time.
pub const Arena = struct {
    handle: *c.Handle,

    pub fn init(options: c.Options) Error!Arena {
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

    /// As an allocator, for one thread at a time; for several see ThreadSafeAllocator. The last object grows, shrinks and
    /// is given back in place; the memory of others waits for a rewind or reset. In a fenced arena every freed object
    /// faults at its next use. Freeing what is no object of the arena, or has bytes around it overwritten, panics.
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
        return faults.catchBy(arena.handle, context, function);
    }
    /// function runs in the signal handler for each fault in the arena; true has the access tried again.
    pub fn onFault(arena: Arena, function: ?*const c.FaultFn, arg: ?*anyopaque) Error!void {
        return check(c.vmarena_on_fault(arena.handle, function, arg));
    }
    pub fn stats(arena: Arena) c.Stats {
        var figures: c.Stats = undefined;
        c.vmarena_stats(arena.handle, &figures);
        return figures;
    }
    /// The same without a system call: `resident` and `huge` are 0.
    pub fn info(arena: Arena) c.Stats {
        var figures: c.Stats = undefined;
        c.vmarena_info(arena.handle, &figures);
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

    /// Where the limit stays at the cursor the library sees every call: in fenced arenas, and under ASan or Valgrind.
    fn isObserved(arena: Arena) bool {
        return arena.handle.limit == arena.handle.cursor;
    }

    fn resize(context: *anyopaque, memory: []u8, _: std.mem.Alignment, new_len: usize, _: usize) bool {
        const arena = of(context);
        if (arena.isLast(memory)) return c.vmarena_resize(arena.handle, memory.ptr, memory.len, new_len) != null;
        return new_len <= memory.len and !arena.isObserved();
    }

    fn remap(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) ?[*]u8 {
        return if (resize(context, memory, alignment, new_len, ret_addr)) memory.ptr else null;
    }

    fn free(context: *anyopaque, memory: []u8, _: std.mem.Alignment, _: usize) void {
        const arena = of(context);
        if (!arena.isLast(memory) and !arena.isObserved()) return;
        check(c.vmarena_free(arena.handle, memory.ptr, memory.len)) catch |err| switch (err) {
            error.InvalidArgument, error.SlackOverwritten => std.debug.panic("{s}", .{errors.explain()}),
            else => {}, // protected, or no memory left to fence it off: it waits for the rewind
        };
    }
};

/// Any allocator behind a lock, to be shared by threads.
///
///     var shared: ThreadSafeAllocator = .{ .child = arena.allocator() };
///     const allocator = shared.allocator();
pub const ThreadSafeAllocator = struct {
    child: std.mem.Allocator,
    mutex: std.c.pthread_mutex_t = .{},

    pub fn allocator(shared: *ThreadSafeAllocator) std.mem.Allocator {
        return .{ .ptr = shared, .vtable = &.{ .alloc = alloc, .resize = resize, .remap = remap, .free = free } };
    }

    fn locked(context: *anyopaque) *ThreadSafeAllocator {
        const shared: *ThreadSafeAllocator = @ptrCast(@alignCast(context));
        _ = std.c.pthread_mutex_lock(&shared.mutex);
        return shared;
    }

    fn unlock(shared: *ThreadSafeAllocator) void {
        _ = std.c.pthread_mutex_unlock(&shared.mutex);
    }

    fn alloc(context: *anyopaque, len: usize, alignment: std.mem.Alignment, ret_addr: usize) ?[*]u8 {
        const shared = locked(context);
        defer shared.unlock();
        return shared.child.rawAlloc(len, alignment, ret_addr);
    }

    fn resize(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) bool {
        const shared = locked(context);
        defer shared.unlock();
        return shared.child.rawResize(memory, alignment, new_len, ret_addr);
    }

    fn remap(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) ?[*]u8 {
        const shared = locked(context);
        defer shared.unlock();
        return shared.child.rawRemap(memory, alignment, new_len, ret_addr);
    }

    fn free(context: *anyopaque, memory: []u8, alignment: std.mem.Alignment, ret_addr: usize) void {
        const shared = locked(context);
        defer shared.unlock();
        shared.child.rawFree(memory, alignment, ret_addr);
    }
};
