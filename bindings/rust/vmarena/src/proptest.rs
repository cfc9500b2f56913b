// SPDX-License-Identifier: MIT
//! Strategies for the proptest crate: inputs flush against a guard page at either side, which shrink as vectors do.
//!
//! ```
//! use proptest::prelude::*;
//! use vmarena::proptest::{fenced_bytes, fenced_slice};
//!
//! /// What would be C, or unsafe.
//! fn checksum(bytes: &[u8]) -> u32 {
//!     bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
//! }
//!
//! proptest! {
//!     fn checksum_reads_no_byte_too_many(input in fenced_bytes(0..1000)) {
//!         prop_assert_eq!(checksum(&input), checksum(&input.to_vec()));
//!     }
//!
//!     fn any_element_type(input in fenced_slice(-1.0..1.0f64, 1..20)) {
//!         prop_assert!(input.iter().all(|x| x.abs() <= 1.0));
//!     }
//! }
//!
//! # fn main() {
//! checksum_reads_no_byte_too_many();
//! any_element_type();
//! # }
//! ```
use std::fmt::Debug;

use proptest::arbitrary::any;
use proptest::collection::{vec, SizeRange};
use proptest::strategy::{BoxedStrategy, Just, Strategy, Union};

use crate::fenced::{Fenced, Side};

/// Either side; `End` is the simpler one.
pub fn side() -> BoxedStrategy<Side> {
    Union::new(Side::BOTH.map(Just)).boxed()
}

/// Slices of a strategy's elements, against a guard at either side.
///
/// # Panics
/// If the system refuses memory for a value.
pub fn fenced_slice<S>(elements: S, length: impl Into<SizeRange>) -> impl Strategy<Value = Fenced<[S::Value]>>
where
    S: Strategy,
    S::Value: Debug,
{
    (vec(elements, length), side())
        .prop_map(|(values, side)| Fenced::from_values(values, side).unwrap_or_else(|error| panic!("{error}")))
}

/// Any bytes, against a guard at either side.
///
/// # Panics
/// As [`fenced_slice`].
pub fn fenced_bytes(length: impl Into<SizeRange>) -> impl Strategy<Value = Fenced<[u8]>> {
    fenced_slice(any::<u8>(), length)
}

/// Strings that match a regular expression, against a guard at either side.
///
/// # Panics
/// As [`fenced_slice`], and if the expression is invalid.
pub fn fenced_str(pattern: &'static str) -> impl Strategy<Value = Fenced<str>> {
    (pattern, side())
        .prop_map(|(text, side)| Fenced::copy_of_str(&text, side).unwrap_or_else(|error| panic!("{error}")))
}
