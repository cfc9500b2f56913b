// SPDX-License-Identifier: MIT
use std::ffi::CString;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::os::raw::{c_int, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, RawFd};
use std::path::Path;
use std::ptr::{self, NonNull};

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::fault::{finished, try_copy, Fault};
use crate::fenced::Side;

/// A file as memory between two guards, for reading. Other processes may change or cut the file meanwhile; so it is read
/// by copying, which finds a lost page as a [`Fault`] of kind `PastEndOfFile` instead of dying by SIGBUS.
pub struct View {
    raw: NonNull<sys::vmarena_view>,
}

// SAFETY: reading is allowed to any thread; closing takes the value itself.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

/// What of a file a view shows, and how. The default is all of it.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    offset: u64,
    length: usize,
    fence: c_uint,
    guard: usize,
    huge: c_uint,
    flags: c_uint,
    name: Option<String>,
}

impl ViewOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// A window of the file: from this byte, so many (0: up to the end of the file).
    #[must_use]
    pub fn window(mut self, offset: u64, length: usize) -> Self {
        (self.offset, self.length) = (offset, length);
        self
    }
    /// This end of the window lies flush against a guard for sure, if need be by a private copy of it.
    #[must_use]
    pub fn fence(mut self, side: Side) -> Self {
        self.fence = side.raw();
        self
    }
    /// Bytes of each guard.
    #[must_use]
    pub fn guard(mut self, bytes: usize) -> Self {
        self.guard = bytes;
        self
    }
    /// Huge pages asked for, where the file system has them.
    #[must_use]
    pub fn huge(mut self, on: bool) -> Self {
        self.huge = if on { sys::VMARENA_HUGE_TRANSPARENT } else { sys::VMARENA_HUGE_SYSTEM };
        self
    }
    /// Pages brought in at once.
    #[must_use]
    pub fn prefault(mut self, on: bool) -> Self {
        self.flags = if on { sys::VMARENA_PREFAULT } else { 0 };
        self
    }
    /// For fault descriptions, instead of the path.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// For reading.
    ///
    /// # Errors
    /// As [`View::open`]; `ERANGE`: the window leaves the file.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<View, Error> {
        self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_READ)
    }
    /// For reading, of an open file, which stays the caller's.
    ///
    /// # Errors
    /// As [`ViewOptions::open`].
    pub fn open_file(&self, file: &impl AsRawFd) -> Result<View, Error> {
        self.open_as(Source::File(file.as_raw_fd()), sys::VMARENA_VIEW_READ)
    }
    /// As [`ViewMut::shared`].
    ///
    /// # Errors
    /// As [`ViewMut::shared`]; `EOPNOTSUPP`: a fence that would take a copy.
    pub fn shared(&self, path: impl AsRef<Path>) -> Result<ViewMut, Error> {
        let view = self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_SHARED)?;
        Ok(ViewMut { view })
    }
    /// As [`ViewMut::copy_on_write`].
    ///
    /// # Errors
    /// As [`ViewOptions::open`].
    pub fn copy_on_write(&self, path: impl AsRef<Path>) -> Result<ViewMut, Error> {
        let view = self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_COPY_ON_WRITE)?;
        Ok(ViewMut { view })
    }

    fn open_as(&self, source: Source<'_>, mode: sys::vmarena_view_mode) -> Result<View, Error> {
        let name = self.name.as_ref().map(|name| c_string(name.as_bytes())).transpose()?;
        let options = sys::vmarena_view_options {
            mode,
            fence: self.fence,
            huge: self.huge,
            flags: self.flags,
            offset: self.offset,
            length: self.length,
            guard: self.guard,
            name: name.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
        };
        let mut raw = ptr::null_mut();
        check(match source {
            Source::Path(path) => {
                let path = c_string(path.as_os_str().as_bytes())?;
                // SAFETY: the pointers are good for the call.
                unsafe { sys::vmarena_view_open_with(&mut raw, path.as_ptr(), &options) }
            }
            // SAFETY: as above; what is no open descriptor is an error.
            Source::File(file) => unsafe { sys::vmarena_view_open_fd(&mut raw, file, &options) },
        })?;
        NonNull::new(raw).map(|raw| View { raw }).ok_or_else(|| Error::new(12, "no view"))
    }
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Path(&'a Path),
    File(RawFd),
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::new(22, "the path or name contains a NUL byte"))
}

/// How a range of a view will be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// As any.
    Normal,
    /// Read ahead much, drop behind.
    Sequential,
    /// Do not read ahead.
    Random,
    /// Read in soon.
    WillNeed,
    /// Unmap the whole pages in the range; their private changes are lost.
    DontNeed,
}

/// What a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewInfo {
    /// Of the file, now.
    pub file_size: u64,
    /// The longest window that the view can show.
    pub capacity: usize,
    /// Bytes of the window's pages mapped in now.
    pub resident: usize,
    /// Of these, bytes on huge pages.
    pub huge: usize,
    /// Bytes of each guard.
    pub guard: usize,
    /// Bytes after the window that do not fault.
    pub tail: usize,
    /// The window is a private copy: a later change of the file is not seen.
    pub copied: bool,
}

