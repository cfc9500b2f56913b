// SPDX-License-Identifier: MIT
use std::any::Any;
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::os::raw::{c_char, c_void};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use vmarena_sys as sys;

use crate::error::Error;

/// The kind of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Access {
    Unknown,
    Read,
    Write,
    Exec,
}

/// The kind of mistake that a fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// None of the following.
    Other,
    /// Past the end of an object, or of an arena.
    Overrun,
    /// Before the start of an object, or of an arena.
    Underrun,
    /// An object that was freed, rewound or reset.
    UseAfterFree,
    /// Memory that is mapped and forbids this access.
    Protected,
    /// Nothing is mapped there.
    Unmapped,
    /// A page of a file mapping that lies past the end of the file.
    PastEndOfFile,
    /// A memory error of the hardware.
    Hardware,
}

/// A memory fault that was caught: the byte, the access and the object.
#[derive(Clone)]
pub struct Fault {
    raw: Box<sys::vmarena_fault>, // boxed, so that a Result with it stays small
}

// SAFETY: a record of numbers; its pointers are only compared and printed.
unsafe impl Send for Fault {}
// SAFETY: as above.
unsafe impl Sync for Fault {}

impl Fault {
    pub(crate) fn empty() -> sys::vmarena_fault {
        // SAFETY: all zero is a valid value of every member.
        unsafe { mem::zeroed() }
    }

    pub(crate) fn from_raw(raw: sys::vmarena_fault) -> Self {
        Fault { raw: Box::new(raw) }
    }

    /// The signal: SIGSEGV or SIGBUS.
    #[must_use]
    pub fn signal(&self) -> i32 {
        self.raw.signo
    }
    /// The signal's `si_code`.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.raw.code
    }
    /// The byte that was accessed.
    #[must_use]
    pub fn address(&self) -> usize {
        self.raw.address as usize
    }
    /// The instruction that accessed it; 0 if the library does not know this CPU's registers.
    #[must_use]
    pub fn pc(&self) -> usize {
        self.raw.pc as usize
    }
    /// Read, write or execution.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.raw.access {
            sys::VMARENA_ACCESS_READ => Access::Read,
            sys::VMARENA_ACCESS_WRITE => Access::Write,
            sys::VMARENA_ACCESS_EXEC => Access::Exec,
            _ => Access::Unknown,
        }
    }
    /// The kind of mistake.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.raw.kind {
            sys::VMARENA_FAULT_OVERRUN => Kind::Overrun,
            sys::VMARENA_FAULT_UNDERRUN => Kind::Underrun,
            sys::VMARENA_FAULT_USE_AFTER_FREE => Kind::UseAfterFree,
            sys::VMARENA_FAULT_PROTECTED => Kind::Protected,
            sys::VMARENA_FAULT_UNMAPPED => Kind::Unmapped,
            sys::VMARENA_FAULT_PAST_END_OF_FILE => Kind::PastEndOfFile,
            sys::VMARENA_FAULT_HARDWARE => Kind::Hardware,
            _ => Kind::Other,
        }
    }
    /// The address and size of the object concerned, if one is known.
    #[must_use]
    pub fn object(&self) -> Option<(usize, usize)> {
        if self.raw.object.is_null() {
            None
        } else {
            Some((self.raw.object as usize, self.raw.object_size))
        }
    }
    /// The distance from the object's nearest edge: +1 is the first byte past the end, -1 the last before the start, 0
    /// inside.
    #[must_use]
    pub fn distance(&self) -> isize {
        self.raw.distance
    }
    /// The offset of the byte in the file, for a view.
    #[must_use]
    pub fn file_offset(&self) -> u64 {
        self.raw.file_offset
    }
    /// The name of the arena that owns the memory, empty if it has none.
    #[must_use]
    pub fn owner_name(&self) -> String {
        let bytes: Vec<u8> = self.raw.owner_name.iter().take_while(|c| **c != 0).map(|c| c.to_ne_bytes()[0]).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 512];
        // SAFETY: the function writes at most the size given, and terminates.
        let length = unsafe {
            sys::vmarena_fault_describe(&raw const *self.raw, text.as_mut_ptr().cast::<c_char>(), text.len())
        };
        f.write_str(&String::from_utf8_lossy(&text[..length.min(text.len() - 1)]))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl std::error::Error for Fault {}

struct Call<F, R> {
    body: Option<F>,
    result: Option<Result<R, Box<dyn Any + Send>>>,
}

unsafe extern "C" fn trampoline<F: FnOnce() -> R, R>(call: *mut c_void) {
    // SAFETY: catch_fault passes its own Call.
    let call = unsafe { &mut *call.cast::<Call<F, R>>() };
    if let Some(body) = call.body.take() {
        // A panic must not unwind through C: it is stored here and resumed by the caller.
        call.result = Some(panic::catch_unwind(AssertUnwindSafe(body)));
    }
}

/// Runs `body`. A fault in memory of this library (arenas, fenced values, heaps, views) ends it and is returned.
///
/// # Errors
/// The fault.
///
/// # Panics
/// If `body` panics, with its payload; or if the signal handlers cannot be installed.
///
/// # Safety
/// A fault leaves `body` by `siglongjmp`. The frames it skips, those of `body` and of everything it called, must be
/// *plain*: at that moment no value with a destructor may be alive in them and no lock held (RFC 2945 calls anything
/// else undefined behaviour). Values that `body` was changing may be partly changed.
pub unsafe fn catch_fault<R>(body: impl FnOnce() -> R) -> Result<R, Fault> {
    unsafe fn run<F: FnOnce() -> R, R>(body: F) -> Result<R, Fault> {
        let mut call = Call { body: Some(body), result: None };
        let mut fault = Fault::empty();
        // SAFETY: the trampoline gets the type it expects; the caller answers for the frames that may be skipped.
        let code =
            unsafe { sys::vmarena_try(Some(trampoline::<F, R>), ptr::addr_of_mut!(call).cast(), &raw mut fault) };
        assert!(code >= 0, "{}", Error::last(code));
        match call.result {
            Some(Ok(result)) => Ok(result),
            Some(Err(payload)) => panic::resume_unwind(payload),
            None => Err(Fault::from_raw(fault)),
        }
    }
    // SAFETY: the caller's promise.
    unsafe { run(body) }
}

