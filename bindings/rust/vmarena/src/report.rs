// SPDX-License-Identifier: MIT
//! Reports on standard error that are safe in a signal handler and under an allocator: nothing here allocates or locks.
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::fmt::{self, Write};
use std::ptr;

use vmarena_sys as sys;

/// Frames shown of a stack.
pub(crate) const DEPTH: c_uint = 16;
/// Frames looked through for the one that faulted.
#[cfg(feature = "backtrace")]
const MOST_FRAMES: usize = 64;

/// Text on its way to standard error, in small pieces: a signal stack is not deep.
pub(crate) struct Text {
    bytes: [u8; 128],
    length: usize,
}

impl Text {
    pub(crate) fn new() -> Self {
        Text { bytes: [0; 128], length: 0 }
    }

    pub(crate) fn print(&mut self) {
        // SAFETY: as many bytes; nobody could help it if standard error is gone.
        let _ = unsafe { libc::write(2, self.bytes.as_ptr().cast(), self.length) };
        self.length = 0;
    }
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for byte in part.bytes() {
            if self.length == self.bytes.len() {
                self.print();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Prints one line.
macro_rules! say {
    ($($argument:tt)*) => {{
        let mut text = $crate::report::Text::new();
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!($($argument)*));
        let _ = std::fmt::Write::write_str(&mut text, "\n");
        text.print();
    }};
}
pub(crate) use say;

#[repr(C)]
struct UnwindContext {
    opaque: [u8; 0],
}

extern "C" {
    fn _Unwind_Backtrace(
        visit: unsafe extern "C" fn(*mut UnwindContext, *mut c_void) -> c_int,
        arg: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut UnwindContext) -> usize;
}

struct Frames {
    at: *mut *mut c_void,
    count: usize,
    depth: usize,
}

unsafe extern "C" fn push_frame(context: *mut UnwindContext, frames: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const STOP: c_int = 4;
    // SAFETY: capture() passes its own record, with room for as many as depth says.
    unsafe {
        let frames = &mut *frames.cast::<Frames>();
        if frames.count == frames.depth {
            return STOP;
        }
        *frames.at.add(frames.count) = _Unwind_GetIP(context) as *mut c_void;
        frames.count += 1;
    }
    GO_ON
}

/// A heap's capture function: follows the calling thread's stack by unwind tables, because Rust code has no frame
/// pointers.
pub(crate) unsafe extern "C" fn capture(frames: *mut *mut c_void, depth: usize, _: *mut c_void) -> usize {
    let mut frames = Frames { at: frames, count: 0, depth };
    // SAFETY: push_frame gets its record. The unwinder neither allocates nor changes anything.
    unsafe { _Unwind_Backtrace(push_frame, ptr::addr_of_mut!(frames).cast()) };
    frames.count
}

/// Prints one frame as a file and an offset in it, for `addr2line -e FILE OFFSET`.
fn say_frame(call: *mut c_void) {
    // SAFETY: all zero is a valid record; the address is only looked up; the file's name stands as long as it is
    // loaded.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(call, &raw mut info) != 0 && !info.dli_fname.is_null() {
            let file = CStr::from_ptr(info.dli_fname).to_str().unwrap_or("?");
            say!("    {file}+{:#x}", call as usize - info.dli_fbase as usize);
        } else {
            say!("    {call:p}");
        }
    }
}

/// Prints a stack. All frames are return addresses, except for the first one of a fault.
fn say_frames(frames: &[*mut c_void], first_faulted: bool) {
    #[cfg(feature = "backtrace")]
    if crate::symbols::say_frames(frames, first_faulted) {
        return;
    }
    for (index, frame) in frames.iter().enumerate() {
        say_frame(call_of(*frame, index == 0 && first_faulted));
    }
}

/// The byte before a return address lies in the call instruction.
pub(crate) fn call_of(frame: *mut c_void, faulted: bool) -> *mut c_void {
    frame.cast::<u8>().wrapping_sub(usize::from(!faulted)).cast()
}

/// Prints a stack that the heap keeps, below a line that says what it is. Prints nothing if the heap has none.
pub(crate) fn say_stack(heap: *const sys::vmarena_heap, what: &str, stack: u32, thread: u32) {
    let mut frames = [ptr::null_mut(); DEPTH as usize];
    // SAFETY: the heap is live, and there is room for as many frames.
    let count = unsafe { sys::vmarena_heap_stack(heap, stack, frames.as_mut_ptr(), frames.len()) }.min(frames.len());
    if count != 0 {
        say!("  {what} by thread {thread}:");
        say_frames(&frames[..count], false);
    }
}

/// In the signal handler: prints the stack of the code that faulted at `pc`, or only `pc` if the signal stack is too
/// small to follow it.
pub(crate) fn say_faulting_stack(pc: *mut c_void) {
    say!("  the access:");
    #[cfg(feature = "backtrace")]
    if crate::signal_stack::is_deep() {
        let mut frames = [ptr::null_mut(); MOST_FRAMES];
        // SAFETY: there is room for as many frames.
        let count = unsafe { capture(frames.as_mut_ptr(), frames.len(), ptr::null_mut()) };
        // The frames above it are the handler's.
        if let Some(first) = frames[..count].iter().position(|frame| *frame == pc) {
            return say_frames(&frames[first..count.min(first + DEPTH as usize)], true);
        }
    }
    say_frames(&[pc], true);
}

/// Whether a scope of the calling thread may catch the fault. What the scope claims is not known here.
pub(crate) fn may_be_caught() -> bool {
    // SAFETY: no precondition; safe in a signal handler.
    !unsafe { sys::vmarena_scope_top() }.is_null()
}

/// Prints both stacks of an object.
pub(crate) fn say_object_stacks(heap: *const sys::vmarena_heap, object: &sys::vmarena_heap_object) {
    say_stack(heap, "allocated", object.alloc_stack, object.alloc_thread);
    say_stack(heap, "freed", object.free_stack, object.free_thread);
}

/// An empty record, for the heap to fill.
pub(crate) fn no_object() -> sys::vmarena_heap_object {
    // SAFETY: all zero is a valid value of every member.
    unsafe { std::mem::zeroed() }
}

/// In the signal handler: prints the fault in one line, and the stack of the access.
pub(crate) fn say_fault(fault: &sys::vmarena_fault) {
    let mut text = [0u8; 512];
    // SAFETY: writes at most what there is room for, and terminates.
    let length = unsafe { sys::vmarena_fault_describe(fault, text.as_mut_ptr().cast::<c_char>(), text.len()) };
    say!("vmarena: {}", std::str::from_utf8(&text[..length.min(text.len() - 1)]).unwrap_or("a fault"));
    say_faulting_stack(fault.pc);
}
