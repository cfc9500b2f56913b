# SPDX-License-Identifier: MIT
"""After fork(2) parent and child share every page until one of them writes: then that page is copied, by a fault."""

import os
import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import minor_faults, must_be, must_count, small_page_arena

PAGES = 256
WRITTEN = 64
page = vmarena.page_size()


def reading(view):
    """The faults, and the sum of the values seen, of going through the pages; the loop is in C."""
    pages = view[::page]
    before = minor_faults()
    values = pages.tobytes()
    return minor_faults() - before, sum(values)


def writing(view, values):
    """The faults of writing a value to each page."""
    pages = view[::page]
    before = minor_faults()
    pages[:] = values
    return minor_faults() - before


def run_child(view, warm):
    ones, twos = b"\1" * PAGES, b"\2" * WRITTEN
    part = view[: WRITTEN * page]
    for _ in range(3):  # the child's own objects are copied on a write, too
        reading(warm)
        writing(warm, ones)
        writing(warm[: WRITTEN * page], twos)
    read_faults, total = reading(view)
    write_faults = writing(part, twos)
    again = writing(part, twos)
    must_count(total, PAGES, "as the sum of what the parent wrote")
    must_count(read_faults, 0, "faults of reading shared pages")
    must_count(write_faults, WRITTEN, "faults of writing to shared pages")
    must_count(again, 0, "faults of writing to pages copied before")
    print(f"child: read all {PAGES} pages: {read_faults} faults, as they are shared")
    print(f"child: wrote to {WRITTEN} pages: {write_faults} faults, one for each page copied")
    print(f"child: wrote to them again: {again} faults, as they are its own now")
    print(f"child: the byte at 0x{memory.address:x} is {view[0]}", flush=True)


arena = small_page_arena(2 * PAGES * page, "shared")
memory, warm = arena.alloc(PAGES * page, page), arena.alloc(PAGES * page, page)
view, warm_view = memoryview(memory), memoryview(warm)
writing(view, b"\1" * PAGES)
writing(warm_view, b"\1" * PAGES)
print(f"parent: wrote 1 to {PAGES} pages from 0x{memory.address:x} on", flush=True)

child = os.fork()
if child == 0:
    run_child(view, warm_view)
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
must_be(status == 0, "the child ends well")

must_be(view[0] == 1, "what the child wrote is not seen by the parent")
must_count(reading(view)[1], PAGES, "as the sum of the parent's bytes")
print(f"parent: the byte at 0x{memory.address:x} is {view[0]}: the same address, another page")
