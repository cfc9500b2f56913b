# SPDX-License-Identifier: MIT
"""Protection goes by whole pages. What is not whole pages is refused, in words, and nothing changes."""

import errno
import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import fault_of, must_be, small_page_arena

SIZE_MAX = 2 * sys.maxsize + 1


def refused(what, start, length):
    try:
        arena.protect_range(start, length, vmarena.Prot.READ)
        error = None
    except vmarena.Error as raised:
        error = raised
    must_be(error is not None and error.errno == errno.EINVAL,
            "a range that is not whole pages of the arena is refused with EINVAL")
    print(f"{what}: EINVAL, {error.strerror}")


page = vmarena.page_size()
with small_page_arena(4 * page, "article") as arena:
    memory = arena.alloc(page, page)
    start = memory.address

    print(f"a page is {page} bytes")
    print(f"1 byte rounds up to {vmarena.page_round_up(1)} bytes")
    print(f"a page and 1 byte round up to {vmarena.page_round_up(page + 1) // page} pages")
    print(f"SIZE_MAX bytes round up to {vmarena.page_round_up(SIZE_MAX)}: there is no such size")

    refused("from the middle of a page on", start + page // 2, page)
    refused("half a page", start, page // 2)
    refused("no page at all", start, 0)
    refused("more pages than there are", start, 5 * page)
    vmarena.write(memory, b"\x2a")
    print(f"nothing has changed: wrote 42, read {memoryview(memory)[0]}")

    arena.protect_range(start, page, vmarena.Prot.READ)
    must_be(fault_of(vmarena.fill, memory, 43, 1) is not None, "the page is read-only")
    print(f"one whole page: read-only, and still {memoryview(memory)[0]}")
