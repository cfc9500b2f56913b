// SPDX-License-Identifier: MIT
use std::alloc::Layout;
use std::cell::Cell;
use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, Range};
use std::os::raw::{c_int, c_uint};
use std::ptr::{self, NonNull};
use std::slice;
use std::str;

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::fenced::Side;
use crate::snapshot::{self, Snapshot, SnapshotInfo, Tracking};

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
    /// Absent in the child of a fork, which must not use it.
    #[must_use]
    pub fn dont_fork(self, on: bool) -> Self {
        self.flag(sys::VMARENA_DONT_FORK, on)
    }
    /// On a file in memory, for [`Arena::snapshot`]; not together with a fence.
    #[must_use]
    pub fn memfd(self, on: bool) -> Self {
        self.flag(sys::VMARENA_MEMFD, on)
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
        NonNull::new(raw).map(Arena::from_raw).ok_or_else(|| Error::new(12, "no arena"))
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
    /// How many [`crate::Guarded`] values have closed pages: those that were leaked leave them so.
    pub(crate) closed: Cell<usize>,
    snapshots: snapshot::List,
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

    fn from_raw(raw: NonNull<sys::vmarena>) -> Self {
        Arena { raw, closed: Cell::new(0), snapshots: snapshot::List::default(), one_owner: PhantomData }
    }

    /// Where nothing in the arena is borrowed: opens the pages that leaked [`crate::Guarded`] values left closed.
    fn reopen(&self) -> Result<(), Error> {
        if self.closed.get() != 0 {
            // SAFETY: the arena is live.
            check(unsafe { sys::vmarena_protect(self.as_raw(), sys::VMARENA_READ | sys::VMARENA_WRITE) })?;
            self.closed.set(0);
        }
        Ok(())
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
        // SAFETY: the arena is live, and not shared between threads; an address found is not 0.
        match unsafe { sys::vmarena_alloc_fast(self.as_raw(), layout.size(), layout.align()) } {
            Some(address) => Ok(unsafe { NonNull::new_unchecked(address as *mut u8) }),
            None => self.alloc_slow(layout),
        }
    }

    #[cold]
    fn alloc_slow(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        if layout.size() == 0 {
            // SAFETY: an alignment is never 0.
            return Ok(unsafe { NonNull::new_unchecked(layout.align() as *mut u8) });
        }
        // SAFETY: the arena is live, and not shared between threads.
        let object = unsafe { sys::vmarena_alloc_slow(self.as_raw(), layout.size(), layout.align()) };
        NonNull::new(object.cast()).ok_or_else(|| Error::last(OUT_OF_MEMORY))
    }

    /// Memory for a T, by the shorter path where its layout allows.
    #[inline]
    fn alloc_for<T>(&self) -> NonNull<T> {
        let layout = Layout::new::<T>();
        if layout.size() == 0 || layout.size() > 65536 || layout.align() > 4096 {
            return self.alloc_layout(layout).cast();
        }
        // SAFETY: the arena is live, and not shared between threads; the layout is within what the function takes, and an
        // address found is not 0.
        match unsafe { sys::vmarena_alloc_fixed(self.as_raw(), layout.size(), layout.align()) } {
            Some(address) => unsafe { NonNull::new_unchecked(address as *mut T) },
            None => self.alloc_or_panic(layout).cast(),
        }
    }

    #[cold]
    fn alloc_or_panic(&self, layout: Layout) -> NonNull<u8> {
        self.alloc_slow(layout).unwrap_or_else(|error| give_up(&error))
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
    /// Scopes nest, and what lives in one outlives those within:
    ///
    /// ```
    /// # fn main() -> Result<(), vmarena::Error> {
    /// let mut arena = vmarena::Arena::new()?;
    /// let total = arena.scope(|outer| {
    ///     let words = outer.alloc_slice_copy(&[1, 2, 3]);
    ///     outer.scope(|inner| inner.alloc_slice_copy(words).iter().sum::<i32>())
    /// });
    /// assert_eq!(total, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// ```compile_fail
    /// let mut arena = vmarena::Arena::new().unwrap();
    /// let escaped = arena.scope(|scope| scope.alloc(1));
    /// ```
    ///
    /// ```compile_fail
    /// let mut arena = vmarena::Arena::new().unwrap();
    /// arena.scope(|outer| {
    ///     let mut escaped = outer.alloc(1);
    ///     outer.scope(|inner| escaped = inner.alloc(2));
    /// });
    /// ```
    ///
    /// # Panics
    /// In a fenced arena, when an object's surroundings were overwritten.
    pub fn scope<R>(&mut self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        self.scoped(body)
    }

    /// The caller has the arena, or the innermost scope of it, to itself.
    fn scoped<R>(&self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        struct Rewind<'a>(&'a Arena, sys::vmarena_mark);
        impl Drop for Rewind<'_> {
            fn drop(&mut self) {
                // SAFETY: the arena is live; what was allocated since the mark cannot be referred to any more.
                let rewound = check(unsafe { sys::vmarena_rewind(self.0.as_raw(), self.1) });
                let result = self.0.reopen().and(rewound);
                if let (Err(error), false) = (result, std::thread::panicking()) {
                    panic!("{error}");
                }
            }
        }
        // SAFETY: the arena is live.
        let rewind = Rewind(self, unsafe { sys::vmarena_mark_now(self.as_raw()) });
        body(&mut Scope { arena: rewind.0, exactly: PhantomData })
    }

    /// Takes back everything; `keep` bytes stay committed for reuse.
    ///
    /// # Errors
    /// `EILSEQ` in a fenced arena, when an object's surroundings were overwritten.
    pub fn reset(&mut self, keep: usize) -> Result<(), Error> {
        self.reopen()?;
        // SAFETY: the arena is live, and nothing in it can be referred to any more.
        check(unsafe { sys::vmarena_reset(self.as_raw(), keep) })
    }

    /// Takes a snapshot of the contents, to come back to. It is kept until [`Arena::release`], or with the arena.
    ///
    /// ```
    /// use std::ptr::NonNull;
    /// use vmarena::{Options, Tracking};
    ///
    /// # fn main() -> Result<(), vmarena::Error> {
    /// let mut arena = Options::new().memfd(true).create()?;
    /// let fixture = NonNull::from(arena.alloc([0u8; 10_000]));
    /// let built = arena.snapshot(Tracking::Auto)?;
    /// for run in 1..4 {
    ///     // SAFETY: the fixture lies below the snapshot, and nothing else refers to it.
    ///     let bytes = unsafe { &mut *fixture.as_ptr() };
    ///     assert_eq!(bytes[5], 0);
    ///     bytes[5] = run;
    ///     arena.restore(&built)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// References into the arena end before, as restoring would change what they show. Pointers stay good, but for what
    /// the caller knows of the values: they are those of the snapshot again.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: no such tracking for this arena here (`Auto` always is, but in a fenced arena). `EBUSY`: its pages
    /// are tracked otherwise already. `ENOMEM`.
    pub fn snapshot(&mut self, tracking: Tracking) -> Result<Snapshot, Error> {
        self.reopen()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the arena is live.
        check(unsafe { sys::vmarena_snapshot_take(&mut raw, self.as_raw(), tracking.raw()) })?;
        self.snapshots.add(raw)
    }

    /// Brings the arena back to the snapshot, which stays; what was allocated since is taken back.
    ///
    /// # Errors
    /// `EINVAL`: a snapshot of another arena. `ENOMEM`: the arena may be half restored; restoring again is safe.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let raw = self.snapshots.find(snapshot)?;
        self.reopen()?;
        // SAFETY: both are live, and nothing in the arena is borrowed.
        check(unsafe { sys::vmarena_restore(self.as_raw(), raw) })
    }

    /// A new arena with the contents of the snapshot, at another address: see [`Arena::start`].
    ///
    /// # Errors
    /// As [`Options::create`]; `EINVAL`: a snapshot of another arena.
    pub fn clone_of(&mut self, snapshot: &Snapshot) -> Result<Arena, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the snapshot is live.
        check(unsafe { sys::vmarena_clone(&mut raw, self.snapshots.find(snapshot)?) })?;
        NonNull::new(raw).map(Arena::from_raw).ok_or_else(|| Error::new(12, "no arena"))
    }

    /// The pages written since the snapshot was taken or restored last, as ranges of addresses.
    ///
    /// # Errors
    /// `EINVAL`: a snapshot of another arena.
    pub fn dirty_pages(&mut self, snapshot: &Snapshot) -> Result<Vec<Range<usize>>, Error> {
        snapshot::dirty_pages(self.as_raw(), self.snapshots.find(snapshot)?)
    }

    /// How a snapshot was taken, and what it cost.
    ///
    /// # Errors
    /// `EINVAL`: a snapshot of another arena.
    pub fn snapshot_info(&self, snapshot: &Snapshot) -> Result<SnapshotInfo, Error> {
        snapshot::info(self.snapshots.find(snapshot)?)
    }

    /// Frees a snapshot.
    ///
    /// # Errors
    /// `EINVAL`: a snapshot of another arena.
    #[allow(clippy::needless_pass_by_value)] // it is of no use any more
    pub fn release(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.snapshots.remove(&snapshot)
    }

    /// Where the arena's memory begins: the first object, if its alignment was no larger than a page.
    #[must_use]
    pub fn start(&self) -> *const u8 {
        // SAFETY: the arena is live; the cursor is the last byte handed out, or the one before the first.
        let cursor = unsafe { self.raw.as_ref().cursor };
        (cursor + 1 - self.stats().used) as *const u8
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
fn give_up(error: &Error) -> ! {
    panic!("{error}")
}

/// A part of an arena's life: what is allocated in it lives as long as the scope, also while a scope within runs.
///
/// All else that an arena can do while others borrow it, it does by dereferencing.
pub struct Scope<'a> {
    arena: &'a Arena,
    exactly: PhantomData<Cell<&'a ()>>,
}

