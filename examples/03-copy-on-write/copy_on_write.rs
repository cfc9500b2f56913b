// SPDX-License-Identifier: MIT
//! After fork(2) parent and child share every page until one of them writes: then that page is copied, by a fault.
#[path = "../experiment.rs"]
mod experiment;

use experiment::{faults, must_alloc, must_be, must_count, small_page_arena};
use vmarena::page_size;

const PAGES: usize = 256;
const WRITTEN: usize = 64;

/// Both return the faults of going through count pages; reading, also the sum of what was seen.
fn reading(pages: *mut u8, count: usize) -> (i64, i64) {
    let (before, page, mut sum) = (faults(false), page_size(), 0);
    for i in 0..count {
        // SAFETY: within the object.
        sum += i64::from(unsafe { pages.add(i * page).read_volatile() });
    }
    (faults(false) - before, sum)
}

fn writing(pages: *mut u8, count: usize, value: u8) -> i64 {
    let (before, page) = (faults(false), page_size());
    for i in 0..count {
        // SAFETY: within the object.
        unsafe { pages.add(i * page).write_volatile(value) }
    }
    faults(false) - before
}

fn run_child(pages: *mut u8, warm: *mut u8) -> ! {
    reading(warm, 1); // the child's stack and code have faults of their own
    writing(warm, 1, 1);
    let (read, sum) = reading(pages, PAGES);
    let (write, again) = (writing(pages, WRITTEN, 2), writing(pages, WRITTEN, 2));
    must_count(sum, PAGES as i64, "as the sum of what the parent wrote");
    must_count(read, 0, "faults of reading shared pages");
    must_count(write, WRITTEN as i64, "faults of writing to shared pages");
    must_count(again, 0, "faults of writing to pages copied before");
    println!("child: read all {PAGES} pages: {read} faults, as they are shared");
    println!("child: wrote to {WRITTEN} pages: {write} faults, one for each page copied");
    println!("child: wrote to them again: {again} faults, as they are its own now");
    // SAFETY: within the object.
    println!("child: the byte at {pages:p} is {}", unsafe {
        pages.read_volatile()
    });
    std::process::exit(0)
}

fn main() {
    let page = page_size();
    let arena = small_page_arena((PAGES + 1) * page, "shared");
    let (pages, warm) = (must_alloc(&arena, PAGES * page), must_alloc(&arena, page));
    writing(pages, PAGES, 1);
    writing(warm, 1, 1);
    println!("parent: wrote 1 to {PAGES} pages from {pages:p} on");

    // SAFETY: this program has one thread; the child ends by itself.
    let (child, mut status) = (unsafe { libc::fork() }, 0);
    must_be(child >= 0, "fork works");
    if child == 0 {
        run_child(pages, warm);
    }
    // SAFETY: our own child, and a status to write to.
    must_be(
        unsafe { libc::waitpid(child, &mut status, 0) } == child,
        "the child can be waited for",
    );
    must_be(status == 0, "the child ends well");

    // SAFETY: within the object.
    let byte = unsafe { pages.read_volatile() };
    must_be(byte == 1, "what the child wrote is not seen by the parent");
    must_count(
        reading(pages, PAGES).1,
        PAGES as i64,
        "as the sum of the parent's bytes",
    );
    println!("parent: the byte at {pages:p} is {byte}: the same address, another page");
}
