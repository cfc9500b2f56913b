// SPDX-License-Identifier: MIT
//! The C API of libvmarena, declaration by declaration; `sys-test` checks each against the C headers.
//! What the functions do, and their errors, is in `vmarena/*.h`.
//!
//! `struct vmarena_scope` and what works with it are left out: Rust cannot call `sigsetjmp`.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_uint, c_void};

pub const VMARENA_NONE: c_uint = 0;
pub const VMARENA_READ: c_uint = 1;
pub const VMARENA_WRITE: c_uint = 2;
pub const VMARENA_EXEC: c_uint = 4;

pub type vmarena_fence = c_uint;
pub const VMARENA_FENCE_OFF: vmarena_fence = 0;
pub const VMARENA_FENCE_END: vmarena_fence = 1;
pub const VMARENA_FENCE_START: vmarena_fence = 2;

pub type vmarena_commit_policy = c_uint;
pub const VMARENA_COMMIT_AUTO: vmarena_commit_policy = 0;
pub const VMARENA_COMMIT_NORESERVE: vmarena_commit_policy = 1;
pub const VMARENA_COMMIT_PROTECT: vmarena_commit_policy = 2;

pub type vmarena_guard_kind = c_uint;
pub const VMARENA_GUARD_AUTO: vmarena_guard_kind = 0;
pub const VMARENA_GUARD_MARKER: vmarena_guard_kind = 1;
pub const VMARENA_GUARD_PROTECT: vmarena_guard_kind = 2;
pub const VMARENA_GUARD_USERFAULT: vmarena_guard_kind = 3;

pub type vmarena_huge = c_uint;
pub const VMARENA_HUGE_SYSTEM: vmarena_huge = 0;
pub const VMARENA_HUGE_NEVER: vmarena_huge = 1;
pub const VMARENA_HUGE_TRANSPARENT: vmarena_huge = 2;
pub const VMARENA_HUGE_COLLAPSE: vmarena_huge = 3;
pub const VMARENA_HUGE_2M: vmarena_huge = 4;
pub const VMARENA_HUGE_1G: vmarena_huge = 5;

pub const VMARENA_LOCK: c_uint = 1;
pub const VMARENA_DONT_DUMP: c_uint = 2;
pub const VMARENA_DONT_FORK: c_uint = 4;
pub const VMARENA_WIPE_ON_FORK: c_uint = 8;
pub const VMARENA_PREFAULT: c_uint = 16;
pub const VMARENA_ALLOW_EXEC: c_uint = 32;
pub const VMARENA_MEMFD: c_uint = 64;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_options {
    pub reserve: usize,
    pub commit: usize,
    pub guard: usize,
    pub huge: vmarena_huge,
    pub fence: vmarena_fence,
    pub guard_kind: vmarena_guard_kind,
    pub commit_policy: vmarena_commit_policy,
    pub flags: c_uint,
    pub name: *const c_char,
}

