// SPDX-License-Identifier: MIT
//! Protections are seen changing in /proc/self/maps, where each line is one mapping.
#[path = "../experiment.rs"]
mod experiment;

use experiment::{must_alloc, must_be, must_count, protect, small_page_arena};
use vmarena::page_size;
use vmarena_sys as sys;

const PAGES: usize = 16;

/// Reads /proc/self/maps: the permissions at the address, and how many lines there are; None where there is no such file.
fn read_maps(address: usize) -> Option<(String, i64)> {
    let text = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut permissions = String::from("none");
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let (start, end) = (
            usize::from_str_radix(start, 16).ok()?,
            usize::from_str_radix(end, 16).ok()?,
        );
        if (start..end).contains(&address) {
            permissions = words.next()?.to_owned();
        }
    }
    Some((permissions, text.lines().count() as i64))
}

fn show(what: &str, address: usize, expected: &str) {
    let permissions = read_maps(address).map_or(String::new(), |(permissions, _)| permissions);
    must_be(
        permissions == expected,
        "the permissions in /proc/self/maps are those that were set",
    );
    println!("{what}: {permissions}");
}

fn count_lines() -> i64 {
    read_maps(0).map_or(0, |(_, lines)| lines)
}

fn protect_range(arena: &vmarena::Arena, start: usize, prot: u32) {
    // SAFETY: no reference into the arena is held.
    let code = unsafe {
        sys::vmarena_protect_range(arena.as_raw().cast(), start as *mut _, page_size(), prot)
    };
    must_be(code == 0, "vmarena_protect_range works");
}

fn main() {
    let page = page_size();
    let arena = small_page_arena(PAGES * page, "article");
    let pages = must_alloc(&arena, PAGES * page) as usize;
    if read_maps(pages).is_none() {
        println!("this system has no /proc/self/maps: nothing is claimed");
        return;
    }
    let writable = sys::VMARENA_READ | sys::VMARENA_WRITE;
    show("a new arena", pages, "rw-p");
    protect(&arena, sys::VMARENA_READ);
    show("read-only", pages, "r--p");
    protect(&arena, sys::VMARENA_NONE);
    show("closed to all", pages, "---p");
    protect(&arena, writable);
    show("writable again", pages, "rw-p");
    show("the guard before it", pages - 1, "---p");
    show("the guard after it", pages + PAGES * page, "---p");

    let before = count_lines();
    protect_range(&arena, pages + 8 * page, sys::VMARENA_READ);
    let more = count_lines() - before;
    must_count(more, 2, "more mappings");
    println!("one page of {PAGES} read-only: the mapping is split in three, {more} lines more");
    protect_range(&arena, pages + 8 * page, writable);
    must_count(count_lines() - before, 0, "more mappings");
    println!("and writable again: it is one mapping, as before");
}
