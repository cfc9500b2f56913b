// SPDX-License-Identifier: MIT
//! Every way to put values into an arena.
use std::cell::Cell;
use std::fmt::{self, Write};

use vmarena::{AllocOrInitError, Arena, ArenaString, Options, Side};

const ENOSPC: i32 = 28;

fn small() -> Arena {
    Options::new().reserve(1 << 16).create().unwrap()
}

#[test]
fn slices_of_every_origin() {
    for options in [Options::new(), Options::new().fence(Side::End)] {
        let arena = options.create().unwrap();
        assert_eq!(arena.alloc_slice_copy(&[1u16, 2, 3]), &[1, 2, 3]);
        assert_eq!(arena.alloc_slice_clone(&["a".to_string(), "b".to_string()]), &["a", "b"]);
        assert_eq!(arena.alloc_slice_fill_with(4, |i| i * i), &[0, 1, 4, 9]);
        assert_eq!(arena.alloc_slice_fill_copy(3, 7u8), &[7; 3]);
        assert_eq!(arena.alloc_slice_fill_clone(2, &Some(5)), &[Some(5); 2]);
        assert_eq!(arena.alloc_slice_fill_default::<u64>(2), &[0, 0]);
        assert_eq!(arena.alloc_slice_fill_iter("one two three".split(' ')), &["one", "two", "three"]);
        assert_eq!(arena.alloc_slice_fill_iter([(); 5]).len(), 5);
        assert_eq!(arena.alloc_slice_fill_iter(std::iter::empty::<u8>()), &[]);
        assert_eq!(arena.alloc_str("héllo"), "héllo");
        assert_eq!(arena.alloc_fmt(format_args!("{}-{:?}", 1, "x")), "1-\"x\"");
        arena.check().unwrap();
    }
}

#[test]
fn memory_to_be_written_by_the_caller() {
    let arena = Arena::new().unwrap();
    let value: &u32 = arena.alloc_uninit().write(7);
    let slice = arena.alloc_slice_uninit::<u8>(3);
    for byte in &mut *slice {
        byte.write(9);
    }
    // SAFETY: just written.
    assert_eq!((*value, unsafe { slice[2].assume_init() }), (7, 9));
    let layout = std::alloc::Layout::from_size_align(100, 64).unwrap();
    assert_eq!(arena.alloc_layout(layout).as_ptr() as usize % 64, 0);
}

#[test]
fn an_iterator_that_lies_or_allocates() {
    struct Liar(u32);
    impl Iterator for Liar {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (50, Some(50))
        }
    }
    let arena = Arena::new().unwrap();
    assert!(arena.alloc_slice_fill_iter(Liar(1000)).iter().copied().eq((0..1000).rev()));
    let used = arena.stats().used;
    assert_eq!(arena.alloc_slice_fill_iter(Liar(2)), &[1, 0]);
    assert_eq!(arena.stats().used - used, 2 * 4); // what was too much is handed out again
    let words = arena.alloc_slice_fill_iter((0..20).map(|i| &*arena.alloc_fmt(format_args!("{i}"))));
    assert_eq!((words.len(), words[19]), (20, "19"));
}

#[test]
fn a_failed_value_gives_its_memory_back() {
    let arena = Arena::new().unwrap();
    arena.alloc(1u64);
    let used = arena.stats().used;
    let error = arena.alloc_try_with(|| Err::<[u8; 500], _>("no".to_string())).unwrap_err();
    assert_eq!((error.as_str(), arena.stats().used), ("no", used));
    let error = arena.try_alloc_try_with(|| Err::<u64, _>(5)).unwrap_err();
    assert_eq!((error, arena.stats().used), (AllocOrInitError::Init(5), used));
    let error = arena.try_alloc_slice_try_fill_with(9, |i| if i < 8 { Ok(i) } else { Err("eight") }).unwrap_err();
    assert_eq!((error, arena.stats().used), (AllocOrInitError::Init("eight"), used));
    assert_eq!(*arena.alloc_try_with(|| Ok::<_, ()>(6)).unwrap(), 6);
    assert_eq!(arena.try_alloc_slice_try_fill_with(3, Ok::<_, ()>).unwrap(), &[0, 1, 2]);
}

