// SPDX-License-Identifier: MIT
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::arena::Arena;

/// Part of an arena's life. What is allocated in a scope lives as long as the scope, even while a scope inside it runs.
///
/// It dereferences to the arena for everything that a shared arena can do.
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
