# SPDX-License-Identifier: MIT
"""Guarded operations, and faults as exceptions."""

import ctypes
import pickle
import signal

import pytest

import vmarena
from vmarena import Access, Arena, Fault, Kind, Prot, Side

PAGE = vmarena.page_size()
TELLS_ACCESS = vmarena.caps().fault_access


def accessed(access):
    return access if TELLS_ACCESS else Access.UNKNOWN


def fault_of(function, *arguments):
    with pytest.raises(Fault) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize("size", [1, 7, 24, PAGE - 1, PAGE, PAGE + 1])
def test_read_past_the_end(size):
    memory = vmarena.fenced(bytes(range(256)) * (size // 256) + bytes(size % 256))
    assert len(vmarena.read(memory, size)) == size
    fault = fault_of(vmarena.read, memory, size + 1)
    assert (fault.kind, fault.access, fault.distance, fault.done) == (Kind.OVERRUN, accessed(Access.READ), 1, size)
    assert fault.address == memory.address + size == fault.object + fault.object_size
    assert (fault.object, fault.object_size, fault.signal) == (memory.address, size, signal.SIGSEGV)
    assert fault.owner_name == "fenced" and fault.place == ""


@pytest.mark.parametrize("size", [1, 7, 24, PAGE - 1, PAGE, PAGE + 1])
def test_read_before_the_start(size):
    memory = vmarena.fenced(bytes(size), "start")
    assert vmarena.read(memory, size) == bytes(size)
    fault = fault_of(vmarena.read, memory.address - 1, 1)
    assert (fault.kind, fault.access, fault.distance) == (Kind.UNDERRUN, accessed(Access.READ), -1)
    assert (fault.address, fault.object, fault.object_size) == (memory.address - 1, memory.address, size)


def test_write_past_the_end_keeps_what_was_written():
    memory = vmarena.fenced(b"1234")
    fault = fault_of(vmarena.write, memory, b"abcde")
    assert (fault.kind, fault.access, fault.distance, fault.done) == (Kind.OVERRUN, accessed(Access.WRITE), 1, 4)
    assert bytes(memory) == b"abcd"


def test_message():
    memory = vmarena.fenced(b"1234")
    verb = "write" if TELLS_ACCESS else "access"
    fault = fault_of(vmarena.fill, memory, 0, 5)
    assert str(fault) == fault.description == (
        f"overrun: {verb} 1 byte past the end of a 4-byte object at 0x{memory.address:x} in \"fenced\" "
        f"(SIGSEGV at 0x{memory.address + 4:x})"
    )


def test_copy_between_two():
    left, right = vmarena.fenced(b"left"), vmarena.fenced(b"right")
    vmarena.copy(right, left, 4)
    assert bytes(right) == b"leftt"
    fault = fault_of(vmarena.copy, right, left, 5)
    assert (fault.object, fault.access, fault.done) == (left.address, accessed(Access.READ), 4)
    fault = fault_of(vmarena.copy, left, right, 5)
    assert (fault.object, fault.access, fault.done) == (left.address, accessed(Access.WRITE), 4)


def test_fill_and_compare():
    left, right = vmarena.fenced(bytes(100)), vmarena.fenced(bytes(100))
    assert vmarena.compare(left, right, 100) is None
    vmarena.fill(right.address + 40, 1, 2)
    assert bytes(right) == bytes(40) + b"\1\1" + bytes(58)
    assert vmarena.compare(left, right, 100) == 40
    assert vmarena.compare(left, right, 40) is None
    assert fault_of(vmarena.compare, left, left, 101).done == 100


@pytest.mark.parametrize("address", [0, 8, PAGE, (1 << 47) - PAGE, 1 << 47, 1 << 63, (1 << 64) - 8])
def test_wild_addresses(address):
    fault = fault_of(vmarena.read, address, 4)
    assert fault.done == 0 and fault.object is None
    fault_of(vmarena.write, address, b"x")
    fault_of(vmarena.fill, address, 0, 1)


def test_nothing_is_done_for_size_0():
    assert vmarena.read(0, 0) == b""
    vmarena.write(0, b"")
    vmarena.fill(0, 1, 0)
    vmarena.copy(0, 8, 0)
    assert vmarena.compare(0, 8, 0) is None


def test_protected():
    with Arena(PAGE, name="walls") as arena:
        memory = arena.alloc(PAGE)
        vmarena.fill(memory, 7, PAGE)
        arena.protect(Prot.READ)
        fault = fault_of(vmarena.write, memory, b"x")
        assert (fault.kind, fault.owner_name, fault.access) == (Kind.PROTECTED, "walls", accessed(Access.WRITE))
        assert vmarena.read(memory, 1) == b"\7"
        arena.protect(Prot.NONE)
        assert fault_of(vmarena.read, memory, 1).kind == Kind.PROTECTED


def test_use_after_rewind_faults_by_its_address():
    with Arena(64 * PAGE, fence="end") as arena:
        mark = arena.mark()
        address = arena.alloc(10, 1).address
        arena.rewind(mark)
        assert fault_of(vmarena.read, address, 1).kind == Kind.USE_AFTER_FREE


def test_many_faults():
    memory = vmarena.fenced(b"x")
    for _ in range(10000):
        assert fault_of(vmarena.read, memory, 2).distance == 1


def test_fault_is_pickled_with_its_fields_and_notes():
    fault = fault_of(vmarena.read, vmarena.fenced(b"1234"), 5)
    fault.add_note("a note")
    again = pickle.loads(pickle.dumps(fault))
    assert str(again) == str(fault) and again.__notes__ == ["a note"]
    for name in ("kind", "access", "address", "object", "object_size", "distance", "done", "signal", "code", "pc"):
        assert getattr(again, name) == getattr(fault, name)
    assert isinstance(again.kind, Kind)


@pytest.mark.parametrize("side", list(Side))
def test_empty_is_closed_on_both_sides(side):
    memory = vmarena.fenced(b"", side)
    assert len(memory) == 0 and bytes(memory) == b""
    fault = fault_of(vmarena.read, memory, 1)
    assert (fault.object, fault.object_size) == (memory.address, 0)
    assert fault_of(vmarena.read, memory.address - 1, 1).done == 0
    assert fault_of(vmarena.write, memory, b"x").access == accessed(Access.WRITE)
    memory.check()


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("align", [1, 2, 16, 64, PAGE, 4 * PAGE])
def test_fenced_alignment(side, align):
    memory = vmarena.fenced(b"x" * 100, side, align=align)
    assert memory.address % align == 0 and bytes(memory) == b"x" * 100
    if side == Side.START:
        assert fault_of(vmarena.read, memory.address - 1, 1).distance == -1
    else:
        assert fault_of(vmarena.read, memory, 100 + align).done == 100 + -100 % min(align, PAGE)


def test_fenced_read_only():
    memory = vmarena.fenced(b"1234", writable=False)
    assert memoryview(memory).readonly
    assert fault_of(vmarena.write, memory, b"x").kind == Kind.PROTECTED
    with pytest.raises(TypeError, match="not writable"):
        (ctypes.c_char * 4).from_buffer(memory)
    assert bytes(memory) == b"1234"


def test_slack_is_checked():
    memory = vmarena.fenced(b"1234")
    memory.check()
    vmarena.write(memory.address - 1, b"x")
    with pytest.raises(vmarena.Error, match="slack overwritten: byte -1 of the 4-byte object"):
        memory.check()


def test_fenced_lives_as_long_as_its_buffers():
    view = memoryview(vmarena.fenced(b"kept"))
    import gc

    gc.collect()
    assert bytes(view) == b"kept"


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"abcdef")[:3]])
def test_fenced_takes_what_is_a_buffer(data):
    assert bytes(vmarena.fenced(data)) == b"abc"


def test_status_and_reassert():
    vmarena.read(vmarena.fenced(b"x"), 1)
    assert vmarena.handler_status() == "installed"
    vmarena.reassert()
    assert vmarena.handler_status() == "installed"


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert vmarena.__version__ == version("vmarena")


def test_docstring_of_the_package():
    import doctest

    assert doctest.testmod(vmarena).failed == 0
