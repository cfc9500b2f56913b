// SPDX-License-Identifier: MIT

test {
    _ = @import("tests/layout.zig");
    _ = @import("tests/arena.zig");
    _ = @import("tests/faults.zig");
    _ = @import("tests/fenced.zig");
    _ = @import("tests/guarded.zig");
    _ = @import("tests/view.zig");
    _ = @import("tests/snapshot.zig");
    _ = @import("tests/inspect.zig");
    _ = @import("tests/testing.zig");
}
