// SPDX-License-Identifier: MIT
//! The whole crate, from outside.
use vmarena::{
    catch_fault, try_compare, try_copy, try_fill, try_read, try_write, Access, Arena, Fenced, GuardKind, Guarded, Kind,
    Options, Side,
};

#[test]
fn values_slices_and_strings() {
    let arena = Arena::new().unwrap();
    let one = arena.alloc(1u64);
    let text = arena.alloc_str("héllo");
    let numbers = arena.alloc_slice_fill_with(100, |i| i as u32);
    let copy = arena.alloc_slice_copy(&[7u8; 33]);
    *one += 1;
    assert_eq!((*one, &*text, numbers[99], copy[32]), (2, "héllo", 99, 7));
    assert!(arena.owns(one) && arena.owns(text.as_ptr()) && arena.owns(numbers.as_ptr()));
    assert_eq!(one as *const u64 as usize % 8, 0);
    let nothing: &mut [u32] = arena.alloc_slice_copy(&[]);
    assert!(nothing.is_empty());
    let () = arena.alloc(());
}

#[test]
fn alignment_beyond_a_page() {
    #[repr(align(65536))]
    struct Wide(u8);
    let arena = Arena::new().unwrap();
    arena.alloc(1u8);
    let wide = arena.alloc(Wide(3));
    assert_eq!((wide as *const Wide as usize % 65536, wide.0), (0, 3));
}

#[test]
fn a_full_arena_says_so() {
    let arena = Options::new().reserve(1).create().unwrap();
    let error = arena.try_alloc_layout(std::alloc::Layout::new::<[u8; 1 << 20]>()).unwrap_err();
    assert!(error.to_string().starts_with("the arena is full: "), "{error}");
    let huge = std::alloc::Layout::from_size_align(isize::MAX as usize, 1).unwrap();
    assert!(arena.try_alloc_layout(huge).is_err());
    arena.alloc(1u8);
}

#[test]
fn wrong_options_are_errors() {
    assert_eq!(Options::new().name("a\0b").create().unwrap_err().errno(), 22);
    assert_eq!(Options::new().reserve(usize::MAX).create().unwrap_err().errno(), 12);
}

#[test]
fn scope_takes_back_also_after_a_panic() {
    let mut arena = Arena::new().unwrap();
    arena.alloc(1u64);
    let used = arena.stats().used;
    assert_eq!(arena.scope(|inner| *inner.alloc(5u64)), 5);
    assert_eq!(arena.stats().used, used);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        arena.scope(|inner| {
            inner.alloc(6u64);
            panic!("out");
        })
    }));
    assert!(result.is_err());
    assert_eq!(arena.stats().used, used);
    arena.reset(0).unwrap();
    assert_eq!(arena.stats().used, 0);
}

#[test]
fn protection_is_a_type_and_a_write_an_error() {
    let arena = Arena::new().unwrap();
    let value = Guarded::new(&arena, 1u32).unwrap();
    let address = value.as_ptr() as usize;
    let mut frozen = value.read_only().unwrap();
    let fault = frozen.try_set(2).unwrap_err();
    assert_eq!((fault.kind(), fault.access(), fault.address()), (Kind::Protected, Access::Write, address));
    assert_eq!(*frozen, 1);
    let hidden = frozen.no_access().unwrap();
    let fault = hidden.try_get().unwrap_err();
    assert_eq!((fault.kind(), fault.access(), fault.address()), (Kind::Protected, Access::Read, address));
    let mut open = hidden.read_write().unwrap();
    *open = 3;
    assert_eq!(open.try_get().unwrap(), 3);
    drop(open.no_access().unwrap());
    arena.alloc_slice_fill_with(100_000, |i| i);
}

