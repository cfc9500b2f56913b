// SPDX-License-Identifier: MIT
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_uint;
use std::ptr::NonNull;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::Error;
use crate::fault::{try_read, Fault, Value};
use crate::options::Options;
use crate::page_size;

/// The side of an object at which its guard lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The object ends at a guard: overruns fault at the first byte.
    End,
    /// The object starts at a guard: underruns fault at the first byte.
    Start,
}

impl Side {
    /// Both, to run a test under each.
    pub const BOTH: [Side; 2] = [Side::End, Side::Start];

    pub(crate) fn raw(self) -> c_uint {
        match self {
            Side::End => sys::VMARENA_FENCE_END,
            Side::Start => sys::VMARENA_FENCE_START,
        }
    }
}

/// A slice flush against a guard page, for tests of code that reads or writes it through pointers: C, assembly, `unsafe`.
///
/// ```
/// use vmarena::{Access, Fenced, Side};
/// # fn main() -> Result<(), vmarena::Error> {
/// for side in Side::BOTH {
///     let input = Fenced::copy_of(&[1u8, 2, 3], side)?;
///     assert_eq!(&*input, &[1, 2, 3]);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Fenced<T: ?Sized> {
    data: NonNull<T>,
    arena: Arena,
}

// SAFETY: it owns its elements, as a Box does.
unsafe impl<T: ?Sized + Send> Send for Fenced<T> {}
// SAFETY: a shared Fenced gives shared elements only; no method on &self uses the arena's cursor.
unsafe impl<T: ?Sized + Sync> Sync for Fenced<T> {}

impl<T: Value> Fenced<[T]> {
    /// A copy of `elements`. An empty slice lies at the guard itself: no byte of it may be touched.
    ///
    /// # Errors
    /// `ENOMEM`, as an arena's creation.
    pub fn copy_of(elements: &[T], side: Side) -> Result<Self, Error> {
        let bytes = mem::size_of_val(elements);
        let arena =
            Options::new().reserve(bytes.saturating_add(4 * page_size())).fence(side).name("fenced").create()?;
        let first = if bytes == 0 {
            // One element's room, of which the end is the empty slice (or, at the start side, the start).
            let room = arena.try_alloc_layout(std::alloc::Layout::new::<T>())?.cast::<T>().as_ptr();
            // SAFETY: one past the element that was made room for.
            if side == Side::End {
                unsafe { room.add(1) }
            } else {
                room
            }
        } else {
            let room = arena.try_alloc_layout(std::alloc::Layout::for_value(elements))?.cast::<T>().as_ptr();
            // SAFETY: fresh memory for as many elements.
            unsafe { std::ptr::copy_nonoverlapping(elements.as_ptr(), room, elements.len()) };
            room
        };
        let data = NonNull::from(unsafe {
            // SAFETY: the elements were just written.
            std::slice::from_raw_parts_mut(first, elements.len())
        });
        Ok(Fenced { data, arena })
    }

    /// The element at any index, also a negative one or one past the end: read in C, so that what faults is an error.
    ///
    /// # Errors
    /// The fault.
    ///
    /// # Panics
    /// When the index lies outside the slice's own pages and guards.
    pub fn try_get(&self, index: isize) -> Result<T, Fault> {
        let address = self.as_ptr().wrapping_offset(index);
        assert!(self.arena.owns(address), "index {index} lies beyond the guards");
        // SAFETY: within the reservation that this value owns, of which nothing is borrowed mutably.
        unsafe { try_read(address) }
    }

    /// Stores at any index, as [`Fenced::try_get`] reads.
    ///
    /// # Errors
    /// The fault; nothing was written.
    ///
    /// # Panics
    /// As [`Fenced::try_get`].
    pub fn try_set(&mut self, index: isize, value: T) -> Result<(), Fault> {
        let address = self.as_mut_ptr().wrapping_offset(index);
        assert!(self.arena.owns(address), "index {index} lies beyond the guards");
        // SAFETY: within the reservation that this value owns and has borrowed mutably; its pattern is made to be hit.
        unsafe { crate::fault::try_write(address, value) }
    }

    /// Checks the bytes around the slice, up to the end of its pages.
    ///
    /// # Errors
    /// `EILSEQ`; the error tells which byte was overwritten.
    pub fn check(&self) -> Result<(), Error> {
        self.arena.check()
    }
}

impl<T> Deref for Fenced<[T]> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: initialised, and owned by self.
        unsafe { self.data.as_ref() }
    }
}

impl<T> DerefMut for Fenced<[T]> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: initialised, and owned by self.
        unsafe { self.data.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Fenced<[T]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
