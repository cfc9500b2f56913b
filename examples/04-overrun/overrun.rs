// SPDX-License-Identifier: MIT
//! Off by one, read and write, over and under: with a guard at the object's edge the first wrong byte faults.
#[path = "../experiment.rs"]
mod experiment;

use std::alloc::Layout;

use experiment::{access_is, must_be, must_work};
use vmarena::{catch_fault, Access, Options, Side};

const SIZE: usize = 24;

fn expect(access: Access, object: *mut u8, index: isize, distance: isize) {
    let byte = object.wrapping_offset(index);
    // SAFETY: the body holds nothing with a destructor; where it faults, nothing has changed.
    let outcome = unsafe {
        catch_fault(|| match access {
            Access::Write => byte.write_volatile(1),
            _ => drop(byte.read_volatile()),
        })
    };
    let verb = if access == Access::Write {
        "writing"
    } else {
        "reading"
    };
    must_be(
        outcome.is_err() == (distance != 0),
        "the object's own bytes, and no others, work",
    );
    match outcome {
        Ok(()) => println!("{verb} byte {index}: no fault"),
        Err(fault) => {
            must_be(
                fault.object() == Some((object as usize, SIZE)),
                "the fault is attributed to the object",
            );
            must_be(
                fault.distance() == distance,
                "the fault's distance is that of the byte from the object",
            );
            must_be(
                fault.address() == byte as usize,
                "the fault's address is that of the byte",
            );
            must_be(access_is(&fault, access), "the fault was for this access");
            println!("{verb} byte {index}: {fault}");
        }
    }
}

fn main() {
    let layout = Layout::from_size_align(SIZE, 1).unwrap();
    let over = must_work(
        Options::new().fence(Side::End).name("over").create(),
        "create",
    );
    let object = must_work(over.try_alloc_layout(layout), "alloc").as_ptr();
    println!("an object of {SIZE} bytes at {object:p} ends at a guard page");
    expect(Access::Read, object, SIZE as isize - 1, 0);
    expect(Access::Read, object, SIZE as isize, 1);
    expect(Access::Write, object, SIZE as isize, 1);

    let under = must_work(
        Options::new().fence(Side::Start).name("under").create(),
        "create",
    );
    let object = must_work(under.try_alloc_layout(layout), "alloc").as_ptr();
    println!("an object of {SIZE} bytes at {object:p} starts after a guard page");
    expect(Access::Read, object, 0, 0);
    expect(Access::Read, object, -1, -1);
    expect(Access::Write, object, -1, -1);
}
