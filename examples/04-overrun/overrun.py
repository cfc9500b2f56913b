# SPDX-License-Identifier: MIT
"""Off by one, read and write, over and under: with a guard at the object's edge the first wrong byte faults."""

import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import access_is, fault_of, must_be

SIZE = 24


def expect(what, memory, index, distance):
    address = memory.address + index
    writes = what == "writing"
    fault = fault_of(vmarena.write, address, b"\1") if writes else fault_of(vmarena.read, address, 1)
    must_be((fault is not None) == (distance != 0), "the object's own bytes, and no others, work")
    if fault is not None:
        must_be((fault.object, fault.object_size) == (memory.address, SIZE), "the fault is attributed to the object")
        must_be(fault.distance == distance, "the fault's distance is that of the byte from the object")
        must_be(fault.address == address, "the fault's address is that of the byte")
        access = vmarena.Access.WRITE if writes else vmarena.Access.READ
        must_be(access_is(fault, access), "the fault was for this access")
    print(f"{what} byte {index}: {fault or 'no fault'}")


memory = vmarena.Arena(fence="end", name="over").alloc(SIZE, 1)
print(f"an object of {SIZE} bytes at 0x{memory.address:x} ends at a guard page")
expect("reading", memory, SIZE - 1, 0)
expect("reading", memory, SIZE, 1)
expect("writing", memory, SIZE, 1)

memory = vmarena.Arena(fence="start", name="under").alloc(SIZE, 1)
print(f"an object of {SIZE} bytes at 0x{memory.address:x} starts after a guard page")
expect("reading", memory, 0, 0)
expect("reading", memory, -1, -1)
expect("writing", memory, -1, -1)
