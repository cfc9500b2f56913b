// SPDX-License-Identifier: MIT
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::CStr;
use std::fmt;
use std::mem;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::fenced::Side;

fn options(side: Side, name: &CStr) -> sys::vmarena_heap_options {
    // SAFETY: all zero is a valid value of every member, and the defaults.
    let mut options: sys::vmarena_heap_options = unsafe { mem::zeroed() };
    options.side = match side {
        Side::End => sys::VMARENA_HEAP_END,
        Side::Start => sys::VMARENA_HEAP_START,
    };
    options.name = name.as_ptr();
    options
}

/// A heap of which every object has pages and a guard of its own, and is freed individually. Freed objects fault.
///
/// Any thread may use it. It gives raw memory; for Rust values put it behind [`GuardedAlloc`], or use [`crate::Fenced`].
pub struct Heap {
    raw: NonNull<sys::vmarena_heap>,
}

// SAFETY: any thread may call any function of the C heap.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap whose objects lie against their guards at this side.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(side: Side) -> Result<Self, Error> {
        let mut raw = ptr::null_mut();
        let name = b"heap\0";
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Error::new(22, "the name is no C string"))?;
        // SAFETY: both pointers are good for the call.
        check(unsafe { sys::vmarena_heap_create(&mut raw, &options(side, name)) })?;
        NonNull::new(raw).map(|raw| Heap { raw }).ok_or_else(|| Error::new(12, "no heap"))
    }

    /// Memory for a layout, zeroed, owned by the heap until it is freed.
    ///
    /// # Errors
    /// `ENOMEM`, or what else `vmarena_explain` says.
    pub fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        // SAFETY: the heap is live.
        let object = unsafe { sys::vmarena_heap_alloc(self.raw.as_ptr(), layout.size(), layout.align()) };
        NonNull::new(object.cast()).ok_or_else(|| Error::last(-12))
    }

    /// Frees an object; every access to it faults from now on.
    ///
    /// # Errors
    /// `EALREADY`: it was freed before. `EINVAL`: not an object of this heap. `EILSEQ`: bytes around it were overwritten.
    ///
    /// # Safety
    /// Nobody may use the object any more.
    pub unsafe fn free(&self, object: NonNull<u8>) -> Result<(), Error> {
        // SAFETY: the heap is live; what is no object of it is an error there.
        check(unsafe { sys::vmarena_heap_free(self.raw.as_ptr(), object.as_ptr().cast()) })
    }

    /// Checks the bytes around every live object.
    ///
    /// # Errors
    /// `EILSEQ`; the error tells of the first object whose surroundings were overwritten.
    pub fn check(&self) -> Result<(), Error> {
        // SAFETY: the heap is live.
        check(unsafe { sys::vmarena_heap_check(self.raw.as_ptr()) })
    }

    /// Whether the address lies in the heap's memory, guards included.
    #[must_use]
    pub fn owns<T: ?Sized>(&self, object: *const T) -> bool {
        // SAFETY: the heap is live; the address is only compared.
        unsafe { sys::vmarena_heap_owns(self.raw.as_ptr(), object.cast()) }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its last use.
        unsafe { sys::vmarena_heap_destroy(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

/// A global allocator under which every allocation of a program is guarded: an overrun, underrun or use after free in C,
/// assembly or `unsafe` code ends the program at the byte, with a line on standard error that names it.
///
/// ```
/// use vmarena::{GuardedAlloc, Side};
///
/// #[global_allocator]
/// static ALLOCATOR: GuardedAlloc = GuardedAlloc::new(Side::End);
/// ```
///
/// Alignments are the layouts' own, so that guards are exact to the byte where the size is a multiple of the alignment.
/// Each object takes a page at least: for tests, not for production.
#[derive(Debug)]
pub struct GuardedAlloc {
    side: Side,
    heap: AtomicPtr<sys::vmarena_heap>,
    allocations: AtomicUsize,
}

impl GuardedAlloc {
    /// The allocator; its heap is made at the first allocation.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        GuardedAlloc { side, heap: AtomicPtr::new(ptr::null_mut()), allocations: AtomicUsize::new(0) }
    }

    /// Whether the address lies in this allocator's memory, guards included.
    #[must_use]
    pub fn owns<T: ?Sized>(&self, object: *const T) -> bool {
        // SAFETY: the heap is live, or not made yet, which owns nothing.
        unsafe { sys::vmarena_heap_owns(self.heap.load(Ordering::Acquire), object.cast()) }
    }

    #[inline]
    fn heap(&self) -> *mut sys::vmarena_heap {
        let heap = self.heap.load(Ordering::Acquire);
        if heap.is_null() {
            self.make()
        } else {
            heap
        }
    }

    #[cold]
    fn make(&self) -> *mut sys::vmarena_heap {
        // A byte string with its terminator: nothing here may allocate.
        let name = unsafe {
            // SAFETY: it ends with a NUL and has no other.
            CStr::from_bytes_with_nul_unchecked(b"global\0")
        };
        let mut options = options(self.side, name);
        options.report = Some(report_and_abort);
        let mut made = ptr::null_mut();
        // SAFETY: both pointers are good for the call.
        if unsafe { sys::vmarena_heap_create(&mut made, &options) } != 0 {
            return ptr::null_mut();
        }
        match self.heap.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // SAFETY: the heap lives as long as the process.
                unsafe { sys::vmarena_heap_on_fault(made, Some(describe), ptr::null_mut()) };
                made
            }
            Err(other) => {
                // SAFETY: another thread was first; nobody has seen this one.
                unsafe { sys::vmarena_heap_destroy(made) };
                other
            }
        }
    }
}

