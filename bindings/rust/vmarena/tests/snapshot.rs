// SPDX-License-Identifier: MIT
//! Arenas brought back to a point.
use std::ptr::NonNull;

use vmarena::{page_size, try_read, Arena, Options, Side, Tracking};

/// An arena with 10 pages that count from 0, and their first.
fn pages(options: Options) -> (Arena, NonNull<u64>) {
    let arena = options.create().unwrap();
    let words = arena.alloc_slice_fill_with(10 * page_size() / 8, |i| i as u64);
    let first = NonNull::from(&mut words[0]);
    (arena, first)
}

#[test]
fn back_to_a_point_by_every_tracking() {
    let trackings = [Tracking::Auto, Tracking::File, Tracking::Scan, Tracking::Protect, Tracking::Compare];
    for (tracking, memfd) in trackings.iter().flat_map(|t| [(*t, false), (*t, true)]) {
        let (mut arena, first) = pages(Options::new().memfd(memfd));
        let point = match arena.snapshot(tracking) {
            Ok(point) => point,
            // What this system, or an arena of this kind, does not have.
            Err(error) => {
                assert_eq!(error.errno(), 95, "{error}");
                assert_ne!(tracking, Tracking::Auto);
                continue;
            }
        };
        let used = arena.stats().used;
        for round in 0..3u64 {
            arena.alloc(round);
            // SAFETY: nothing else refers to the pages.
            unsafe { first.as_ptr().add(page_size() / 8 + 3).write(999) };
            let dirty = arena.dirty_pages(&point).unwrap();
            let written = first.as_ptr() as usize + page_size();
            assert!(dirty.iter().any(|range| range.contains(&written)), "{tracking:?}: {dirty:?}");
            arena.restore(&point).unwrap();
            // SAFETY: the words are as they were at the snapshot.
            let words = unsafe { std::slice::from_raw_parts(first.as_ptr(), 10 * page_size() / 8) };
            assert!(words.iter().copied().eq(0..words.len() as u64));
            assert_eq!(arena.stats().used, used);
            assert_eq!(arena.snapshot_info(&point).unwrap().restores, round + 1);
        }
        arena.release(point).unwrap();
    }
}

#[test]
fn a_clone_has_contents_of_its_own() {
    let (mut arena, first) = pages(Options::new().memfd(true));
    let point = arena.snapshot(Tracking::Auto).unwrap();
    assert_eq!(arena.snapshot_info(&point).unwrap().tracking, Tracking::File);
    // SAFETY: nothing else refers to the pages.
    unsafe { first.as_ptr().write(5) };
    let clone = arena.clone_of(&point).unwrap();
    assert_eq!(clone.stats().used, 10 * page_size());
    let copy = clone.start().cast::<u64>();
    // SAFETY: the clone's first word.
    assert_eq!(unsafe { (try_read(copy.add(1)).unwrap(), try_read(copy).unwrap()) }, (1, 0));
    drop(arena);
    // SAFETY: as above; a clone does not need what it was made of.
    assert_eq!(unsafe { try_read(copy.add(2)).unwrap() }, 2);
}

#[test]
fn misuse_is_an_error() {
    let (mut one, _) = pages(Options::new());
    let (mut two, _) = pages(Options::new());
    let point = one.snapshot(Tracking::Compare).unwrap();
    assert_eq!(two.restore(&point).unwrap_err().errno(), 22);
    assert_eq!(two.restore(&point).unwrap_err().to_string(), "the snapshot is not of this arena");
    assert!(two.clone_of(&point).is_err() && two.dirty_pages(&point).is_err() && two.release(point).is_err());
    let mut fenced = Options::new().fence(Side::End).create().unwrap();
    assert_eq!(fenced.snapshot(Tracking::Auto).unwrap_err().errno(), 95);
    assert!(Options::new().memfd(true).fence(Side::End).create().is_err());
}

#[test]
fn the_arena_may_move_to_another_thread_with_its_snapshots() {
    let (mut arena, first) = pages(Options::new());
    let point = arena.snapshot(Tracking::Compare).unwrap();
    let first = first.as_ptr() as usize;
    let arena = std::thread::spawn(move || {
        // SAFETY: nothing else refers to the pages.
        unsafe { (first as *mut u64).write(7) };
        arena.restore(&point).unwrap();
        arena
    })
    .join()
    .unwrap();
    // SAFETY: the arena is alive.
    assert_eq!(unsafe { try_read(first as *const u64).unwrap() }, 0);
    drop(arena);
}
