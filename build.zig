// SPDX-License-Identifier: MIT
const std = @import("std");

/// Zig 0.17 writes the modes in lower case.
const Mode = std.builtin.OptimizeMode;
const debug: Mode = if (@hasField(Mode, "debug")) .debug else .Debug;
const fast: Mode = if (@hasField(Mode, "fast")) .fast else .ReleaseFast;

const flags = [_][]const u8{
    "-std=gnu11",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    // The heap's stacks are followed through them.
    "-fno-omit-frame-pointer",
    // Zig traps undefined behaviour in C by default, and the fence's arithmetic on addresses is meant.
    "-fno-sanitize=undefined",
};

/// Every C file below libvmarena/, as paths from there. The test "sources" holds Meson's list against the same files.
fn cSources(b: *std.Build) ![]const []const u8 {
    const io = b.graph.io;
    // Zig 0.17 remembers what build.zig asked for, and must know which folders to look at again.
    const remembers = @hasDecl(std.Build, "dependOnDirectoryContents");
    if (remembers) b.dependOnDirectoryContents(b.path("libvmarena"));
    const options: std.Io.Dir.OpenOptions = .{ .iterate = true };
    const root = if (@hasField(std.Build, "root")) b.root else b.build_root.handle;
    const folder = try root.openDir(io, "libvmarena", options);
    defer folder.close(io);
    var walker = try folder.walk(b.allocator);
    defer walker.deinit();
    var list: std.ArrayList([]const u8) = .empty;
    while (try walker.next(io)) |entry| {
        const path = b.dupe(entry.path);
        if (remembers and entry.kind == .directory) b.dependOnDirectoryContents(b.path("libvmarena").path(b, path));
        if (std.mem.endsWith(u8, path, ".c")) try list.append(b.allocator, path);
    }
    std.mem.sort([]const u8, list.items, {}, precedes); // the folder's order is the file system's
    return list.items;
}

fn precedes(_: void, left: []const u8, right: []const u8) bool {
    return std.mem.lessThan(u8, left, right);
}

/// The copy loops of this file must not become calls of memcpy: see there.
fn mustKeepLoops(path: []const u8) bool {
    const name = std.fs.path.basename(path);
    return std.mem.eql(u8, name, "safe_access.c");
}

fn addLibrary(b: *std.Build, target: std.Build.ResolvedTarget, optimize: Mode) *std.Build.Step.Compile {
    const library = b.addLibrary(.{
        .name = "vmarena",
        .linkage = .static,
        .root_module = b.createModule(.{ .target = target, .optimize = optimize, .link_libc = true }),
    });
    library.root_module.addIncludePath(b.path("include"));
    library.root_module.addIncludePath(b.path("libvmarena"));
    const root = b.path("libvmarena");
    for (cSources(b) catch |err| std.debug.panic("libvmarena: {t}", .{err})) |path| {
        const own: []const []const u8 = if (mustKeepLoops(path)) &(flags ++ .{"-fno-builtin"}) else &flags;
        library.root_module.addCSourceFile(.{ .file = root.path(b, path), .flags = own });
    }
    library.installHeadersDirectory(b.path("include"), "", .{});
    return library;
}

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    // A program that says nothing has the library as fast as it gets, and the module, which is Zig, in its own mode.
    const asked = b.option(Mode, "optimize", "Mode of the C library (ReleaseFast), and of the module and the tests");
    const optimize = asked orelse debug;
    if (target.result.os.tag == .windows)
        std.process.fatal("libvmarena does not support Windows: it needs mmap, mprotect and sigaction. WSL 2 runs it, as Linux.", .{});
    const system = b.option(bool, "system", "Link the installed libvmarena found by pkg-config instead of building it in") orelse false;

    const module = b.addModule("vmarena", .{
        .root_source_file = b.path("bindings/zig/vmarena.zig"),
        .target = target,
        .optimize = asked,
        .link_libc = true,
    });
    if (system) {
        module.linkSystemLibrary("vmarena", .{ .use_pkg_config = .force });
    } else {
        const library = addLibrary(b, target, asked orelse fast);
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
    tests.addCSourceFiles(.{ .root = b.path("bindings/zig/tests"), .files = &.{"layout.c"}, .flags = &.{"-std=c11"} });
    const run = b.addRunArtifact(b.addTest(.{ .root_module = tests }));
    b.step("test", "Run the tests of the Zig binding").dependOn(&run.step);

    const bench_module = b.createModule(.{
        .root_source_file = b.path("bindings/zig/bench.zig"),
        .target = target,
        .optimize = fast,
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
