// SPDX-License-Identifier: MIT
//! `#[vmarena::test]`: tests whose faults are their failures. Those that fail on purpose are ignored, and run by others.
use std::process::Command;

use vmarena::Fenced;

fn sum(input: &[u8]) -> u32 {
    input.iter().map(|byte| u32::from(*byte)).sum()
}

const LINE_OF_READ: u32 = line!() + 5;

/// Off by one, as in C.
fn read_one_too_many(input: &[u8]) -> u32 {
    // SAFETY: there is none: that is the error.
    (0..=input.len()).map(|i| u32::from(unsafe { input.as_ptr().add(i).read_volatile() })).sum()
}

#[vmarena::test(b"abc", b"", &vec![1; 5000], vec![7u8])]
fn of_slices(input: &[u8]) {
    assert!(sum(input) < 5001);
}

#[vmarena::test("text", String::new())]
fn of_strings(input: &str) {
    assert_eq!(input.chars().count(), input.len());
}

#[vmarena::test([1u32, 2], [(1u64, 2u8)].map(|(a, _)| a as u32))]
fn of_slices_to_write(input: &mut [u32]) {
    input[0] += 1;
    assert_eq!(input[0], 2);
}

#[vmarena::test(b"abc")]
fn of_what_they_lie_in(input: &Fenced<[u8]>) -> Result<(), vmarena::Error> {
    assert!(input.try_get(3).is_err() || input.try_get(-1).is_err());
    input.check()
}

#[vmarena::test]
fn without_input() {
    assert_eq!(sum(b"a"), 97);
}

#[vmarena::test(b"abc")]
#[should_panic(expected = "on purpose")]
fn panics(_: &[u8]) {
    panic!("on purpose");
}

#[vmarena::test(b"fine", b"abc")]
#[ignore = "fails on purpose"]
fn planted_overrun(input: &[u8]) {
    read_one_too_many(input);
}
const LINE_OF_CALL: u32 = line!() - 2;

#[vmarena::test(b"abcd")]
#[ignore = "fails on purpose"]
fn planted_underwrite(input: &mut [u8]) {
    // SAFETY: there is none: that is the error.
    unsafe { input.as_mut_ptr().sub(1).write_volatile(b'!') };
}

#[vmarena::test]
#[ignore = "fails on purpose"]
fn planted_abort() {
    eprintln!("about to abort");
    std::process::abort();
}

#[vmarena::test]
#[ignore = "fails on purpose"]
fn planted_error() -> Result<(), String> {
    Err("an error".into())
}

mod within {
    #[vmarena::test(b"x")]
    #[ignore = "fails on purpose"]
    fn planted_panic(input: &[u8]) {
        assert_eq!(input, b"y");
    }
}

/// What the harness says of a test that fails.
fn failure(test: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args(["--exact", test, "--ignored"]).env("RUST_BACKTRACE", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("0 passed; 1 failed"), "{said}");
    said
}

#[test]
fn an_overrun_is_told_with_the_byte_and_the_line() {
    let said = failure("planted_overrun");
    assert!(said.contains("the test died of signal 11\n"), "{said}");
    assert!(said.contains("vmarena: the input is b\"fine\", its end against a guard\n"), "{said}");
    assert!(!said.contains("b\"abc\""), "{said}");
    assert!(said.contains("vmarena: overrun: read 1 byte past the end of a 4-byte object at 0x"), "{said}");
    let (_, stack) = said.split_once("  the access:\n").expect(&said);
    assert!(stack.contains("attribute::read_one_too_many::{{closure}} at "), "{said}");
    assert!(stack.contains(&format!("tests/attribute.rs:{LINE_OF_READ}\n")), "{said}");
    assert!(stack.contains(&format!("tests/attribute.rs:{LINE_OF_CALL}\n")), "{said}");
    assert!(!stack.contains("testing.rs"), "{said}");
}

#[test]
fn an_underwrite_is_told_at_the_other_side_as_overwritten_slack() {
    let said = failure("planted_underwrite");
    assert!(said.contains("its end against a guard\n"), "{said}");
    assert!(said.contains("slack overwritten: byte -1 of the 4-byte object"), "{said}");
}

#[test]
fn other_ways_to_fail() {
    let said = failure("planted_abort");
    assert!(said.contains("the test died of signal 6\nabout to abort\n"), "{said}");
    let said = failure("planted_error");
    assert!(said.contains("the test returned \"an error\""), "{said}");
    let said = failure("within::planted_panic");
    assert!(said.contains("assertion `left == right` failed"), "{said}");
}
