// SPDX-License-Identifier: MIT
//! `&Arena` as an allocator of collections, for the trait of the allocator-api2 crate and for that of nightly Rust.
#![cfg(any(feature = "allocator-api2", feature = "nightly"))]

use std::alloc::Layout;
use std::ptr::NonNull;

use crate::arena::Arena;
use crate::error::Error;
use crate::growing;

/// # Safety
/// As `Allocator::grow` and `shrink`: the caller's object, of the old layout, in this arena.
unsafe fn resize(arena: &Arena, object: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, Error> {
    let moved = match (old.size(), new.size()) {
        (0, _) => arena.try_alloc_layout(new)?,
        (_, 0) => {
            // SAFETY: the caller gives it up.
            unsafe { arena.take_back(object, old.size()) };
            arena.try_alloc_layout(new)?
        }
        // SAFETY: the caller's object; no size is 0.
        _ => unsafe { growing::resize(arena, object, old, new)? },
    };
    Ok(NonNull::slice_from_raw_parts(moved, new.size()))
}

macro_rules! implement {
    ($api:path) => {
        use $api::{AllocError, Allocator};

        // SAFETY: memory stays where it is until the arena is reset or dropped, which its borrow forbids; clones are
        // the same arena; whatever is handed out fits its layout.
        unsafe impl Allocator for &Arena {
            #[inline]
            fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                let object = self.try_alloc_layout(layout).map_err(|_| AllocError)?;
                Ok(NonNull::slice_from_raw_parts(object, layout.size()))
            }

            /// The memory of the last object is allocated again; any object of a fenced arena faults from now on.
            ///
            /// # Panics
            /// If bytes around an object of a fenced arena were overwritten.
            #[inline]
            unsafe fn deallocate(&self, object: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's object, which it gives up.
                unsafe { self.take_back(object, layout.size()) }
            }

            unsafe fn grow(&self, object: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's object.
                unsafe { resize(self, object, old, new) }.map_err(|_| AllocError)
            }

            unsafe fn shrink(
                &self,
                object: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, AllocError> {
                // SAFETY: the caller's object.
                unsafe { resize(self, object, old, new) }.map_err(|_| AllocError)
            }
        }
    };
}

// Not both: they are one trait where allocator-api2's own feature "nightly" is on.
#[cfg(feature = "nightly")]
implement! { std::alloc }
#[cfg(not(feature = "nightly"))]
implement! { allocator_api2::alloc }
