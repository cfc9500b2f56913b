// SPDX-License-Identifier: MIT
const std = @import("std");
const vmarena = @import("vmarena");
const c = vmarena.c;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

const Search = struct { address: u64, found: bool = false };

fn isMapped(search: *Search, mapping: *const c.Mapping) bool {
    if (mapping.start <= search.address and search.address < mapping.end) {
        search.found = mapping.owner == .arena and std.mem.eql(u8, std.mem.span(mapping.owner_name.?), "inspected");
        return false;
    }
    return true;
}

fn addBytes(bytes: *u64, run: *const c.Pages) bool {
    bytes.* += run.end - run.start;
    return true;
}

test "what the system tells of this process" {
    var arena = try vmarena.Arena.init(.{ .name = "inspected", .huge = .never });
    defer arena.deinit();
    const page = vmarena.pageSize();
    const memory = arena.allocBytes(10 * page, page).?[0 .. 10 * page];
    const before = try vmarena.inspect.threadFaultCounts();
    @memset(memory[0 .. 2 * page], 1);
    try expect((try vmarena.inspect.threadFaultCounts()).minor >= before.minor + 2);
    try expect((try vmarena.inspect.faultCounts(0)).minor >= before.minor + 2);
    var search: Search = .{ .address = @intFromPtr(memory.ptr) };
    try vmarena.inspect.maps(0, &search, isMapped);
    try expect(search.found);
    var resident: u64 = 0;
    try expectEqual(c.page_resident, try vmarena.inspect.residency(0, memory, c.page_resident, &resident, addBytes));
    try expectEqual(2 * page, resident);
    try expect((try vmarena.inspect.totals(0)).rss > 0);
    try std.testing.expectError(error.NoSuchProcess, vmarena.inspect.totals(0x3fffffff));
}
