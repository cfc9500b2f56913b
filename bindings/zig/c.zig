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
pub const memfd: c_uint = 64;

pub const Fence = enum(c_uint) { off, end, start };
pub const GuardKind = enum(c_uint) { auto, marker, protect, userfault };
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
    spare: [4]u64,
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
    spare: [4]u64,
};

pub extern fn vmarena_version() [*:0]const u8;
pub extern fn vmarena_explain() [*:0]const u8;
pub extern fn vmarena_last_error() c_int;
pub extern fn vmarena_page_size() usize;
pub extern fn vmarena_page_round_up(size: usize) usize;
pub extern fn vmarena_caps(out: *Caps) c_int;
pub extern fn vmarena_create(out: *?*Handle, options: ?*const Options) c_int;
pub extern fn vmarena_destroy(arena: ?*Handle) void;
pub extern fn vmarena_alloc_slow(arena: ?*Handle, size: usize, alignment: usize) ?[*]u8;
pub extern fn vmarena_alloc_zeroed(arena: ?*Handle, size: usize, alignment: usize) ?[*]u8;
pub extern fn vmarena_resize(arena: ?*Handle, object: ?[*]u8, old_size: usize, new_size: usize) ?[*]u8;
pub extern fn vmarena_free(arena: ?*Handle, object: ?*anyopaque, size: usize) c_int;
pub extern fn vmarena_mark(arena: ?*const Handle) Mark;
pub extern fn vmarena_rewind(arena: ?*Handle, mark: Mark) c_int;
pub extern fn vmarena_reset(arena: ?*Handle, keep_bytes: usize) c_int;
pub extern fn vmarena_check(arena: ?*const Handle) c_int;
pub extern fn vmarena_prefault(arena: ?*Handle, bytes: usize) c_int;
pub extern fn vmarena_seal(arena: ?*Handle) c_int;
pub extern fn vmarena_discard(arena: ?*Handle, start: ?*anyopaque, length: usize) c_int;
pub extern fn vmarena_protect(arena: ?*Handle, prot: c_uint) c_int;
pub extern fn vmarena_protect_range(arena: ?*Handle, start: ?*anyopaque, length: usize, prot: c_uint) c_int;
pub extern fn vmarena_stats(arena: ?*const Handle, out: *Stats) void;
pub extern fn vmarena_info(arena: ?*const Handle, out: *Stats) void;
pub extern fn vmarena_owns(arena: ?*const Handle, address: usize) bool;
pub extern fn vmarena_try(body: ?*const fn (?*anyopaque) callconv(.c) void, arg: ?*anyopaque, fault: ?*Fault) c_int;
pub extern fn vmarena_try_any(body: ?*const fn (?*anyopaque) callconv(.c) void, arg: ?*anyopaque, fault: ?*Fault) c_int;
pub extern fn vmarena_try_in(arena: ?*const Handle, body: ?*const fn (?*anyopaque) callconv(.c) void, arg: ?*anyopaque, fault: ?*Fault) c_int;
pub extern fn vmarena_compare(left: usize, right: usize, length: usize, fault: ?*Fault) usize;
pub extern fn vmarena_copy(to: usize, from: usize, length: usize, fault: ?*Fault) usize;
pub extern fn vmarena_fill(to: usize, byte: c_int, length: usize, fault: ?*Fault) usize;
pub extern fn vmarena_read(address: usize, value: *anyopaque, size: usize, fault: ?*Fault) c_int;
pub extern fn vmarena_write(address: usize, value: *const anyopaque, size: usize, fault: ?*Fault) c_int;
pub const FaultFn = fn (fault: *const Fault, arg: ?*anyopaque) callconv(.c) bool;
pub extern fn vmarena_on_fault(arena: ?*Handle, function: ?*const FaultFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_report_faults(fd: c_int) c_int;
pub extern fn vmarena_fault_describe(fault: *const Fault, text: ?[*]u8, size: usize) usize;

pub const ViewMode = enum(c_uint) { read, copy_on_write, shared };

pub const ViewOptions = extern struct {
    mode: ViewMode = .read,
    fence: Fence = .off,
    huge: Huge = .system,
    flags: c_uint = 0,
    offset: u64 = 0,
    length: usize = 0,
    guard: usize = 0,
    name: ?[*:0]const u8 = null,
};

pub const View = extern struct {
    data: [*]u8,
    size: usize,
    offset: u64,
};

pub const ViewAdvice = enum(c_uint) { normal, sequential, random, will_need, dont_need };

pub const ViewInfo = extern struct {
    mode: ViewMode,
    huge_asked: Huge,
    huge_obtained: Huge,
    file_size: u64,
    capacity: usize,
    resident: usize,
    huge: usize,
    guard: usize,
    tail: usize,
    copied: bool,
    spare: [4]u64,
};

pub const Tracking = enum(c_uint) { auto, file, scan, protect, compare };
pub const Snapshot = opaque {};
pub const SnapshotInfo = extern struct {
    tracking: Tracking,
    used: usize,
    copied: usize,
    restored: usize,
    restores: u64,
    spare: [4]u64,
};

pub extern fn vmarena_snapshot(out: *?*Snapshot, arena: ?*Handle, tracking: Tracking) c_int;
pub extern fn vmarena_restore(arena: ?*Handle, snapshot: ?*Snapshot) c_int;
pub extern fn vmarena_clone(out: *?*Handle, snapshot: ?*Snapshot) c_int;
pub extern fn vmarena_dirty_pages(arena: ?*Handle, snapshot: ?*Snapshot, function: ?*const PagesFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_snapshot_free(snapshot: ?*Snapshot) void;
pub extern fn vmarena_snapshot_info(snapshot: ?*const Snapshot, out: *SnapshotInfo) c_int;

pub const Owner = enum(c_uint) { none, arena, heap, view };
pub const Mapping = extern struct {
    start: u64,
    end: u64,
    offset: u64,
    inode: u64,
    device_major: u32,
    device_minor: u32,
    prot: c_uint,
    shared: bool,
    name: ?[*:0]const u8,
    owner: Owner,
    owner_name: ?[*:0]const u8,
    owner_start: u64,
    owner_end: u64,
    objects: u64,
    spare: [4]u64,
};
pub const MapsFn = fn (mapping: *const Mapping, arg: ?*anyopaque) callconv(.c) c_int;
pub extern fn vmarena_maps(pid: c_int, function: ?*const MapsFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_mapping_at(pid: c_int, address: u64, out: *Mapping, name: ?[*]u8, size: usize) c_int;

pub const page_resident: c_uint = 1;
pub const page_swapped: c_uint = 2;
pub const page_dirty: c_uint = 4;
pub const page_file: c_uint = 8;
pub const page_shared: c_uint = 16;
pub const page_huge: c_uint = 32;
pub const page_guard: c_uint = 64;
pub const page_zero: c_uint = 128;
pub const page_cached: c_uint = 256;
pub const Pages = extern struct { start: u64, end: u64, state: c_uint };
pub const PagesFn = fn (pages: *const Pages, arg: ?*anyopaque) callconv(.c) c_int;
pub extern fn vmarena_residency(pid: c_int, start: u64, length: u64, wanted: c_uint, known: ?*c_uint, function: ?*const PagesFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_frame(address: usize, frame: *u64) c_int;

pub const Totals = extern struct {
    rss: u64,
    pss: u64,
    shared_clean: u64,
    shared_dirty: u64,
    private_clean: u64,
    private_dirty: u64,
    anonymous: u64,
    huge: u64,
    hugetlb: u64,
    swap: u64,
    locked: u64,
    spare: [4]u64,
};
pub extern fn vmarena_totals(pid: c_int, out: *Totals) c_int;
pub extern fn vmarena_fault_counts(minor: ?*u64, major: ?*u64) c_int;
pub extern fn vmarena_thread_fault_counts(minor: ?*u64, major: ?*u64) c_int;
pub extern fn vmarena_process_fault_counts(pid: c_int, minor: ?*u64, major: ?*u64) c_int;

pub const Counter = enum(c_uint) {
    page_faults,
    minor_faults,
    major_faults,
    task_nanoseconds,
    dtlb_load_misses,
    dtlb_store_misses,
    instructions,
    cycles,
};
pub const Counters = opaque {};
pub const Counts = extern struct { value: [8]u64, @"error": [8]c_int, user_only: [8]bool, spare: [4]u64 };
pub extern fn vmarena_counters_open(out: *?*Counters, pid: c_int, flags: c_uint) c_int;
pub extern fn vmarena_counters_read(counters: ?*const Counters, out: *Counts) c_int;
pub extern fn vmarena_counters_close(counters: ?*Counters) void;

pub extern fn vmarena_view_open_with(out: *?*View, path: [*:0]const u8, options: ?*const ViewOptions) c_int;
pub extern fn vmarena_view_open_fd(out: *?*View, fd: c_int, options: ?*const ViewOptions) c_int;
pub extern fn vmarena_view_move(view: ?*View, offset: u64, length: usize) c_int;
pub extern fn vmarena_view_advise(view: ?*View, from: usize, length: usize, advice: ViewAdvice) c_int;
pub extern fn vmarena_view_populate(view: ?*View, from: usize, length: usize) c_int;
pub extern fn vmarena_view_lock(view: ?*View, from: usize, length: usize) c_int;
pub extern fn vmarena_view_unlock(view: ?*View, from: usize, length: usize) c_int;
pub extern fn vmarena_view_on_fault(view: ?*View, function: ?*const FaultFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_view_info(view: ?*const View, out: *ViewInfo) c_int;
pub extern fn vmarena_view_close(view: ?*View) void;
pub extern fn vmarena_view_sync(view: ?*View, from: usize, length: usize) c_int;

pub const heap_stack_depth_max = 64;
pub const Heap = opaque {};
pub const HeapSide = enum(c_uint) { end, start, alternate };
pub const HeapReuse = enum(c_uint) { fifo, random };
pub const HeapFull = enum(c_uint) { fail, unguarded };
pub const HeapState = enum(c_uint) { none, live, freed };
pub const HeapError = enum(c_uint) {
    double_free,
    interior_free,
    invalid_free,
    slack_before,
    slack_after,
    size_mismatch,
    align_mismatch,
    near_limit,
};
pub const HeapCall = enum(c_uint) { in_alloc, in_free, in_realloc, in_check };

pub const HeapObject = extern struct {
    start: usize,
    size: usize,
    @"align": usize,
    state: HeapState,
    side: HeapSide,
    slack_before: usize,
    slack_after: usize,
    alloc_stack: u32,
    free_stack: u32,
    alloc_thread: u32,
    free_thread: u32,
    alloc_number: u64,
    free_number: u64,
    spare: [4]u64,
};

pub const HeapReport = extern struct {
    kind: HeapError,
    call: HeapCall,
    pointer: usize,
    object: HeapObject,
    distance: isize,
    bad: ?[*]u8,
    bad_length: usize,
    found: u8,
    expected: u8,
    given: usize,
    stack: u32,
    thread: u32,
};

pub const HeapReportFn = fn (report: *const HeapReport, arg: ?*anyopaque) callconv(.c) void;
pub const HeapCaptureFn = fn (frames: [*]usize, depth: usize, arg: ?*anyopaque) callconv(.c) usize;
pub const HeapVisitFn = fn (object: *const HeapObject, arg: ?*anyopaque) callconv(.c) bool;

pub const HeapOptions = extern struct {
    name: ?[*:0]const u8 = null,
    reserve: usize = 0,
    @"align": usize = 0,
    guard: usize = 0,
    guard_kind: GuardKind = .auto,
    side: HeapSide = .end,
    reuse: HeapReuse = .fifo,
    quarantine_bytes: usize = 0,
    quarantine_count: usize = 0,
    check_interval: usize = 0,
    sample: usize = 0,
    guard_min: usize = 0,
    guard_max: usize = 0,
    memory_cap: usize = 0,
    full: HeapFull = .fail,
    flags: c_uint = 0,
    stack_depth: c_uint = 0,
    capture: ?*const HeapCaptureFn = null,
    capture_arg: ?*anyopaque = null,
    report: ?*const HeapReportFn = null,
    report_arg: ?*anyopaque = null,
    fallback: ?*const anyopaque = null,
};

pub const HeapStats = extern struct {
    live: usize,
    live_peak: usize,
    live_bytes: usize,
    page_bytes: usize,
    page_peak: usize,
    quarantined: usize,
    quarantined_bytes: usize,
    shortened: u64,
    allocs: u64,
    frees: u64,
    unguarded: u64,
    unsampled: u64,
    failed: u64,
    errors: u64,
    checks: u64,
    reserved: usize,
    committed: usize,
    record_bytes: usize,
    stacks: usize,
    stack_bytes: usize,
    guard: usize,
    guard_kind: GuardKind,
    guard_limit: usize,
    map_entry_limit: usize,
    unlocked: bool,
    forked: bool,
    unfenced: u64,
    spare: [3]u64,
};
pub extern fn vmarena_heap_stats(heap: ?*const Heap, out: *HeapStats) void;

pub extern fn vmarena_heap_create(out: *?*Heap, options: ?*const HeapOptions) c_int;
pub extern fn vmarena_heap_destroy(heap: ?*Heap) void;
pub extern fn vmarena_heap_alloc(heap: ?*Heap, size: usize, alignment: usize) ?[*]u8;
pub extern fn vmarena_heap_realloc(heap: ?*Heap, pointer: ?[*]u8, size: usize) ?[*]u8;
pub extern fn vmarena_heap_free(heap: ?*Heap, pointer: ?[*]u8) c_int;
pub extern fn vmarena_heap_free_sized(heap: ?*Heap, pointer: ?[*]u8, size: usize, alignment: usize) c_int;
pub extern fn vmarena_heap_for_each(heap: ?*Heap, freed: bool, function: *const HeapVisitFn, arg: ?*anyopaque) c_int;
pub extern fn vmarena_heap_find(heap: ?*const Heap, address: usize, object: *HeapObject) c_int;
pub extern fn vmarena_heap_stack(heap: ?*const Heap, stack: u32, frames: [*]usize, count: usize) usize;
pub extern fn vmarena_heap_check(heap: ?*Heap) c_int;
pub extern fn vmarena_heap_owns(heap: ?*const Heap, address: usize) bool;
pub extern fn vmarena_heap_on_fault(heap: ?*Heap, function: ?*const FaultFn, arg: ?*anyopaque) c_int;
