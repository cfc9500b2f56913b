# SPDX-License-Identifier: MIT
"""One file, read twice: by read(2), with a call for each piece, and by mmap(2), with a fault for each few pages."""

import array
import mmap
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import must_be, must_count, small_page_arena

MIB = 1 << 20
SIZE = 64 * MIB
PIECE = 64 << 10


def all_faults():
    """All faults, those that had to wait for the disk included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt + usage.ru_majflt


def write_file(file):
    """Through the page cache, so that both passes find it in memory."""
    for done in range(0, SIZE, PIECE):
        os.write(file.fileno(), array.array("Q", range(done, done + PIECE // 8)))


def by_read(fd, piece):
    words = piece.cast("Q")
    total = calls = 0
    faults, start = all_faults(), time.perf_counter()
    for done in range(0, SIZE, PIECE):
        must_be(os.preadv(fd, [piece], done) == PIECE, "the file can be read")
        calls += 1
        total += sum(words)
    return total, calls, all_faults() - faults, (time.perf_counter() - start) * 1000


def by_mmap(fd):
    faults, start = all_faults(), time.perf_counter()
    with mmap.mmap(fd, SIZE, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapping, memoryview(mapping) as view:
        with view.cast("Q") as words:
            total = sum(words)
        return total, 1, all_faults() - faults, (time.perf_counter() - start) * 1000


piece = memoryview(small_page_arena(PIECE, "buffer").alloc(PIECE, vmarena.page_size()))
with tempfile.TemporaryFile() as file:
    write_file(file)
    for _ in range(2):  # brings file and code in
        by_read(file.fileno(), piece)
        by_mmap(file.fileno())
    read_sum, read_calls, read_faults, read_ms = by_read(file.fileno(), piece)
    map_sum, map_calls, map_faults, map_ms = by_mmap(file.fileno())
pages = SIZE // vmarena.page_size()

must_be(read_sum == map_sum, "both ways give the same bytes")
must_count(read_faults, 0, "faults of reading into a buffer that is there")
must_be(1 <= map_faults <= pages, "a mapped file takes at least one fault and at most one a page")
print(f"a file of {SIZE // MIB} MiB, in the page cache")
print(f"read: {read_calls} calls, {read_faults} faults, {read_ms:.1f} ms")
print(f"mmap: {map_calls} call, {map_faults} faults for {pages} pages, {map_ms:.1f} ms")
print("both saw the same bytes")
