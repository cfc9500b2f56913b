# SPDX-License-Identifier: MIT
"""The TLB remembers translations, one a page: with larger pages it reaches further, and random reads are faster.

In Python most of the time of a read goes to the interpreter, so that the ratio is nearer to 1 than that of the same
program in C.
"""

import array
import sys
import time
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import must_be

MIB = 1 << 20
SIZE = 256 * MIB
READS = 1_000_000
ROUNDS = 3
PIECE = array.array("Q", range(MIB // 8))


def random_reads(words, state):
    """Milliseconds for READS reads, each at an address that depends on the value read before."""
    count = len(words)
    start = time.perf_counter()
    for _ in range(READS):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        state += words[(state >> 33) % count]
    elapsed = time.perf_counter() - start
    must_be(state != 0, "the reads were done")
    return elapsed * 1000


def filled(huge):
    arena = vmarena.Arena(SIZE, huge=huge, name="tlb")
    words = memoryview(arena.alloc(SIZE, vmarena.page_size())).cast("Q")
    for start in range(0, len(words), len(PIECE)):
        words[start : start + len(PIECE)] = PIECE
    return arena, words


def huge_mib(arena):
    return arena.stats().huge // MIB


small, small_words = filled("never")
huge, huge_words = filled("transparent")
kib, huge_kib = vmarena.page_size() // 1024, vmarena.caps().huge_page_size // 1024
print(f"asked for small pages of {kib} KiB: {huge_mib(small)} of {SIZE // MIB} MiB are on huge pages")
print(f"asked for huge pages of {huge_kib} KiB: {huge_mib(huge)} of {SIZE // MIB} MiB are on huge pages")

# Each round reads elsewhere, so that the caches do not know it yet.
rounds = [(random_reads(small_words, seed), random_reads(huge_words, seed)) for seed in range(1, ROUNDS + 1)]
best_small, best_huge = (min(times) for times in zip(*rounds))
print(f"{READS} random reads, best of {ROUNDS}: {best_small:.1f} ms in the first, {best_huge:.1f} ms in the second")
if huge_mib(huge) == SIZE // MIB and huge_mib(small) == 0:
    print(f"on huge pages that is {best_small / best_huge:.2f} times as fast")
else:
    print("huge pages were not obtained as asked: nothing is claimed")
