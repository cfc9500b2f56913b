// SPDX-License-Identifier: MIT
//! One file, read twice: by read(2), with a call for each piece, and by mmap(2), with a fault for each few pages.
#[path = "../experiment.rs"]
mod experiment;

use std::ptr;
use std::time::Instant;

use experiment::{faults, must_alloc, must_be, must_count, small_page_arena};
use vmarena::page_size;

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;
const PIECE: usize = 64 << 10;

struct Pass {
    sum: u64,
    calls: usize,
    faults: i64,
    ms: f64,
}

fn sum_of(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

/// Written through the page cache, so that both passes find it in memory.
fn make_file(piece: &mut [u64]) -> i32 {
    // SAFETY: the calls are given what they ask for.
    unsafe {
        let file = libc::tmpfile();
        must_be(!file.is_null(), "a temporary file can be made");
        let fd = libc::fileno(file);
        for done in (0..SIZE).step_by(PIECE) {
            for (i, word) in piece.iter_mut().enumerate() {
                *word = (done + i) as u64;
            }
            must_be(
                libc::write(fd, piece.as_ptr().cast(), PIECE) == PIECE as isize,
                "the temporary file can be written",
            );
        }
        fd
    }
}

fn by_read(fd: i32, piece: &mut [u64]) -> Pass {
    let (before, start) = (faults(true), Instant::now());
    let (mut sum, mut calls) = (0u64, 0);
    for done in (0..SIZE).step_by(PIECE) {
        // SAFETY: the piece has room for PIECE bytes.
        let got = unsafe { libc::pread(fd, piece.as_mut_ptr().cast(), PIECE, done as libc::off_t) };
        must_be(got == PIECE as isize, "the file can be read");
        sum = sum.wrapping_add(sum_of(piece));
        calls += 1;
    }
    let ms = start.elapsed().as_secs_f64() * 1e3;
    Pass {
        sum,
        calls,
        faults: faults(true) - before,
        ms,
    }
}

fn by_mmap(fd: i32) -> Pass {
    let (before, start) = (faults(true), Instant::now());
    // SAFETY: nobody changes the file while it is mapped.
    unsafe {
        let map = libc::mmap(
            ptr::null_mut(),
            SIZE,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            fd,
            0,
        );
        must_be(map != libc::MAP_FAILED, "the file can be mapped");
        let sum = sum_of(std::slice::from_raw_parts(map.cast(), SIZE / 8));
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let pass = Pass {
            sum,
            calls: 1,
            faults: faults(true) - before,
            ms,
        };
        libc::munmap(map, SIZE);
        pass
    }
}

fn main() {
    let arena = small_page_arena(PIECE, "buffer");
    // SAFETY: fresh memory reads as zero, and is as long as the slice.
    let piece = unsafe {
        std::slice::from_raw_parts_mut(must_alloc(&arena, PIECE).cast::<u64>(), PIECE / 8)
    };
    let fd = make_file(piece);
    by_read(fd, piece); // brings file and code in
    by_mmap(fd);
    let (read, map) = (by_read(fd, piece), by_mmap(fd));
    let pages = (SIZE / page_size()) as i64;

    must_be(read.sum == map.sum, "both ways give the same bytes");
    must_count(
        read.faults,
        0,
        "faults of reading into a buffer that is there",
    );
    must_be(
        (1..=pages).contains(&map.faults),
        "a mapped file takes at least one fault and at most one a page",
    );
    println!("a file of {} MiB, in the page cache", SIZE / MIB);
    println!(
        "read: {} calls, {} faults, {:.1} ms",
        read.calls, read.faults, read.ms
    );
    println!(
        "mmap: {} call, {} faults for {pages} pages, {:.1} ms",
        map.calls, map.faults, map.ms
    );
    println!("both saw the same bytes");
}
