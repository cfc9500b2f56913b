// SPDX-License-Identifier: MIT
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::str;

use crate::arena::Arena;
use crate::error::Error;
use crate::growing::Growing;

/// A string that grows in an arena, in place while it is the arena's last object.
///
/// ```
/// use std::fmt::Write;
/// use vmarena::{Arena, ArenaString};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let arena = Arena::new()?;
/// let mut text = ArenaString::new_in(&arena);
/// write!(text, "{} of {}", 3, 7)?;
/// text.push('!');
/// let text: &str = text.into_str();
/// assert_eq!(text, "3 of 7!");
/// # Ok(())
/// # }
/// ```
pub struct ArenaString<'a> {
    bytes: Growing<'a, u8>,
}

impl<'a> ArenaString<'a> {
    /// Creates an empty string, which takes no memory yet.
    #[must_use]
    pub fn new_in(arena: &'a Arena) -> Self {
        ArenaString { bytes: Growing::new(arena) }
    }

    /// Appends a string.
    ///
    /// # Errors
    /// See [`Arena::try_alloc_layout`]; the string is unchanged.
    pub fn try_push_str(&mut self, part: &str) -> Result<(), Error> {
        self.bytes.extend_from_slice(part.as_bytes())
    }

    /// Appends a string.
    ///
    /// # Panics
    /// If the arena is full or the system refuses memory.
    pub fn push_str(&mut self, part: &str) {
        if let Err(error) = self.try_push_str(part) {
            panic!("{error}");
        }
    }

    /// Appends a character.
    ///
    /// # Panics
    /// As [`ArenaString::push_str`].
    pub fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    /// Returns the string, which lives as long as the arena's borrow, and gives unused room back if possible.
    #[must_use]
    pub fn into_str(self) -> &'a mut str {
        let (start, length) = self.bytes.finish();
        // SAFETY: as many bytes of UTF-8, which nobody else has while the arena is borrowed.
        unsafe { str::from_utf8_unchecked_mut(slice::from_raw_parts_mut(start.as_ptr(), length)) }
    }
}

impl Deref for ArenaString<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        // SAFETY: only UTF-8 was appended.
        unsafe { str::from_utf8_unchecked(self.bytes.as_slice()) }
    }
}

impl DerefMut for ArenaString<'_> {
    fn deref_mut(&mut self) -> &mut str {
        // SAFETY: only UTF-8 was appended.
        unsafe { str::from_utf8_unchecked_mut(self.bytes.as_mut_slice()) }
    }
}

/// Writing fails if the arena has no memory left.
impl fmt::Write for ArenaString<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.try_push_str(part).map_err(|_| fmt::Error)
    }
}

impl fmt::Display for ArenaString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for ArenaString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
