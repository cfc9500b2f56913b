// SPDX-License-Identifier: MIT
//! Values of every type against a guard, and what is said of a fault that nobody catches.
use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use vmarena::{page_size, try_read, Fenced, Kind, Side};

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Header {
    length: u32,
    kind: u16,
    flags: u16,
}

const HEADER: Header = Header { length: 7, kind: 2, flags: 1 };

/// The byte before the object at its start, and after it at its end.
fn outside<T: ?Sized>(object: &T, side: Side) -> *const u8 {
    let start = std::ptr::from_ref(object).cast::<u8>();
    match side {
        Side::End => start.wrapping_add(std::mem::size_of_val(object)),
        Side::Start => start.wrapping_sub(1),
    }
}

fn assert_faults_outside<T: ?Sized>(object: &T, side: Side) {
    // SAFETY: nothing lies there.
    let fault = unsafe { try_read(outside(object, side)) }.unwrap_err();
    let (kind, distance) = if side == Side::End { (Kind::Overrun, 1) } else { (Kind::Underrun, -1) };
    assert_eq!((fault.kind(), fault.distance()), (kind, distance));
}

#[test]
fn structs_strings_and_slices_of_them() {
    for side in Side::BOTH {
        let mut header = Fenced::new(HEADER, side).unwrap();
        header.kind += 1;
        assert_eq!(*header, Header { kind: 3, ..HEADER });
        assert_faults_outside(&*header, side);
        let headers = Fenced::copy_of(&[HEADER; 3], side).unwrap();
        assert_eq!(headers[2], HEADER);
        assert_faults_outside(&*headers, side);
        let text = Fenced::copy_of_str("héllo", side).unwrap();
        assert_eq!((&*text, format!("{text:?}")), ("héllo", "\"héllo\"".into()));
        assert_faults_outside(&*text, side);
        header.check().and(headers.check()).and(text.check()).unwrap();
    }
}

#[test]
fn what_is_moved_in_is_dropped_once() {
    #[derive(Debug)]
    struct Count<'a>(&'a Cell<u32>);
    impl Drop for Count<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Cell::new(0);
    let values = Fenced::from_values((0..3).map(|_| Count(&drops)).collect(), Side::End).unwrap();
    let value = Fenced::new(Count(&drops), Side::Start).unwrap();
    assert_eq!((drops.get(), values.len()), (0, 3));
    drop(values);
    assert_eq!(drops.get(), 3);
    drop(value);
    assert_eq!(drops.get(), 4);
}

#[test]
fn nothing_and_what_is_aligned_to_more_than_a_page() {
    #[repr(align(65536))]
    struct Wide([u8; 65536]);
    for side in Side::BOTH {
        let empty = Fenced::<[Header]>::copy_of(&[], side).unwrap();
        assert_faults_outside(&*empty, side);
        assert_eq!(Fenced::new((), side).map(|unit| *unit), Ok(()));
        assert_eq!(Fenced::from_values(vec![(); 5], side).unwrap().len(), 5);
        let wide = Fenced::new(Wide([3; 65536]), side).unwrap();
        assert_eq!((wide.as_ptr() as usize % 65536, wide.0[65535]), (0, 3));
        assert_faults_outside(&*wide, side);
        let large = Fenced::copy_of(&vec![1u8; 10 * page_size() + 1], side).unwrap();
        assert_faults_outside(&*large, side);
    }
}

const CHILD: &str = "VMARENA_TEST_CHILD";

/// Runs one test of this program again, as a child.
fn child(test: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"];
    Command::new(program).args(arguments).env(CHILD, test).output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_fault_that_nobody_catches_is_told_in_words() {
    const LINE: u32 = line!() + 5;
    if is_child() {
        let headers = Fenced::copy_of(&[HEADER; 2], Side::End).unwrap();
        let end = outside(&*headers, Side::End);
        // SAFETY: there is none: that is the error.
        unsafe { end.read_volatile() };
        panic!("the error went unnoticed");
    }
    let output = child("a_fault_that_nobody_catches_is_told_in_words");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(11), "{said}");
    assert!(said.contains("vmarena: overrun: read 1 byte past the end of a 16-byte object at 0x"), "{said}");
    assert_eq!(said.matches("vmarena: ").count(), 1, "{said}");
    let (_, stack) = said.split_once("  the access:\n").expect(&said);
    if cfg!(feature = "backtrace") {
        assert!(stack.contains(&format!("tests/fenced.rs:{LINE}\n")), "{said}");
    } else {
        let program = std::env::current_exe().unwrap();
        assert!(stack.starts_with(&format!("    {}+0x", program.display())), "{said}");
    }
}

#[test]
fn a_fault_that_is_caught_is_not_told() {
    if is_child() {
        let bytes = Fenced::copy_of(b"abc", Side::End).unwrap();
        assert!(bytes.try_get(3).is_err());
        return;
    }
    let output = child("a_fault_that_is_caught_is_not_told");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("vmarena"), "{said}");
}

#[test]
fn threads_come_and_go_with_their_signal_stacks() {
    for _ in 0..100 {
        let thread = std::thread::spawn(|| Fenced::copy_of(b"abc", Side::End).unwrap());
        let input = thread.join().unwrap();
        assert_eq!(input.try_get(3).unwrap_err().distance(), 1);
    }
}

#[cfg(feature = "proptest")]
mod strategies {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::{TestError, TestRunner};
    use vmarena::proptest::{fenced_bytes, fenced_slice, fenced_str, side};
    use vmarena::Side;

    #[test]
    fn a_failing_input_shrinks_to_the_smallest() {
        let mut runner = TestRunner::deterministic();
        let result = runner.run(&fenced_bytes(0..100), |input| {
            super::assert_faults_outside(&*input, if input.try_get(-1).is_err() { Side::Start } else { Side::End });
            assert!(input.len() < 10);
            Ok(())
        });
        match result {
            Err(TestError::Fail(_, smallest)) => assert_eq!(&*smallest, &[0u8; 10]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_sides_come_and_elements_are_the_strategy_s() {
        let mut runner = TestRunner::deterministic();
        let mut seen = [false; 2];
        for _ in 0..50 {
            let words = fenced_slice("[a-c]{2}", 3).new_tree(&mut runner).unwrap().current();
            assert!(words.len() == 3 && words.iter().all(|word| word.len() == 2));
            assert_eq!(fenced_str("x{5}").new_tree(&mut runner).unwrap().current().len(), 5);
            seen[usize::from(side().new_tree(&mut runner).unwrap().current() == Side::End)] = true;
        }
        assert_eq!(seen, [true; 2]);
    }
}

#[cfg(feature = "arbitrary")]
#[test]
fn arbitrary_input_at_both_sides() {
    use arbitrary::{Arbitrary, Unstructured};
    let mut faults = [0; 2];
    for seed in 0..=255 {
        let bytes = [seed; 40];
        let input = Fenced::<[u16]>::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
        assert!(input.iter().all(|element| *element == u16::from_ne_bytes([seed; 2])));
        faults[usize::from(input.try_get(input.len() as isize).is_err())] += 1;
        let text = Fenced::<str>::arbitrary_take_rest(Unstructured::new(&bytes[..20])).unwrap();
        assert!(text.bytes().all(|byte| byte == seed));
    }
    assert_eq!(faults, [128; 2]);
}
