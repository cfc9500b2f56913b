// SPDX-License-Identifier: MIT
//! The TLB remembers translations, one a page: with larger pages it reaches further, and random reads are faster.
#[path = "../experiment.rs"]
mod experiment;

use std::time::Instant;

use experiment::{must_be, must_work};
use vmarena::{page_size, Arena, Huge, Options};

const MIB: usize = 1 << 20;
const SIZE: usize = 256 * MIB;
const READS: usize = 1_000_000;
const ROUNDS: u64 = 3;

/// Milliseconds for READS reads, each at an address that depends on the value read before.
fn random_reads(words: &[u64], mut state: u64) -> f64 {
    let start = Instant::now();
    for _ in 0..READS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state = state.wrapping_add(words[(state >> 33) as usize % words.len()]);
    }
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    must_be(std::hint::black_box(state) != 0, "the reads were done");
    elapsed
}

fn filled_arena(huge: Huge) -> Arena {
    must_work(
        Options::new().reserve(SIZE).huge(huge).name("tlb").create(),
        "create",
    )
}

fn fill(arena: &Arena) -> &[u64] {
    let layout = std::alloc::Layout::from_size_align(SIZE, page_size()).unwrap();
    let words = must_work(arena.try_alloc_layout(layout), "alloc").cast::<u64>();
    // SAFETY: fresh memory reads as zero, and is as long as the slice.
    let words = unsafe { std::slice::from_raw_parts_mut(words.as_ptr(), SIZE / 8) };
    for (i, word) in words.iter_mut().enumerate() {
        *word = i as u64;
    }
    words
}

fn huge_mib(arena: &Arena) -> usize {
    arena.residency().huge / MIB
}

fn main() {
    let (small, huge) = (filled_arena(Huge::Never), filled_arena(Huge::Transparent));
    let (small_words, huge_words) = (fill(&small), fill(&huge));
    let all = SIZE / MIB;
    println!(
        "asked for small pages of {} KiB: {} of {all} MiB are on huge pages",
        page_size() / 1024,
        huge_mib(&small)
    );
    let huge_page = vmarena::huge_page_size() / 1024;
    println!(
        "asked for huge pages of {huge_page} KiB: {} of {all} MiB are on huge pages",
        huge_mib(&huge)
    );

    let (mut best_small, mut best_huge) = (f64::MAX, f64::MAX);
    for seed in 1..=ROUNDS {
        // Each elsewhere, so that the caches do not know it yet.
        best_small = best_small.min(random_reads(small_words, seed));
        best_huge = best_huge.min(random_reads(huge_words, seed));
    }
    println!(
        "{READS} random reads, best of {ROUNDS}: {best_small:.1} ms in the first, {best_huge:.1} ms in the second"
    );
    if huge_mib(&huge) == all && huge_mib(&small) == 0 {
        println!(
            "on huge pages that is {:.2} times as fast",
            best_small / best_huge
        );
    } else {
        println!("huge pages were not obtained as asked: nothing is claimed");
    }
}
