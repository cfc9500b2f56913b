// SPDX-License-Identifier: MIT
const std = @import("std");

/// The C sources are listed once, for Meson: every quoted name that ends in .c.
const meson_list = @embedFile("libvmarena/meson.build");
const separate = "guarded.c";

const flags = [_][]const u8{
    "-std=c11",
    "-D_GNU_SOURCE",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    // Zig traps undefined behaviour in C by default, and the fence's arithmetic on addresses is meant.
    "-fno-sanitize=undefined",
};

fn cSources(allocator: std.mem.Allocator) []const []const u8 {
    var list: std.ArrayList([]const u8) = .empty;
    // Split at every quote: a name is a piece without blanks, whatever apostrophes the comments hold.
    var pieces = std.mem.splitScalar(u8, meson_list, '\'');
    while (pieces.next()) |name| {
        if (!std.mem.endsWith(u8, name, ".c") or std.mem.indexOfAny(u8, name, " \n") != null) continue;
        if (std.mem.eql(u8, name, separate)) continue;
        list.append(allocator, name) catch @panic("out of memory");
    }
    return list.items;
}

fn addLibrary(b: *std.Build, target: std.Build.ResolvedTarget, optimize: std.builtin.OptimizeMode) *std.Build.Step.Compile {
    const library = b.addLibrary(.{
        .name = "vmarena",
        .linkage = .static,
        .root_module = b.createModule(.{ .target = target, .optimize = optimize, .link_libc = true }),
    });
    const root = b.path("libvmarena");
    library.root_module.addIncludePath(b.path("include"));
    library.root_module.addCSourceFiles(.{ .root = root, .files = cSources(b.allocator), .flags = &flags });
    // Its copy loops must stay loops: see guarded.c.
    library.root_module.addCSourceFiles(.{ .root = root, .files = &.{separate}, .flags = &(flags ++ .{"-fno-builtin"}) });
    library.installHeadersDirectory(b.path("include"), "", .{});
    return library;
}

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});
    const system = b.option(bool, "system", "Link the installed libvmarena found by pkg-config instead of building it in") orelse false;

    const module = b.addModule("vmarena", .{
        .root_source_file = b.path("bindings/zig/vmarena.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
    });
    if (system) {
        module.linkSystemLibrary("vmarena", .{ .use_pkg_config = .force });
    } else {
        const library = addLibrary(b, target, optimize);
        module.linkLibrary(library);
        b.installArtifact(library);
    }

    const tests = b.createModule(.{
        .root_source_file = b.path("bindings/zig/tests.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
        .imports = &.{.{ .name = "vmarena", .module = module }},
    });
    tests.addIncludePath(b.path("include"));
    tests.addCSourceFiles(.{ .root = b.path("bindings/zig"), .files = &.{"layout.c"}, .flags = &.{ "-std=c11", "-D_GNU_SOURCE" } });
    const run = b.addRunArtifact(b.addTest(.{ .root_module = tests }));
    b.step("test", "Run the tests of the Zig binding").dependOn(&run.step);

    const bench_module = b.createModule(.{
        .root_source_file = b.path("bindings/zig/bench.zig"),
        .target = target,
        .optimize = .ReleaseFast,
        .link_libc = true,
        .imports = &.{.{ .name = "vmarena", .module = module }},
    });
    const bench = b.addRunArtifact(b.addExecutable(.{ .name = "bench", .root_module = bench_module }));
    b.step("bench", "Measure against std.heap.ArenaAllocator; with -Doptimize=ReleaseFast").dependOn(&bench.step);

    const experiments = b.step("experiments", "Build the experiments of examples/ in Zig");
    for ([_][]const u8{
        "00-article/article",             "01-protect/protect", "02-demand-paging/demand_paging",
        "03-copy-on-write/copy_on_write", "04-overrun/overrun", "05-segv-or-bus/segv_or_bus",
        "06-tlb/tlb",                     "07-maps/maps",       "08-file/file",
        "09-page-size/page_size",
    }) |path| {
        const source = b.createModule(.{
            .root_source_file = b.path(b.fmt("examples/{s}.zig", .{path})),
            .target = target,
            .optimize = optimize,
            .link_libc = true,
            .imports = &.{.{ .name = "experiment", .module = b.createModule(.{
                .root_source_file = b.path("examples/experiment.zig"),
                .target = target,
                .optimize = optimize,
                .link_libc = true,
                .imports = &.{.{ .name = "vmarena", .module = module }},
            }) }},
        });
        const program = b.addExecutable(.{ .name = std.fs.path.basename(path), .root_module = source });
        experiments.dependOn(&b.addInstallArtifact(program, .{}).step);
    }
}