#[test]
fn fenced_both_sides() {
    for side in Side::BOTH {
        let mut input = Fenced::copy_of(&[1u16, 2, 3], side).unwrap();
        assert_eq!(&*input, &[1, 2, 3]);
        let start = input.as_ptr() as usize;
        let (index, distance, address) = match side {
            Side::End => (3, 1, start + 6),
            Side::Start => (-1, -2, start - 2),
        };
        for _ in 0..100 {
            let fault = input.try_get(index).unwrap_err();
            assert_eq!((fault.distance(), fault.address(), fault.access()), (distance, address, Access::Read));
            assert_eq!(fault.object(), Some((start, 6)));
        }
        let fault = input.try_set(index, 9).unwrap_err();
        assert_eq!(fault.kind(), if side == Side::End { Kind::Overrun } else { Kind::Underrun });
        assert_eq!(fault.access(), Access::Write);
        input.check().unwrap();
        input.try_set(if side == Side::End { -1 } else { 3 }, 9).unwrap();
        let error = input.check().unwrap_err();
        assert!(error.to_string().starts_with("slack overwritten: byte "), "{error}");
    }
    let empty = Fenced::<[u8]>::copy_of(&[], Side::End).unwrap();
    assert_eq!(empty.try_get(0).unwrap_err().kind(), Kind::Overrun);
}

#[test]
fn display_tells_the_story() {
    let input = Fenced::copy_of(b"abc", Side::End).unwrap();
    let fault = input.try_get(3).unwrap_err();
    let start = input.as_ptr() as usize;
    let expected = format!(
        "overrun: read 1 byte past the end of a 3-byte object at {start:#x} in \"fenced\" (SIGSEGV at {:#x})",
        start + 3
    );
    assert_eq!(fault.to_string(), expected);
    assert_eq!(fault.owner_name(), "fenced");
}

#[test]
fn raw_operations() {
    let input = Fenced::copy_of(b"0123456789", Side::End).unwrap();
    let mut target = [0u8; 20];
    // SAFETY: nothing else uses the memory.
    unsafe {
        let (done, fault) = try_copy(&mut target, input.as_ptr().add(4)).unwrap_err();
        assert_eq!((done, &target[..6], fault.distance()), (6, &b"456789"[..], 1));
        try_copy(&mut target[..10], input.as_ptr()).unwrap();
        assert_eq!(try_read(std::ptr::null::<u64>()).unwrap_err().kind(), Kind::Unmapped);
        assert!(try_write(std::ptr::null_mut::<u8>(), 1).is_err());
        let mut local = 5i32;
        try_write(&mut local, 6).unwrap();
        assert_eq!(try_read(&local).unwrap(), 6);
        let (start, other) = (input.as_ptr(), *b"0123x56789");
        assert_eq!(try_compare(start, other.as_ptr(), 10).unwrap(), 4);
        assert_eq!(try_compare(start, start, 10).unwrap(), 10);
        let (same, fault) = try_compare(start.add(5), start.add(5), 6).unwrap_err();
        assert_eq!((same, fault.access(), fault.distance()), (5, Access::Read, 1));
        let (filled, fault) = try_fill(start.add(8) as *mut u8, b'-', 5).unwrap_err();
        assert_eq!((filled, fault.access(), &input[7..]), (2, Access::Write, &b"7--"[..]));
    }
}

#[test]
fn closures_are_left_and_panics_carried() {
    let arena = Options::new().fence(Side::End).create().unwrap();
    let object = arena.alloc_slice_copy(&[0u8; 10]).as_mut_ptr();
    // SAFETY: the body has nothing with a destructor.
    let fault = unsafe { catch_fault(|| object.add(10).write_volatile(1)) }.unwrap_err();
    assert_eq!((fault.distance(), fault.access(), fault.kind()), (1, Access::Write, Kind::Overrun));
    // SAFETY: as above.
    assert_eq!(unsafe { catch_fault(|| object.read_volatile()) }.unwrap(), 0);
    // SAFETY: it panics, and does not fault.
    let panicked = std::panic::catch_unwind(|| unsafe { catch_fault(|| panic!("through C")) }.is_ok());
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"through C"));
}

#[test]
fn threads_have_their_own_faults() {
    let threads: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                let input = Fenced::copy_of(&[n as u8; 8], Side::End).unwrap();
                (0..1000).filter(|_| input.try_get(8).unwrap_err().distance() == 1).count()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1000);
    }
}

#[test]
fn the_kind_of_guards_is_the_one_asked_for() {
    for kind in [GuardKind::Marker, GuardKind::Userfault, GuardKind::Protect] {
        match Options::new().fence(Side::End).guard_kind(kind).create() {
            Ok(arena) => assert_eq!(arena.stats().guard_kind, kind),
            Err(error) => {
                assert_eq!(error.errno(), 95, "{error}"); // EOPNOTSUPP
                println!("skip: {kind:?}: {error}");
            }
        }
    }
}
