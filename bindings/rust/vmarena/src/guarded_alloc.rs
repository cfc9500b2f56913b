// SPDX-License-Identifier: MIT
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use vmarena_sys as sys;

use crate::fenced::Side;
use crate::heap::options;
use crate::report::{capture, may_be_caught, no_object, say, say_fault, say_object_stacks, say_stack, DEPTH};
use crate::uncaught::{is_reported, set_heap};

/// A global allocator that guards every allocation of a program. An overrun, an underrun or a use after free in C,
/// assembly or `unsafe` code ends the program at that access; so do a double free, a deallocation or reallocation with
/// another layout, and overwritten bytes around an object when it is freed. A report on standard error names the byte,
/// the object and the stacks.
///
/// ```
/// use vmarena::{GuardedAlloc, Side};
///
/// #[global_allocator]
/// static ALLOCATOR: GuardedAlloc = GuardedAlloc::new(Side::End);
/// ```
///
/// An object keeps the alignment of its layout, and ends exactly at its guard if its size is a multiple of that. Each
/// object takes at least a page: use it for tests, not in production.
#[derive(Debug)]
pub struct GuardedAlloc {
    side: Side,
    heap: AtomicPtr<sys::vmarena_heap>,
    allocations: AtomicUsize,
}

impl GuardedAlloc {
    /// Creates the allocator. Its heap is created at the first allocation.
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
        let mut options = options(self.side, c"global");
        options.report = Some(report);
        options.capture = Some(capture);
        options.stack_depth = DEPTH;
        let mut made = ptr::null_mut();
        // SAFETY: both pointers are good for the call.
        if unsafe { sys::vmarena_heap_create(&raw mut made, &raw const options) } != 0 {
            return ptr::null_mut();
        }
        match self.heap.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                set_heap(made);
                // SAFETY: the heap lives as long as the process.
                unsafe { sys::vmarena_heap_on_fault(made, Some(describe), made.cast()) };
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
    fn abort() -> !;
}

/// In the signal handler: reports the fault and does not repair it, so that it takes its usual way.
unsafe extern "C" fn describe(fault: *const sys::vmarena_fault, heap: *mut c_void) -> bool {
    // report_faults() has the fault reported after the scopes were asked, with more detail.
    if may_be_caught() || is_reported() {
        return false;
    }
    // SAFETY: a fault's record, and the heap that make() passes, which is never destroyed.
    unsafe {
        say_fault(&*fault);
        let mut object = no_object();
        if sys::vmarena_heap_find(heap.cast(), (*fault).address, &raw mut object) == 0 {
            say_object_stacks(heap.cast(), &object);
        }
    }
    false
}

thread_local! {
    /// The heap of the thread's current call, because a report does not name its heap.
    static GIVING_BACK_TO: Cell<*const sys::vmarena_heap> = const { Cell::new(ptr::null()) };
}

unsafe extern "C" fn report(report: *const sys::vmarena_heap_report, _: *mut c_void) {
    // SAFETY: good until this returns.
    report_and_abort(unsafe { &*report }, GIVING_BACK_TO.get());
}

fn report_and_abort(report: &sys::vmarena_heap_report, heap: *const sys::vmarena_heap) {
    let what = match report.kind {
        sys::VMARENA_HEAP_DOUBLE_FREE => "double free",
        sys::VMARENA_HEAP_SLACK_BEFORE => "bytes before an object were overwritten",
        sys::VMARENA_HEAP_SLACK_AFTER => "bytes after an object were overwritten",
        sys::VMARENA_HEAP_SIZE_MISMATCH => "freed or grown with another size than allocated",
        sys::VMARENA_HEAP_ALIGN_MISMATCH => "freed or grown with another alignment than allocated",
        sys::VMARENA_HEAP_NEAR_LIMIT => return say!("vmarena: most of the process's map entries are used"),
        _ => "free of what is no object",
    };
    let object = &report.object;
    if object.state == sys::VMARENA_HEAP_NONE {
        say!("vmarena: {what}: {:p}", report.pointer);
    } else {
        say!("vmarena: {what}: {} bytes at {:p}, aligned to {}", object.size, object.start, object.align);
    }
    match report.kind {
        sys::VMARENA_HEAP_SIZE_MISMATCH => say!("  the size given is {}", report.given),
        sys::VMARENA_HEAP_ALIGN_MISMATCH => say!("  the alignment given is {}", report.given),
        sys::VMARENA_HEAP_SLACK_BEFORE | sys::VMARENA_HEAP_SLACK_AFTER => say!(
            "  the first of them is byte {:+} of the object: {:#04x} instead of {:#04x}",
            report.distance,
            report.found,
            report.expected
        ),
        _ => {}
    }
    say_object_stacks(heap, object);
    say_stack(heap, "found", report.stack, report.thread);
    // SAFETY: ends the process.
    unsafe { abort() }
}

/// Ends the program if the object has another layout. The heap itself reports a pointer that is not an object's.
fn check_layout(heap: *const sys::vmarena_heap, pointer: *mut u8, layout: Layout) {
    let mut object = no_object();
    // SAFETY: the heap is live; the address is only looked up.
    let found = unsafe { sys::vmarena_heap_find(heap, pointer.cast(), &raw mut object) };
    if found != 0 || object.state != sys::VMARENA_HEAP_LIVE || object.start != pointer.cast() {
        return;
    }
    let (kind, given) = if object.size != layout.size() {
        (sys::VMARENA_HEAP_SIZE_MISMATCH, layout.size())
    } else if object.align != layout.align() {
        (sys::VMARENA_HEAP_ALIGN_MISMATCH, layout.align())
    } else {
        return;
    };
    // SAFETY: all zero is a valid value of every member.
    let mut report: sys::vmarena_heap_report = unsafe { mem::zeroed() };
    (report.kind, report.call, report.given) = (kind, sys::VMARENA_HEAP_IN_REALLOC, given);
    (report.pointer, report.object) = (pointer.cast(), object);
    report_and_abort(&report, heap);
}

// SAFETY: the heap gives memory of the size and alignment asked for, which nobody else has until it is freed.
unsafe impl GlobalAlloc for GuardedAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = self.heap();
        if heap.is_null() {
            return ptr::null_mut();
        }
        // std sets a SIGSEGV handler of its own before main, in the middle of its first allocations: so look again
        // after 2, 4, 8, ... of them that ours is on top.
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
        let heap = self.heap();
        GIVING_BACK_TO.set(heap);
        // SAFETY: the caller's object, of this heap.
        let _ = unsafe { sys::vmarena_heap_free_sized(heap, object.cast(), layout.size(), layout.align()) };
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let heap = self.heap();
        check_layout(heap, object, layout);
        GIVING_BACK_TO.set(heap);
        // SAFETY: the caller's object, of this heap, which keeps its alignment.
        unsafe { sys::vmarena_heap_realloc(heap, object.cast(), size).cast() }
    }
}
