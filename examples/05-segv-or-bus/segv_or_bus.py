# SPDX-License-Identifier: MIT
"""Two signals: SIGSEGV where no mapping allows the access, SIGBUS where one does and has no page behind it."""

import ctypes
import mmap
import sys
import tempfile
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import fault_of, must_be, small_page_arena

CODES = {
    ("SIGSEGV", 1): "SEGV_MAPERR, nothing is mapped there",
    ("SIGSEGV", 2): "SEGV_ACCERR, the mapping forbids it",
    ("SIGBUS", 2): "BUS_ADRERR, the mapping has no page for it",
}


def show(what, fault, value):
    if fault is None:
        print(f"{what}: no fault, the byte is {value}")
    else:
        name = fault.signal.name
        print(f"{what}: {name}, {CODES.get((name, fault.code), 'another code')}")


def try_read(what, address, expected=None):
    fault = fault_of(vmarena.read, address, 1)
    must_be((fault and fault.kind) == expected, "the fault's kind is what was done to the memory")
    show(what, fault, None if fault else vmarena.read(address, 1)[0])


def try_write(what, address, expected):
    fault = fault_of(vmarena.write, address, b"\1")
    must_be(fault is not None and fault.kind == expected, "the fault's kind is what was done to the memory")
    show(what, fault, None)


def map_short_file(page):
    """A file of 100 bytes, mapped over two pages; Python maps no more than there is, so it is cut afterwards."""
    with tempfile.TemporaryFile() as file:
        file.truncate(2 * page)
        mapping = mmap.mmap(file.fileno(), 2 * page)
        file.truncate(100)
        mapping[99] = 7
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        past = vmarena.Kind.PAST_END_OF_FILE
        try_read("the last byte of a file of 100", start + 99)
        try_read("past its length, on its last page", start + 100)
        try_read("past its last page", start + page, past)
        file.truncate(0)
        try_read("the byte that was its last, now that the file is cut to 0", start + 99, past)
        file.truncate(2 * page)
        try_read("the same byte, now that the file has grown again", start + 99)


page = vmarena.page_size()
with small_page_arena(page, "article") as arena:
    address = arena.alloc(page, page).address
    arena.protect(vmarena.Prot.READ)
    try_read("reading read-only memory", address)
    try_write("writing read-only memory", address, vmarena.Kind.PROTECTED)
    arena.protect(vmarena.Prot.NONE)
    try_read("reading memory closed to all", address, vmarena.Kind.PROTECTED)
try_read("reading memory that was unmapped", address, vmarena.Kind.UNMAPPED)
map_short_file(page)
