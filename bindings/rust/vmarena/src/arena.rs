// SPDX-License-Identifier: MIT
use std::alloc::Layout;
use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::os::raw::{c_int, c_uint};
use std::ptr::{self, NonNull};
use std::slice;
use std::str;

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::fenced::Side;

/// How pages of the reservation become usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPolicy {
    /// The library chooses by what the process may do.
    Auto,
    /// All readable and writable at once; the kernel gives pages on first touch.
    NoReserve,
    /// Inaccessible until committed step by step.
    Protect,
}

/// What keeps a guard inside a reservation inaccessible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// Markers where they work, otherwise mprotect.
    Auto,
    /// `MADV_GUARD_INSTALL`: no map entry spent.
    Marker,
    /// `mprotect(PROT_NONE)`: two map entries a guard.
    Protect,
}

/// Huge pages asked for, and the rung of the ladder obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Huge {
    /// As the system does by itself.
    System,
    /// None.
    Never,
    /// `MADV_HUGEPAGE`.
    Transparent,
    /// As `Transparent`, and committed pages are collapsed at once where the system can.
    Collapse,
    /// From the pool of 2 MiB pages, or else `Transparent`.
    Size2M,
    /// From the pool of 1 GiB pages, or else `Size2M`.
    Size1G,
}

fn huge(raw: sys::vmarena_huge) -> Huge {
    match raw {
        sys::VMARENA_HUGE_NEVER => Huge::Never,
        sys::VMARENA_HUGE_TRANSPARENT => Huge::Transparent,
        sys::VMARENA_HUGE_COLLAPSE => Huge::Collapse,
        sys::VMARENA_HUGE_2M => Huge::Size2M,
        sys::VMARENA_HUGE_1G => Huge::Size1G,
        _ => Huge::System,
    }
}

/// What an arena is to be. The default is a good one.
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
    /// Bytes of address space to reserve.
    #[must_use]
    pub fn reserve(mut self, bytes: usize) -> Self {
        self.reserve = bytes;
        self
    }
    /// Bytes committed at a time.
    #[must_use]
    pub fn commit(mut self, bytes: usize) -> Self {
        self.commit = bytes;
        self
    }
    /// Bytes of each guard.
    #[must_use]
    pub fn guard(mut self, bytes: usize) -> Self {
        self.guard = bytes;
        self
    }
    /// Each object against a guard of its own, at this side.
    #[must_use]
    pub fn fence(mut self, side: Side) -> Self {
        self.fence = side.raw();
        self
    }
    /// Huge pages wished for.
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
    /// The back end of guards inside the reservation.
    #[must_use]
    pub fn guard_kind(mut self, kind: GuardKind) -> Self {
        self.guard_kind = match kind {
            GuardKind::Auto => sys::VMARENA_GUARD_AUTO,
            GuardKind::Marker => sys::VMARENA_GUARD_MARKER,
            GuardKind::Protect => sys::VMARENA_GUARD_PROTECT,
        };
        self
    }
    /// How memory is committed.
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
    /// Locked in memory, within `RLIMIT_MEMLOCK`.
    #[must_use]
    pub fn lock(self, on: bool) -> Self {
        self.flag(sys::VMARENA_LOCK, on)
    }
    /// Left out of core dumps.
    #[must_use]
    pub fn dont_dump(self, on: bool) -> Self {
        self.flag(sys::VMARENA_DONT_DUMP, on)
    }
    /// Zero-filled in the child of a fork.
    #[must_use]
    pub fn wipe_on_fork(self, on: bool) -> Self {
        self.flag(sys::VMARENA_WIPE_ON_FORK, on)
    }
    /// Pages brought in as they are committed.
    #[must_use]
    pub fn prefault(self, on: bool) -> Self {
        self.flag(sys::VMARENA_PREFAULT, on)
    }
    /// A name for fault descriptions and `/proc/self/maps`; at most 31 bytes of it are kept.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Makes the arena.
    ///
    /// # Errors
    /// `EINVAL` for an option out of its range or a name with a NUL, `ENOMEM`, and the others of `vmarena_create`.
    pub fn create(self) -> Result<Arena, Error> {
        let name = match self.name {
            Some(name) => Some(CString::new(name).map_err(|_| Error::new(22, "the name contains a NUL byte"))?),
            None => None,
        };
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
        check(unsafe { sys::vmarena_create(&mut raw, &options) })?;
        NonNull::new(raw).map(|raw| Arena { raw, one_owner: PhantomData }).ok_or_else(|| Error::new(12, "no arena"))
    }
}

