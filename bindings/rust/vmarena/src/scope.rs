// SPDX-License-Identifier: MIT
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::arena::Arena;

/// A part of an arena's life: what is allocated in it lives as long as the scope, also while a scope within runs.
///
/// All else that an arena can do while others borrow it, it does by dereferencing.
pub struct Scope<'a> {
    arena: &'a Arena,
    exactly: PhantomData<Cell<&'a ()>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of(arena: &'a Arena) -> Self {
        Scope { arena, exactly: PhantomData }
    }

    /// As [`Arena::scope`], within this one.
    ///
    /// # Panics
    /// As [`Arena::scope`].
    pub fn scope<R>(&mut self, body: impl FnOnce(&mut Scope<'_>) -> R) -> R {
        self.arena.scoped(body)
    }
}

impl Deref for Scope<'_> {
    type Target = Arena;
    fn deref(&self) -> &Arena {
        self.arena
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(self.arena).finish()
    }
}
