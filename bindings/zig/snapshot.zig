// SPDX-License-Identifier: MIT
const c = @import("c.zig");
const errors = @import("error.zig");
const Arena = @import("arena.zig").Arena;
const visitor = @import("inspect.zig").visitor;
const Error = errors.Error;
const check = errors.check;

/// A point in an arena's life whose contents can be brought back. May be freed before or after the arena.
pub const Snapshot = struct {
    raw: *c.Snapshot,

    pub fn take(arena: Arena, tracking: c.Tracking) Error!Snapshot {
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