/// The two members that the inline fast path uses; more follow.
#[repr(C)]
#[derive(Debug)]
pub struct vmarena {
    pub cursor: usize,
    pub limit: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_mark {
    pub arena: u64,
    pub generation: u64,
    pub cursor: usize,
    pub objects: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_stats {
    pub reserved: usize,
    pub committed: usize,
    pub used: usize,
    pub peak: usize,
    pub objects: usize,
    pub resident: usize,
    pub huge: usize,
    pub guard: usize,
    pub page_size: usize,
    pub prot: c_uint,
    pub flags: c_uint,
    pub huge_asked: vmarena_huge,
    pub huge_obtained: vmarena_huge,
    pub guard_kind: vmarena_guard_kind,
    pub commit_policy: vmarena_commit_policy,
    pub named: bool,
    pub sealed: bool,
    pub annotated: bool,
    pub spare: [u64; 4],
}

pub type vmarena_access = c_uint;
pub const VMARENA_ACCESS_UNKNOWN: vmarena_access = 0;
pub const VMARENA_ACCESS_READ: vmarena_access = 1;
pub const VMARENA_ACCESS_WRITE: vmarena_access = 2;
pub const VMARENA_ACCESS_EXEC: vmarena_access = 3;

pub type vmarena_fault_kind = c_uint;
pub const VMARENA_FAULT_OTHER: vmarena_fault_kind = 0;
pub const VMARENA_FAULT_OVERRUN: vmarena_fault_kind = 1;
pub const VMARENA_FAULT_UNDERRUN: vmarena_fault_kind = 2;
pub const VMARENA_FAULT_USE_AFTER_FREE: vmarena_fault_kind = 3;
pub const VMARENA_FAULT_PROTECTED: vmarena_fault_kind = 4;
pub const VMARENA_FAULT_UNMAPPED: vmarena_fault_kind = 5;
pub const VMARENA_FAULT_PAST_END_OF_FILE: vmarena_fault_kind = 6;
pub const VMARENA_FAULT_HARDWARE: vmarena_fault_kind = 7;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_fault {
    pub signo: c_int,
    pub code: c_int,
    pub address: *mut c_void,
    pub pc: *mut c_void,
    pub access: vmarena_access,
    pub kind: vmarena_fault_kind,
    pub object: *mut c_void,
    pub object_size: usize,
    pub distance: isize,
    pub owner: *const c_void,
    pub owner_name: [c_char; 32],
    pub file_offset: u64,
    pub reserved: [u64; 4],
}

pub type vmarena_fault_fn = Option<unsafe extern "C" fn(fault: *const vmarena_fault, arg: *mut c_void) -> bool>;

pub type vmarena_fault_status = c_uint;
pub const VMARENA_HANDLER_ABSENT: vmarena_fault_status = 0;
pub const VMARENA_HANDLER_INSTALLED: vmarena_fault_status = 1;
pub const VMARENA_HANDLER_DISPLACED: vmarena_fault_status = 2;
pub const VMARENA_HANDLER_HOST: vmarena_fault_status = 3;

pub type vmarena_thp = c_uint;
pub const VMARENA_THP_ABSENT: vmarena_thp = 0;
pub const VMARENA_THP_NEVER: vmarena_thp = 1;
pub const VMARENA_THP_MADVISE: vmarena_thp = 2;
pub const VMARENA_THP_ALWAYS: vmarena_thp = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_caps {
    pub page_size: usize,
    pub huge_page_size: usize,
    pub thp_sizes: u64,
    pub hugetlb_2m_free: usize,
    pub hugetlb_1g_free: usize,
    pub map_entry_limit: usize,
    pub protection_keys: usize,
    pub thp: vmarena_thp,
    pub guard_markers: bool,
    pub vectored_madvise: bool,
    pub collapse: bool,
    pub populate: bool,
    pub wipe_on_fork: bool,
    pub procmap_query: bool,
    pub pagemap_scan: bool,
    pub seal: bool,
    pub userfaultfd: bool,
    pub userfaultfd_wp: bool,
    pub perf_counters: bool,
    pub perf_tlb: bool,
    pub vma_names: bool,
    pub fault_access: bool,
    pub strict_overcommit: bool,
    pub spare: [u64; 4],
}

pub type vmarena_view_mode = c_uint;
pub const VMARENA_VIEW_READ: vmarena_view_mode = 0;
pub const VMARENA_VIEW_COPY_ON_WRITE: vmarena_view_mode = 1;
pub const VMARENA_VIEW_SHARED: vmarena_view_mode = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_view_options {
    pub mode: vmarena_view_mode,
    pub fence: vmarena_fence,
    pub huge: vmarena_huge,
    pub flags: c_uint,
    pub offset: u64,
    pub length: usize,
    pub guard: usize,
    pub name: *const c_char,
}

#[repr(C)]
#[derive(Debug)]
pub struct vmarena_view {
    pub data: *mut c_void,
    pub size: usize,
    pub offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_view_info {
    pub mode: vmarena_view_mode,
    pub huge_asked: vmarena_huge,
    pub huge_obtained: vmarena_huge,
    pub file_size: u64,
    pub capacity: usize,
    pub resident: usize,
    pub huge: usize,
    pub guard: usize,
    pub tail: usize,
    pub copied: bool,
    pub spare: [u64; 4],
}

pub type vmarena_view_advice = c_uint;
pub const VMARENA_VIEW_NORMAL: vmarena_view_advice = 0;
pub const VMARENA_VIEW_SEQUENTIAL: vmarena_view_advice = 1;
pub const VMARENA_VIEW_RANDOM: vmarena_view_advice = 2;
pub const VMARENA_VIEW_WILL_NEED: vmarena_view_advice = 3;
pub const VMARENA_VIEW_DONT_NEED: vmarena_view_advice = 4;

pub type vmarena_tracking = c_uint;
pub const VMARENA_TRACK_AUTO: vmarena_tracking = 0;
pub const VMARENA_TRACK_FILE: vmarena_tracking = 1;
pub const VMARENA_TRACK_SCAN: vmarena_tracking = 2;
pub const VMARENA_TRACK_PROTECT: vmarena_tracking = 3;
pub const VMARENA_TRACK_COMPARE: vmarena_tracking = 4;

/// A snapshot; opaque.
#[repr(C)]
#[derive(Debug)]
pub struct vmarena_snapshot {
    opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_snapshot_info {
    pub tracking: vmarena_tracking,
    pub used: usize,
    pub copied: usize,
    pub restored: usize,
    pub restores: u64,
    pub spare: [u64; 4],
}

pub type vmarena_owner = c_uint;
pub const VMARENA_OWNER_NONE: vmarena_owner = 0;
pub const VMARENA_OWNER_ARENA: vmarena_owner = 1;
pub const VMARENA_OWNER_HEAP: vmarena_owner = 2;
pub const VMARENA_OWNER_VIEW: vmarena_owner = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_mapping {
    pub start: u64,
    pub end: u64,
    pub offset: u64,
    pub inode: u64,
    pub device_major: u32,
    pub device_minor: u32,
    pub prot: c_uint,
    pub shared: bool,
    pub name: *const c_char,
    pub owner: vmarena_owner,
    pub owner_name: *const c_char,
    pub owner_start: u64,
    pub owner_end: u64,
    pub objects: u64,
    pub spare: [u64; 4],
}

pub type vmarena_maps_fn = Option<unsafe extern "C" fn(mapping: *const vmarena_mapping, arg: *mut c_void) -> c_int>;

pub const VMARENA_PAGE_RESIDENT: c_uint = 1;
pub const VMARENA_PAGE_SWAPPED: c_uint = 2;
pub const VMARENA_PAGE_DIRTY: c_uint = 4;
pub const VMARENA_PAGE_FILE: c_uint = 8;
pub const VMARENA_PAGE_SHARED: c_uint = 16;
pub const VMARENA_PAGE_HUGE: c_uint = 32;
pub const VMARENA_PAGE_GUARD: c_uint = 64;
pub const VMARENA_PAGE_ZERO: c_uint = 128;
pub const VMARENA_PAGE_CACHED: c_uint = 256;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_pages {
    pub start: u64,
    pub end: u64,
    pub state: c_uint,
}

pub type vmarena_pages_fn = Option<unsafe extern "C" fn(pages: *const vmarena_pages, arg: *mut c_void) -> c_int>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_totals {
    pub rss: u64,
    pub pss: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub anonymous: u64,
    pub huge: u64,
    pub hugetlb: u64,
    pub swap: u64,
    pub locked: u64,
    pub spare: [u64; 4],
}

pub type vmarena_counter = c_uint;
pub const VMARENA_COUNT_PAGE_FAULTS: vmarena_counter = 0;
pub const VMARENA_COUNT_MINOR_FAULTS: vmarena_counter = 1;
pub const VMARENA_COUNT_MAJOR_FAULTS: vmarena_counter = 2;
pub const VMARENA_COUNT_TASK_NANOSECONDS: vmarena_counter = 3;
pub const VMARENA_COUNT_DTLB_LOAD_MISSES: vmarena_counter = 4;
pub const VMARENA_COUNT_DTLB_STORE_MISSES: vmarena_counter = 5;
pub const VMARENA_COUNT_INSTRUCTIONS: vmarena_counter = 6;
pub const VMARENA_COUNT_CYCLES: vmarena_counter = 7;
pub const VMARENA_COUNTERS: vmarena_counter = 8;
pub const VMARENA_COUNT_CHILDREN: c_uint = 1;
pub const VMARENA_COUNT_AT_EXEC: c_uint = 2;

/// A set of counters; opaque.
#[repr(C)]
#[derive(Debug)]
pub struct vmarena_counters {
    opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_counts {
    pub value: [u64; 8],
    pub error: [c_int; 8],
    pub user_only: [bool; 8],
    pub spare: [u64; 4],
}

/// A heap; opaque.
#[repr(C)]
#[derive(Debug)]
pub struct vmarena_heap {
    opaque: [u8; 0],
}

pub type vmarena_heap_side = c_uint;
pub const VMARENA_HEAP_END: vmarena_heap_side = 0;
pub const VMARENA_HEAP_START: vmarena_heap_side = 1;
pub const VMARENA_HEAP_ALTERNATE: vmarena_heap_side = 2;

pub type vmarena_heap_reuse = c_uint;
pub const VMARENA_HEAP_FIFO: vmarena_heap_reuse = 0;
pub const VMARENA_HEAP_RANDOM: vmarena_heap_reuse = 1;

pub type vmarena_heap_full = c_uint;
pub const VMARENA_HEAP_FAIL: vmarena_heap_full = 0;
pub const VMARENA_HEAP_UNGUARDED: vmarena_heap_full = 1;

pub type vmarena_heap_state = c_uint;
pub const VMARENA_HEAP_NONE: vmarena_heap_state = 0;
pub const VMARENA_HEAP_LIVE: vmarena_heap_state = 1;
pub const VMARENA_HEAP_FREED: vmarena_heap_state = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_heap_object {
    pub start: *mut c_void,
    pub size: usize,
    pub align: usize,
    pub state: vmarena_heap_state,
    pub side: vmarena_heap_side,
    pub slack_before: usize,
    pub slack_after: usize,
    pub alloc_stack: u32,
    pub free_stack: u32,
    pub alloc_thread: u32,
    pub free_thread: u32,
    pub alloc_number: u64,
    pub free_number: u64,
    pub spare: [u64; 4],
}

pub type vmarena_heap_error = c_uint;
pub const VMARENA_HEAP_DOUBLE_FREE: vmarena_heap_error = 0;
pub const VMARENA_HEAP_INTERIOR_FREE: vmarena_heap_error = 1;
pub const VMARENA_HEAP_INVALID_FREE: vmarena_heap_error = 2;
pub const VMARENA_HEAP_SLACK_BEFORE: vmarena_heap_error = 3;
pub const VMARENA_HEAP_SLACK_AFTER: vmarena_heap_error = 4;
pub const VMARENA_HEAP_SIZE_MISMATCH: vmarena_heap_error = 5;
pub const VMARENA_HEAP_ALIGN_MISMATCH: vmarena_heap_error = 6;
pub const VMARENA_HEAP_NEAR_LIMIT: vmarena_heap_error = 7;

pub type vmarena_heap_call = c_uint;
pub const VMARENA_HEAP_IN_ALLOC: vmarena_heap_call = 0;
pub const VMARENA_HEAP_IN_FREE: vmarena_heap_call = 1;
pub const VMARENA_HEAP_IN_REALLOC: vmarena_heap_call = 2;
pub const VMARENA_HEAP_IN_CHECK: vmarena_heap_call = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_heap_report {
    pub kind: vmarena_heap_error,
    pub call: vmarena_heap_call,
    pub pointer: *mut c_void,
    pub object: vmarena_heap_object,
    pub distance: isize,
    pub bad: *mut u8,
    pub bad_length: usize,
    pub found: u8,
    pub expected: u8,
    pub given: usize,
    pub stack: u32,
    pub thread: u32,
}

pub type vmarena_heap_report_fn = Option<unsafe extern "C" fn(report: *const vmarena_heap_report, arg: *mut c_void)>;
pub type vmarena_heap_capture_fn =
    Option<unsafe extern "C" fn(frames: *mut *mut c_void, depth: usize, arg: *mut c_void) -> usize>;

pub const VMARENA_HEAP_NO_QUARANTINE: c_uint = 1;
pub const VMARENA_HEAP_NO_STACKS: c_uint = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_heap_fallback {
    pub alloc: Option<unsafe extern "C" fn(size: usize, align: usize, arg: *mut c_void) -> *mut c_void>,
    pub calloc: Option<unsafe extern "C" fn(size: usize, align: usize, arg: *mut c_void) -> *mut c_void>,
    pub realloc: Option<unsafe extern "C" fn(pointer: *mut c_void, size: usize, arg: *mut c_void) -> *mut c_void>,
    pub free: Option<unsafe extern "C" fn(pointer: *mut c_void, arg: *mut c_void)>,
    pub usable_size: Option<unsafe extern "C" fn(pointer: *const c_void, arg: *mut c_void) -> usize>,
    pub owns: Option<unsafe extern "C" fn(pointer: *const c_void, arg: *mut c_void) -> bool>,
    pub arg: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmarena_heap_options {
    pub name: *const c_char,
    pub reserve: usize,
    pub align: usize,
    pub guard: usize,
    pub guard_kind: vmarena_guard_kind,
    pub side: vmarena_heap_side,
    pub reuse: vmarena_heap_reuse,
    pub quarantine_bytes: usize,
    pub quarantine_count: usize,
    pub check_interval: usize,
    pub sample: usize,
    pub guard_min: usize,
    pub guard_max: usize,
    pub memory_cap: usize,
    pub full: vmarena_heap_full,
    pub flags: c_uint,
    pub stack_depth: c_uint,
    pub capture: vmarena_heap_capture_fn,
    pub capture_arg: *mut c_void,
    pub report: vmarena_heap_report_fn,
    pub report_arg: *mut c_void,
    pub fallback: *const vmarena_heap_fallback,
}

extern "C" {
    pub fn vmarena_view_open_with(
        out: *mut *mut vmarena_view,
        path: *const c_char,
        options: *const vmarena_view_options,
    ) -> c_int;
    pub fn vmarena_view_open_fd(out: *mut *mut vmarena_view, fd: c_int, options: *const vmarena_view_options) -> c_int;
    pub fn vmarena_view_close(view: *mut vmarena_view);
    pub fn vmarena_view_sync(view: *mut vmarena_view, from: usize, length: usize) -> c_int;

    pub fn vmarena_view_move(view: *mut vmarena_view, offset: u64, length: usize) -> c_int;
    pub fn vmarena_view_advise(
        view: *mut vmarena_view,
        from: usize,
        length: usize,
        advice: vmarena_view_advice,
    ) -> c_int;
    pub fn vmarena_view_populate(view: *mut vmarena_view, from: usize, length: usize) -> c_int;
    pub fn vmarena_view_lock(view: *mut vmarena_view, from: usize, length: usize) -> c_int;
    pub fn vmarena_view_unlock(view: *mut vmarena_view, from: usize, length: usize) -> c_int;
    pub fn vmarena_view_on_fault(view: *mut vmarena_view, function: vmarena_fault_fn, arg: *mut c_void) -> c_int;
    #[link_name = "vmarena_view_info"]
    pub fn vmarena_view_info_get(view: *const vmarena_view, out: *mut vmarena_view_info) -> c_int;

    #[link_name = "vmarena_snapshot"]
    pub fn vmarena_snapshot_take(
        out: *mut *mut vmarena_snapshot,
        arena: *mut vmarena,
        tracking: vmarena_tracking,
    ) -> c_int;
    pub fn vmarena_restore(arena: *mut vmarena, snapshot: *mut vmarena_snapshot) -> c_int;
    pub fn vmarena_clone(out: *mut *mut vmarena, snapshot: *mut vmarena_snapshot) -> c_int;
    pub fn vmarena_dirty_pages(
        arena: *mut vmarena,
        snapshot: *mut vmarena_snapshot,
        function: vmarena_pages_fn,
        arg: *mut c_void,
    ) -> c_int;
    pub fn vmarena_snapshot_free(snapshot: *mut vmarena_snapshot);
    #[link_name = "vmarena_snapshot_info"]
    pub fn vmarena_snapshot_info_get(snapshot: *const vmarena_snapshot, out: *mut vmarena_snapshot_info) -> c_int;

    pub fn vmarena_maps(pid: c_int, function: vmarena_maps_fn, arg: *mut c_void) -> c_int;
    pub fn vmarena_mapping_at(
        pid: c_int,
        address: u64,
        out: *mut vmarena_mapping,
        name: *mut c_char,
        size: usize,
    ) -> c_int;
    pub fn vmarena_residency(
        pid: c_int,
        start: u64,
        length: u64,
        wanted: c_uint,
        known: *mut c_uint,
        function: vmarena_pages_fn,
        arg: *mut c_void,
    ) -> c_int;
    pub fn vmarena_frame(address: *const c_void, frame: *mut u64) -> c_int;
    #[link_name = "vmarena_totals"]
    pub fn vmarena_totals_get(pid: c_int, out: *mut vmarena_totals) -> c_int;
    pub fn vmarena_fault_counts(minor: *mut u64, major: *mut u64) -> c_int;
    pub fn vmarena_thread_fault_counts(minor: *mut u64, major: *mut u64) -> c_int;
    pub fn vmarena_process_fault_counts(pid: c_int, minor: *mut u64, major: *mut u64) -> c_int;
    pub fn vmarena_counters_open(out: *mut *mut vmarena_counters, pid: c_int, flags: c_uint) -> c_int;
    pub fn vmarena_counters_read(counters: *const vmarena_counters, out: *mut vmarena_counts) -> c_int;
    pub fn vmarena_counters_close(counters: *mut vmarena_counters);
    pub fn vmarena_counter_name(counter: vmarena_counter) -> *const c_char;

    pub fn vmarena_heap_create(out: *mut *mut vmarena_heap, options: *const vmarena_heap_options) -> c_int;
    pub fn vmarena_heap_destroy(heap: *mut vmarena_heap);
    pub fn vmarena_heap_alloc(heap: *mut vmarena_heap, size: usize, align: usize) -> *mut c_void;
    pub fn vmarena_heap_calloc(heap: *mut vmarena_heap, count: usize, size: usize, align: usize) -> *mut c_void;
    pub fn vmarena_heap_realloc(heap: *mut vmarena_heap, pointer: *mut c_void, size: usize) -> *mut c_void;
    pub fn vmarena_heap_free(heap: *mut vmarena_heap, pointer: *mut c_void) -> c_int;
    pub fn vmarena_heap_free_sized(heap: *mut vmarena_heap, pointer: *mut c_void, size: usize, align: usize) -> c_int;
    pub fn vmarena_heap_owns(heap: *const vmarena_heap, address: *const c_void) -> bool;
    pub fn vmarena_heap_check(heap: *mut vmarena_heap) -> c_int;
    pub fn vmarena_heap_find(
        heap: *const vmarena_heap,
        address: *const c_void,
        object: *mut vmarena_heap_object,
    ) -> c_int;
    pub fn vmarena_heap_stack(heap: *const vmarena_heap, stack: u32, frames: *mut *mut c_void, count: usize) -> usize;
    pub fn vmarena_heap_on_fault(heap: *mut vmarena_heap, function: vmarena_fault_fn, arg: *mut c_void) -> c_int;

    #[link_name = "vmarena_caps"]
    pub fn vmarena_caps_get(out: *mut vmarena_caps) -> c_int;
    pub fn vmarena_version() -> *const c_char;
    pub fn vmarena_explain() -> *const c_char;
    pub fn vmarena_last_error() -> c_int;

    pub fn vmarena_page_size() -> usize;
    pub fn vmarena_page_round_up(size: usize) -> usize;
    pub fn vmarena_huge_page_sizes(sizes: *mut usize, count: usize) -> usize;

    pub fn vmarena_create(out: *mut *mut vmarena, options: *const vmarena_options) -> c_int;
    pub fn vmarena_destroy(arena: *mut vmarena);
    pub fn vmarena_alloc_slow(arena: *mut vmarena, size: usize, align: usize) -> *mut c_void;
    pub fn vmarena_alloc_array(arena: *mut vmarena, count: usize, size: usize, align: usize) -> *mut c_void;
    pub fn vmarena_alloc_zeroed(arena: *mut vmarena, size: usize, align: usize) -> *mut c_void;
    pub fn vmarena_resize(arena: *mut vmarena, object: *mut c_void, old_size: usize, new_size: usize) -> *mut c_void;
    pub fn vmarena_free(arena: *mut vmarena, object: *mut c_void, size: usize) -> c_int;
    #[link_name = "vmarena_mark"]
    pub fn vmarena_mark_now(arena: *const vmarena) -> vmarena_mark;
    pub fn vmarena_rewind(arena: *mut vmarena, mark: vmarena_mark) -> c_int;
    pub fn vmarena_reset(arena: *mut vmarena, keep_bytes: usize) -> c_int;
    pub fn vmarena_discard(arena: *mut vmarena, start: *mut c_void, length: usize) -> c_int;
    pub fn vmarena_check(arena: *const vmarena) -> c_int;
    pub fn vmarena_protect(arena: *mut vmarena, prot: c_uint) -> c_int;
    pub fn vmarena_protect_range(arena: *mut vmarena, start: *mut c_void, length: usize, prot: c_uint) -> c_int;
    pub fn vmarena_protect_push(arena: *mut vmarena, prot: c_uint) -> c_int;
    pub fn vmarena_protect_pop(arena: *mut vmarena) -> c_int;
    pub fn vmarena_prefault(arena: *mut vmarena, bytes: usize) -> c_int;
    pub fn vmarena_seal(arena: *mut vmarena) -> c_int;
    #[link_name = "vmarena_stats"]
    pub fn vmarena_stats_get(arena: *const vmarena, out: *mut vmarena_stats);
    pub fn vmarena_info(arena: *const vmarena, out: *mut vmarena_stats);
    pub fn vmarena_owns(arena: *const vmarena, address: *const c_void) -> bool;

    pub fn vmarena_try(
        body: Option<unsafe extern "C" fn(*mut c_void)>,
        arg: *mut c_void,
        fault: *mut vmarena_fault,
    ) -> c_int;
    pub fn vmarena_try_in(
        arena: *const vmarena,
        body: Option<unsafe extern "C" fn(*mut c_void)>,
        arg: *mut c_void,
        fault: *mut vmarena_fault,
    ) -> c_int;
    pub fn vmarena_try_any(
        body: Option<unsafe extern "C" fn(*mut c_void)>,
        arg: *mut c_void,
        fault: *mut vmarena_fault,
    ) -> c_int;
    pub fn vmarena_copy(to: *mut c_void, from: *const c_void, length: usize, fault: *mut vmarena_fault) -> usize;
    pub fn vmarena_fill(to: *mut c_void, byte: c_int, length: usize, fault: *mut vmarena_fault) -> usize;
    pub fn vmarena_compare(
        left: *const c_void,
        right: *const c_void,
        length: usize,
        fault: *mut vmarena_fault,
    ) -> usize;
    pub fn vmarena_read(address: *const c_void, value: *mut c_void, size: usize, fault: *mut vmarena_fault) -> c_int;
    pub fn vmarena_write(address: *mut c_void, value: *const c_void, size: usize, fault: *mut vmarena_fault) -> c_int;
    /// The calling thread's innermost scope, opaque; null where none is open.
    pub fn vmarena_scope_top() -> *mut c_void;
    pub fn vmarena_on_fault(arena: *mut vmarena, function: vmarena_fault_fn, arg: *mut c_void) -> c_int;
    pub fn vmarena_fault_install() -> c_int;
    pub fn vmarena_fault_uninstall() -> c_int;
    #[link_name = "vmarena_fault_status"]
    pub fn vmarena_fault_status_now() -> c_int;
    pub fn vmarena_fault_reassert() -> c_int;
    pub fn vmarena_fault_host(on: bool) -> c_int;
    pub fn vmarena_handle_signal(signo: c_int, info: *mut c_void, context: *mut c_void) -> bool;
    pub fn vmarena_report_faults(fd: c_int) -> c_int;
    pub fn vmarena_fault_describe(fault: *const vmarena_fault, text: *mut c_char, size: usize) -> usize;
    #[link_name = "vmarena_fault_explain"]
    pub fn vmarena_fault_explain(fault: *const vmarena_fault, text: *mut c_char, size: usize) -> usize;
}

/// The inline fast path of `vmarena/arena.h`, test for test: an address that is not 0, or `None` where only the slow path
/// can tell.
///
/// # Safety
/// `arena` is a live arena that no other thread uses meanwhile. The arguments may be anything.
#[inline]
pub unsafe fn vmarena_alloc_fast(arena: *mut vmarena, size: usize, align: usize) -> Option<usize> {
    let mask = align.wrapping_sub(1);
    let uneven = align & mask;
    let spread = if usize::BITS > 32 { uneven.wrapping_neg() } else { usize::from(uneven != 0).wrapping_neg() };
    let before = (*arena).cursor | mask | spread;
    let (last, carry) = before.overflowing_add(size.wrapping_sub(1));
    let last = last | usize::from(carry).wrapping_neg();
    if last >= (*arena).limit {
        return None;
    }
    (*arena).cursor = last + 1;
    Some(before.wrapping_add(1))
}

/// As [`vmarena_alloc_fast`] for layouts that are constants: what the C header finds by `__builtin_constant_p`. No arena lies
/// within 128 KiB of the top of the address space, so that the addition cannot overflow.
///
/// # Safety
/// As [`vmarena_alloc_fast`]; `size` is from 1 to 65536, and `align` a power of two up to 4096.
#[inline]
pub unsafe fn vmarena_alloc_fixed(arena: *mut vmarena, size: usize, align: usize) -> Option<usize> {
    debug_assert!(size - 1 < 65536 && align.is_power_of_two() && align <= 4096);
    let before = (*arena).cursor | (align - 1);
    let end = before.wrapping_add(size);
    if end > (*arena).limit {
        return None;
    }
    (*arena).cursor = end;
    Some(before.wrapping_add(1))
}

/// `vmarena_alloc` of `vmarena/arena.h`.
///
/// # Safety
/// As [`vmarena_alloc_fast`].
#[inline]
pub unsafe fn vmarena_alloc(arena: *mut vmarena, size: usize, align: usize) -> *mut c_void {
    match vmarena_alloc_fast(arena, size, align) {
        Some(address) => address as *mut c_void,
        None => vmarena_alloc_slow(arena, size, align),
    }
}