mod sealed {
    pub trait Sealed {}
}

/// Integers and floats of 1, 2, 4 or 8 bytes: one instruction reads or writes them, and every bit pattern is valid.
pub trait Value: Copy + sealed::Sealed {}

macro_rules! values {
    ($($type:ty)*) => { $( impl sealed::Sealed for $type {} impl Value for $type {} )* };
}
values! { u8 i8 u16 i16 u32 i32 u64 i64 usize isize f32 f64 }

/// Loads a value from any address.
///
/// # Errors
/// The fault that the load raised.
///
/// # Panics
/// If the address is not aligned for `T`.
///
/// # Safety
/// If something lies at the address, no other thread may write to it meanwhile, and no `&mut` to it may be alive. The
/// address need not be mapped.
pub unsafe fn try_read<T: Value>(address: *const T) -> Result<T, Fault> {
    let mut value = MaybeUninit::<T>::uninit();
    let mut fault = Fault::empty();
    // SAFETY: value has room for a T; the access itself is made in C and may fault.
    let code =
        unsafe { sys::vmarena_read(address.cast(), value.as_mut_ptr().cast(), mem::size_of::<T>(), &raw mut fault) };
    assert!(code >= 0, "{}", Error::last(code));
    if code == 0 {
        // SAFETY: the function has written it, and every bit pattern is a T.
        Ok(unsafe { value.assume_init() })
    } else {
        Err(Fault::from_raw(fault))
    }
}

/// Stores a value at any address.
///
/// # Errors
/// The fault that the store raised; nothing was written.
///
/// # Panics
/// If the address is not aligned for `T`.
///
/// # Safety
/// If something lies at the address, the caller must be allowed to write to it: see [`std::ptr::write`]. The address
/// need not be mapped.
pub unsafe fn try_write<T: Value>(address: *mut T, value: T) -> Result<(), Fault> {
    let mut fault = Fault::empty();
    // SAFETY: the access is made in C and may fault.
    let code =
        unsafe { sys::vmarena_write(address.cast(), ptr::addr_of!(value).cast(), mem::size_of::<T>(), &raw mut fault) };
    assert!(code >= 0, "{}", Error::last(code));
    if code == 0 {
        Ok(())
    } else {
        Err(Fault::from_raw(fault))
    }
}

/// The outcome of an operation on many bytes.
pub(crate) fn finished(done: usize, wanted: usize, fault: sys::vmarena_fault) -> Result<(), (usize, Fault)> {
    if done == wanted {
        return Ok(());
    }
    must_have_run(&fault);
    Err((done, Fault::from_raw(fault)))
}

/// If the library could not open a scope, the record has no signal, and a negative errno as its code.
fn must_have_run(fault: &sys::vmarena_fault) {
    assert!(fault.signo != 0 || fault.code >= 0, "{}", Error::last(fault.code));
}

/// Copies bytes from any address into `to`.
///
/// # Errors
/// How many bytes were copied, and the fault that the next one raised.
///
/// # Panics
/// If the signal handlers cannot be installed.
///
/// # Safety
/// As [`try_read`], for `to.len()` bytes, none of which may lie in `to`.
pub unsafe fn try_copy(to: &mut [u8], from: *const u8) -> Result<(), (usize, Fault)> {
    let mut fault = Fault::empty();
    // SAFETY: to is writable for its length; reading is made in C and may fault.
    let done = unsafe { sys::vmarena_copy(to.as_mut_ptr().cast(), from.cast(), to.len(), &raw mut fault) };
    finished(done, to.len(), fault)
}

/// Fills bytes at any address.
///
/// # Errors
/// How many bytes were written, and the fault that the next one raised.
///
/// # Panics
/// As [`try_copy`].
///
/// # Safety
/// As [`try_write`], for `length` bytes.
pub unsafe fn try_fill(to: *mut u8, byte: u8, length: usize) -> Result<(), (usize, Fault)> {
    let mut fault = Fault::empty();
    // SAFETY: the accesses are made in C and may fault.
    let done = unsafe { sys::vmarena_fill(to.cast(), byte.into(), length, &raw mut fault) };
    finished(done, length, fault)
}

/// Compares bytes at any two addresses and returns how many are equal: `length`, or the index of the first that
/// differs.
///
/// # Errors
/// How many bytes were equal, and the fault that the next one raised.
///
/// # Panics
/// As [`try_copy`].
///
/// # Safety
/// As [`try_read`], for `length` bytes at both.
pub unsafe fn try_compare(left: *const u8, right: *const u8, length: usize) -> Result<usize, (usize, Fault)> {
    let mut fault = Fault::empty();
    // SAFETY: the accesses are made in C and may fault.
    let same = unsafe { sys::vmarena_compare(left.cast(), right.cast(), length, &raw mut fault) };
    must_have_run(&fault);
    if fault.signo == 0 {
        Ok(same)
    } else {
        Err((same, Fault::from_raw(fault)))
    }
}
