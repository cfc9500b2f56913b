// SPDX-License-Identifier: MIT
use std::mem;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::options::{huge, GuardKind, Huge};

/// Figures that an arena knows without asking the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of address space.
    pub reserved: usize,
    /// Bytes made usable.
    pub committed: usize,
    /// Bytes from the start to the cursor.
    pub used: usize,
    /// The largest `used` so far.
    pub peak: usize,
    /// Live objects of a fenced arena.
    pub objects: usize,
    /// Bytes of the arena's pages.
    pub page_size: usize,
    /// The huge pages requested.
    pub huge_asked: Huge,
    /// The huge pages that the kernel accepted.
    pub huge_obtained: Huge,
    /// How the guards inside the reservation are made.
    pub guard_kind: GuardKind,
}

impl Stats {
    /// # Safety
    /// A live arena.
    pub(crate) unsafe fn raw(arena: *const sys::vmarena) -> sys::vmarena_stats {
        // SAFETY: all zero is a valid value of every member; the caller's arena is live.
        unsafe {
            let mut raw = mem::zeroed();
            sys::vmarena_info(arena, &raw mut raw);
            raw
        }
    }

    pub(crate) fn of(arena: &Arena) -> Self {
        // SAFETY: the arena is live.
        let raw = unsafe { Self::raw(arena.handle()) };
        Stats {
            reserved: raw.reserved,
            committed: raw.committed,
            used: raw.used,
            peak: raw.peak,
            objects: raw.objects,
            page_size: raw.page_size,
            huge_asked: huge(raw.huge_asked),
            huge_obtained: huge(raw.huge_obtained),
            guard_kind: GuardKind::obtained(raw.guard_kind),
        }
    }
}

/// How much of an arena is in memory, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Residency {
    /// Bytes in memory now; 0 if the kernel does not report them.
    pub resident: usize,
    /// Of these, bytes on huge pages.
    pub huge: usize,
}

impl Residency {
    pub(crate) fn of(arena: &Arena) -> Self {
        // SAFETY: all zero is a valid value of every member; the arena is live.
        let raw = unsafe {
            let mut raw: sys::vmarena_stats = mem::zeroed();
            sys::vmarena_stats_get(arena.handle(), &raw mut raw);
            raw
        };
        Residency { resident: raw.resident, huge: raw.huge }
    }
}
