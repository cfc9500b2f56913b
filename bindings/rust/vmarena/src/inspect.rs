// SPDX-License-Identifier: MIT
//! What the system knows about a process's memory: mappings, pages, totals, faults and counters.
//!
//! A process is given by its id; `None` is the calling process. Looking at another takes the permission to trace it.
//!
//! # Errors
//! Every function: `ESRCH`: no such process. `EPERM`: not permitted. `EOPNOTSUPP`: the system does not provide this.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::ops::{BitOr, Range};
use std::os::raw::{c_char, c_int, c_uint, c_void};
use std::ptr::{self, NonNull};

use vmarena_sys as sys;

use crate::error::{check, made, Error, ESRCH};

/// The kind of an [`Owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum OwnerKind {
    Arena,
    Heap,
    View,
}

/// The arena, heap or view in whose reservation a mapping lies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its name, empty without one.
    pub name: String,
    /// Its reservation.
    pub range: Range<u64>,
    /// Live objects of a fenced arena or a heap; 0 if they are not counted.
    pub objects: u64,
}

/// An entry of the memory map, as in `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // as /proc/PID/maps lists them
pub struct Mapping {
    /// The addresses, whole pages.
    pub range: Range<u64>,
    /// The offset of the start in the file.
    pub offset: u64,
    /// The file's inode; 0: no file.
    pub inode: u64,
    /// The major and minor number of the file's device.
    pub device: (u32, u32),
    /// It can be read.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// It can be executed.
    pub executable: bool,
    /// Writes are seen by others.
    pub shared: bool,
    /// The file's path, `[heap]` and the like, or empty.
    pub name: String,
    /// What of this library it belongs to.
    pub owner: Option<Owner>,
}

/// SAFETY: null, or a string that stands during the call.
unsafe fn text(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

/// SAFETY: the record's strings stand.
unsafe fn mapping(raw: &sys::vmarena_mapping) -> Mapping {
    let kind = match raw.owner {
        sys::VMARENA_OWNER_ARENA => Some(OwnerKind::Arena),
        sys::VMARENA_OWNER_HEAP => Some(OwnerKind::Heap),
        sys::VMARENA_OWNER_VIEW => Some(OwnerKind::View),
        _ => None,
    };
    // SAFETY: the caller's promise.
    let (name, owner_name) = unsafe { (text(raw.name), text(raw.owner_name)) };
    Mapping {
        range: raw.start..raw.end,
        offset: raw.offset,
        inode: raw.inode,
        device: (raw.device_major, raw.device_minor),
        readable: raw.prot & sys::VMARENA_READ != 0,
        writable: raw.prot & sys::VMARENA_WRITE != 0,
        executable: raw.prot & sys::VMARENA_EXEC != 0,
        shared: raw.shared,
        name,
        owner: kind.map(|kind| Owner {
            kind,
            name: owner_name,
            range: raw.owner_start..raw.owner_end,
            objects: raw.objects,
        }),
    }
}

fn number(pid: Option<u32>) -> Result<c_int, Error> {
    match pid {
        None => Ok(0),
        Some(pid) => match c_int::try_from(pid) {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(Error::new(ESRCH, "no such process")),
        },
    }
}

unsafe extern "C" fn push_mapping(raw: *const sys::vmarena_mapping, list: *mut c_void) -> c_int {
    // SAFETY: a record that stands during the call, and the list that maps() passes.
    unsafe { (*list.cast::<Vec<Mapping>>()).push(mapping(&*raw)) };
    0
}

/// All mappings in ascending order.
///
/// # Errors
/// See the [module](self).
pub fn maps(pid: Option<u32>) -> Result<Vec<Mapping>, Error> {
    let mut list: Vec<Mapping> = Vec::new();
    // SAFETY: push_mapping gets its list.
    check(unsafe { sys::vmarena_maps(number(pid)?, Some(push_mapping), ptr::addr_of_mut!(list).cast()) })?;
    Ok(list)
}

/// The mapping that holds the address.
///
/// # Errors
/// `ENOENT`: nothing is mapped there. See the [module](self).
pub fn mapping_at(pid: Option<u32>, address: u64) -> Result<Mapping, Error> {
    let mut name: [c_char; 4096] = [0; 4096];
    // SAFETY: all zero is a valid record; the call fills it, and the name, as far as there is room.
    unsafe {
        let mut raw: sys::vmarena_mapping = mem::zeroed();
        check(sys::vmarena_mapping_at(number(pid)?, address, &raw mut raw, name.as_mut_ptr(), name.len()))?;
        Ok(mapping(&raw))
    }
}

/// What a page is, to be combined with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageState(c_uint);

impl PageState {
    /// In memory, and mapped by the process.
    pub const RESIDENT: Self = PageState(sys::VMARENA_PAGE_RESIDENT);
    /// Swapped out.
    pub const SWAPPED: Self = PageState(sys::VMARENA_PAGE_SWAPPED);
    /// A private page of the process's own.
    pub const DIRTY: Self = PageState(sys::VMARENA_PAGE_DIRTY);
    /// Belongs to a file or to shared memory.
    pub const FILE: Self = PageState(sys::VMARENA_PAGE_FILE);
    /// Mapped more than once, by this process or another.
    pub const SHARED: Self = PageState(sys::VMARENA_PAGE_SHARED);
    /// Mapped as part of a huge page.
    pub const HUGE: Self = PageState(sys::VMARENA_PAGE_HUGE);
    /// A guard marker.
    pub const GUARD: Self = PageState(sys::VMARENA_PAGE_GUARD);
    /// The system's shared page of zeroes.
    pub const ZERO: Self = PageState(sys::VMARENA_PAGE_ZERO);
    /// In the page cache but not mapped.
    pub const CACHED: Self = PageState(sys::VMARENA_PAGE_CACHED);
    /// In [`residency`]: all but `CACHED`.
    pub const ALL: Self = PageState(0);

    /// Whether all states of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for PageState {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        PageState(self.0 | other.0)
    }
}

