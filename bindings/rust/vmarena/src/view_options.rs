// SPDX-License-Identifier: MIT
use std::ffi::c_uint;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use vmarena_sys as sys;

use crate::error::{c_string, check, made, Error};
use crate::fenced::Side;
use crate::view::{View, ViewMut};

/// Options of a new view. The default is the whole file.
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
    /// Shows a window of the file: `length` bytes from `offset` (0: up to the end of the file).
    #[must_use]
    pub fn window(mut self, offset: u64, length: usize) -> Self {
        (self.offset, self.length) = (offset, length);
        self
    }
    /// Puts this end of the window flush against a guard, with a private copy of the window if necessary.
    #[must_use]
    pub fn fence(mut self, side: Side) -> Self {
        self.fence = side.raw();
        self
    }
    /// Makes each guard this many bytes wide.
    #[must_use]
    pub fn guard(mut self, bytes: usize) -> Self {
        self.guard = bytes;
        self
    }
    /// Requests huge pages, if the file system supports them.
    #[must_use]
    pub fn huge(mut self, on: bool) -> Self {
        self.huge = if on { sys::VMARENA_HUGE_TRANSPARENT } else { sys::VMARENA_HUGE_SYSTEM };
        self
    }
    /// Populates the pages when the view is opened.
    #[must_use]
    pub fn prefault(mut self, on: bool) -> Self {
        self.flags = if on { sys::VMARENA_PREFAULT } else { 0 };
        self
    }
    /// Names the view in fault descriptions, instead of the path.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`View::open`]; `ERANGE`: the window exceeds the file.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<View, Error> {
        self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_READ)
    }
    /// Maps an open file for reading. The file stays the caller's and may be closed.
    ///
    /// # Errors
    /// As [`ViewOptions::open`].
    ///
    /// # Examples
    /// A bare descriptor number is not accepted, because it may belong to anything, even to another arena's memory
    /// file:
    ///
    /// ```compile_fail
    /// let view = vmarena::ViewOptions::new().open_file(&3);
    /// ```
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let view = vmarena::ViewOptions::new().open_file(&file)?;
    /// assert_eq!(view.len() as u64, file.metadata()?.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_file(&self, file: impl AsFd) -> Result<View, Error> {
        self.open_as(Source::File(file.as_fd()), sys::VMARENA_VIEW_READ)
    }
    /// As [`ViewMut::shared`].
    ///
    /// # Errors
    /// As [`ViewMut::shared`]; `EOPNOTSUPP`: a fence that would take a copy.
    pub fn shared(&self, path: impl AsRef<Path>) -> Result<ViewMut, Error> {
        let view = self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_SHARED)?;
        Ok(ViewMut::of(view))
    }
    /// As [`ViewMut::copy_on_write`].
    ///
    /// # Errors
    /// As [`ViewOptions::open`].
    pub fn copy_on_write(&self, path: impl AsRef<Path>) -> Result<ViewMut, Error> {
        let view = self.open_as(Source::Path(path.as_ref()), sys::VMARENA_VIEW_COPY_ON_WRITE)?;
        Ok(ViewMut::of(view))
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
                unsafe { sys::vmarena_view_open_with(&raw mut raw, path.as_ptr(), &raw const options) }
            }
            // SAFETY: as above, and the descriptor is open.
            Source::File(file) => unsafe {
                sys::vmarena_view_open_fd(&raw mut raw, file.as_raw_fd(), &raw const options)
            },
        })?;
        // SAFETY: a new view, whose only handle this is.
        Ok(unsafe { View::from_raw(made(raw)) })
    }
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Path(&'a Path),
    File(BorrowedFd<'a>),
}

/// How a range of a view will be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// No special use.
    Normal,
    /// Read sequentially: read far ahead, drop pages behind.
    Sequential,
    /// Read in random order: do not read ahead.
    Random,
    /// Needed soon: start reading.
    WillNeed,
    /// Unmap the whole pages in the range; their private changes are lost.
    DontNeed,
}

/// Figures about a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewInfo {
    /// Bytes of the file now.
    pub file_size: u64,
    /// The longest window that the view can show.
    pub capacity: usize,
    /// Bytes of the window's pages that are mapped now.
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
