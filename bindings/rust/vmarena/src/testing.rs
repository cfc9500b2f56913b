// SPDX-License-Identifier: MIT
//! The run-time part of `#[vmarena::test]`.
use std::any::Any;
use std::env;
use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{exit, Command, Output};

use crate::error::Error;
use crate::fenced::{Fenced, Side};
use crate::uncaught::report_faults;

/// Set in the child to the name of the test that it runs.
const CHILD: &str = "VMARENA_TEST_CHILD";
/// If set, the test runs in this process.
const HERE: &str = "VMARENA_TEST_HERE";

// How the child ends. The test program's own codes are 0, also where it found no such test, and 101.
const DONE: i32 = 42;
const PANICKED: i32 = 43;

/// An input of a test, of which a copy is put against a guard.
pub trait Input {
    /// The type of the copy.
    type Fenced: ?Sized;
    /// Makes the copy.
    ///
    /// # Errors
    /// As [`Fenced::copy_of`].
    fn fence(&self, side: Side) -> Result<Fenced<Self::Fenced>, Error>;
}

impl<T: Copy> Input for [T] {
    type Fenced = [T];
    fn fence(&self, side: Side) -> Result<Fenced<[T]>, Error> {
        Fenced::copy_of(self, side)
    }
}

impl<T: Copy, const N: usize> Input for [T; N] {
    type Fenced = [T];
    fn fence(&self, side: Side) -> Result<Fenced<[T]>, Error> {
        Fenced::copy_of(self, side)
    }
}

impl<T: Copy> Input for Vec<T> {
    type Fenced = [T];
    fn fence(&self, side: Side) -> Result<Fenced<[T]>, Error> {
        Fenced::copy_of(self, side)
    }
}

impl Input for str {
    type Fenced = str;
    fn fence(&self, side: Side) -> Result<Fenced<str>, Error> {
        Fenced::copy_of_str(self, side)
    }
}

impl Input for String {
    type Fenced = str;
    fn fence(&self, side: Side) -> Result<Fenced<str>, Error> {
        Fenced::copy_of_str(self, side)
    }
}

impl<I: Input + ?Sized> Input for &I {
    type Fenced = I::Fenced;
    fn fence(&self, side: Side) -> Result<Fenced<I::Fenced>, Error> {
        (**self).fence(side)
    }
}

/// The result of a test.
pub trait Outcome {
    /// Panics if the test failed.
    fn check(self);
}

impl Outcome for () {
    fn check(self) {}
}

impl<E: Debug> Outcome for Result<(), E> {
    fn check(self) {
        if let Err(error) = self {
            panic!("the test returned {error:?}");
        }
    }
}

/// Runs `body` with the input's end against a guard, then with its start, and checks the bytes around the input each
/// time.
///
/// # Panics
/// If the body or the check fails.
pub fn on_both_sides<I: Input + ?Sized, R: Outcome>(input: &I, text: &str, body: impl Fn(&mut Fenced<I::Fenced>) -> R) {
    for side in Side::BOTH {
        eprintln!(
            "vmarena: the input is {text}, its {} against a guard",
            if side == Side::End { "end" } else { "start" }
        );
        let mut fenced = input.fence(side).unwrap_or_else(|error| panic!("{error}"));
        body(&mut fenced).check();
        fenced.check().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Runs `body` in a child process: the same test program, with this test only.
///
/// # Panics
/// If the body panicked or the child died, with the child's output.
pub fn in_a_process_of_its_own(module: &str, function: &str, body: impl FnOnce()) {
    // The harness leaves out the crate's name.
    let name = match module.split_once("::") {
        Some((_, inner)) => format!("{inner}::{function}"),
        None => function.to_owned(),
    };
    if env::var_os(HERE).is_some() {
        body();
    } else if env::var(CHILD).is_ok_and(|child| child == name) {
        let _ = report_faults();
        exit(if catch_unwind(AssertUnwindSafe(body)).map_err(forget).is_ok() { DONE } else { PANICKED });
    } else {
        judge(&name, &run_child(&name));
    }
}

/// The panic hook has printed the message already.
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload); // its destructor might panic
}

fn run_child(name: &str) -> Output {
    let program = env::current_exe().expect("the test program's path");
    Command::new(program)
        .args(["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .unwrap_or_else(|error| panic!("the test program cannot be run again: {error}"))
}

fn judge(name: &str, output: &Output) {
    let said = from_last_input(&String::from_utf8_lossy(&output.stderr));
    match (output.status.code(), output.status.signal()) {
        (Some(DONE), _) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        (Some(PANICKED), _) => panic!("{said}"),
        (_, Some(signal)) => panic!("the test died of signal {signal}\n{said}"),
        (code, None) => panic!("the test program does not run {name} when asked to (exit code {code:?})\n{said}"),
    }
}

/// Leaves out the inputs that passed.
fn from_last_input(said: &str) -> String {
    said[said.rfind("vmarena: the input is ").unwrap_or(0)..].to_owned()
}
