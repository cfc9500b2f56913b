# SPDX-License-Identifier: MIT
"""Memory comes with the first touch, a page at a time, and each time by a page fault that can be counted."""

import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import minor_faults, must_be, must_count, small_page_arena

PAGES = 1000
GIVEN_BACK = 500
CLOSED = 100
ONES = b"\1" * PAGES
page = vmarena.page_size()


def faults_of_writing(view):
    """Writes one byte in each page and returns the faults that this took: one loop in C, which makes no objects."""
    ones = ONES[: len(view) // page]
    pages = view[::page]
    before = minor_faults()
    pages[:] = ones
    return minor_faults() - before


# The code itself comes in, and the objects that it makes have their place.
with small_page_arena(PAGES * page, "warm") as warm, memoryview(warm.alloc(PAGES * page, page)) as view:
    for _ in range(3):
        faults_of_writing(view)

with small_page_arena(PAGES * page, "demand") as arena:
    before = minor_faults()
    memory = arena.alloc(PAGES * page, page)
    faults = minor_faults() - before
    must_count(faults, 0, "faults of allocating")
    print(f"allocated {PAGES} pages: {faults} faults, as addresses are not memory yet")

    with memoryview(memory) as view:
        faults = faults_of_writing(view)
        must_count(faults, PAGES, "faults of the first write")
        print(f"first write to each of the {PAGES} pages: {faults} faults, one a page")

        faults = faults_of_writing(view)
        must_count(faults, 0, "faults of the second write")
        print(f"second write to each of the {PAGES} pages: {faults} faults, as they are there now")

        arena.discard(memory, GIVEN_BACK * page)
        must_be(view[0] == 0, "a page that was given back reads as zero")
        arena.discard(memory, GIVEN_BACK * page)
        faults = faults_of_writing(view)
        must_count(faults, GIVEN_BACK, "faults after giving pages back")
        print(f"gave {GIVEN_BACK} pages back and wrote to all {PAGES}: {faults} faults")

    # In the signal handler no Python can run: the function that opens a page is one of the binding's, in C.
    arena.protect(vmarena.Prot.NONE)
    arena.open_on_fault()
    for number in range(CLOSED):
        vmarena.fill(memory.address + number * page, 1, 1)
    must_count(arena.opened, CLOSED, "calls of the function that opens a page")
    print(f"closed all pages and wrote to {CLOSED}: our own function was called {arena.opened} times, to open one each")