/// What an arena has, uses and got.
#[derive(Clone, Copy, Debug)]
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
    /// Bytes in memory now.
    pub resident: usize,
    /// Of these, bytes on huge pages.
    pub huge: usize,
    /// Bytes of the arena's pages.
    pub page_size: usize,
    /// Huge pages asked for.
    pub huge_asked: Huge,
    /// The rung that the kernel accepted.
    pub huge_obtained: Huge,
    /// Guards are markers, not mprotect.
    pub guard_markers: bool,
}

/// One reservation of address space between guard pages, from which objects are taken in order and given back all at
/// once. As with bumpalo, no destructor of what lives in it ever runs.
///
/// It may be sent to another thread, not shared.
pub struct Arena {
    raw: NonNull<sys::vmarena>,
    one_owner: PhantomData<*mut ()>,
}

// SAFETY: the C arena belongs to nobody's thread, only to one owner at a time.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena with default options.
    ///
    /// # Errors
    /// See [`Options::create`].
    pub fn new() -> Result<Self, Error> {
        Options::new().create()
    }

    /// The C handle, good as long as the arena.
    #[must_use]
    pub fn as_raw(&self) -> *mut sys::vmarena {
        self.raw.as_ptr()
    }

    /// Uninitialised memory for a layout; a dangling, aligned pointer for a layout of 0 bytes.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM`, or `EINVAL` for an alignment larger than the arena.
    #[inline]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        // SAFETY: the arena is live, and not shared between threads.
        let object = unsafe { sys::vmarena_alloc(self.as_raw(), layout.size(), layout.align()) };
        match NonNull::new(object.cast()) {
            Some(object) => Ok(object),
            None => alloc_failed(layout),
        }
    }

    /// Memory for a T, by the shorter path where its layout allows.
    #[inline]
    fn alloc_for<T>(&self) -> NonNull<T> {
        let layout = Layout::new::<T>();
        if layout.size() == 0 || layout.size() > 65536 || layout.align() > 4096 {
            return self.alloc_layout(layout).cast();
        }
        // SAFETY: the arena is live, and not shared between threads; the layout is within what the function takes.
        let object = unsafe { sys::vmarena_alloc_fixed(self.as_raw(), layout.size(), layout.align()) };
        match NonNull::new(object) {
            Some(object) => object.cast(),
            None => give_up(&Error::last(OUT_OF_MEMORY)),
        }
    }

    #[inline]
    fn alloc_layout(&self, layout: Layout) -> NonNull<u8> {
        match self.try_alloc_layout(layout) {
            Ok(object) => object,
            Err(error) => give_up(&error),
        }
    }

    /// Moves a value in.
    ///
    /// # Panics
    /// When the arena is full or the system refuses memory; see [`Arena::try_alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref)] // each call gives other memory
    pub fn alloc<T>(&self, value: T) -> &mut T {
        self.alloc_with(|| value)
    }

    /// Moves a value in, or gives the reason why not.
    ///
    /// # Errors
    /// See [`Arena::try_alloc_layout`].
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn try_alloc<T>(&self, value: T) -> Result<&mut T, Error> {
        let object = self.try_alloc_layout(Layout::new::<T>())?.cast::<T>().as_ptr();
        // SAFETY: memory of T's layout that nobody else has.
        unsafe {
            object.write(value);
            Ok(&mut *object)
        }
    }

    /// Makes a value in place.
    ///
    /// # Panics
    /// As [`Arena::alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &mut T {
        let object = self.alloc_for::<T>().as_ptr();
        // SAFETY: memory of T's layout that nobody else has.
        unsafe {
            object.write(make());
            &mut *object
        }
    }

    /// Copies a slice in.
    ///
    /// # Panics
    /// As [`Arena::alloc`].
    #[allow(clippy::mut_from_ref)]
    pub fn alloc_slice_copy<T: Copy>(&self, from: &[T]) -> &mut [T] {
        let to = self.alloc_layout(Layout::for_value(from)).cast::<T>().as_ptr();
        // SAFETY: as many Ts, not overlapping.
        unsafe {
            ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
            slice::from_raw_parts_mut(to, from.len())
        }
    }

    /// Makes a slice of `length` values.
    ///
    /// # Panics
    /// As [`Arena::alloc`], and where the layout overflows.
    #[allow(clippy::mut_from_ref)]
    pub fn alloc_slice_fill_with<T>(&self, length: usize, mut make: impl FnMut(usize) -> T) -> &mut [T] {
        let layout = Layout::array::<T>(length).expect("the slice's layout overflows");
        let to = self.alloc_layout(layout).cast::<T>().as_ptr();
        // SAFETY: room for length Ts, each written before the slice is made.
        unsafe {
            for index in 0..length {
                to.add(index).write(make(index));
            }
            slice::from_raw_parts_mut(to, length)
        }
    }

    /// Copies a string in.
    ///
    /// # Panics
    /// As [`Arena::alloc`].
    #[must_use]
    #[allow(clippy::mut_from_ref)]
    pub fn alloc_str(&self, from: &str) -> &mut str {
        let bytes = self.alloc_slice_copy(from.as_bytes());
        // SAFETY: a copy of UTF-8.
        unsafe { str::from_utf8_unchecked_mut(bytes) }
    }

    /// Runs `body`, then takes back what it allocated, also when it panics. Nothing allocated in it can leave it.
    ///
    /// # Panics
    /// In a fenced arena, when an object's surroundings were overwritten.
    pub fn scope<R>(&mut self, body: impl FnOnce(&Arena) -> R) -> R {
        struct Rewind<'a>(&'a Arena, sys::vmarena_mark);
        impl Drop for Rewind<'_> {
            fn drop(&mut self) {
                // SAFETY: the arena is live; what was allocated since the mark cannot be referred to any more.
                let result = check(unsafe { sys::vmarena_rewind(self.0.as_raw(), self.1) });
                if let (Err(error), false) = (result, std::thread::panicking()) {
                    panic!("{error}");
                }
            }
        }
        // SAFETY: the arena is live.
        let rewind = Rewind(self, unsafe { sys::vmarena_mark_now(self.as_raw()) });
        body(rewind.0)
    }

    /// Takes back everything; `keep` bytes stay committed for reuse.
    ///
    /// # Errors
    /// `EILSEQ` in a fenced arena, when an object's surroundings were overwritten.
    pub fn reset(&mut self, keep: usize) -> Result<(), Error> {
        // SAFETY: the arena is live, and nothing in it can be referred to any more.
        check(unsafe { sys::vmarena_reset(self.as_raw(), keep) })
    }

    /// Checks the surroundings of every object of a fenced arena.
    ///
    /// # Errors
    /// `EILSEQ`; the error tells which byte, of which object.
    pub fn check(&self) -> Result<(), Error> {
        // SAFETY: the arena is live.
        check(unsafe { sys::vmarena_check(self.as_raw()) })
    }

    /// Whether the address lies in the arena, its guards included.
    #[must_use]
    pub fn owns<T: ?Sized>(&self, object: *const T) -> bool {
        // SAFETY: the arena is live; the address is only compared.
        unsafe { sys::vmarena_owns(self.as_raw(), object.cast()) }
    }

    /// What there is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        // SAFETY: all zero is a valid value of every member; the arena is live.
        let raw = unsafe {
            let mut raw: sys::vmarena_stats = mem::zeroed();
            sys::vmarena_stats_get(self.as_raw(), &mut raw);
            raw
        };
        Stats {
            reserved: raw.reserved,
            committed: raw.committed,
            used: raw.used,
            peak: raw.peak,
            objects: raw.objects,
            resident: raw.resident,
            huge: raw.huge,
            page_size: raw.page_size,
            huge_asked: huge(raw.huge_asked),
            huge_obtained: huge(raw.huge_obtained),
            guard_markers: raw.guard_kind == sys::VMARENA_GUARD_MARKER,
        }
    }
}

/// What a null pointer from an allocation stands for; the sentence says more.
const OUT_OF_MEMORY: c_int = -12;

#[cold]
fn alloc_failed(layout: Layout) -> Result<NonNull<u8>, Error> {
    if layout.size() == 0 {
        // SAFETY: an alignment is never 0.
        return Ok(unsafe { NonNull::new_unchecked(layout.align() as *mut u8) });
    }
    Err(Error::last(OUT_OF_MEMORY))
}

#[cold]
fn give_up(error: &Error) -> ! {
    panic!("{error}")
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its last use.
        unsafe { sys::vmarena_destroy(self.as_raw()) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("stats", &self.stats()).finish()
    }
}
