// SPDX-License-Identifier: MIT
//! Collections in arenas, by the allocator trait of allocator-api2, which with the feature `nightly` is std's own.
#![cfg_attr(feature = "nightly", feature(allocator_api))]
use std::alloc::Layout;

#[cfg(feature = "nightly")]
use std::{alloc::Allocator, boxed::Box, vec::Vec};

#[cfg(not(feature = "nightly"))]
use allocator_api2::{alloc::Allocator, boxed::Box, vec::Vec};

#[cfg(not(feature = "nightly"))]
use hashbrown::HashMap;
use vmarena::{try_read, Arena, Kind, Options, Side};

fn kinds() -> [Options; 3] {
    [Options::new(), Options::new().fence(Side::End), Options::new().fence(Side::Start)]
}

#[test]
fn vectors() {
    for options in kinds() {
        let arena = options.create().unwrap();
        let mut numbers = Vec::new_in(&arena);
        let mut others = Vec::with_capacity_in(3, &arena);
        for i in 0..5000u64 {
            numbers.push(i);
            others.push(i as u8);
        }
        assert!(numbers.iter().copied().eq(0..5000) && arena.owns(numbers.as_ptr()));
        numbers.truncate(3);
        numbers.shrink_to_fit();
        assert_eq!(numbers.as_slice(), &[0, 1, 2]);
        drop(numbers);
        arena.check().unwrap();
    }
}

#[cfg(not(feature = "nightly"))] // hashbrown knows allocator-api2's trait
#[test]
fn maps() {
    for options in kinds() {
        let arena = options.create().unwrap();
        let mut map = HashMap::new_in(&arena);
        for i in 0..1000u32 {
            map.insert(i, i * 2);
        }
        assert_eq!((map.len(), map[&500]), (1000, 1000));
        map.retain(|_, value| *value % 4 == 0);
        map.shrink_to_fit();
        assert_eq!((map.len(), map[&500]), (500, 1000));
        arena.check().unwrap();
    }
}

#[test]
fn the_last_object_is_reclaimed() {
    let arena = Arena::new().unwrap();
    let first = Box::new_in([1u8; 100], &arena);
    let used = arena.stats().used;
    drop(Box::new_in([2u8; 1000], &arena));
    assert_eq!(arena.stats().used, used);
    let mut last: Vec<u32, _> = Vec::with_capacity_in(1000, &arena);
    last.extend([1, 2, 3]);
    let start = last.as_ptr();
    last.shrink_to_fit();
    last.reserve_exact(5000);
    assert_eq!((last.as_ptr(), last.as_slice()), (start, &[1, 2, 3][..]));
    drop(first); // not the last one: it waits for a reset
    assert!(arena.stats().used > used + 5000 * 4);
    drop(last);
    assert!(arena.stats().used <= used + 4);
}

#[test]
fn a_destructor_runs_in_a_box() {
    struct Count<'a>(&'a std::cell::Cell<u32>);
    impl Drop for Count<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let count = std::cell::Cell::new(0);
    let arena = Arena::new().unwrap();
    drop(Box::new_in(Count(&count), &arena));
    arena.alloc(Count(&count)); // none runs in the arena itself
    drop(arena);
    assert_eq!(count.get(), 1);
}

#[test]
fn what_a_fenced_arena_takes_back_faults() {
    let arena = Options::new().fence(Side::End).create().unwrap();
    let mut numbers: Vec<u32, _> = Vec::with_capacity_in(4, &arena);
    numbers.extend([1, 2, 3, 4]);
    let before = numbers.as_ptr();
    numbers.push(5);
    let (after, end) = (numbers.as_ptr(), numbers.capacity());
    // SAFETY: nothing refers to these addresses, nor to the byte after the elements.
    unsafe {
        assert_eq!(try_read(before).unwrap_err().kind(), Kind::UseAfterFree);
        assert_eq!(try_read(after.add(end)).unwrap_err().distance(), 1);
        drop(numbers);
        assert_eq!(try_read(after).unwrap_err().kind(), Kind::UseAfterFree);
    }
    assert_eq!(arena.stats().objects, 0);
}

#[test]
fn alignments_of_every_size_survive_growth() {
    for options in kinds() {
        let arena = options.reserve(1 << 26).create().unwrap();
        for (old_align, new_align) in [(1, 1), (8, 8), (8, 64), (64, 8), (64, 64), (4096, 4096), (1, 65536)] {
            let old = Layout::from_size_align(50, old_align).unwrap();
            let object = (&arena).allocate(old).unwrap().cast::<u8>();
            // SAFETY: each object is the allocator's, of the layout given.
            unsafe {
                object.as_ptr().write_bytes(7, 50);
                let grown = Layout::from_size_align(5000, new_align).unwrap();
                let object = (&arena).grow(object, old, grown).unwrap().cast::<u8>();
                assert_eq!(object.as_ptr() as usize % new_align, 0);
                assert!((0..50).all(|i| object.add(i).read() == 7));
                let shrunk = Layout::from_size_align(20, old_align).unwrap();
                let object = (&arena).shrink(object, grown, shrunk).unwrap().cast::<u8>();
                assert_eq!(object.as_ptr() as usize % old_align, 0);
                assert!((0..20).all(|i| object.add(i).read() == 7));
                let none = Layout::from_size_align(0, old_align).unwrap();
                let object = (&arena).shrink(object, shrunk, none).unwrap();
                assert_eq!(object.len(), 0);
                (&arena).deallocate(object.cast(), none);
            }
        }
        arena.check().unwrap();
    }
}

#[test]
fn a_full_arena_is_an_error_of_the_collection() {
    let arena = Options::new().reserve(1 << 16).create().unwrap();
    let mut bytes: Vec<u8, _> = Vec::new_in(&arena);
    assert!(bytes.try_reserve(1 << 20).is_err());
    bytes.push(1);
    assert!(bytes.try_reserve(1 << 20).is_err());
    assert_eq!(bytes.as_slice(), &[1]);
}

#[test]
fn overwritten_slack_is_told_when_the_object_goes() {
    let arena = Options::new().fence(Side::End).create().unwrap();
    let mut object = Box::new_in([1u8; 10], &arena);
    // SAFETY: there is none: that is the error.
    unsafe { object.as_mut_ptr().sub(1).write_volatile(9) };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(object))).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.starts_with("slack overwritten: byte -1 of the 10-byte object"), "{said}");
}
