// SPDX-License-Identifier: MIT
const std = @import("std");
const c = @import("c.zig");
const errors = @import("error.zig");
const Error = errors.Error;
const check = errors.check;

/// A file as memory between two guards. It may shrink while it is mapped: read it with tryCopy, which returns the fault.
pub const View = struct {
    raw: *c.View,
    mode: Mode,

    pub const Mode = c.ViewMode;
    pub const OpenError = Error || error{ FileNotFound, IsDir, NotRegular, Empty };

    pub fn open(path: [*:0]const u8, options: c.ViewOptions) OpenError!View {
        var raw: ?*c.View = null;
        try checkOpen(c.vmarena_view_open_with(&raw, path, &options));
        return .{ .raw = raw.?, .mode = options.mode };
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
    pub fn bytes(view: View) []const u8 {
        return view.raw.data[0..view.raw.size];
    }
    /// To be written to: the file in mode `shared`, private copies of its pages in `copy_on_write`.
    pub fn writableBytes(view: View) error{ReadOnly}![]u8 {
        if (view.mode == .read) return error.ReadOnly;
        return view.raw.data[0..view.raw.size];
    }
    /// Of an open descriptor, which stays the caller's.
    pub fn openFile(fd: c_int, options: c.ViewOptions) OpenError!View {
        var raw: ?*c.View = null;
        try checkOpen(c.vmarena_view_open_fd(&raw, fd, &options));
        return .{ .raw = raw.?, .mode = options.mode };
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
