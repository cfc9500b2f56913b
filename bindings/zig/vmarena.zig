// SPDX-License-Identifier: MIT
//! libvmarena for Zig: arenas between guard pages as std.mem.Allocator, and memory faults as values.
//!
//! What may fault is done in C (tryRead, tryWrite, tryCopy), so that no Zig frame is crossed. catchFault crosses frames:
//! a fault skips the `defer` and `errdefer` of everything the function called.

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

const errors = @import("error.zig");
pub const Error = errors.Error;
pub const explain = errors.explain;

const faults = @import("fault.zig");
pub const Fault = faults.Fault;
pub const Outcome = faults.Outcome;
pub const Done = faults.Done;
pub const catchFault = faults.catchFault;
pub const reportFaults = faults.reportFaults;
pub const takesAnyPattern = faults.takesAnyPattern;
pub const tryRead = faults.tryRead;
pub const tryWrite = faults.tryWrite;
pub const tryCopy = faults.tryCopy;
pub const tryFill = faults.tryFill;
pub const tryCompare = faults.tryCompare;

pub const Arena = @import("arena.zig").Arena;
pub const ThreadSafeAllocator = @import("arena.zig").ThreadSafeAllocator;
pub const GuardedAllocator = @import("guarded.zig").GuardedAllocator;
pub const View = @import("view.zig").View;
pub const Snapshot = @import("snapshot.zig").Snapshot;
pub const inspect = @import("inspect.zig");
pub const testing = @import("testing.zig");

const fenced = @import("fenced.zig");
pub const Side = fenced.Side;
pub const Fenced = fenced.Fenced;
pub const runFenced = fenced.runFenced;
pub const fuzzFenced = fenced.fuzzFenced;

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
    try errors.check(c.vmarena_caps(&found));
    return found;
}
