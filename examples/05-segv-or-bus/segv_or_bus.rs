// SPDX-License-Identifier: MIT
//! Two signals: SIGSEGV where no mapping allows the access, SIGBUS where one does and the page behind it cannot be had.
#[path = "../experiment.rs"]
mod experiment;

use std::ptr;

use experiment::{must_alloc, must_be, protect, small_page_arena};
use vmarena::{page_size, try_read, try_write, Fault, Kind};
use vmarena_sys as sys;

// The codes of asm-generic/siginfo.h, which the libc crate does not name.
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRERR: i32 = 2;

fn show(what: &str, outcome: Result<u8, Fault>, expected: Kind) {
    match outcome {
        Ok(value) => println!("{what}: no fault, the byte is {value}"),
        Err(fault) => {
            must_be(
                fault.kind() == expected,
                "the fault's kind is what was done to the memory",
            );
            let signal = if fault.signal() == libc::SIGBUS {
                "SIGBUS"
            } else {
                "SIGSEGV"
            };
            let code = match (fault.signal(), fault.code()) {
                (libc::SIGSEGV, SEGV_MAPERR) => "SEGV_MAPERR, nothing is mapped there",
                (libc::SIGSEGV, SEGV_ACCERR) => "SEGV_ACCERR, the mapping forbids it",
                (libc::SIGBUS, BUS_ADRERR) => "BUS_ADRERR, the mapping has no page for it",
                _ => "another code",
            };
            println!("{what}: {signal}, {code}");
        }
    }
}

fn show_read(what: &str, address: *const u8, expected: Kind) {
    // SAFETY: nobody else uses the memory.
    show(what, unsafe { try_read(address) }, expected);
}

/// A file of 100 bytes, mapped over two pages.
fn map_short_file(page: usize) {
    // SAFETY: the calls are given what they ask for; the mapping is used through the library alone.
    unsafe {
        let file = libc::tmpfile();
        must_be(!file.is_null(), "a temporary file can be made");
        let fd = libc::fileno(file);
        must_be(libc::ftruncate(fd, 100) == 0, "the file can be cut");
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let map = libc::mmap(ptr::null_mut(), 2 * page, prot, libc::MAP_SHARED, fd, 0);
        must_be(map != libc::MAP_FAILED, "the file can be mapped");
        let bytes = map.cast::<u8>();
        bytes.add(99).write_volatile(7);
        show_read("the last byte of a file of 100", bytes.add(99), Kind::Other);
        show_read(
            "past its length, on its last page",
            bytes.add(100),
            Kind::Other,
        );
        show_read("past its last page", bytes.add(page), Kind::PastEndOfFile);
        must_be(libc::ftruncate(fd, 0) == 0, "the file can be cut");
        show_read(
            "the byte that was its last, now that the file is cut to 0",
            bytes.add(99),
            Kind::PastEndOfFile,
        );
        must_be(
            libc::ftruncate(fd, 2 * page as libc::off_t) == 0,
            "the file can grow",
        );
        show_read(
            "the same byte, now that the file has grown again",
            bytes.add(99),
            Kind::Other,
        );
        libc::munmap(map, 2 * page);
        libc::fclose(file);
    }
}

fn main() {
    let page = page_size();
    let arena = small_page_arena(page, "article");
    let byte = must_alloc(&arena, page);
    protect(&arena, sys::VMARENA_READ);
    show_read("reading read-only memory", byte, Kind::Other);
    // SAFETY: the memory is ours to write.
    let outcome = unsafe { try_write(byte, 1) };
    must_be(outcome.is_err(), "writing to read-only memory faults");
    show(
        "writing read-only memory",
        outcome.map(|()| 0),
        Kind::Protected,
    );
    protect(&arena, sys::VMARENA_NONE);
    show_read("reading memory closed to all", byte, Kind::Protected);
    drop(arena);
    show_read("reading memory that was unmapped", byte, Kind::Unmapped);
    map_short_file(page);
}
