// SPDX-License-Identifier: MIT
//! Memory comes with the first touch, a page at a time, and each time by a page fault that can be counted.
#[path = "../experiment.rs"]
mod experiment;

use std::os::raw::c_void;

use experiment::{faults, must_alloc, must_be, must_count, protect, small_page_arena};
use vmarena::page_size;
use vmarena_sys as sys;

const PAGES: usize = 1000;
const GIVEN_BACK: usize = 500;
const CLOSED: usize = 100;

/// Writes one byte in each of count pages and returns the faults that this took.
fn faults_of_writing(pages: *mut u8, count: usize) -> i64 {
    let (before, page) = (faults(false), page_size());
    for i in 0..count {
        // SAFETY: within the object; a page that is closed is opened by open_page.
        unsafe { pages.add(i * page).write_volatile(1) }
    }
    faults(false) - before
}

struct Pager {
    arena: *mut sys::vmarena,
    calls: usize,
}

/// Demand paging in user space: opens the one page that was touched, and has the access tried again.
unsafe extern "C" fn open_page(fault: *const sys::vmarena_fault, pager: *mut c_void) -> bool {
    // SAFETY: called with a fault and with main's pager, in main's thread.
    unsafe {
        let pager = &mut *pager.cast::<Pager>();
        let start = (*fault).address as usize / page_size() * page_size();
        pager.calls += 1;
        let prot = sys::VMARENA_READ | sys::VMARENA_WRITE;
        sys::vmarena_protect_range(pager.arena, start as *mut c_void, page_size(), prot) == 0
    }
}

fn discard(arena: &vmarena::Arena, start: *mut u8, length: usize) {
    // SAFETY: no reference into the arena is held.
    let code = unsafe { sys::vmarena_discard(arena.as_raw().cast(), start.cast(), length) };
    must_be(code == 0, "vmarena_discard works");
}

fn main() {
    let page = page_size();
    let arena = small_page_arena(PAGES * page, "demand");
    let warm = small_page_arena(page, "warm");
    faults_of_writing(must_alloc(&warm, page), 1); // brings the code itself in

    let before = faults(false);
    let pages = must_alloc(&arena, PAGES * page);
    let count = faults(false) - before;
    must_count(count, 0, "faults of allocating");
    println!("allocated {PAGES} pages: {count} faults, as addresses are not memory yet");

    let count = faults_of_writing(pages, PAGES);
    must_count(count, PAGES as i64, "faults of the first write");
    println!("first write to each of the {PAGES} pages: {count} faults, one a page");

    let count = faults_of_writing(pages, PAGES);
    must_count(count, 0, "faults of the second write");
    println!("second write to each of the {PAGES} pages: {count} faults, as they are there now");

    discard(&arena, pages, GIVEN_BACK * page);
    // SAFETY: within the object.
    must_be(
        unsafe { pages.read_volatile() } == 0,
        "a page that was given back reads as zero",
    );
    discard(&arena, pages, GIVEN_BACK * page);
    let count = faults_of_writing(pages, PAGES);
    must_count(count, GIVEN_BACK as i64, "faults after giving pages back");
    println!("gave {GIVEN_BACK} pages back and wrote to all {PAGES}: {count} faults");

    let mut pager = Pager {
        arena: arena.as_raw().cast(),
        calls: 0,
    };
    let pager: *mut Pager = &mut pager;
    protect(&arena, sys::VMARENA_NONE);
    // SAFETY: the pager outlives the arena's use.
    let code =
        unsafe { sys::vmarena_on_fault(arena.as_raw().cast(), Some(open_page), pager.cast()) };
    must_be(code == 0, "vmarena_on_fault works");
    faults_of_writing(pages, CLOSED);
    // SAFETY: nobody changes it any more.
    let calls = unsafe { (*pager).calls };
    must_count(
        calls as i64,
        CLOSED as i64,
        "calls of the function that opens a page",
    );
    println!("closed all pages and wrote to {CLOSED}: our own function was called {calls} times, to open one each");
}