#[allow(clippy::mut_from_ref)] // each call gives other memory
impl<'a> Scope<'a> {
    /// As [`Arena::alloc`].
    #[inline]
    pub fn alloc<T>(&self, value: T) -> &'a mut T {
        self.arena.alloc(value)
    }
    /// As [`Arena::try_alloc`].
    ///
    /// # Errors
    /// See [`Arena::try_alloc_layout`].
    #[inline]
    pub fn try_alloc<T>(&self, value: T) -> Result<&'a mut T, Error> {
        self.arena.try_alloc(value)
    }
    /// As [`Arena::alloc_with`].
    #[inline]
    pub fn alloc_with<T>(&self, make: impl FnOnce() -> T) -> &'a mut T {
        self.arena.alloc_with(make)
    }
    /// As [`Arena::alloc_slice_copy`].
    pub fn alloc_slice_copy<T: Copy>(&self, from: &[T]) -> &'a mut [T] {
        self.arena.alloc_slice_copy(from)
    }
    /// As [`Arena::alloc_slice_fill_with`].
    pub fn alloc_slice_fill_with<T>(&self, length: usize, make: impl FnMut(usize) -> T) -> &'a mut [T] {
        self.arena.alloc_slice_fill_with(length, make)
    }
    /// As [`Arena::alloc_str`].
    #[must_use]
    pub fn alloc_str(&self, from: &str) -> &'a mut str {
        self.arena.alloc_str(from)
    }
    /// As [`Arena::scope`], within this one.
    ///
    /// # Panics
    /// As [`Arena::scope`].
    pub fn scope<R>(&mut self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        self.arena.scoped(body)
    }
}

impl Deref for Scope<'_> {
    type Target = Arena;
    fn deref(&self) -> &Arena {
        self.arena
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(self.arena).finish()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.snapshots.clear();
        // SAFETY: the handle is live, and this is its last use.
        unsafe { sys::vmarena_destroy(self.as_raw()) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("stats", &self.stats()).finish()
    }
}
