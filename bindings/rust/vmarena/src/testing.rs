// SPDX-License-Identifier: MIT
//! What `#[vmarena::test]` is made of.
use std::any::Any;
use std::env;
use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{exit, Command, Output};

use crate::error::Error;
use crate::fenced::{Fenced, Side};
use crate::uncaught::report_faults;

/// In the child, the name of the test that it is to run.
const CHILD: &str = "VMARENA_TEST_CHILD";
/// Run the test in this process.
const HERE: &str = "VMARENA_TEST_HERE";

// How the child ends. The test program's own codes are 0, also where it found no such test, and 101.
const DONE: i32 = 42;
const PANICKED: i32 = 43;

/// What a test may be given: a copy of it is laid against a guard.
pub trait Input {
    /// What lies there.
    type Fenced: ?Sized;
    /// The copy.
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

/// What a test may return.
pub trait Outcome {
    /// Panics where the test failed.
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

/// Runs `body` with the input's end against a guard, then with its start. Bytes of slack that it overwrote are a failure.
///
/// # Panics
/// Where the body or the check of the slack fails.
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

/// Runs `body` in a child: this test program again, with this test alone.
///
/// # Panics
/// Where the body panicked, or the child died; with what the child said.
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

/// The hook has printed what the panic says.
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

/// What was said of inputs that went well is of no interest.
fn from_last_input(said: &str) -> String {
    said[said.rfind("vmarena: the input is ").unwrap_or(0)..].to_owned()
}