#[test]
fn every_way_says_that_the_arena_is_full() {
    fn full<T: ?Sized + fmt::Debug>(result: Result<&mut T, vmarena::Error>) {
        assert_eq!(result.unwrap_err().errno(), ENOSPC);
    }
    let arena = small();
    let (large, text) = (vec![0u8; 1 << 17], "x".repeat(1 << 17));
    full(arena.try_alloc([0u64; 1 << 14]));
    full(arena.try_alloc_with(|| [0u64; 1 << 14]));
    full(arena.try_alloc_uninit::<[u64; 1 << 14]>());
    full(arena.try_alloc_slice_uninit::<u8>(1 << 17));
    full(arena.try_alloc_slice_copy(&large));
    full(arena.try_alloc_slice_clone(&large));
    full(arena.try_alloc_slice_fill_with(1 << 17, |_| 0u8));
    full(arena.try_alloc_slice_fill_copy(1 << 17, 0u8));
    full(arena.try_alloc_slice_fill_clone(1 << 17, &0u8));
    full(arena.try_alloc_slice_fill_default::<u8>(1 << 17));
    full(arena.try_alloc_slice_fill_iter(large.iter().copied()));
    full(arena.try_alloc_slice_fill_iter((0..1 << 17).filter(|_| true).map(|_| 0u8)));
    full(arena.try_alloc_str(&text));
    full(arena.try_alloc_fmt(format_args!("{text}{text}")));
    let error = arena.try_alloc_try_with(|| Ok::<_, ()>([0u64; 1 << 14])).unwrap_err();
    assert!(matches!(error, AllocOrInitError::Alloc(error) if error.errno() == ENOSPC));
    assert_eq!(arena.try_alloc_slice_uninit::<u64>(usize::MAX / 4).unwrap_err().errno(), 22);
    assert!(std::panic::catch_unwind(|| small().alloc_slice_fill_copy(1 << 17, 0u8).len()).is_err());
}

#[test]
fn a_panic_in_the_middle_drops_nothing_twice() {
    struct Bomb<'a>(&'a Cell<u32>);
    impl Clone for Bomb<'_> {
        fn clone(&self) -> Self {
            self.0.set(self.0.get() + 1);
            assert!(self.0.get() < 3, "third");
            Bomb(self.0)
        }
    }
    let (arena, clones) = (Arena::new().unwrap(), Cell::new(0));
    let bombs = [Bomb(&clones), Bomb(&clones), Bomb(&clones)];
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| arena.alloc_slice_clone(&bombs).len()));
    assert!(result.is_err());
    assert_eq!(clones.get(), 3);
    arena.alloc(1u8);
}

#[test]
fn strings_that_grow() {
    let arena = small();
    let mut text = ArenaString::new_in(&arena);
    assert_eq!(&*text, "");
    for i in 0..100 {
        write!(text, "{i},").unwrap();
    }
    text.push('é');
    let between = arena.alloc(5u8); // now it must move to grow
    text.push_str("end");
    text.make_ascii_uppercase();
    assert_eq!(text.to_string(), format!("{text}"));
    assert!(text.starts_with("0,1,2,") && text.ends_with("99,éEND"), "{text:?}");
    assert_eq!(text.try_push_str(&"x".repeat(1 << 17)).unwrap_err().errno(), ENOSPC);
    assert!(text.write_str(&"x".repeat(1 << 17)).is_err());
    let text: &mut str = text.into_str();
    assert_eq!((text.len(), *between), (290 + 2 + 3, 5));
    assert!(arena.owns(text.as_ptr()));
}

#[test]
fn a_scope_has_them_too_and_they_live_as_long_as_it() {
    let mut arena = Arena::new().unwrap();
    let total = arena.scope(|outer| {
        let words = outer.alloc_slice_fill_iter(["a", "bc"].map(|word| &*outer.alloc_str(word)));
        let text = outer.alloc_fmt(format_args!("{}{}", words[0], words[1]));
        let default = outer.try_alloc_slice_fill_default::<u8>(2).unwrap();
        outer.scope(|inner| inner.alloc_fmt(format_args!("{text}{}", default[0])).len())
    });
    assert_eq!((total, arena.stats().used), (4, 0));
}
