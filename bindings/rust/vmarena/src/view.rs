// SPDX-License-Identifier: MIT
use std::ffi::c_int;
use std::fmt;
use std::mem;
use std::ops::{Deref, Range};
use std::path::Path;
use std::ptr::NonNull;

use vmarena_sys as sys;

use crate::error::{check, Error, EINVAL};
use crate::fault::{finished, try_copy, Fault};
use crate::view_options::{Advice, ViewInfo, ViewOptions};

/// A file as memory between two guards, for reading. Other processes may change or truncate the file meanwhile;
/// therefore it is read by copying, which returns a [`Fault`] of kind `PastEndOfFile` for a page that is gone, instead
/// of dying of SIGBUS.
pub struct View {
    raw: NonNull<sys::vmarena_view>,
}

// SAFETY: reading is allowed to any thread; closing takes the value itself.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// # Safety
    /// The handle of an open view, whose only owner the result is.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::vmarena_view>) -> Self {
        View { raw }
    }

    /// Opens a whole file.
    ///
    /// # Errors
    /// The errors of `open(2)`. `EISDIR`: a directory. `ENODEV`: not a regular file. `ENODATA`: an empty file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().open(path)
    }

    /// Moves the window: shows up to `length` bytes from `offset` in the same address space (0: as many as fit).
    /// Changes of a private view are lost.
    ///
    /// # Errors
    /// `ERANGE`: the offset lies past the end of the file, or the length exceeds the view's capacity.
    pub fn move_to(&mut self, offset: u64, length: usize) -> Result<(), Error> {
        // SAFETY: the view is live, and nothing in it is ever borrowed.
        check(unsafe { sys::vmarena_view_move(self.raw.as_ptr(), offset, length) })
    }

    /// Tells the system how a range will be used.
    ///
    /// # Errors
    /// `ERANGE`: the range exceeds the view.
    pub fn advise(&mut self, range: Range<usize>, advice: Advice) -> Result<(), Error> {
        let advice = match advice {
            Advice::Normal => sys::VMARENA_VIEW_NORMAL,
            Advice::Sequential => sys::VMARENA_VIEW_SEQUENTIAL,
            Advice::Random => sys::VMARENA_VIEW_RANDOM,
            Advice::WillNeed => sys::VMARENA_VIEW_WILL_NEED,
            Advice::DontNeed => sys::VMARENA_VIEW_DONT_NEED,
        };
        // SAFETY: the view is live, and nothing in it is ever borrowed.
        in_range(&range, |from, length| unsafe { sys::vmarena_view_advise(self.raw.as_ptr(), from, length, advice) })
    }

    /// Populates a range, so that reading it later causes no page fault.
    ///
    /// # Errors
    /// `EFAULT`: the file no longer reaches there. `ERANGE`: the range exceeds the view.
    pub fn populate(&mut self, range: Range<usize>) -> Result<(), Error> {
        // SAFETY: the view is live.
        in_range(&range, |from, length| unsafe { sys::vmarena_view_populate(self.raw.as_ptr(), from, length) })
    }

    /// Locks a range in memory, or unlocks it.
    ///
    /// # Errors
    /// `ENOMEM`, `EPERM`: beyond `RLIMIT_MEMLOCK`. `ERANGE`: the range exceeds the view.
    pub fn lock(&mut self, range: Range<usize>, on: bool) -> Result<(), Error> {
        let call = if on { sys::vmarena_view_lock } else { sys::vmarena_view_unlock };
        // SAFETY: the view is live.
        in_range(&range, |from, length| unsafe { call(self.raw.as_ptr(), from, length) })
    }

    /// Asks the system for figures about the view and its file.
    ///
    /// # Errors
    /// The errors of `fstat(2)`.
    pub fn info(&self) -> Result<ViewInfo, Error> {
        // SAFETY: all zero is a valid record; the view is live.
        let raw = unsafe {
            let mut raw: sys::vmarena_view_info = mem::zeroed();
            check(sys::vmarena_view_info_get(self.raw.as_ptr(), &raw mut raw))?;
            raw
        };
        let sys::vmarena_view_info { file_size, capacity, resident, huge, guard, tail, copied, .. } = raw;
        Ok(ViewInfo { file_size, capacity, resident, huge, guard, tail, copied })
    }

    /// The offset of the window in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().offset }
    }

    /// Bytes of the window: those of the file when it was opened, unless a smaller window was requested.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().size }
    }

    /// Always false: a view has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of the first byte. Reading through it is unsafe, because the file may shrink.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().data as *const u8 }
    }

    /// Copies bytes from `offset` to `to`.
    ///
    /// # Errors
    /// How many bytes were copied, and the fault that the next one raised: the file no longer reaches there.
    ///
    /// # Panics
    /// If the range exceeds the view.
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<(), (usize, Fault)> {
        assert!(offset <= self.len() && to.len() <= self.len() - offset, "the range leaves the view");
        // SAFETY: within the view's own mapping, which is read in C; what others write to the file is bytes, whatever.
        unsafe { try_copy(to, self.as_ptr().add(offset)) }
    }
}

