# SPDX-License-Identifier: MIT
"""The article's program with the library: the write to read-only memory is caught, told in words, and survived."""

import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import access_is, fault_of, must_be, small_page_arena

page = vmarena.page_size()
with small_page_arena(page, "article") as arena:
    memory = arena.alloc(page, page)

    vmarena.write(memory, b"\x2a")
    print(f"wrote 42 to 0x{memory.address:x}")
    arena.protect(vmarena.Prot.READ)
    print("protected the arena: it is read-only now")

    fault = fault_of(vmarena.write, memory, b"\x2b")
    must_be(fault is not None, "writing to read-only memory faults")
    must_be(fault.address == memory.address, "the fault's address is the byte that was written to")
    must_be(fault.kind == vmarena.Kind.PROTECTED, "the fault's kind is PROTECTED")
    must_be(access_is(fault, vmarena.Access.WRITE), "the fault was a write")
    print("writing 43 faulted, and the program goes on")
    print(fault)

    must_be(memoryview(memory)[0] == 42, "the write did not happen")
    print(f"the value is still {memoryview(memory)[0]}")
    arena.protect(vmarena.Prot.READ | vmarena.Prot.WRITE)
    must_be(fault_of(vmarena.write, memory, b"\x2b") is None, "writing to writable memory does not fault")
    print(f"writable again: wrote 43, read {memoryview(memory)[0]}")
