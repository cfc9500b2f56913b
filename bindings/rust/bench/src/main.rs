// SPDX-License-Identifier: MIT
//! `Arena::alloc` against `bumpalo::Bump::alloc`: 10,007 objects, then a reset, in turn; medians, as bench/bench.h does it.

use std::hint::black_box;
use std::time::Instant;

use bumpalo::Bump;
use vmarena::Arena;

const OBJECTS: usize = 10_007;
const ROUNDS: usize = 41;
const REPEATS: usize = 40;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds an object.
fn timed(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..REPEATS {
        run();
    }
    start.elapsed().as_secs_f64() * 1e9 / (OBJECTS * REPEATS) as f64
}

fn compare(name: &str, target: f64, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (first, second) = if round % 2 == 0 {
            let first = timed(&mut ours);
            (first, timed(&mut theirs))
        } else {
            let second = timed(&mut theirs);
            (timed(&mut ours), second)
        };
        a.push(first);
        b.push(second);
        ratios.push(first / second);
    }
    let ratio = median(ratios);
    let verdict = if ratio < target + 0.005 { "ok" } else { "OVER" };
    println!(
        "{:<58} {:>9.2} ns {:>9.2} ns {ratio:>7.2} {target:>8.2}  {verdict}",
        format!("Rust, {name} : bumpalo"),
        median(a),
        median(b)
    );
}

#[repr(align(8))]
#[derive(Clone, Copy)]
struct Bytes<const N: usize>([u8; N]);

fn compare_type<T: Copy>(name: &str, value: T) {
    let mut arena = Arena::new().expect("an arena");
    let mut bump = Bump::new();
    let ours = || {
        for _ in 0..OBJECTS {
            black_box(arena.alloc(black_box(value)));
        }
        arena.reset(usize::MAX).expect("a reset");
    };
    let theirs = || {
        for _ in 0..OBJECTS {
            black_box(bump.alloc(black_box(value)));
        }
        bump.reset();
    };
    compare(name, 1.0, ours, theirs);
}

fn main() {
    compare_type("alloc u8", 1u8);
    compare_type("alloc u64", 1u64);
    compare_type("alloc 32 bytes", Bytes([1; 32]));
    compare_type("alloc 64 bytes", Bytes([1; 64]));
}
