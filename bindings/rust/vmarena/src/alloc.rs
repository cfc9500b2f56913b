// SPDX-License-Identifier: MIT
//! Allocation. An arena and a scope have the same methods; objects live as long as the borrow of the arena, or as the
//! scope.
use std::alloc::Layout;
use std::fmt::{self, Write};
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};
use std::slice;
use std::str;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::{Error, EILSEQ, EINVAL};
use crate::growing::Growing;
use crate::scope::Scope;
use crate::string::ArenaString;

/// Largest layout that `vmarena_alloc_fixed` takes.
const FIXED_SIZE: usize = 65536;
const FIXED_ALIGN: usize = 4096;

impl Arena {
    /// Uninitialised memory for a layout; a dangling, aligned pointer for a layout of 0 bytes.
    ///
    /// # Errors
    /// `ENOSPC`: the arena is full. `ENOMEM`: the system refused memory. `EINVAL`: an alignment larger than the arena.
    #[inline]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        // SAFETY: the arena is live, and not shared between threads; an address found is not 0.
        match unsafe { sys::vmarena_alloc_fast(self.handle(), layout.size(), layout.align()) } {
            Some(address) => Ok(unsafe { NonNull::new_unchecked(address as *mut u8) }),
            None => self.alloc_slow(layout),
        }
    }

    /// Uninitialised memory for a layout, as [`Arena::try_alloc_layout`].
    ///
    /// # Panics
    /// If that fails.
    #[inline]
    #[must_use]
    pub fn alloc_layout(&self, layout: Layout) -> NonNull<u8> {
        self.try_alloc_layout(layout).unwrap_or_else(|error| give_up(&error))
    }

    #[cold]
    fn alloc_slow(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        if layout.size() == 0 {
            // SAFETY: an alignment is never 0.
            return Ok(unsafe { NonNull::new_unchecked(layout.align() as *mut u8) });
        }
        // SAFETY: the arena is live, and not shared between threads.
        let object = unsafe { sys::vmarena_alloc_slow(self.handle(), layout.size(), layout.align()) };
        NonNull::new(object.cast()).ok_or_else(Error::of_null)
    }

    /// The fast path, which is shorter for small layouts.
    #[inline]
    fn fast_room<T>(&self) -> Option<NonNull<T>> {
        let layout = Layout::new::<T>();
        // SAFETY: the arena is live, and not shared between threads; the layout is within what the function takes.
        let address = unsafe {
            if layout.size() != 0 && layout.size() <= FIXED_SIZE && layout.align() <= FIXED_ALIGN {
                sys::vmarena_alloc_fixed(self.handle(), layout.size(), layout.align())?
            } else {
                sys::vmarena_alloc_fast(self.handle(), layout.size(), layout.align())?
            }
        };
        // SAFETY: an address found is not 0.
        Some(unsafe { NonNull::new_unchecked(address as *mut T) })
    }

    #[inline]
    fn try_room<T>(&self) -> Result<NonNull<T>, Error> {
        match self.fast_room() {
            Some(room) => Ok(room),
            None => self.alloc_slow(Layout::new::<T>()).map(NonNull::cast),
        }
    }

    #[cold]
    fn room_or_panic(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_slow(layout).unwrap_or_else(|error| give_up(&error))
    }

    #[inline]
    fn room<T>(&self) -> NonNull<T> {
        match self.fast_room() {
            Some(room) => room,
            None => self.room_or_panic(Layout::new::<T>()).cast(),
        }
    }

    #[inline]
    fn try_slice_room<T>(&self, length: usize) -> Result<NonNull<T>, Error> {
        let layout = Layout::array::<T>(length).map_err(|_| Error::new(EINVAL, "the slice's layout overflows"))?;
        self.try_alloc_layout(layout).map(NonNull::cast)
    }

    /// Takes an object back. The memory of the last object is allocated again; an object of a fenced arena faults from
    /// now on.
    ///
    /// # Panics
    /// If bytes around an object of a fenced arena were overwritten, unless the thread panics already.
    ///
    /// # Safety
    /// `object` is one of this arena's, of this size, and is not used any more.
    pub(crate) unsafe fn take_back(&self, object: NonNull<u8>, size: usize) {
        if size != 0 && (self.is_fenced() || object.as_ptr() as usize + size == self.end()) {
            // SAFETY: the caller's object.
            let code = unsafe { sys::vmarena_free(self.handle(), object.as_ptr().cast(), size) };
            // After another error the object stays until the arena is reset.
            if code == -EILSEQ && !std::thread::panicking() {
                give_up(&Error::last(code));
            }
        }
    }
}

