// SPDX-License-Identifier: MIT
use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::os::raw::c_uint;
use std::ptr::NonNull;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::{check, Error, EINVAL};
use crate::fault::{try_read, try_write, Fault, Value};

mod sealed {
    pub trait Sealed {}
}

/// What a [`Guarded`] value's pages allow, as a type.
pub trait Protection: sealed::Sealed {
    /// The C library's bits.
    const PROT: c_uint;
    #[doc(hidden)]
    const IS_CLOSED: bool = Self::PROT != sys::VMARENA_READ | sys::VMARENA_WRITE;
}
/// The value can be read.
pub trait Readable: Protection {}

macro_rules! protections {
    ($($(#[$doc:meta])* $name:ident = $prot:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Protection for $name { const PROT: c_uint = $prot; }
    )* };
}
protections! {
    /// Reads and writes are allowed.
    ReadWrite = sys::VMARENA_READ | sys::VMARENA_WRITE;
    /// Writes fault.
    ReadOnly = sys::VMARENA_READ;
    /// Every access faults.
    NoAccess = sys::VMARENA_NONE;
}
impl Readable for ReadWrite {}
impl Readable for ReadOnly {}

/// A value in pages of its own, whose protection is part of its type. A write to a read-only value does not compile; a
/// write through [`Guarded::try_set`] returns the fault.
///
/// ```
/// use vmarena::{Access, Arena, Guarded, Kind};
/// # fn main() -> Result<(), vmarena::Error> {
/// let arena = Arena::new()?;
/// let mut value = Guarded::new(&arena, 41u32)?;
/// *value += 1;
/// let mut frozen = value.read_only()?;
/// assert_eq!(*frozen, 42);
/// let fault = frozen.try_set(43).unwrap_err();
/// assert_eq!((fault.kind(), fault.access()), (Kind::Protected, Access::Write));
/// assert_eq!(*frozen, 42);
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// let arena = vmarena::Arena::new().unwrap();
/// let mut frozen = vmarena::Guarded::new(&arena, 1u32).unwrap().read_only().unwrap();
/// *frozen = 2;
/// ```
#[derive(Debug)]
pub struct Guarded<'a, T: Value, P: Protection = ReadWrite> {
    value: NonNull<T>,
    bytes: usize,
    arena: &'a Arena,
    protection: PhantomData<P>,
}

impl<'a, T: Value> Guarded<'a, T, ReadWrite> {
    /// Moves a value into pages of its own.
    ///
    /// # Errors
    /// As [`Arena::try_alloc_layout`].
    pub fn new(arena: &'a Arena, value: T) -> Result<Self, Error> {
        let page = arena.page_size();
        let bytes = mem::size_of::<T>().next_multiple_of(page);
        let layout = Layout::from_size_align(bytes, page).map_err(|_| Error::new(EINVAL, "the layout overflows"))?;
        let at = arena.try_alloc_layout(layout)?.cast::<T>();
        // SAFETY: fresh memory, aligned to a page.
        unsafe { at.as_ptr().write(value) };
        Ok(Guarded { value: at, bytes, arena, protection: PhantomData })
    }
}

impl<'a, T: Value, P: Protection> Guarded<'a, T, P> {
    fn set<Q: Protection>(self) -> Result<Guarded<'a, T, Q>, Error> {
        let this = mem::ManuallyDrop::new(self);
        let Guarded { value, bytes, arena, .. } = *this;
        // SAFETY: the pages belong to this value alone, and no reference into them is alive.
        check(unsafe { sys::vmarena_protect_range(arena.handle(), value.as_ptr().cast(), bytes, Q::PROT) })?;
        arena.closed.set(arena.closed.get() + usize::from(Q::IS_CLOSED) - usize::from(P::IS_CLOSED));
        Ok(Guarded { value, bytes, arena, protection: PhantomData })
    }

    /// Allows reads only.
    ///
    /// # Errors
    /// `ENOMEM`: no map entry is left. The value is lost: its pages stay as they are until the arena is reset.
    pub fn read_only(self) -> Result<Guarded<'a, T, ReadOnly>, Error> {
        self.set()
    }
    /// Allows nothing.
    ///
    /// # Errors
    /// As [`Guarded::read_only`].
    pub fn no_access(self) -> Result<Guarded<'a, T, NoAccess>, Error> {
        self.set()
    }
    /// Allows reads and writes.
    ///
    /// # Errors
    /// As [`Guarded::read_only`].
    pub fn read_write(self) -> Result<Guarded<'a, T, ReadWrite>, Error> {
        self.set()
    }

    /// Reads the value whatever its protection.
    ///
    /// # Errors
    /// The fault that the access raised.
    pub fn try_get(&self) -> Result<T, Fault> {
        // SAFETY: the pages belong to this value alone.
        unsafe { try_read(self.value.as_ptr()) }
    }

    /// Writes the value whatever its protection.
    ///
    /// # Errors
    /// The fault that the access raised; the value is unchanged.
    pub fn try_set(&mut self, value: T) -> Result<(), Fault> {
        // SAFETY: the pages belong to this value alone, and it is borrowed mutably.
        unsafe { try_write(self.value.as_ptr(), value) }
    }

    /// The address of the value.
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        self.value.as_ptr()
    }
}

impl<T: Value, P: Readable> Deref for Guarded<'_, T, P> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised, and readable by its type.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Value> DerefMut for Guarded<'_, T, ReadWrite> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised, and writable by its type.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Value, P: Protection> Drop for Guarded<'_, T, P> {
    fn drop(&mut self) {
        // The pages go back to the arena, which hands out writable memory. If they cannot be opened, `closed` still
        // counts them.
        if P::IS_CLOSED {
            let Guarded { value, bytes, arena, .. } = self;
            // SAFETY: the pages belong to this value alone.
            let opened = check(unsafe {
                sys::vmarena_protect_range(arena.handle(), value.as_ptr().cast(), *bytes, ReadWrite::PROT)
            });
            arena.closed.set(arena.closed.get() - usize::from(opened.is_ok()));
        }
    }
}
