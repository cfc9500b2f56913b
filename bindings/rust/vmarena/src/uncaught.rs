// SPDX-License-Identifier: MIT
//! Uncaught faults. The C library reports them in words and passes them on to a handler that adds the stacks.
use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use vmarena_sys as sys;

use crate::error::{check, Error};
use crate::report::{no_object, say_faulting_stack, say_object_stacks};

static STARTING: Mutex<()> = Mutex::new(());
static REPORTS: AtomicBool = AtomicBool::new(false);
/// The heap of the program's [`GuardedAlloc`](crate::GuardedAlloc), whose objects' stacks are told, too.
static HEAP: AtomicPtr<sys::vmarena_heap> = AtomicPtr::new(ptr::null_mut());

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];
/// The previous action of each signal. Written before the handler is installed, and never again.
static mut PREVIOUS: [MaybeUninit<libc::sigaction>; 2] = [MaybeUninit::uninit(); 2];

/// Whether [`report_faults`] was called.
pub(crate) fn is_reported() -> bool {
    REPORTS.load(Ordering::Acquire)
}

pub(crate) fn set_heap(heap: *mut sys::vmarena_heap) {
    HEAP.store(heap, Ordering::Release);
}

/// From now on, an uncaught fault in memory of this library is reported on standard error before the process dies of
/// it: the byte, the object, and the stack of the access; for an object of a [`GuardedAlloc`](crate::GuardedAlloc) also
/// the stacks of its allocation and free.
///
/// With the feature `backtrace` the stacks name functions and lines, otherwise they are offsets for `addr2line`. The
/// stack of the access is complete only in threads that called this function or created a [`Fenced`](crate::Fenced)
/// value, which calls it; in others it is the instruction.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn report_faults() -> Result<(), Error> {
    #[cfg(feature = "backtrace")]
    crate::symbols::prepare_thread();
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_reported() {
        install();
        // SAFETY: no precondition. The library's handlers come on top of ours, and pass on to it.
        unsafe {
            check(sys::vmarena_report_faults(2))?;
            check(sys::vmarena_fault_reassert())?;
        }
        REPORTS.store(true, Ordering::Release);
    }
    Ok(())
}

/// Called under the lock above.
fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        // SAFETY: all zero is a valid sigaction; the previous one is written before anything can read it.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = add_stacks as *const () as usize;
            // On the alternate stack, as the thread's own may have overflowed; the fault may come again meanwhile.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            let previous = (&raw mut PREVIOUS[index]).cast::<libc::sigaction>();
            libc::sigaction(signal, ptr::null(), previous);
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

extern "C" fn add_stacks(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::AcqRel) {
        // SAFETY: the handler's own arguments.
        let address = unsafe { (*info).si_addr() };
        say_faulting_stack(program_counter(context));
        let (heap, mut object) = (HEAP.load(Ordering::Acquire), no_object());
        // SAFETY: the heap is never destroyed; the address is only looked up, which is safe in a signal handler.
        if !heap.is_null() && unsafe { sys::vmarena_heap_find(heap, address, &raw mut object) } == 0 {
            say_object_stacks(heap, &object);
        }
    }
    pass_on(signal, info, context);
}

/// Passes the signal on to the previous handler; for the default action, the access is repeated.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = usize::from(signal != SIGNALS[0]);
    // SAFETY: written before this handler was installed, and a handler is what its flags say.
    unsafe {
        let previous = &*(&raw const PREVIOUS[index]).cast::<libc::sigaction>();
        if previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
        } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                mem::transmute(previous.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = mem::transmute(previous.sa_sigaction);
            handler(signal);
        }
    }
}

/// The instruction that faulted; null if this crate does not know the processor's registers.
fn program_counter(context: *mut c_void) -> *mut c_void {
    // SAFETY: the context that the kernel gave.
    unsafe {
        let context = &*context.cast::<libc::ucontext_t>();
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        return context.uc_mcontext.gregs[libc::REG_RIP as usize] as *mut c_void;
        #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
        return context.uc_mcontext.pc as *mut c_void;
        #[allow(unreachable_code)]
        {
            let _ = context;
            ptr::null_mut()
        }
    }
}
