// SPDX-License-Identifier: MIT
//! A reader with a bug that takes a fuzzer to find: it trusts the length in a header.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vmarena::{Fenced, Side};

/// What would be C, or unsafe.
fn read(input: &[u8]) -> u32 {
    match input {
        [b'V', length, payload @ ..] => {
            // SAFETY: there is none: that is the error.
            (0..*length).map(|i| u32::from(unsafe { payload.as_ptr().add(i.into()).read_volatile() })).sum()
        }
        _ => 0,
    }
}

fuzz_target!(|data: &[u8]| {
    for side in Side::BOTH {
        let input = Fenced::copy_of(data, side).expect("memory for the input");
        read(&input);
        input.check().expect("nothing around the input was overwritten");
    }
});