/// A run of pages in the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pages {
    /// Their addresses.
    pub range: Range<u64>,
    /// Their state.
    pub state: PageState,
}

unsafe extern "C" fn push_pages(raw: *const sys::vmarena_pages, list: *mut c_void) -> c_int {
    // SAFETY: a record that stands during the call, and the list that residency() passes.
    let (raw, list) = unsafe { (&*raw, &mut *list.cast::<Vec<Pages>>()) };
    list.push(Pages { range: raw.start..raw.end, state: PageState(raw.state) });
    0
}

/// Returns the runs of pages in a range that are in any of the wanted states, and which of these states the system
/// reports.
///
/// # Errors
/// `EINVAL`: the range wraps. See the [module](self).
pub fn residency(
    pid: Option<u32>,
    start: u64,
    length: u64,
    wanted: PageState,
) -> Result<(Vec<Pages>, PageState), Error> {
    let mut list: Vec<Pages> = Vec::new();
    let mut known = 0;
    let arg = ptr::addr_of_mut!(list).cast();
    // SAFETY: push_pages gets its list.
    check(unsafe {
        sys::vmarena_residency(number(pid)?, start, length, wanted.0, &raw mut known, Some(push_pages), arg)
    })?;
    Ok((list, PageState(known)))
}

/// Returns the number of the physical page at an address of this process; 0: there is none.
///
/// # Errors
/// `EPERM`: `CAP_SYS_ADMIN` is needed.
pub fn frame<T: ?Sized>(address: *const T) -> Result<u64, Error> {
    let mut frame = 0;
    // SAFETY: the address is only looked up.
    check(unsafe { sys::vmarena_frame(address.cast(), &raw mut frame) })?;
    Ok(frame)
}

/// Totals of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// In memory.
    pub rss: u64,
    /// The same, with pages that n processes share counted as 1/n each.
    pub pss: u64,
    /// Mapped by others, too, and not changed.
    pub shared_clean: u64,
    /// Mapped by others, too, and changed.
    pub shared_dirty: u64,
    /// Mapped by this process alone, and not changed.
    pub private_clean: u64,
    /// Mapped by this process alone, and changed.
    pub private_dirty: u64,
    /// Of no file.
    pub anonymous: u64,
    /// On transparent huge pages.
    pub huge: u64,
    /// On pages of the hugetlb pool; not in `rss`.
    pub hugetlb: u64,
    /// Swapped out.
    pub swap: u64,
    /// Locked in memory.
    pub locked: u64,
}

