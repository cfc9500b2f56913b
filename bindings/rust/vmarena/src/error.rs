// SPDX-License-Identifier: MIT
use std::ffi::{c_int, CStr, CString};
use std::fmt;
use std::io;
use std::ptr::NonNull;

use vmarena_sys as sys;

pub(crate) const EILSEQ: i32 = libc::EILSEQ;
pub(crate) const EINVAL: i32 = libc::EINVAL;
pub(crate) const ESRCH: i32 = libc::ESRCH;

/// An error of the library: an errno, and a sentence about the call, the limit and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    errno: i32,
    sentence: String,
}

impl Error {
    /// The calling thread's last failure; `code` is what the function returned.
    pub(crate) fn last(code: c_int) -> Self {
        // SAFETY: the sentence is a terminated string that stands until this thread's next failure.
        let sentence = unsafe { CStr::from_ptr(sys::vmarena_explain()) };
        Error { errno: -code, sentence: sentence.to_string_lossy().into_owned() }
    }

    /// The calling thread's last failure, of a function that returned a null pointer.
    #[cold]
    pub(crate) fn of_null() -> Self {
        // SAFETY: no precondition.
        Error::last(unsafe { sys::vmarena_last_error() })
    }

    #[cold]
    pub(crate) fn new(errno: i32, sentence: &str) -> Self {
        Error { errno, sentence: sentence.to_owned() }
    }

    /// The errno, positive, as in `std::io::Error::raw_os_error`.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// The kind that `std::io` gives the errno.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// The handle that a function of the C library returned with success.
pub(crate) fn made<T>(raw: *mut T) -> NonNull<T> {
    NonNull::new(raw).expect("the library gives an object where it returns 0")
}

pub(crate) fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::new(EINVAL, "the path or name contains a NUL byte"))
}

pub(crate) fn check(code: c_int) -> Result<(), Error> {
    if code < 0 {
        Err(Error::last(code))
    } else {
        Ok(())
    }
}
