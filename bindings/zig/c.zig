// SPDX-License-Identifier: MIT
//! The C API, declaration by declaration; tests.zig compares layouts and constants with the headers through layout.c.
//! What the functions do, and their errors, is in vmarena/*.h. struct vmarena_scope and what works with it are left out:
//! Zig cannot call sigsetjmp.

pub const none: c_uint = 0;
pub const read: c_uint = 1;
pub const write: c_uint = 2;
pub const exec: c_uint = 4;

pub const lock: c_uint = 1;
pub const dont_dump: c_uint = 2;
pub const dont_fork: c_uint = 4;
pub const wipe_on_fork: c_uint = 8;
pub const prefault: c_uint = 16;
pub const allow_exec: c_uint = 32;

pub const Fence = enum(c_uint) { off, end, start };
pub const GuardKind = enum(c_uint) { auto, marker, protect };
pub const CommitPolicy = enum(c_uint) { auto, noreserve, protect };
pub const Huge = enum(c_uint) { system, never, transparent, collapse, size_2m, size_1g };
pub const Access = enum(c_uint) { unknown, read, write, exec };
pub const Kind = enum(c_uint) { other, overrun, underrun, use_after_free, protected, unmapped, past_end_of_file, hardware };

pub const Options = extern struct {
    reserve: usize = 0,
    commit: usize = 0,
    guard: usize = 0,
    huge: Huge = .system,
    fence: Fence = .off,
    guard_kind: GuardKind = .auto,
    commit_policy: CommitPolicy = .auto,
    flags: c_uint = 0,
    name: ?[*:0]const u8 = null,
};

/// The two members that the inline fast path uses; more follow.
pub const Handle = extern struct {
    cursor: usize,
    limit: usize,
};

pub const Mark = extern struct {
    arena: u64,
    generation: u64,
    cursor: usize,
    objects: usize,
};

pub const Stats = extern struct {
    reserved: usize,
    committed: usize,
    used: usize,
    peak: usize,
    objects: usize,
    resident: usize,
    huge: usize,
    guard: usize,
    page_size: usize,
    prot: c_uint,
    flags: c_uint,
    huge_asked: Huge,
    huge_obtained: Huge,
    guard_kind: GuardKind,
    commit_policy: CommitPolicy,
    named: bool,
    sealed: bool,
    annotated: bool,
};

pub const Fault = extern struct {
    signo: c_int,
    code: c_int,
    address: usize,
    pc: usize,
    access: Access,
    kind: Kind,
    object: usize,
    object_size: usize,
    distance: isize,
    owner: usize,
    owner_name: [32]u8,
    file_offset: u64,
    reserved: [4]u64,
};

pub const Thp = enum(c_uint) { absent, never, madvise, always };

pub const Caps = extern struct {
    page_size: usize,
    huge_page_size: usize,
    thp_sizes: u64,
    hugetlb_2m_free: usize,
    hugetlb_1g_free: usize,
    map_entry_limit: usize,
    protection_keys: usize,
    thp: Thp,
    guard_markers: bool,
    vectored_madvise: bool,
    collapse: bool,
    populate: bool,
    wipe_on_fork: bool,
    procmap_query: bool,
    pagemap_scan: bool,
    seal: bool,
    userfaultfd: bool,
    userfaultfd_wp: bool,
    perf_counters: bool,
    perf_tlb: bool,
    vma_names: bool,
    fault_access: bool,
    strict_overcommit: bool,
};

pub extern fn vmarena_version() [*:0]const u8;
pub extern fn vmarena_explain() [*:0]const u8;
pub extern fn vmarena_page_size() usize;
pub extern fn vmarena_page_round_up(size: usize) usize;
pub extern fn vmarena_caps(out: *Caps) c_int;
pub extern fn vmarena_create(out: *?*Handle, options: ?*const Options) c_int;
pub extern fn vmarena_destroy(arena: ?*Handle) void;
pub extern fn vmarena_alloc_slow(arena: ?*Handle, size: usize, alignment: usize) ?[*]u8;
pub extern fn vmarena_alloc_zeroed(arena: ?*Handle, size: usize, alignment: usize) ?[*]u8;
pub extern fn vmarena_resize(arena: ?*Handle, object: ?[*]u8, old_size: usize, new_size: usize) ?[*]u8;
pub extern fn vmarena_mark(arena: ?*const Handle) Mark;
pub extern fn vmarena_rewind(arena: ?*Handle, mark: Mark) c_int;
pub extern fn vmarena_reset(arena: ?*Handle, keep_bytes: usize) c_int;
pub extern fn vmarena_check(arena: ?*const Handle) c_int;
pub extern fn vmarena_discard(arena: ?*Handle, start: ?*anyopaque, length: usize) c_int;
pub extern fn vmarena_protect(arena: ?*Handle, prot: c_uint) c_int;
pub extern fn vmarena_protect_range(arena: ?*Handle, start: ?*anyopaque, length: usize, prot: c_uint) c_int;
pub extern fn vmarena_stats(arena: ?*const Handle, out: *Stats) void;
pub extern fn vmarena_owns(arena: ?*const Handle, address: usize) bool;
pub extern fn vmarena_try(body: ?*const fn (?*anyopaque) callconv(.c) void, arg: ?*anyopaque, fault: ?*Fault) c_int;
pub extern fn vmarena_try_any(body: ?*const fn (?*anyopaque) callconv(.c) void, arg: ?*anyopaque, fault: ?*Fault) c_int;
pub extern fn vmarena_copy(to: usize, from: usize, length: usize, fault: ?*Fault) usize;
pub extern fn vmarena_fill(to: usize, byte: c_int, length: usize, fault: ?*Fault) usize;
pub extern fn vmarena_read(address: usize, value: *anyopaque, size: usize, fault: ?*Fault) c_int;
pub extern fn vmarena_write(address: usize, value: *const anyopaque, size: usize, fault: ?*Fault) c_int;
pub const FaultFn = fn (fault: *const Fault, arg: ?*anyopaque) callconv(.c) bool;
pub extern fn vmarena_on_fault(arena: ?*Handle, function: ?*const FaultFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_fault_describe(fault: *const Fault, text: ?[*]u8, size: usize) usize;
