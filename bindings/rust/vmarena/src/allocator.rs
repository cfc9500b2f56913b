// SPDX-License-Identifier: MIT
//! `&Arena` as an allocator of the allocator-api2 crate.
#![cfg(feature = "allocator-api2")]

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use vmarena_sys as sys;

use crate::arena::Arena;

/// The C library moves an object with the alignment of its address up to this.
const MOVE_ALIGN: usize = 16;

/// `NonNull::slice_from_raw_parts`, which is newer than the oldest compiler we serve.
fn slice_of(start: NonNull<u8>, length: usize) -> NonNull<[u8]> {
    // SAFETY: not null, as start is not.
    unsafe { NonNull::new_unchecked(std::ptr::slice_from_raw_parts_mut(start.as_ptr(), length)) }
}

fn resize(arena: &Arena, object: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: the caller's object of old.size() bytes, in this arena.
    let moved = unsafe { sys::vmarena_resize(arena.as_raw(), object.as_ptr().cast(), old.size(), new.size()) };
    let moved = NonNull::new(moved.cast::<u8>()).ok_or(AllocError)?;
    Ok(slice_of(moved, new.size()))
}

fn in_place(old: Layout, new: Layout) -> bool {
    old.size() != 0 && new.size() != 0 && new.align() <= old.align() && new.align() <= MOVE_ALIGN
}

// SAFETY: memory stays where it is until the arena is reset or dropped, which its borrow forbids; clones are the same
// arena; whatever is handed out fits its layout.
unsafe impl Allocator for &Arena {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let object = self.try_alloc_layout(layout).map_err(|_| AllocError)?;
        Ok(slice_of(object, layout.size()))
    }

    /// Nothing comes back before the whole arena does.
    #[inline]
    unsafe fn deallocate(&self, _object: NonNull<u8>, _layout: Layout) {}

    unsafe fn grow(&self, object: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if in_place(old, new) {
            return resize(self, object, old, new);
        }
        let moved = self.allocate(new)?;
        // SAFETY: the caller's object has old.size() bytes, the new one more.
        unsafe { std::ptr::copy_nonoverlapping(object.as_ptr(), moved.as_ptr().cast(), old.size()) };
        Ok(moved)
    }

    unsafe fn shrink(&self, object: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if in_place(old, new) {
            return resize(self, object, old, new);
        }
        let moved = self.allocate(new)?;
        // SAFETY: both have new.size() bytes at least.
        unsafe { std::ptr::copy_nonoverlapping(object.as_ptr(), moved.as_ptr().cast(), new.size()) };
        Ok(moved)
    }
}
