// SPDX-License-Identifier: MIT
use std::ffi::CString;
use std::fmt;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::fault::{try_copy, Fault};

/// A file as memory between two guards, for reading. Other processes may change or cut the file meanwhile; so it is read
/// by copying, which finds a lost page as a [`Fault`] of kind `PastEndOfFile` instead of dying by SIGBUS.
pub struct View {
    raw: NonNull<sys::vmarena_view>,
}

// SAFETY: reading is allowed to any thread; closing takes the value itself.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

fn open(path: &Path, mode: sys::vmarena_view_mode) -> Result<NonNull<sys::vmarena_view>, Error> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(22, "the path contains a NUL byte"))?;
    // SAFETY: all zero is a valid value of every member, and the defaults.
    let mut options: sys::vmarena_view_options = unsafe { mem::zeroed() };
    options.mode = mode;
    let mut raw = ptr::null_mut();
    // SAFETY: the pointers are good for the call.
    check(unsafe { sys::vmarena_view_open_with(&mut raw, path.as_ptr(), &options) })?;
    NonNull::new(raw).ok_or_else(|| Error::new(12, "no view"))
}

impl View {
    /// Opens a whole file.
    ///
    /// # Errors
    /// What opening gives; `EISDIR`, `ENODEV` for what is no regular file, `ENODATA` for an empty one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(View { raw: open(path.as_ref(), sys::VMARENA_VIEW_READ)? })
    }

    /// Bytes of the file when it was opened.
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
        Ok(ViewMut { view: View { raw: open(path.as_ref(), sys::VMARENA_VIEW_SHARED)? } })
    }

    /// Changes stay private.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn copy_on_write(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(ViewMut { view: View { raw: open(path.as_ref(), sys::VMARENA_VIEW_COPY_ON_WRITE)? } })
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
        if done == from.len() {
            Ok(())
        } else {
            Err((done, Fault::from_raw(fault)))
        }
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
