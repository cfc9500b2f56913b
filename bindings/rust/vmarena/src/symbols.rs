// SPDX-License-Identifier: MIT
//! Names functions and lines in reports.
//!
//! Reading debug information takes memory, locks and a deep stack, which a signal handler does not have. Therefore a
//! thread does it: the handler sends the frames through a socket and waits, for a limited time, until the thread has
//! printed them.
use std::ffi::{c_int, c_void};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::report::{call_of, say};

/// Most frames of a request.
const DEPTH: usize = 64;
/// The thread may have to read a large program's debug information.
const MOST_MILLISECONDS: c_int = 30_000;

/// The handler's end of the connection, and the process in which the thread runs: a child of fork has none.
static CONNECTION: AtomicI32 = AtomicI32::new(-1);
static PROCESS: AtomicU32 = AtomicU32::new(0);

#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    count: usize,
    first_faulted: usize,
    frames: [usize; DEPTH],
}

/// Starts the thread, once for each process.
fn name_frames() -> io::Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if PROCESS.load(Ordering::Acquire) == process::id() {
        return Ok(());
    }
    let (ours, theirs) = UnixStream::pair()?;
    thread::Builder::new().name("vmarena reports".to_owned()).spawn(move || serve(theirs))?;
    CONNECTION.store(ours.into_raw_fd(), Ordering::Release);
    PROCESS.store(process::id(), Ordering::Release);
    Ok(())
}

/// Makes the calling thread's faults reported with their whole stack. If that fails, reports show less.
pub(crate) fn prepare_thread() {
    let _ = name_frames();
    crate::signal_stack::deepen();
}

fn serve(mut connection: UnixStream) {
    let mut bytes = [0u8; mem::size_of::<Request>()];
    while connection.read_exact(&mut bytes).is_ok() {
        // SAFETY: the bytes are those of a request, and every pattern of them is one.
        let request: Request = unsafe { bytes.as_ptr().cast::<Request>().read_unaligned() };
        print(&request);
        if connection.write_all(&[1]).is_err() {
            return;
        }
    }
}

fn print(request: &Request) {
    for (index, frame) in request.frames[..request.count].iter().enumerate() {
        let call = call_of(*frame as *mut c_void, index == 0 && request.first_faulted != 0);
        let (mut is_known, mut is_last) = (false, false);
        backtrace::resolve(call, |symbol| {
            let name = symbol.name().map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
            // The frames below run every test and every thread.
            is_last |= name.starts_with("vmarena::testing::") || name.contains("__rust_begin_short_backtrace");
            if !is_last {
                if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                    say!("    {name} at {}:{line}", file.display());
                } else {
                    say!("    {name}");
                }
            }
            is_known = true;
        });
        if is_last {
            return;
        }
        if !is_known {
            say!("    {call:p}");
        }
    }
}

/// Has the thread print the frames; returns whether it did. Safe in a signal handler.
pub(crate) fn say_frames(frames: &[*mut c_void], first_faulted: bool) -> bool {
    let connection = CONNECTION.load(Ordering::Acquire);
    if connection < 0 || PROCESS.load(Ordering::Acquire) != process::id() {
        return false;
    }
    let mut request =
        Request { count: frames.len().min(DEPTH), first_faulted: first_faulted.into(), frames: [0; DEPTH] };
    for (to, from) in request.frames.iter_mut().zip(frames) {
        *to = *from as usize;
    }
    let mut answer = libc::pollfd { fd: connection, events: libc::POLLIN, revents: 0 };
    let mut byte = 0u8;
    let size = mem::size_of::<Request>();
    // SAFETY: the request and the byte are good for the calls, all three of which signal-safety(7) lists.
    unsafe {
        usize::try_from(libc::write(connection, (&raw const request).cast(), size)) == Ok(size)
            && libc::poll(&raw mut answer, 1, MOST_MILLISECONDS) == 1
            && libc::read(connection, (&raw mut byte).cast(), 1) == 1
    }
}
