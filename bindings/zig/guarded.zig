// SPDX-License-Identifier: MIT
const std = @import("std");
const c = @import("c.zig");
const errors = @import("error.zig");
const Error = errors.Error;
const check = errors.check;

/// In place of std.heap.DebugAllocator in tests of code that handles memory itself: every allocation has pages and a guard
/// of its own, so that an overrun faults at the byte, a freed object faults at its next use, and deinit() reports what was
/// never freed. Any thread may use the allocator.
///
///     var guarded = try GuardedAllocator.init(.{});
///     defer guarded.deinit() catch |err| @panic(@errorName(err));
///     try parse(guarded.allocator(), input);
pub const GuardedAllocator = struct {
    heap: *c.Heap,
    /// Where the report function finds the heap; null where the options have one of their own.
    report_heap: ?**c.Heap = null,

    pub const DeinitError = error{ Leaked, SlackOverwritten };

    /// What the heap finds wrong (a double free, a wrong size or alignment, overwritten slack) panics, after a report with the
    /// stacks of the allocation and of the first free, unless options.report is set.
    pub fn init(options: c.HeapOptions) Error!GuardedAllocator {
        var wanted = options;
        const own_report = options.report == null;
        const report_heap: ?**c.Heap = if (own_report) try std.heap.c_allocator.create(*c.Heap) else null;
        errdefer if (report_heap) |place| std.heap.c_allocator.destroy(place);
        if (own_report) {
            wanted.report = &panicOnReport;
            wanted.report_arg = @ptrCast(report_heap);
        }
        var heap: ?*c.Heap = null;
        try check(c.vmarena_heap_create(&heap, &wanted));
        if (report_heap) |place| place.* = heap.?;
        return .{ .heap = heap.?, .report_heap = report_heap };
    }

    fn panicOnReport(report: *const c.HeapReport, arg: ?*anyopaque) callconv(.c) void {
        if (report.kind == .near_limit) return;
        const heap: *const *c.Heap = @ptrCast(@alignCast(arg.?));
        // The library has just made its sentence about the error.
        std.debug.print("{s}\n", .{errors.explain()});
        const object = &report.object;
        if (object.state != .none) std.debug.print("allocated: {f}", .{stackOf(heap.*, object.alloc_stack)});
        if (object.state == .freed) std.debug.print("freed first: {f}", .{stackOf(heap.*, object.free_stack)});
        std.debug.panic("{t}", .{report.kind});
    }

    fn stackOf(heap: *const c.Heap, id: u32) Stack {
        return .{ .heap = heap, .id = id };
    }

    /// A stack that the heap keeps, of HeapObject.alloc_stack and the like; `{f}` prints it as DebugAllocator's are.
    pub fn stack(guarded: GuardedAllocator, id: u32) Stack {
        return stackOf(guarded.heap, id);
    }

    pub const Stack = struct {
        heap: *const c.Heap,
        id: u32,

        pub fn format(kept: Stack, writer: *std.Io.Writer) std.Io.Writer.Error!void {
            var frames: [c.heap_stack_depth_max]usize = undefined;
            const count = @min(frames.len, c.vmarena_heap_stack(kept.heap, kept.id, &frames, frames.len));
            if (count == 0) return writer.writeAll("no stack is known\n");
            const trace: std.debug.StackTrace = .{ .return_addresses = frames[0..count], .skipped = .none };
            try std.debug.FormatStackTrace.format(.{ .stack_trace = trace, .terminal_mode = std.log.terminalMode() }, writer);
        }
    };

    const Leaks = struct { heap: *const c.Heap, count: usize = 0 };

    fn logLeak(object: *const c.HeapObject, arg: ?*anyopaque) callconv(.c) bool {
        const leaks: *Leaks = @ptrCast(@alignCast(arg.?));
        leaks.count += 1;
        std.log.err("memory address 0x{x} leaked: {d} bytes, the allocation number {d}: {f}", .{
            object.start, object.size, object.alloc_number, stackOf(leaks.heap, object.alloc_stack),
        });
        return true;
    }

    /// Allocations that were not freed, each logged with its stack.
    pub fn detectLeaks(guarded: GuardedAllocator) usize {
        var leaks: Leaks = .{ .heap = guarded.heap };
        _ = c.vmarena_heap_for_each(guarded.heap, false, logLeak, &leaks);
        return leaks.count;
    }

    /// Checks what is left, then unmaps everything.
    pub fn deinit(guarded: *GuardedAllocator) DeinitError!void {
        const intact = c.vmarena_heap_check(guarded.heap) >= 0;
        const leaks = guarded.detectLeaks();
        guarded.destroy();
        if (!intact) return error.SlackOverwritten;
        if (leaks != 0) return error.Leaked;
    }

    /// Unmaps everything, unchecked.
    pub fn destroy(guarded: *GuardedAllocator) void {
        c.vmarena_heap_destroy(guarded.heap);
        if (guarded.report_heap) |place| std.heap.c_allocator.destroy(place);
        guarded.* = undefined;
    }

    pub fn stats(guarded: GuardedAllocator) c.HeapStats {
        var found: c.HeapStats = undefined;
        c.vmarena_heap_stats(guarded.heap, &found);
        return found;
    }

    pub fn allocator(guarded: *const GuardedAllocator) std.mem.Allocator {
        return .{ .ptr = guarded.heap, .vtable = &vtable };
    }

    pub const vtable: std.mem.Allocator.VTable = .{
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