extern "C" {
    fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;
    fn abort() -> !;
}

fn say(bytes: &[u8]) {
    // SAFETY: a slice; nobody could help it if standard error is gone.
    let _ = unsafe { write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// In the signal handler: says what was touched, and declines, so that the fault goes its usual way.
unsafe extern "C" fn describe(fault: *const sys::vmarena_fault, _: *mut c_void) -> bool {
    let mut text = [0u8; 512];
    // SAFETY: writes at most what there is room for.
    let length = unsafe { sys::vmarena_fault_describe(fault, text.as_mut_ptr().cast::<c_char>(), text.len()) };
    say(b"vmarena: ");
    say(&text[..length.min(text.len() - 1)]);
    say(b"\n");
    false
}

unsafe extern "C" fn report_and_abort(report: *const sys::vmarena_heap_report, _: *mut c_void) {
    // SAFETY: good until this returns.
    let kind = unsafe { (*report).kind };
    let sentence: &[u8] = match kind {
        sys::VMARENA_HEAP_DOUBLE_FREE => b"vmarena: double free\n",
        sys::VMARENA_HEAP_SLACK_BEFORE => b"vmarena: bytes before an object were overwritten\n",
        sys::VMARENA_HEAP_SLACK_AFTER => b"vmarena: bytes after an object were overwritten\n",
        sys::VMARENA_HEAP_SIZE_MISMATCH => b"vmarena: freed with another size than allocated\n",
        sys::VMARENA_HEAP_ALIGN_MISMATCH => b"vmarena: freed with another alignment than allocated\n",
        sys::VMARENA_HEAP_NEAR_LIMIT => return say(b"vmarena: most of the process's map entries are used\n"),
        _ => b"vmarena: free of what is no object\n",
    };
    say(sentence);
    // SAFETY: ends the process.
    unsafe { abort() }
}

// SAFETY: the heap gives memory of the size and alignment asked for, which nobody else has until it is freed.
unsafe impl GlobalAlloc for GuardedAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = self.heap();
        if heap.is_null() {
            return ptr::null_mut();
        }
        // std sets a SIGSEGV handler of its own before main, in the middle of its first allocations: so look again after
        // 2, 4, 8, ... of them that ours is on top.
        if self.allocations.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
            // SAFETY: no precondition; where it fails, a fault only comes without its line of explanation.
            let _ = unsafe { sys::vmarena_fault_reassert() };
        }
        // SAFETY: the heap is live.
        unsafe { sys::vmarena_heap_alloc(heap, layout.size(), layout.align()).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's; a guarded object's pages are fresh, and zero.
        unsafe { self.alloc(layout) }
    }

    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller's object, of this heap.
        let _ = unsafe { sys::vmarena_heap_free_sized(self.heap(), object.cast(), layout.size(), layout.align()) };
    }

    unsafe fn realloc(&self, object: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's object, of this heap, which keeps its alignment.
        unsafe { sys::vmarena_heap_realloc(self.heap(), object.cast(), size).cast() }
    }
}
