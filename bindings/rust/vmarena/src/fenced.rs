// SPDX-License-Identifier: MIT
use std::alloc::Layout;
use std::ffi::c_uint;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::str;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::Error;
use crate::fault::{try_read, try_write, Fault, Value};
use crate::options::Options;
use crate::page_size;
use crate::uncaught::report_faults;

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

/// A value, slice or string flush against a guard page, for tests of code that reads or writes it through pointers: C,
/// assembly, `unsafe`. It owns what it holds, as a `Box` does.
///
/// ```
/// use vmarena::{Fenced, Side};
/// # fn main() -> Result<(), vmarena::Error> {
/// for side in Side::BOTH {
///     let input = Fenced::copy_of(&[1u8, 2, 3], side)?;
///     assert_eq!(&*input, &[1, 2, 3]);
///     let names = Fenced::from_values(vec!["a".to_string(), "b".to_string()], side)?;
///     assert_eq!(names.concat(), "ab");
///     let header = Fenced::new((1u32, 2u32), side)?;
///     assert_eq!(header.1, 2);
///     assert_eq!(&*Fenced::copy_of_str("text", side)?, "text");
/// }
/// # Ok(())
/// # }
/// ```
///
/// Creating one calls [`report_faults`]: an uncaught fault in its memory is reported before it ends the process.
pub struct Fenced<T: ?Sized> {
    data: NonNull<T>,
    arena: Arena,
}

// SAFETY: it owns its elements, as a Box does.
unsafe impl<T: ?Sized + Send> Send for Fenced<T> {}
// SAFETY: a shared Fenced gives shared elements only; no method on &self uses the arena's cursor.
unsafe impl<T: ?Sized + Sync> Sync for Fenced<T> {}

/// Creates an arena for one object of the layout, and the object's memory. An empty object lies at the guard itself.
fn room(layout: Layout, side: Side) -> Result<(Arena, NonNull<u8>), Error> {
    let reserve = layout.size().saturating_add(layout.align()).saturating_add(4 * page_size());
    let arena = Options::new().reserve(reserve).fence(side).name("fenced").create()?;
    // If the handlers cannot be installed, a fault is not reported.
    let _ = report_faults();
    if layout.size() != 0 {
        let start = arena.try_alloc_layout(layout)?;
        return Ok((arena, start));
    }
    // An empty object lies at the end of a unit that is as large as its alignment, or at its start.
    let unit = arena.try_alloc_layout(Layout::from_size_align(layout.align(), layout.align()).unwrap_or(layout))?;
    let offset = if side == Side::End { layout.align() } else { 0 };
    // SAFETY: within the unit, or one past its end.
    Ok((arena, unsafe { unit.add(offset) }))
}

impl<T> Fenced<T> {
    /// Moves a value against a guard.
    ///
    /// # Errors
    /// `ENOMEM`, as for [`Options::create`].
    pub fn new(value: T, side: Side) -> Result<Self, Error> {
        let (arena, start) = room(Layout::new::<T>(), side)?;
        let data = start.cast::<T>();
        // SAFETY: fresh memory for a T.
        unsafe { data.as_ptr().write(value) };
        Ok(Fenced { data, arena })
    }

    /// The address of the value, for code that takes pointers.
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }

    /// As [`Fenced::as_ptr`], for writing.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.data.as_ptr()
    }
}

impl<T> Fenced<[T]> {
    /// Moves values into a slice against a guard.
    ///
    /// # Errors
    /// `ENOMEM`, as for [`Options::create`]; the values are dropped.
    pub fn from_values(values: Vec<T>, side: Side) -> Result<Self, Error> {
        let (arena, start) = room(Layout::for_value(values.as_slice()), side)?;
        let mut values = mem::ManuallyDrop::new(values);
        // SAFETY: fresh memory for as many values, which are moved; of the vector the memory is left, to be freed.
        unsafe {
            start.cast::<T>().as_ptr().copy_from_nonoverlapping(values.as_ptr(), values.len());
            let length = values.len();
            values.set_len(0);
            mem::ManuallyDrop::drop(&mut values);
            Ok(Fenced { data: NonNull::slice_from_raw_parts(start.cast(), length), arena })
        }
    }
}

impl<T: Copy> Fenced<[T]> {
    /// Copies `elements`. An empty slice lies at the guard itself, so that any access through it faults.
    ///
    /// # Errors
    /// `ENOMEM`, as for [`Options::create`].
    pub fn copy_of(elements: &[T], side: Side) -> Result<Self, Error> {
        let (arena, start) = room(Layout::for_value(elements), side)?;
        // SAFETY: fresh memory for as many elements.
        unsafe { start.cast::<T>().as_ptr().copy_from_nonoverlapping(elements.as_ptr(), elements.len()) };
        Ok(Fenced { data: NonNull::slice_from_raw_parts(start.cast(), elements.len()), arena })
    }
}

impl Fenced<str> {
    /// Copies a string.
    ///
    /// # Errors
    /// `ENOMEM`, as for [`Options::create`].
    pub fn copy_of_str(text: &str, side: Side) -> Result<Self, Error> {
        let bytes = mem::ManuallyDrop::new(Fenced::copy_of(text.as_bytes(), side)?);
        // SAFETY: a copy of UTF-8; the arena is moved out once, and the bytes need no drop.
        unsafe {
            let data = NonNull::new_unchecked(ptr::from_mut(str::from_utf8_unchecked_mut(&mut *bytes.data.as_ptr())));
            Ok(Fenced { data, arena: ptr::read(&raw const bytes.arena) })
        }
    }
}

impl<T: Value> Fenced<[T]> {
    fn address_of(&self, index: isize) -> *mut T {
        let address = self.data.as_ptr().cast::<T>().wrapping_offset(index);
        assert!(self.arena.owns(address), "index {index} lies beyond the guards");
        address
    }

    /// Reads the element at any index, even a negative one or one past the end. The read is made in C, so that a fault
    /// is returned.
    ///
    /// # Errors
    /// The fault that the access raised.
    ///
    /// # Panics
    /// If the index lies outside the slice's own pages and guards.
    pub fn try_get(&self, index: isize) -> Result<T, Fault> {
        // SAFETY: within the reservation that this value owns, of which nothing is borrowed mutably.
        unsafe { try_read(self.address_of(index)) }
    }

    /// Writes the element at any index, as [`Fenced::try_get`] reads it.
    ///
    /// # Errors
    /// The fault that the access raised; nothing was written.
    ///
    /// # Panics
    /// As [`Fenced::try_get`].
    pub fn try_set(&mut self, index: isize, value: T) -> Result<(), Fault> {
        // SAFETY: within the reservation that this value owns and has borrowed mutably; its pattern is made to be hit.
        unsafe { try_write(self.address_of(index), value) }
    }
}

impl<T: ?Sized> Fenced<T> {
    /// Checks the bytes around the value, up to the end of its pages.
    ///
    /// # Errors
    /// `EILSEQ`: some were overwritten; the message says which byte.
    pub fn check(&self) -> Result<(), Error> {
        self.arena.check()
    }
}

impl<T: ?Sized> Drop for Fenced<T> {
    fn drop(&mut self) {
        // SAFETY: initialised, owned, and not used any more.
        unsafe { self.data.as_ptr().drop_in_place() }
    }
}

impl<T: ?Sized> Deref for Fenced<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised, and owned by self.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for Fenced<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised, and owned by self.
        unsafe { self.data.as_mut() }
    }
}

impl<T: ?Sized> AsRef<T> for Fenced<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Fenced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
