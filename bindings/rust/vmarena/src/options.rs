// SPDX-License-Identifier: MIT
use std::ffi::c_uint;
use std::ptr;

use vmarena_sys as sys;

use crate::arena::Arena;
use crate::error::{c_string, check, made, Error};
use crate::fenced::Side;

/// How pages of the reservation become usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitPolicy {
    /// The library chooses by the limits of the process.
    Auto,
    /// All of it readable and writable at once; the kernel provides pages on first touch.
    NoReserve,
    /// Inaccessible until committed step by step.
    Protect,
}

/// How the guards inside a reservation are made. Those at its edges are always `PROT_NONE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardKind {
    /// As an option: the first of the others that works.
    Auto,
    /// `MADV_GUARD_INSTALL` (Linux 6.13): no map entries.
    Marker,
    /// `mprotect(PROT_NONE)`: two map entries for each guard.
    Protect,
    /// `userfaultfd(2)`: no map entries; an access raises SIGBUS.
    Userfault,
}

impl GuardKind {
    fn raw(self) -> sys::vmarena_guard_kind {
        match self {
            GuardKind::Auto => sys::VMARENA_GUARD_AUTO,
            GuardKind::Marker => sys::VMARENA_GUARD_MARKER,
            GuardKind::Protect => sys::VMARENA_GUARD_PROTECT,
            GuardKind::Userfault => sys::VMARENA_GUARD_USERFAULT,
        }
    }

    /// A kind that was obtained, which is never `Auto`.
    pub(crate) fn obtained(raw: sys::vmarena_guard_kind) -> Self {
        match raw {
            sys::VMARENA_GUARD_MARKER => GuardKind::Marker,
            sys::VMARENA_GUARD_USERFAULT => GuardKind::Userfault,
            _ => GuardKind::Protect,
        }
    }
}

/// Huge pages, as requested and as obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Huge {
    /// The system's default.
    System,
    /// No huge pages.
    Never,
    /// `MADV_HUGEPAGE`.
    Transparent,
    /// As `Transparent`; committed pages are collapsed at once if the system supports it.
    Collapse,
    /// From the pool of 2 MiB pages, or else `Transparent`.
    Size2M,
    /// From the pool of 1 GiB pages, or else `Size2M`.
    Size1G,
}

pub(crate) fn huge(raw: sys::vmarena_huge) -> Huge {
    match raw {
        sys::VMARENA_HUGE_NEVER => Huge::Never,
        sys::VMARENA_HUGE_TRANSPARENT => Huge::Transparent,
        sys::VMARENA_HUGE_COLLAPSE => Huge::Collapse,
        sys::VMARENA_HUGE_2M => Huge::Size2M,
        sys::VMARENA_HUGE_1G => Huge::Size1G,
        _ => Huge::System,
    }
}

/// Options of a new arena. The defaults suit most programs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    reserve: usize,
    commit: usize,
    guard: usize,
    huge: c_uint,
    fence: c_uint,
    guard_kind: c_uint,
    commit_policy: c_uint,
    flags: c_uint,
    name: Option<String>,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Reserves this many bytes of address space.
    #[must_use]
    pub fn reserve(mut self, bytes: usize) -> Self {
        self.reserve = bytes;
        self
    }
    /// Commits this many bytes at a time.
    #[must_use]
    pub fn commit(mut self, bytes: usize) -> Self {
        self.commit = bytes;
        self
    }
    /// Makes each guard this many bytes wide.
    #[must_use]
    pub fn guard(mut self, bytes: usize) -> Self {
        self.guard = bytes;
        self
    }
    /// Gives each object a guard of its own at this side.
    #[must_use]
    pub fn fence(mut self, side: Side) -> Self {
        self.fence = side.raw();
        self
    }
    /// Requests huge pages; [`crate::Stats`] says what was obtained.
    #[must_use]
    pub fn huge(mut self, huge: Huge) -> Self {
        self.huge = match huge {
            Huge::System => sys::VMARENA_HUGE_SYSTEM,
            Huge::Never => sys::VMARENA_HUGE_NEVER,
            Huge::Transparent => sys::VMARENA_HUGE_TRANSPARENT,
            Huge::Collapse => sys::VMARENA_HUGE_COLLAPSE,
            Huge::Size2M => sys::VMARENA_HUGE_2M,
            Huge::Size1G => sys::VMARENA_HUGE_1G,
        };
        self
    }
    /// Chooses how the guards inside the reservation are made.
    #[must_use]
    pub fn guard_kind(mut self, kind: GuardKind) -> Self {
        self.guard_kind = kind.raw();
        self
    }
    /// Chooses how memory is committed.
    #[must_use]
    pub fn commit_policy(mut self, policy: CommitPolicy) -> Self {
        self.commit_policy = match policy {
            CommitPolicy::Auto => sys::VMARENA_COMMIT_AUTO,
            CommitPolicy::NoReserve => sys::VMARENA_COMMIT_NORESERVE,
            CommitPolicy::Protect => sys::VMARENA_COMMIT_PROTECT,
        };
        self
    }
    fn flag(mut self, flag: c_uint, on: bool) -> Self {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }
    /// Locks the memory, within `RLIMIT_MEMLOCK`.
    #[must_use]
    pub fn lock(self, on: bool) -> Self {
        self.flag(sys::VMARENA_LOCK, on)
    }
    /// Leaves the memory out of core dumps.
    #[must_use]
    pub fn dont_dump(self, on: bool) -> Self {
        self.flag(sys::VMARENA_DONT_DUMP, on)
    }
    /// Fills the memory with zeroes in the child of a fork.
    #[must_use]
    pub fn wipe_on_fork(self, on: bool) -> Self {
        self.flag(sys::VMARENA_WIPE_ON_FORK, on)
    }
    /// Removes the memory from the child of a fork, which must not use it.
    #[must_use]
    pub fn dont_fork(self, on: bool) -> Self {
        self.flag(sys::VMARENA_DONT_FORK, on)
    }
    /// Puts the arena on a memory file, for [`Arena::snapshot`]; not together with a fence.
    #[must_use]
    pub fn memfd(self, on: bool) -> Self {
        self.flag(sys::VMARENA_MEMFD, on)
    }
    /// Populates pages as they are committed.
    #[must_use]
    pub fn prefault(self, on: bool) -> Self {
        self.flag(sys::VMARENA_PREFAULT, on)
    }
    /// Names the arena in fault descriptions and `/proc/self/maps`; at most 31 bytes of it are kept.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Creates the arena.
    ///
    /// # Errors
    /// `EINVAL`: an option is out of its range, options contradict, or the name contains a NUL byte. `ENOMEM`: no
    /// address space, memory or map entries left. `EOPNOTSUPP`: the system refuses a guard kind or a flag. `EAGAIN`:
    /// `mlockall(2)` is on and `RLIMIT_MEMLOCK` too low.
    pub fn create(self) -> Result<Arena, Error> {
        let name = self.name.map(c_string).transpose()?;
        let options = sys::vmarena_options {
            reserve: self.reserve,
            commit: self.commit,
            guard: self.guard,
            huge: self.huge,
            fence: self.fence,
            guard_kind: self.guard_kind,
            commit_policy: self.commit_policy,
            flags: self.flags,
            name: name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
        };
        let mut raw = ptr::null_mut();
        // SAFETY: both pointers are good for the call; the name is copied.
        check(unsafe { sys::vmarena_create(&raw mut raw, &raw const options) })?;
        // SAFETY: a new arena, whose only handle this is.
        Ok(unsafe { Arena::from_raw(made(raw), self.fence != sys::VMARENA_FENCE_OFF) })
    }
}
