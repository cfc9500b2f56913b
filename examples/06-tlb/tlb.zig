// SPDX-License-Identifier: MIT
//! The TLB remembers translations, one a page: with larger pages it reaches further, and random reads are faster.
const std = @import("std");
const x = @import("experiment");
const vmarena = x.vmarena;

const mib = 1 << 20;
const size = 256 * mib;
const reads = 1_000_000;
const rounds = 3;

/// Milliseconds for so many reads, each at an address that depends on the value read before.
fn randomReads(words: []const u64, seed: u64) f64 {
    var state = seed;
    const start = x.nowMs();
    for (0..reads) |_| {
        state = state *% 6364136223846793005 +% 1442695040888963407;
        state +%= words[(state >> 33) % words.len];
    }
    const elapsed = x.nowMs() - start;
    std.mem.doNotOptimizeAway(state);
    return elapsed;
}

const Filled = struct {
    arena: vmarena.Arena,
    words: []u64,

    fn init(huge: vmarena.Huge) !Filled {
        const arena = try vmarena.Arena.init(.{ .reserve = size, .huge = huge, .name = "tlb" });
        const bytes = x.mustAlloc(arena, size);
        const words = @as([*]u64, @ptrCast(@alignCast(bytes.ptr)))[0 .. size / 8];
        for (words, 0..) |*word, i| word.* = i;
        return .{ .arena = arena, .words = words };
    }
    fn hugeMib(filled: Filled) usize {
        return filled.arena.stats().huge / mib;
    }
};

pub fn main() !void {
    var small = try Filled.init(.never);
    defer small.arena.deinit();
    var huge = try Filled.init(.transparent);
    defer huge.arena.deinit();
    const all = size / mib;
    x.say("asked for small pages of {d} KiB: {d} of {d} MiB are on huge pages", .{ vmarena.pageSize() / 1024, small.hugeMib(), all });
    const huge_page = (try vmarena.caps()).huge_page_size / 1024;
    x.say("asked for huge pages of {d} KiB: {d} of {d} MiB are on huge pages", .{ huge_page, huge.hugeMib(), all });

    var best_small: f64 = 1e30;
    var best_huge: f64 = 1e30;
    for (0..rounds) |round| { // each elsewhere, so that the caches do not know it yet
        best_small = @min(best_small, randomReads(small.words, round + 1));
        best_huge = @min(best_huge, randomReads(huge.words, round + 1));
    }
    x.say("{d} random reads, best of {d}: {d:.1} ms in the first, {d:.1} ms in the second", .{ reads, rounds, best_small, best_huge });
    if (huge.hugeMib() == all and small.hugeMib() == 0) {
        x.say("on huge pages that is {d:.2} times as fast", .{best_small / best_huge});
    } else {
        x.say("huge pages were not obtained as asked: nothing is claimed", .{});
    }
}
