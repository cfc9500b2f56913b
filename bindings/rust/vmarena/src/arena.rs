// SPDX-License-Identifier: MIT
use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};

use vmarena_sys as sys;

use crate::error::{check, made, Error};
use crate::options::Options;
use crate::scope::Scope;
use crate::snapshot::{self, Snapshot, SnapshotInfo, Tracking};
use crate::stats::{Residency, Stats};

/// One reservation of address space between guard pages, from which objects are taken in order and given back all at
/// once. No destructor of what lives in it runs.
///
/// It may be sent to another thread, but not shared between threads.
pub struct Arena {
    raw: NonNull<sys::vmarena>,
    start: usize,
    page_size: usize,
    is_fenced: bool,
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

    /// # Safety
    /// The handle of a live arena, whose only owner the result is.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::vmarena>, is_fenced: bool) -> Self {
        // SAFETY: the arena is live.
        let info = unsafe { Stats::raw(raw.as_ptr()) };
        // SAFETY: as above; the cursor is the last byte handed out, or the one before the first.
        let start = unsafe { raw.as_ref().cursor } + 1 - info.used;
        Arena {
            raw,
            start,
            page_size: info.page_size,
            is_fenced,
            closed: Cell::new(0),
            snapshots: snapshot::List::default(),
            one_owner: PhantomData,
        }
    }

    /// Opens the pages that leaked [`crate::Guarded`] values left closed; nothing in the arena may be borrowed.
    fn reopen(&self) -> Result<(), Error> {
        if self.closed.get() != 0 {
            // SAFETY: the arena is live.
            check(unsafe { sys::vmarena_protect(self.handle(), sys::VMARENA_READ | sys::VMARENA_WRITE) })?;
            self.closed.set(0);
        }
        Ok(())
    }

    /// The C library's `struct vmarena *`, good as long as the arena, for functions that this crate does not have.
    #[must_use]
    pub fn as_raw(&self) -> *mut c_void {
        self.raw.as_ptr().cast()
    }

    pub(crate) fn handle(&self) -> *mut sys::vmarena {
        self.raw.as_ptr()
    }

    /// Whether each object has a guard of its own.
    pub(crate) fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Bytes of the arena's pages, which may be huge ones.
    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// The address after the last byte handed out.
    pub(crate) fn end(&self) -> usize {
        // SAFETY: the arena is live.
        unsafe { self.raw.as_ref().cursor + 1 }
    }

    /// Runs `body`, then takes back what it allocated, even if it panics. Nothing allocated in the scope can leave it.
    ///
    /// Scopes nest, and what lives in one outlives the scopes inside it:
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
    /// In a fenced arena, if bytes around an object were overwritten.
    pub fn scope<R>(&mut self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        self.scoped(body)
    }

    /// The caller has the arena, or the innermost scope of it, to itself.
    pub(crate) fn scoped<R>(&self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        let rewind = Rewind::to_here(self);
        body(&mut Scope::of(rewind.arena))
    }

    /// Takes back everything; `keep` bytes stay committed for reuse.
    ///
    /// # Errors
    /// `EILSEQ`: bytes around an object of a fenced arena were overwritten.
    pub fn reset(&mut self, keep: usize) -> Result<(), Error> {
        self.reopen()?;
        // SAFETY: the arena is live, and nothing in it can be referred to any more.
        check(unsafe { sys::vmarena_reset(self.handle(), keep) })
    }

    /// Takes a snapshot of the contents. The arena keeps it until [`Arena::release`], or until the arena is dropped.
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
    /// References into the arena must end first, because restoring changes what they refer to. Pointers stay valid; the
    /// values behind them are those of the snapshot again.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: the system cannot track this arena's pages that way, or the arena is fenced. `EBUSY`: its pages
    /// are tracked in another way already. `ENOMEM`: no memory for the copy.
    pub fn snapshot(&mut self, tracking: Tracking) -> Result<Snapshot, Error> {
        self.reopen()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the arena is live.
        check(unsafe { sys::vmarena_snapshot_take(&raw mut raw, self.handle(), tracking.raw()) })?;
        Ok(self.snapshots.add(raw))
    }

    /// Restores the contents of the snapshot, which is kept. What was allocated since is taken back.
    ///
    /// # Errors
    /// `EINVAL`: the snapshot is of another arena. `ENOMEM`: the arena may be partly restored; restoring again is safe.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let raw = self.snapshots.find(snapshot)?;
        self.reopen()?;
        // SAFETY: both are live, and nothing in the arena is borrowed.
        check(unsafe { sys::vmarena_restore(self.handle(), raw) })
    }

    /// A new arena with the contents of the snapshot, at another address: see [`Arena::start`].
    ///
    /// # Errors
    /// As [`Options::create`]; `EINVAL`: the snapshot is of another arena.
    pub fn clone_of(&mut self, snapshot: &Snapshot) -> Result<Arena, Error> {
        let mut raw = ptr::null_mut();
        // SAFETY: the snapshot is live.
        check(unsafe { sys::vmarena_clone(&raw mut raw, self.snapshots.find(snapshot)?) })?;
        // SAFETY: a new arena, whose only handle this is; a fenced one has no snapshots.
        Ok(unsafe { Arena::from_raw(made(raw), false) })
    }

    /// The pages written since the snapshot was taken or last restored, as ranges of addresses.
    ///
    /// # Errors
    /// `EINVAL`: the snapshot is of another arena.
    pub fn dirty_pages(&mut self, snapshot: &Snapshot) -> Result<Vec<Range<usize>>, Error> {
        snapshot::dirty_pages(self.handle(), self.snapshots.find(snapshot)?)
    }

    /// How a snapshot was taken, and what it cost.
    ///
    /// # Errors
    /// `EINVAL`: the snapshot is of another arena.
    pub fn snapshot_info(&self, snapshot: &Snapshot) -> Result<SnapshotInfo, Error> {
        snapshot::info(self.snapshots.find(snapshot)?)
    }

    /// Frees a snapshot.
    ///
    /// # Errors
    /// `EINVAL`: the snapshot is of another arena.
    #[allow(clippy::needless_pass_by_value)] // it is of no use any more
    pub fn release(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        self.snapshots.remove(&snapshot)
    }

    /// The address where the arena's memory begins, which is that of the first object unless its alignment exceeds a
    /// page.
    #[must_use]
    pub fn start(&self) -> *const u8 {
        self.start as *const u8
    }

    /// Checks the bytes around every object of a fenced arena.
    ///
    /// # Errors
    /// `EILSEQ`: some were overwritten; the message says which byte of which object.
    pub fn check(&self) -> Result<(), Error> {
        // SAFETY: the arena is live.
        check(unsafe { sys::vmarena_check(self.handle()) })
    }

    /// Whether the address lies in the arena, its guards included.
    #[must_use]
    pub fn owns<T: ?Sized>(&self, object: *const T) -> bool {
        // SAFETY: the arena is live; the address is only compared.
        unsafe { sys::vmarena_owns(self.handle(), object.cast()) }
    }

    /// Returns figures that the arena knows, without a system call; [`Arena::residency`] asks the kernel.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(self)
    }

    /// Asks the kernel how much of the arena is in memory. This walks through `/proc/self/pagemap` or `smaps`, which
    /// takes time in proportion to the resident memory: 20 ms for 1.6 GiB.
    #[must_use]
    pub fn residency(&self) -> Residency {
        Residency::of(self)
    }
}

/// Rewinds the arena when it goes out of scope.
struct Rewind<'a> {
    arena: &'a Arena,
    mark: sys::vmarena_mark,
}

impl<'a> Rewind<'a> {
    fn to_here(arena: &'a Arena) -> Self {
        // SAFETY: the arena is live.
        Rewind { arena, mark: unsafe { sys::vmarena_mark_now(arena.handle()) } }
    }
}

impl Drop for Rewind<'_> {
    fn drop(&mut self) {
        // SAFETY: the arena is live; what was allocated since the mark cannot be referred to any more.
        let rewound = check(unsafe { sys::vmarena_rewind(self.arena.handle(), self.mark) });
        let result = self.arena.reopen().and(rewound);
        if let (Err(error), false) = (result, std::thread::panicking()) {
            panic!("{error}");
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.snapshots.clear();
        // SAFETY: the handle is live, and this is its last use.
        unsafe { sys::vmarena_destroy(self.handle()) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("stats", &self.stats()).finish()
    }
}