#[cold]
fn give_up(error: &Error) -> ! {
    panic!("{error}")
}

#[inline]
fn or_give_up<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| give_up(&error))
}

/// Makes a value in place.
///
/// # Safety
/// `room` has T's layout and belongs to the caller for 'a.
#[inline(always)]
#[allow(clippy::inline_always)] // so that the value is not made elsewhere first and copied
unsafe fn place<'a, T>(room: NonNull<T>, make: impl FnOnce() -> T) -> &'a mut T {
    // SAFETY: the caller's memory.
    unsafe {
        room.as_ptr().write(make());
        &mut *room.as_ptr()
    }
}

/// # Safety
/// `room` has space for `length` Ts and belongs to the caller for 'a.
unsafe fn place_slice<'a, T, E>(
    room: NonNull<T>,
    length: usize,
    mut make: impl FnMut(usize) -> Result<T, E>,
) -> Result<&'a mut [T], E> {
    // SAFETY: the caller's memory; each element is written before the slice is made.
    unsafe {
        for index in 0..length {
            room.as_ptr().add(index).write(make(index)?);
        }
        Ok(slice::from_raw_parts_mut(room.as_ptr(), length))
    }
}

/// Cannot fail.
enum Never {}

fn always<T>(result: Result<T, Never>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// The error of an allocation whose value may fail, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllocOrInitError<E> {
    /// The arena could not allocate.
    Alloc(Error),
    /// The value could not be made.
    Init(E),
}