/// Returns the totals of a process.
///
/// # Errors
/// See the [module](self).
pub fn totals(pid: Option<u32>) -> Result<Totals, Error> {
    // SAFETY: all zero is a valid record, which the call fills.
    let raw = unsafe {
        let mut raw: sys::vmarena_totals = mem::zeroed();
        check(sys::vmarena_totals_get(number(pid)?, &raw mut raw))?;
        raw
    };
    Ok(Totals {
        rss: raw.rss,
        pss: raw.pss,
        shared_clean: raw.shared_clean,
        shared_dirty: raw.shared_dirty,
        private_clean: raw.private_clean,
        private_dirty: raw.private_dirty,
        anonymous: raw.anonymous,
        huge: raw.huge,
        hugetlb: raw.hugetlb,
        swap: raw.swap,
        locked: raw.locked,
    })
}

/// Page faults since a process or thread started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Faults that needed no device.
    pub minor: u64,
    /// Faults that waited for a device.
    pub major: u64,
}

fn counts(count: impl FnOnce(*mut u64, *mut u64) -> c_int) -> Result<FaultCounts, Error> {
    let mut counts = FaultCounts { minor: 0, major: 0 };
    check(count(&raw mut counts.minor, &raw mut counts.major))?;
    Ok(counts)
}

/// Page faults of a process.
///
/// # Errors
/// See the [module](self).
pub fn fault_counts(pid: Option<u32>) -> Result<FaultCounts, Error> {
    let number = number(pid)?;
    // SAFETY: counts() gives good pointers.
    counts(|minor, major| unsafe {
        if number == 0 {
            sys::vmarena_fault_counts(minor, major)
        } else {
            sys::vmarena_process_fault_counts(number, minor, major)
        }
    })
}

/// Page faults of the calling thread.
///
/// # Errors
/// `EOPNOTSUPP`: the system does not count by thread.
pub fn thread_fault_counts() -> Result<FaultCounts, Error> {
    // SAFETY: counts() gives good pointers.
    counts(|minor, major| unsafe { sys::vmarena_thread_fault_counts(minor, major) })
}

/// What [`Counters`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Counter {
    PageFaults,
    MinorFaults,
    MajorFaults,
    TaskNanoseconds,
    DtlbLoadMisses,
    DtlbStoreMisses,
    Instructions,
    Cycles,
}

impl Counter {
    /// "page faults", "dTLB load misses", ...
    #[must_use]
    pub fn name(self) -> &'static str {
        // SAFETY: a static string, for each counter that there is.
        unsafe { CStr::from_ptr(sys::vmarena_counter_name(self as c_uint)) }.to_str().unwrap_or_default()
    }
}

/// The kernel's and the CPU's counters (`perf_event_open(2)`) for one thread.
#[derive(Debug)]
pub struct Counters {
    raw: NonNull<sys::vmarena_counters>,
}

// SAFETY: a set of descriptors, which any thread may read.
unsafe impl Send for Counters {}

impl Counters {
    /// Starts to count, for the calling thread or for a process's main thread. `children`: includes the threads and
    /// processes that it creates.
    ///
    /// # Errors
    /// `EACCES`: no counter is permitted.
    pub fn open(pid: Option<u32>, children: bool) -> Result<Self, Error> {
        let mut raw = ptr::null_mut();
        let flags = if children { sys::VMARENA_COUNT_CHILDREN } else { 0 };
        // SAFETY: the pointer is good for the call.
        check(unsafe { sys::vmarena_counters_open(&raw mut raw, number(pid)?, flags) })?;
        Ok(Counters { raw: made(raw) })
    }

    /// Reads the counts since then.
    ///
    /// # Errors
    /// The errors of `read(2)`.
    pub fn read(&self) -> Result<Counts, Error> {
        let mut raw = sys::vmarena_counts { value: [0; 8], error: [0; 8], user_only: [false; 8], spare: [0; 4] };
        // SAFETY: the set is open; the call fills the record.
        check(unsafe { sys::vmarena_counters_read(self.raw.as_ptr(), &raw mut raw) })?;
        Ok(Counts { raw })
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the set is open, and this is its last use.
        unsafe { sys::vmarena_counters_close(self.raw.as_ptr()) }
    }
}

/// The counts that [`Counters::read`] returned.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    raw: sys::vmarena_counts,
}

impl Counts {
    /// Returns a count.
    ///
    /// # Errors
    /// Why it was not counted: not permitted, or not available.
    pub fn get(&self, counter: Counter) -> io::Result<u64> {
        match self.raw.error[counter as usize] {
            0 => Ok(self.raw.value[counter as usize]),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }

    /// Whether a count leaves out what the kernel did on the program's behalf.
    #[must_use]
    pub fn is_user_only(&self, counter: Counter) -> bool {
        self.raw.user_only[counter as usize]
    }
}
