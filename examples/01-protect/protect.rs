// SPDX-License-Identifier: MIT
//! The article's program with the library: the write to read-only memory is caught, told in words, and survived.
#[path = "../experiment.rs"]
mod experiment;

use experiment::{access_is, must_be, must_work, small_page_arena};
use vmarena::{page_size, Access, Guarded, Kind};

fn main() {
    let arena = small_page_arena(page_size(), "article");
    let byte = must_work(Guarded::new(&arena, 42u8), "alloc");
    let address = byte.as_ptr();
    println!("wrote {} to {address:p}", *byte);
    let mut frozen = must_work(byte.read_only(), "protect");
    println!("protected the arena: it is read-only now");

    match frozen.try_set(43) {
        Ok(()) => must_be(false, "writing to read-only memory faults"),
        Err(fault) => {
            must_be(
                fault.address() == address as usize,
                "the fault's address is the byte that was written to",
            );
            must_be(
                fault.kind() == Kind::Protected,
                "the fault's kind is PROTECTED",
            );
            must_be(access_is(&fault, Access::Write), "the fault was a write");
            println!("writing 43 faulted, and the program goes on");
            println!("{fault}");
        }
    }

    must_be(*frozen == 42, "the write did not happen");
    println!("the value is still {}", *frozen);
    let mut open = must_work(frozen.read_write(), "protect");
    must_work(open.try_set(43), "writing to writable memory");
    println!("writable again: wrote 43, read {}", *open);
}
