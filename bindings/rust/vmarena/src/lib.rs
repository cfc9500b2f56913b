// SPDX-License-Identifier: MIT
//! Memory with walls: arenas between guard pages, objects flush against guards of their own, and memory faults that
//! come back as errors. The Rust face of the C library libvmarena.
//!
//! ```
//! use vmarena::{Arena, Fenced, Kind, Side};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let arena = Arena::new()?;
//! let words: &mut [u32] = arena.alloc_slice_copy(&[1, 2, 3]);
//! words[0] = 7;
//!
//! let input = Fenced::copy_of(b"what a parser gets", Side::End)?;
//! let fault = input.try_get(input.len() as isize).unwrap_err();
//! assert_eq!(fault.kind(), Kind::Overrun);
//! assert_eq!(fault.distance(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! For tests: [`Fenced`] input, the attribute `test` (feature `test`), strategies (`proptest`), [`report_faults`], and
//! [`GuardedAlloc`] for every allocation of a program. For programs: [`Arena`] and its [`Scope`]s, collections in them
//! (`allocator-api2`, `nightly`), [`Guarded`] values, [`View`]s of files, [`inspect`].
//!
//! What is safe here is safe whatever faults: the accesses that may fault are made in C, so that no Rust frame is
//! crossed. [`catch_fault`] crosses frames and is `unsafe` for that reason.
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alloc;
mod allocator;
#[cfg(feature = "arbitrary")]
mod arbitrary;
mod arena;
mod error;
mod fault;
mod fenced;
mod growing;
mod guarded;
mod guarded_alloc;
mod heap;
pub mod inspect;
mod options;
#[cfg(feature = "proptest")]
pub mod proptest;
mod report;
mod scope;
#[cfg(feature = "backtrace")]
mod signal_stack;
mod snapshot;
mod stats;
mod string;
#[cfg(feature = "backtrace")]
mod symbols;
#[cfg(feature = "test")]
pub mod testing;
mod uncaught;
mod view;
mod view_options;

pub use alloc::AllocOrInitError;
pub use arena::Arena;
pub use error::Error;
pub use fault::{catch_fault, try_compare, try_copy, try_fill, try_read, try_write, Access, Fault, Kind, Value};
pub use fenced::{Fenced, Side};
pub use guarded::{Guarded, NoAccess, Protection, ReadOnly, ReadWrite};
pub use guarded_alloc::GuardedAlloc;
pub use heap::Heap;
pub use options::{CommitPolicy, GuardKind, Huge, Options};
pub use scope::Scope;
pub use snapshot::{Snapshot, SnapshotInfo, Tracking};
pub use stats::{Residency, Stats};
pub use string::ArenaString;
pub use uncaught::report_faults;
pub use view::{View, ViewMut};
pub use view_options::{Advice, ViewInfo, ViewOptions};

#[cfg(feature = "test")]
pub use vmarena_macros::test;

use vmarena_sys as sys;

/// Bytes in a page of this system.
#[must_use]
pub fn page_size() -> usize {
    // SAFETY: no precondition.
    unsafe { sys::vmarena_page_size() }
}

/// Bytes in a transparent huge page of this system, 0 where it has none.
#[must_use]
pub fn huge_page_size() -> usize {
    // SAFETY: all zero is a valid value of every member, and the call fills it.
    unsafe {
        let mut caps: sys::vmarena_caps = std::mem::zeroed();
        let _ = sys::vmarena_caps_get(&raw mut caps);
        caps.huge_page_size
    }
}
