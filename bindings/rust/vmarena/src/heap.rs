// SPDX-License-Identifier: MIT
use std::alloc::Layout;
use std::ffi::CStr;
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

use vmarena_sys as sys;

use crate::error::{check, made, Error};
use crate::fenced::Side;

pub(crate) fn options(side: Side, name: &CStr) -> sys::vmarena_heap_options {
    // SAFETY: all zero is a valid value of every member, and the defaults.
    let mut options: sys::vmarena_heap_options = unsafe { mem::zeroed() };
    options.side = match side {
        Side::End => sys::VMARENA_HEAP_END,
        Side::Start => sys::VMARENA_HEAP_START,
    };
    options.name = name.as_ptr();
    options
}

/// A heap whose objects each have pages and a guard of their own and are freed one by one. Freed objects fault.
///
/// Any thread may use it. It provides raw memory; for Rust values use [`crate::GuardedAlloc`] or [`crate::Fenced`].
pub struct Heap {
    raw: NonNull<sys::vmarena_heap>,
}

// SAFETY: any thread may call any function of the C heap.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// Creates a heap whose objects lie against their guards at this side.
    ///
    /// # Errors
    /// `ENOMEM`: no address space or memory.
    pub fn new(side: Side) -> Result<Self, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: both pointers are good for the call.
        check(unsafe { sys::vmarena_heap_create(&raw mut raw, &options(side, c"heap")) })?;
        Ok(Heap { raw: made(raw) })
    }

    /// Memory for a layout, zeroed, owned by the heap until it is freed.
    ///
    /// # Errors
    /// `ENOMEM`: the system refused memory. `ENOSPC`: no address space left. `EOVERFLOW`: the layout is too large.
    pub fn alloc(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        // SAFETY: the heap is live.
        let object = unsafe { sys::vmarena_heap_alloc(self.raw.as_ptr(), layout.size(), layout.align()) };
        NonNull::new(object.cast()).ok_or_else(Error::of_null)
    }

    /// Frees an object; from now on every access to it faults.
    ///
    /// # Errors
    /// `EALREADY`: it was freed before. `EINVAL`: it is not an object of this heap. `EILSEQ`: bytes around it were
    /// overwritten; it is freed nevertheless.
    ///
    /// # Safety
    /// Nothing may use the object afterwards.
    pub unsafe fn free(&self, object: NonNull<u8>) -> Result<(), Error> {
        // SAFETY: the heap is live, and reports a pointer that is not its object's.
        check(unsafe { sys::vmarena_heap_free(self.raw.as_ptr(), object.as_ptr().cast()) })
    }

    /// Checks the bytes around every live object.
    ///
    /// # Errors
    /// `EILSEQ`: some were overwritten; the message describes the first.
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
