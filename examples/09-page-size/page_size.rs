// SPDX-License-Identifier: MIT
//! Protection goes by whole pages. What is not whole pages is refused, in words, and nothing changes.
#[path = "../experiment.rs"]
mod experiment;

use std::ffi::CStr;

use experiment::{must_alloc, must_be, small_page_arena};
use vmarena::{page_size, try_write};
use vmarena_sys as sys;

fn round_up(size: usize) -> usize {
    // SAFETY: no precondition.
    unsafe { sys::vmarena_page_round_up(size) }
}

fn protect_range(arena: &vmarena::Arena, start: usize, length: usize) -> i32 {
    // SAFETY: no reference into the arena is held.
    unsafe {
        sys::vmarena_protect_range(
            arena.as_raw().cast(),
            start as *mut _,
            length,
            sys::VMARENA_READ,
        )
    }
}

fn refused(what: &str, error: i32) {
    must_be(
        error == -libc::EINVAL,
        "a range that is not whole pages of the arena is refused with EINVAL",
    );
    // SAFETY: a terminated string that stands until the thread's next failure.
    let sentence = unsafe { CStr::from_ptr(sys::vmarena_explain()) };
    println!("{what}: EINVAL, {}", sentence.to_string_lossy());
}

fn main() {
    let page = page_size();
    let arena = small_page_arena(4 * page, "article");
    let byte = must_alloc(&arena, page);
    let start = byte as usize;

    println!("a page is {page} bytes");
    println!("1 byte rounds up to {} bytes", round_up(1));
    println!(
        "a page and 1 byte round up to {} pages",
        round_up(page + 1) / page
    );
    println!(
        "SIZE_MAX bytes round up to {}: there is no such size",
        round_up(usize::MAX)
    );

    refused(
        "from the middle of a page on",
        protect_range(&arena, start + page / 2, page),
    );
    refused("half a page", protect_range(&arena, start, page / 2));
    refused("no page at all", protect_range(&arena, start, 0));
    refused(
        "more pages than there are",
        protect_range(&arena, start, 5 * page),
    );
    // SAFETY: the memory is ours.
    unsafe {
        byte.write_volatile(42);
        println!(
            "nothing has changed: wrote 42, read {}",
            byte.read_volatile()
        );
        must_be(
            protect_range(&arena, start, page) == 0,
            "vmarena_protect_range works",
        );
        must_be(try_write(byte, 43).is_err(), "the page is read-only");
        println!(
            "one whole page: read-only, and still {}",
            byte.read_volatile()
        );
    }
}
