// SPDX-License-Identifier: MIT
//! A slice that grows at the end of an arena, in place while nobody else allocates.
use std::alloc::Layout;
use std::mem;
use std::ptr::NonNull;
use std::slice;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::{Error, EINVAL};

/// The largest alignment that `vmarena_resize` keeps when it moves an object of a bump arena.
pub(crate) const MOVE_ALIGN: usize = 16;

pub(crate) struct Growing<'a, T> {
    arena: &'a Arena,
    start: NonNull<T>,
    length: usize,
    capacity: usize,
}

impl<'a, T> Growing<'a, T> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        let capacity = if mem::size_of::<T>() == 0 { usize::MAX } else { 0 };
        Growing { arena, start: NonNull::dangling(), length: 0, capacity }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: as many elements are initialised, and borrowed with self.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    fn layout(capacity: usize) -> Result<Layout, Error> {
        Layout::array::<T>(capacity).map_err(|_| Error::new(EINVAL, "the slice's layout overflows"))
    }

    /// Room for `more` elements.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), Error> {
        let needed = self.length.checked_add(more).ok_or_else(|| Error::new(EINVAL, "the slice's length overflows"))?;
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.max(self.capacity * 2).max(8);
        let layout = Self::layout(capacity)?;
        self.start = match self.capacity {
            0 => self.arena.try_alloc_layout(layout)?.cast(),
            // SAFETY: the memory is this value's, of that size.
            _ => unsafe { resize(self.arena, self.start.cast(), Self::layout(self.capacity)?, layout)?.cast() },
        };
        self.capacity = capacity;
        Ok(())
    }

    pub(crate) fn push(&mut self, value: T) -> Result<(), Error> {
        self.reserve(1)?;
        // SAFETY: there is room for one more.
        unsafe { self.start.as_ptr().add(self.length).write(value) };
        self.length += 1;
        Ok(())
    }

    pub(crate) fn extend_from_slice(&mut self, values: &[T]) -> Result<(), Error>
    where
        T: Copy,
    {
        self.reserve(values.len())?;
        // SAFETY: there is room for them, and the arena's memory is no other slice's.
        unsafe { self.start.as_ptr().add(self.length).copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        self.length += values.len();
        Ok(())
    }

    /// Returns the elements, which stay as long as the arena keeps them, and gives unused room back if possible.
    pub(crate) fn finish(mut self) -> (NonNull<T>, usize) {
        let size = mem::size_of::<T>();
        if size != 0 && self.length < self.capacity {
            // SAFETY: the memory is this value's; the elements are in the part that stays.
            unsafe {
                if self.length == 0 {
                    self.arena.take_back(self.start.cast(), self.capacity * size);
                    self.start = NonNull::dangling();
                } else if let (Ok(old), Ok(new)) = (Self::layout(self.capacity), Self::layout(self.length)) {
                    // If it cannot shrink, it stays as it is.
                    self.start = resize(self.arena, self.start.cast(), old, new).map_or(self.start, NonNull::cast);
                }
            }
        }
        (self.start, self.length)
    }
}

/// Changes an object's size, in place where the arena can, with its contents up to the smaller of both sizes.
///
/// # Safety
/// `object` is one of the arena's, of the old layout. Neither size is 0.
pub(crate) unsafe fn resize(
    arena: &Arena,
    object: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<u8>, Error> {
    let address = object.as_ptr() as usize;
    let is_last = address + old.size() == arena.end();
    let stays = !arena.is_fenced() && (is_last || new.size() <= old.size());
    let aligned = address % new.align() == 0;
    // vmarena_resize() keeps the original alignment of a fenced object.
    let moves_aligned = if arena.is_fenced() { new.align() <= old.align() } else { new.align() <= MOVE_ALIGN };
    if aligned && (stays || moves_aligned) {
        // SAFETY: the caller's object.
        let moved = unsafe { sys::vmarena_resize(arena.handle(), object.as_ptr().cast(), old.size(), new.size()) };
        return NonNull::new(moved.cast()).ok_or_else(Error::of_null);
    }
    let moved = arena.try_alloc_layout(new)?;
    // SAFETY: both have as many bytes, and are different objects.
    unsafe {
        moved.as_ptr().copy_from_nonoverlapping(object.as_ptr(), old.size().min(new.size()));
        arena.take_back(object, old.size());
    }
    Ok(moved)
}
