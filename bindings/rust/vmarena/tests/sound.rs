// SPDX-License-Identifier: MIT
//! What safe code could try to break.
use std::mem;

use vmarena::{Arena, Guarded, Options, Side};

#[test]
fn a_leaked_guard_leaves_no_closed_pages_to_others() {
    for options in [Options::new(), Options::new().fence(Side::End)] {
        let mut arena = options.create().unwrap();
        mem::forget(Guarded::new(&arena, 1u32).unwrap().no_access().unwrap());
        arena.reset(usize::MAX).unwrap();
        assert_eq!(arena.alloc_slice_fill_with(5000, |i| i)[4999], 4999);
        arena.scope(|scope| mem::forget(Guarded::new(scope, 2u32).unwrap().read_only().unwrap()));
        assert_eq!(arena.alloc_slice_fill_with(5000, |i| i)[4999], 4999);
    }
}

#[test]
fn what_lives_in_an_outer_scope_outlives_an_inner_one() {
    let mut arena = Arena::new().unwrap();
    arena.scope(|outer| {
        let kept = outer.alloc_slice_copy(&[1u32, 2, 3]);
        let used = outer.stats().used;
        let sum = outer.scope(|inner| {
            let doubled = inner.alloc_slice_fill_with(kept.len(), |i| kept[i] * 2);
            kept[0] = 10;
            inner.scope(|third| *third.alloc(doubled.iter().sum::<u32>()))
        });
        assert_eq!((sum, outer.stats().used), (12, used));
        assert_eq!(outer.alloc_str("after"), "after");
        assert_eq!(kept, &[10, 2, 3]);
    });
    assert_eq!(arena.stats().used, 0);
}

#[test]
fn a_value_made_by_a_function_that_allocates() {
    let arena = Arena::new().unwrap();
    let outer = arena.alloc_with(|| {
        let inner = arena.alloc(7u64);
        *inner + 1
    });
    assert_eq!(*outer, 8);
    let slice = arena.alloc_slice_fill_with(3, |i| *arena.alloc(i));
    assert_eq!(slice, &[0, 1, 2]);
}