/// In C, a length of 0 means the rest of the view; an empty range needs no call.
fn in_range(range: &Range<usize>, call: impl FnOnce(usize, usize) -> c_int) -> Result<(), Error> {
    match range.end.checked_sub(range.start) {
        None => Err(Error::new(EINVAL, "the range ends before it starts")),
        Some(0) => Ok(()),
        Some(length) => check(call(range.start, length)),
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its last use.
        unsafe { sys::vmarena_view_close(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish()
    }
}

/// A file as memory that can be written: changes reach the file, or stay in private copies of its pages.
#[derive(Debug)]
pub struct ViewMut {
    view: View,
}

impl ViewMut {
    pub(crate) fn of(view: View) -> Self {
        ViewMut { view }
    }

    /// Opens a file so that changes reach it.
    ///
    /// # Errors
    /// As [`View::open`]; `EACCES`: the file cannot be written.
    pub fn shared(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().shared(path)
    }

    /// Opens a file so that changes stay private.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn copy_on_write(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().copy_on_write(path)
    }

    /// Copies bytes to `offset`.
    ///
    /// # Errors
    /// How many bytes were written, and the fault that the next one raised.
    ///
    /// # Panics
    /// If the range exceeds the view.
    pub fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), (usize, Fault)> {
        assert!(offset <= self.len() && from.len() <= self.len() - offset, "the range leaves the view");
        let mut fault = Fault::empty();
        // SAFETY: within the view's own mapping, borrowed mutably; the writing is done in C.
        let done = unsafe {
            let to = self.view.as_ptr().add(offset).cast_mut();
            sys::vmarena_copy(to.cast(), from.as_ptr().cast(), from.len(), &raw mut fault)
        };
        finished(done, from.len(), fault)
    }

    /// As [`View::move_to`].
    ///
    /// # Errors
    /// The same.
    pub fn move_to(&mut self, offset: u64, length: usize) -> Result<(), Error> {
        self.view.move_to(offset, length)
    }

    /// As [`View::advise`].
    ///
    /// # Errors
    /// The same.
    pub fn advise(&mut self, range: Range<usize>, advice: Advice) -> Result<(), Error> {
        self.view.advise(range, advice)
    }

    /// As [`View::populate`].
    ///
    /// # Errors
    /// The same.
    pub fn populate(&mut self, range: Range<usize>) -> Result<(), Error> {
        self.view.populate(range)
    }

    /// As [`View::lock`].
    ///
    /// # Errors
    /// The same.
    pub fn lock(&mut self, range: Range<usize>, on: bool) -> Result<(), Error> {
        self.view.lock(range, on)
    }

    /// Writes changes to the device, and waits until they are written.
    ///
    /// # Errors
    /// The errors of `msync(2)`.
    pub fn sync(&mut self) -> Result<(), Error> {
        // SAFETY: the view is live.
        check(unsafe { sys::vmarena_view_sync(self.view.raw.as_ptr(), 0, 0) })
    }
}

/// A writable view can be read like any other. It provides no `&mut View`, by which it could be exchanged for a view
/// that cannot be written:
///
/// ```compile_fail
/// fn exchange(writable: &mut vmarena::ViewMut, readable: &mut vmarena::View) {
///     std::mem::swap(&mut **writable, readable);
/// }
/// ```
impl Deref for ViewMut {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}
