// SPDX-License-Identifier: MIT
//! Errors carry the errno of the failure, not of failures in general.
use std::alloc::Layout;
use std::io::ErrorKind;

use vmarena::{Options, Side};

const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;

#[test]
fn a_full_arena_is_not_out_of_memory() {
    for options in [Options::new(), Options::new().fence(Side::End)] {
        let arena = options.reserve(1 << 20).create().unwrap();
        let error = arena.try_alloc_slice_fill_copy(2 << 20, 0u8).unwrap_err();
        assert_eq!((error.errno(), error.kind()), (ENOSPC, ErrorKind::StorageFull), "{error}");
        assert!(error.to_string().starts_with("the arena is full: "), "{error}");
        let error = arena.try_alloc_layout(Layout::from_size_align(1, 1 << 30).unwrap()).unwrap_err();
        assert_eq!(error.errno(), EINVAL, "{error}");
    }
}
