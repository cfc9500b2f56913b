// SPDX-License-Identifier: MIT
//! A signal stack that is large enough for the unwinder. The one that std gives a thread has 8 KiB, and the kernel's
//! record of the registers may take half of it.
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr;

use crate::arena::Arena;
use crate::error::Error;
use crate::options::Options;

const SIZE: usize = 256 * 1024;

struct SignalStack {
    arena: Arena,
    before: libc::stack_t,
}

thread_local! {
    static STACK: Cell<Option<SignalStack>> = const { Cell::new(None) };
    /// Read by the signal handler: without a destructor, so that reading it is a load.
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread has the large signal stack.
pub(crate) fn is_deep() -> bool {
    IS_DEEP.get()
}

/// Gives the calling thread a large signal stack until it ends. If that fails, the thread keeps its present one.
pub(crate) fn deepen() {
    if !is_deep() {
        if let Ok(stack) = SignalStack::install() {
            IS_DEEP.set(true);
            STACK.set(Some(stack));
        }
    }
}

impl SignalStack {
    fn install() -> Result<Self, Error> {
        let arena = Options::new().reserve(SIZE).name("signal stack").create()?;
        let memory = arena.try_alloc_layout(Layout::new::<[u8; SIZE]>())?;
        let stack = libc::stack_t { ss_sp: memory.as_ptr().cast(), ss_flags: 0, ss_size: SIZE };
        let mut before = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: memory that lives until the stack is put back.
        if unsafe { libc::sigaltstack(&raw const stack, &raw mut before) } != 0 {
            return Err(Error::new(libc::EPERM, "the thread runs on its signal stack"));
        }
        Ok(SignalStack { arena, before })
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        IS_DEEP.set(false);
        let mut now = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        // SAFETY: if this stack is still in use, the previous one still exists: std disables the signal stack when it frees its
        // own, which it does before thread-local values are dropped.
        unsafe {
            libc::sigaltstack(ptr::null(), &raw mut now);
            if self.arena.owns(now.ss_sp.cast_const()) {
                libc::sigaltstack(&raw const self.before, ptr::null_mut());
            }
        }
    }
}