impl View {
    /// Opens a whole file.
    ///
    /// # Errors
    /// What opening gives; `EISDIR`, `ENODEV` for what is no regular file, `ENODATA` for an empty one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().open(path)
    }

    /// Shows another part of the file through the same address space: up to `length` bytes (0: as many as there is room
    /// for). Changes of a private view are lost.
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
    /// `ERANGE`: it leaves the view.
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

    /// Maps a range in now, so that reading it does not fault later.
    ///
    /// # Errors
    /// `EFAULT`: the file no longer reaches there. `ERANGE`: it leaves the view.
    pub fn populate(&mut self, range: Range<usize>) -> Result<(), Error> {
        // SAFETY: the view is live.
        in_range(&range, |from, length| unsafe { sys::vmarena_view_populate(self.raw.as_ptr(), from, length) })
    }

    /// Keeps a range in memory, or no longer.
    ///
    /// # Errors
    /// `ENOMEM`, `EPERM`: beyond `RLIMIT_MEMLOCK`. `ERANGE`: it leaves the view.
    pub fn lock(&mut self, range: Range<usize>, on: bool) -> Result<(), Error> {
        let call = if on { sys::vmarena_view_lock } else { sys::vmarena_view_unlock };
        // SAFETY: the view is live.
        in_range(&range, |from, length| unsafe { call(self.raw.as_ptr(), from, length) })
    }

    /// What it is.
    ///
    /// # Errors
    /// What `fstat` gives.
    pub fn info(&self) -> Result<ViewInfo, Error> {
        // SAFETY: all zero is a valid record; the view is live.
        let raw = unsafe {
            let mut raw: sys::vmarena_view_info = mem::zeroed();
            check(sys::vmarena_view_info_get(self.raw.as_ptr(), &mut raw))?;
            raw
        };
        let sys::vmarena_view_info { file_size, capacity, resident, huge, guard, tail, copied, .. } = raw;
        Ok(ViewInfo { file_size, capacity, resident, huge, guard, tail, copied })
    }

    /// Where the window begins in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().offset }
    }

    /// Bytes of the window: of the whole file as it was opened, unless less was asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().size }
    }

    /// Whether it has none; a view never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first byte. Reading through the pointer is the caller's risk: the file may shrink.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        // SAFETY: the view is live.
        unsafe { self.raw.as_ref().data as *const u8 }
    }

    /// Copies bytes from `offset` on.
    ///
    /// # Errors
    /// How many bytes were copied, and the fault that the next one met: the file no longer reaches there.
    ///
    /// # Panics
    /// When the range leaves the view.
    pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<(), (usize, Fault)> {
        assert!(offset <= self.len() && to.len() <= self.len() - offset, "the range leaves the view");
        // SAFETY: within the view's own mapping, which is read in C; what others write to the file is bytes, whatever.
        unsafe { try_copy(to, self.as_ptr().add(offset)) }
    }
}

/// 0 as a length stands for the rest in C: an empty range needs no call.
fn in_range(range: &Range<usize>, call: impl FnOnce(usize, usize) -> c_int) -> Result<(), Error> {
    match range.end.checked_sub(range.start) {
        None => Err(Error::new(22, "the range ends before it starts")),
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

/// A file as memory that can be written: shared with the file, or a private copy of each page that is changed.
#[derive(Debug)]
pub struct ViewMut {
    view: View,
}

impl ViewMut {
    /// Changes reach the file.
    ///
    /// # Errors
    /// As [`View::open`], and `EACCES` for a file that cannot be written.
    pub fn shared(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().shared(path)
    }

    /// Changes stay private.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn copy_on_write(path: impl AsRef<Path>) -> Result<Self, Error> {
        ViewOptions::new().copy_on_write(path)
    }

    /// Copies bytes to `offset`.
    ///
    /// # Errors
    /// How many bytes were written, and the fault that the next one met.
    ///
    /// # Panics
    /// When the range leaves the view.
    pub fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), (usize, Fault)> {
        assert!(offset <= self.len() && from.len() <= self.len() - offset, "the range leaves the view");
        let mut fault = Fault::empty();
        // SAFETY: within the view's own mapping, borrowed mutably; the writing is done in C.
        let done = unsafe {
            let to = self.view.as_ptr().add(offset) as *mut u8;
            sys::vmarena_copy(to.cast(), from.as_ptr().cast(), from.len(), &mut fault)
        };
        finished(done, from.len(), fault)
    }

    /// Writes what was changed to the device, and waits for it.
    ///
    /// # Errors
    /// What the file system gives.
    pub fn sync(&mut self) -> Result<(), Error> {
        // SAFETY: the view is live.
        check(unsafe { sys::vmarena_view_sync(self.view.raw.as_ptr(), 0, 0) })
    }
}

impl std::ops::Deref for ViewMut {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

impl std::ops::DerefMut for ViewMut {
    fn deref_mut(&mut self) -> &mut View {
        &mut self.view
    }
}
