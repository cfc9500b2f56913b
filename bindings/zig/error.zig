// SPDX-License-Identifier: MIT
//! Failures of the C library as Zig errors.

const std = @import("std");
const c = @import("c.zig");

/// What the library's negative errnos become. `explain` has the sentence.
pub const Error = error{ OutOfMemory, InvalidArgument, AccessDenied, NotPermitted, Stale, SlackOverwritten, Unsupported, BadHandle, OutOfRange, Busy, NotFound, NoSuchProcess, Unexpected };

pub fn check(code: c_int) Error!void {
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
