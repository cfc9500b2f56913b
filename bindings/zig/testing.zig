// SPDX-License-Identifier: MIT
//! In place of std.testing.allocator: every allocation guarded, and what a test does not free fails that test, as with
//! std's.
//!
//!     const allocator = vmarena.testing.allocator;
//!     test "parse" {
//!         try parse(allocator, input);
//!     }
//!
//! A fault that no test catches is written to standard error in words, with the object, before Zig prints its trace.
//!
//! Zig's test runner looks for leaks in std.testing.allocator alone, test by test. So each object of ours has a token
//! there, allocated in the name of whoever allocated the object, and freed with it.

const std = @import("std");
const builtin = @import("builtin");
const c = @import("c.zig");
const faults = @import("fault.zig");
const GuardedAllocator = @import("guarded.zig").GuardedAllocator;

pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = alloc,
    .resize = std.mem.Allocator.noResize,
    .remap = remap,
    .free = free,
} };

/// All objects, of whatever test. Made at the first allocation.
var shared: std.atomic.Value(?*c.Heap) = .init(null);

/// Fails for what the running test has not freed, each logged, before the test's end does.
pub fn expectNoLeaks() error{Leaked}!void {
    if (countLive(true) != 0) return error.Leaked;
}

/// Objects of the running test that are not freed.
pub fn countLeaks() usize {
    return countLive(false);
}

/// Allocations so far, of all tests.
pub fn countAllocations() u64 {
    var stats: c.HeapStats = undefined;
    c.vmarena_heap_stats(shared.load(.acquire), &stats);
    return stats.allocs;
}

const Count = struct { heap: *c.Heap, log: bool, count: usize = 0 };

fn countLive(log: bool) usize {
    const heap = shared.load(.acquire) orelse return 0;
    var count: Count = .{ .heap = heap, .log = log };
    _ = c.vmarena_heap_for_each(heap, false, countOne, &count);
    return count.count;
}

fn countOne(object: *const c.HeapObject, arg: ?*anyopaque) callconv(.c) bool {
    const count: *Count = @ptrCast(@alignCast(arg.?));
    if (!tokens.isOfThisTest(object.start)) return true;
    count.count += 1;
    const guarded: GuardedAllocator = .{ .heap = count.heap };
    if (count.log) std.log.err("memory address 0x{x} leaked: {d} bytes: {f}", .{ object.start, object.size, guarded.stack(object.alloc_stack) });
    return true;
}

fn make() ?*c.Heap {
    var made = GuardedAllocator.init(.{ .name = "testing" }) catch return null;
    faults.reportFaults(2) catch {}; // without it a fault is Zig's segmentation fault alone
    const other = shared.cmpxchgStrong(null, made.heap, .acq_rel, .acquire) orelse return made.heap;
    made.destroy(); // another thread was first
    return other;
}

fn alloc(_: *anyopaque, len: usize, alignment: std.mem.Alignment, ret_addr: usize) ?[*]u8 {
    const heap = shared.load(.acquire) orelse make() orelse return null;
    const object = GuardedAllocator.vtable.alloc(heap, len, alignment, ret_addr) orelse return null;
    if (tokens.add(@intFromPtr(object), ret_addr)) return object;
    GuardedAllocator.vtable.free(heap, object[0..len], alignment, ret_addr);
    return null;
}

fn remap(_: *anyopaque, memory: []u8, alignment: std.mem.Alignment, new_len: usize, ret_addr: usize) ?[*]u8 {
    const moved = GuardedAllocator.vtable.remap(shared.load(.acquire).?, memory, alignment, new_len, ret_addr) orelse return null;
    tokens.move(@intFromPtr(memory.ptr), @intFromPtr(moved));
    return moved;
}

fn free(_: *anyopaque, memory: []u8, alignment: std.mem.Alignment, ret_addr: usize) void {
    tokens.remove(@intFromPtr(memory.ptr), ret_addr);
    GuardedAllocator.vtable.free(shared.load(.acquire).?, memory, alignment, ret_addr);
}

/// What stands for our objects in std.testing.allocator. Outside of tests there is nothing.
const tokens = struct {
    /// A byte of std's, and the test in which it was allocated.
    const Token = struct { byte: *[1]u8, generation: usize };

    var lock: std.atomic.Mutex = .unlocked;
    var of_object: std.AutoHashMapUnmanaged(usize, Token) = .empty;

    fn acquire() void {
        while (!lock.tryLock()) std.atomic.spinLoopHint();
    }

    fn add(object: usize, ret_addr: usize) bool {
        if (!builtin.is_test) return true;
        acquire();
        defer lock.unlock();
        const generation = generations.current();
        of_object.ensureUnusedCapacity(std.heap.page_allocator, 1) catch return false;
        const byte = std.testing.allocator.rawAlloc(1, .@"1", ret_addr) orelse return false;
        of_object.putAssumeCapacity(object, .{ .byte = byte[0..1], .generation = generation });
        return true;
    }

    /// What an earlier test allocated, std's runner has reported and taken away.
    fn remove(object: usize, ret_addr: usize) void {
        if (!builtin.is_test) return;
        acquire();
        defer lock.unlock();
        const token = (of_object.fetchRemove(object) orelse return).value;
        if (token.generation == generations.current()) std.testing.allocator.rawFree(token.byte, .@"1", ret_addr);
    }

    /// There is room: the old entry's.
    fn move(from: usize, to: usize) void {
        if (!builtin.is_test or from == to) return;
        acquire();
        defer lock.unlock();
        of_object.putAssumeCapacity(to, (of_object.fetchRemove(from) orelse return).value);
    }

    fn isOfThisTest(object: usize) bool {
        if (!builtin.is_test) return true;
        acquire();
        defer lock.unlock();
        const token = of_object.get(object) orelse return false;
        return token.generation == generations.current();
    }
};

/// Tells tests apart. The runner makes std.testing.allocator anew for each test (and each input of a fuzz test): so its
/// backing allocator is marked with a number, and a mark that is gone is a new test. Pages come from where they came from.
const generations = struct {
    var count: usize = 0;
    /// A variable, so that no compiler gives it the address of the original.
    var marked: std.mem.Allocator.VTable = undefined;

    fn backing() *std.mem.Allocator {
        const instance = &std.testing.allocator_instance;
        return if (@hasField(@TypeOf(instance.*), "backing")) &instance.backing else &instance.backing_allocator;
    }

    /// To be called with the lock held. 0: a runner with an allocator of its own, whose tests are one to us.
    fn current() usize {
        const allocator_of_pages = backing();
        if (allocator_of_pages.vtable == &marked) return @intFromPtr(allocator_of_pages.ptr);
        if (allocator_of_pages.vtable != std.heap.page_allocator.vtable) return 0;
        count += 1;
        marked = std.heap.page_allocator.vtable.*;
        allocator_of_pages.* = .{ .ptr = @ptrFromInt(count), .vtable = &marked };
        return count;
    }
};