impl<E: fmt::Display> fmt::Display for AllocOrInitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocOrInitError::Alloc(error) => error.fmt(f),
            AllocOrInitError::Init(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for AllocOrInitError<E> {}

macro_rules! allocations {
    ($this:ident, $life:lifetime) => {
        allocations! { @two_bodies $this, $life;
            /// Moves a value in. No destructor of it runs.
            fn alloc, try_alloc [T] (value: T) -> T {
                // SAFETY: memory for a T that nobody else has.
                unsafe { place($this.room(), || value) },
                Ok(unsafe { place($this.try_room()?, || value) })
            }
            /// Makes a value in place.
            fn alloc_with, try_alloc_with [T] (make: impl FnOnce() -> T) -> T {
                // SAFETY: memory for a T that nobody else has.
                unsafe { place($this.room(), make) },
                Ok(unsafe { place($this.try_room()?, make) })
            }
        }
        allocations! { @one_body $this, $life;
            /// Memory for a value, to be written by the caller.
            fn alloc_uninit, try_alloc_uninit [T] () -> MaybeUninit<T> {
                // SAFETY: memory for a T that nobody else has, and it need not be initialised.
                Ok(unsafe { &mut *$this.try_room()?.as_ptr() })
            }
            /// Memory for a slice, to be written by the caller.
            fn alloc_slice_uninit, try_alloc_slice_uninit [T] (length: usize) -> [MaybeUninit<T>] {
                // SAFETY: memory for as many Ts that nobody else has, and they need not be initialised.
                Ok(unsafe { slice::from_raw_parts_mut($this.try_slice_room(length)?.as_ptr(), length) })
            }
            /// Copies a slice in.
            fn alloc_slice_copy, try_alloc_slice_copy [T: Copy] (from: &[T]) -> [T] {
                let to = $this.try_slice_room::<T>(from.len())?.as_ptr();
                // SAFETY: as many Ts, not overlapping.
                unsafe {
                    ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                    Ok(slice::from_raw_parts_mut(to, from.len()))
                }
            }
            /// Clones a slice's elements in. A panic of `clone` leaves the memory, and the clones, to the arena.
            fn alloc_slice_clone, try_alloc_slice_clone [T: Clone] (from: &[T]) -> [T] {
                $this.try_alloc_slice_fill_with(from.len(), |index| from[index].clone())
            }
            /// Makes a slice of `length` values, each by its index.
            fn alloc_slice_fill_with, try_alloc_slice_fill_with [T] (length: usize, make: impl FnMut(usize) -> T)
                -> [T]
            {
                let (room, mut make) = ($this.try_slice_room(length)?, make);
                // SAFETY: memory for as many Ts that nobody else has.
                Ok(always(unsafe { place_slice(room, length, |index| Ok(make(index))) }))
            }
            /// Makes a slice of copies of a value.
            fn alloc_slice_fill_copy, try_alloc_slice_fill_copy [T: Copy] (length: usize, value: T) -> [T] {
                $this.try_alloc_slice_fill_with(length, |_| value)
            }
            /// Makes a slice of clones of a value.
            fn alloc_slice_fill_clone, try_alloc_slice_fill_clone [T: Clone] (length: usize, value: &T) -> [T] {
                $this.try_alloc_slice_fill_with(length, |_| value.clone())
            }
            /// Makes a slice of default values.
            fn alloc_slice_fill_default, try_alloc_slice_fill_default [T: Default] (length: usize) -> [T] {
                $this.try_alloc_slice_fill_with(length, |_| T::default())
            }
            /// Makes a slice of an iterator's items. The iterator need not know how many there are.
            fn alloc_slice_fill_iter, try_alloc_slice_fill_iter [T] (values: impl IntoIterator<Item = T>) -> [T] {
                let values = values.into_iter();
                let mut growing = Growing::new($this);
                growing.reserve(values.size_hint().0)?;
                for value in values {
                    growing.push(value)?;
                }
                let (start, length) = growing.finish();
                // SAFETY: as many values, which nobody else has.
                Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) })
            }
            /// Copies a string in.
            fn alloc_str, try_alloc_str [] (from: &str) -> str {
                // SAFETY: a copy of UTF-8.
                Ok(unsafe { str::from_utf8_unchecked_mut($this.try_alloc_slice_copy(from.as_bytes())?) })
            }
            /// Formats a string: `arena.alloc_fmt(format_args!("{x} of {y}"))`. As in `format!`, a `Display` that
            /// returns an error panics.
            fn alloc_fmt, try_alloc_fmt [] (arguments: fmt::Arguments<'_>) -> str {
                let mut text = Fallible { text: ArenaString::new_in($this), error: None };
                match (text.write_fmt(arguments), text.error) {
                    (Ok(()), _) => {
                        let text = ptr::from_mut(text.text.into_str());
                        // SAFETY: nobody else has it, and it stays as long as all that is allocated here.
                        Ok(unsafe { &mut *text })
                    }
                    (Err(_), Some(error)) => Err(error),
                    (Err(fmt::Error), None) => panic!("a formatting trait implementation returned an error"),
                }
            }
        }

        /// Makes a value in place. If `make` fails, the memory is given back.
        ///
        /// # Errors
        /// That of `make`.
        ///
        /// # Panics
        /// As [`Arena::alloc`].
        #[inline]
        pub fn alloc_try_with<'s, T, E>(
            $this: &'s Self,
            make: impl FnOnce() -> Result<T, E>,
        ) -> Result<&$life mut T, E> {
            $this.try_alloc_try_with(make).map_err(|error| match error {
                AllocOrInitError::Alloc(error) => give_up(&error),
                AllocOrInitError::Init(error) => error,
            })
        }

        /// As [`Arena::alloc_try_with`], without a panic.
        ///
        /// # Errors
        /// The arena's, or that of `make`.
        #[inline]
        pub fn try_alloc_try_with<'s, T, E>(
            $this: &'s Self,
            make: impl FnOnce() -> Result<T, E>,
        ) -> Result<&$life mut T, AllocOrInitError<E>> {
            // The result lies in the arena whole, so that the value is made where it stays.
            let room = $this.try_room::<Result<T, E>>().map_err(AllocOrInitError::Alloc)?;
            // SAFETY: memory for a result that nobody else has; an error is moved out, and the memory used no more.
            unsafe {
                let value = match place(room, make) {
                    Ok(value) => ptr::from_mut(value),
                    Err(error) => {
                        let error = ptr::from_mut(error).read();
                        $this.take_back(room.cast(), mem::size_of::<Result<T, E>>());
                        return Err(AllocOrInitError::Init(error));
                    }
                };
                Ok(&mut *value)
            }
        }

        /// Makes a slice of values. If `make` fails, the memory is given back.
        ///
        /// # Errors
        /// The arena's, or the first that `make` gives.
        pub fn try_alloc_slice_try_fill_with<'s, T, E>(
            $this: &'s Self,
            length: usize,
            make: impl FnMut(usize) -> Result<T, E>,
        ) -> Result<&$life mut [T], AllocOrInitError<E>> {
            let room = $this.try_slice_room::<T>(length).map_err(AllocOrInitError::Alloc)?;
            // SAFETY: memory for as many Ts that nobody else has; taken back, it is used no more.
            unsafe {
                place_slice(room, length, make).map_err(|error| {
                    $this.take_back(room.cast(), length * mem::size_of::<T>());
                    AllocOrInitError::Init(error)
                })
            }
        }
    };
    (@two_bodies $this:ident, $life:lifetime; $(
        $(#[$doc:meta])*
        fn $name:ident, $try_name:ident [$($bound:tt)*] ($($argument:ident: $type:ty),*) -> $result:ty
            { $panicking:expr, $trying:expr }
    )+) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// If the arena is full or the system refuses memory.
        #[inline]
        pub fn $name<'s, $($bound)*>($this: &'s Self $(, $argument: $type)*) -> &$life mut $result {
            $panicking
        }

        #[doc = concat!("As [`Arena::", stringify!($name), "`], without a panic.")]
        ///
        /// # Errors
        /// See [`Arena::try_alloc_layout`].
        #[inline]
        pub fn $try_name<'s, $($bound)*>($this: &'s Self $(, $argument: $type)*) -> Result<&$life mut $result, Error> {
            $trying
        }
    )+ };
    (@one_body $this:ident, $life:lifetime; $(
        $(#[$doc:meta])*
        fn $name:ident, $try_name:ident [$($bound:tt)*] ($($argument:ident: $type:ty),*) -> $result:ty $body:block
    )+) => { $(
        $(#[$doc])*
        ///
        /// # Panics
        /// If the arena is full or the system refuses memory.
        pub fn $name<'s, $($bound)*>($this: &'s Self $(, $argument: $type)*) -> &$life mut $result {
            or_give_up($this.$try_name($($argument),*))
        }

        #[doc = concat!("As [`Arena::", stringify!($name), "`], without a panic.")]
        ///
        /// # Errors
        /// See [`Arena::try_alloc_layout`].
        pub fn $try_name<'s, $($bound)*>($this: &'s Self $(, $argument: $type)*) -> Result<&$life mut $result, Error>
            $body
    )+ };
}

/// Distinguishes an error of the arena from one of a `Display`.
struct Fallible<'a> {
    text: ArenaString<'a>,
    error: Option<Error>,
}

impl fmt::Write for Fallible<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.text.try_push_str(part).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

// Each call gives other memory; the named lifetimes are the scope's where the macro says so.
#[allow(clippy::mut_from_ref, clippy::needless_lifetimes)]
impl Arena {
    allocations! { self, 's }
}

#[allow(clippy::mut_from_ref, clippy::needless_lifetimes, clippy::extra_unused_lifetimes)] // as above
impl<'a> Scope<'a> {
    allocations! { self, 'a }
}
