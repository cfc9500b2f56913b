// SPDX-License-Identifier: MIT
//! `Arbitrary` of the arbitrary crate, for fuzz targets that take fenced input.
use arbitrary::{Arbitrary, Result, Unstructured};

use crate::error::Error;
use crate::fenced::{Fenced, Side};

/// A lack of memory says nothing about the input.
fn must<T: ?Sized>(made: std::result::Result<Fenced<T>, Error>) -> Fenced<T> {
    made.unwrap_or_else(|error| panic!("{error}"))
}

impl<'a> Arbitrary<'a> for Side {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        bytes.choose(&Side::BOTH).copied()
    }
}

/// Takes the side, then the elements as `Vec` does. To use a corpus of files, let the target take `&[u8]` instead, and
/// put a copy of it against a guard at each side.
impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Fenced<[T]> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let side = Side::arbitrary(bytes)?;
        Ok(must(Fenced::from_values(Vec::arbitrary(bytes)?, side)))
    }

    fn arbitrary_take_rest(mut bytes: Unstructured<'a>) -> Result<Self> {
        let side = Side::arbitrary(&mut bytes)?;
        Ok(must(Fenced::from_values(Vec::arbitrary_take_rest(bytes)?, side)))
    }
}

impl<'a> Arbitrary<'a> for Fenced<str> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let side = Side::arbitrary(bytes)?;
        Ok(must(Fenced::copy_of_str(<&str>::arbitrary(bytes)?, side)))
    }

    fn arbitrary_take_rest(mut bytes: Unstructured<'a>) -> Result<Self> {
        let side = Side::arbitrary(&mut bytes)?;
        Ok(must(Fenced::copy_of_str(<&str>::arbitrary_take_rest(bytes)?, side)))
    }
}
