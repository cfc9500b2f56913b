// SPDX-License-Identifier: MIT
//! What the experiments in Rust have in common: each checks what it claims, and ends with a plain line where it is not so.
#![allow(dead_code)] // no experiment needs all of it

use std::fmt::Display;
use std::process::exit;

use vmarena::{Access, Arena, Fault, Huge, Options};
use vmarena_sys as sys;

/// Ends the program with the sentence unless it is so.
pub fn must_be(so: bool, sentence: &str) {
    if !so {
        eprintln!("not as expected: {sentence}");
        exit(1);
    }
}

/// The same for a count that must be exact.
pub fn must_count(found: i64, expected: i64, what: &str) {
    must_be(
        found == expected,
        &format!("{found} {what} instead of {expected}"),
    );
}

/// Ends the program with the reason where a call failed.
pub fn must_work<T, E: Display>(result: Result<T, E>, call: &str) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{call}: {error}");
        exit(1);
    })
}

/// An arena of the given size on small pages, so that each page counts by itself.
pub fn small_page_arena(bytes: usize, name: &str) -> Arena {
    must_work(
        Options::new()
            .reserve(bytes)
            .huge(Huge::Never)
            .name(name)
            .create(),
        "create",
    )
}

/// Bytes of an arena, page-aligned, as an address: the experiments touch them in ways that a slice would not allow.
pub fn must_alloc(arena: &Arena, size: usize) -> *mut u8 {
    let layout = std::alloc::Layout::from_size_align(size, vmarena::page_size()).unwrap();
    must_work(arena.try_alloc_layout(layout), "alloc").as_ptr()
}

/// Whether the fault was for this access, as far as the CPU tells at all.
pub fn access_is(fault: &Fault, access: Access) -> bool {
    fault.access() == access || (fault.access() == Access::Unknown && !cfg!(target_arch = "x86_64"))
}

/// Page faults of this process that needed no disk, so far; or all of them.
pub fn faults(disk_too: bool) -> i64 {
    // SAFETY: all zero is a valid rusage, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    usage.ru_minflt + if disk_too { usage.ru_majflt } else { 0 }
}

/// The protection of the whole arena, set.
pub fn protect(arena: &Arena, prot: u32) {
    // SAFETY: the experiments hold no reference into the arena.
    let code = unsafe { sys::vmarena_protect(arena.as_raw().cast(), prot) };
    must_be(code == 0, "vmarena_protect works");
}
