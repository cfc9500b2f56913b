# SPDX-License-Identifier: MIT
"""Memory as a sequence of bytes, compared, referred to weakly, and seen as elements of other types."""

import gc
import struct
import weakref

import numpy
import pytest

import vmarena
from vmarena import Arena, Fault, Kind, Prot

PAGE = vmarena.page_size()


@pytest.fixture
def memory():
    return vmarena.fenced(b"0123456789")


def test_bytes_by_index(memory):
    assert [memory[0], memory[9], memory[-1], memory[-10]] == list(b"0990")
    assert list(memory) == list(b"0123456789") and 0x35 in memory and 0x3A not in memory
    memory[0], memory[-1] = 0x61, 0x7A
    assert bytes(memory) == b"a12345678z"
    for index in (10, -11, 1 << 70, -1 << 70):
        for use in (lambda: memory[index], lambda: memory.__setitem__(index, 0)):
            with pytest.raises(IndexError):
                use()
    for byte in (-1, 256, 1 << 70):
        with pytest.raises(ValueError):
            memory[0] = byte
    for wrong in (1.5, "1", b"1", None):
        with pytest.raises(TypeError):
            memory[0] = wrong
        with pytest.raises(TypeError, match="indices must be integers or slices"):
            memory[wrong]
    with pytest.raises(TypeError):
        del memory[0]


@pytest.mark.parametrize("start", [None, 0, 3, 9, 10, 20, -1, -4, -20])
@pytest.mark.parametrize("stop", [None, 0, 2, 7, 10, 20, -2, -20])
@pytest.mark.parametrize("step", [None, 1, 2, 3, 20, -1, -3])
def test_slices_are_those_of_bytearray(memory, start, stop, step):
    part, model = slice(start, stop, step), bytearray(b"0123456789")
    assert type(memory[part]) is bytes and memory[part] == model[part]
    new = bytes(range(len(model[part])))
    memory[part] = new
    model[part] = new
    assert bytes(memory) == model


def test_slices_do_not_resize(memory):
    for new in (b"", b"1", bytes(11)):
        with pytest.raises(ValueError, match=f"{len(new)} bytes do not fit in a slice of 3"):
            memory[2:5] = new
    with pytest.raises(TypeError):
        memory[2:5] = "abc"
    assert memory == b"0123456789" and memory.exports == 0


@pytest.mark.parametrize("shift", [1, 3])
def test_slices_that_overlap(memory, shift):
    model = bytearray(b"0123456789")
    for here, there in ((slice(shift, None), slice(None, -shift)), (slice(None, -shift), slice(shift, None))):
        with memoryview(memory) as view:
            memory[here] = view[there]
        model[here] = model[there]
        assert memory == model


def test_an_index_past_protected_pages_faults():
    with Arena(8 * PAGE) as arena:
        memory = arena.alloc(2 * PAGE, PAGE)
        arena.protect_range(memory.address + PAGE, PAGE, Prot.NONE)
        assert memory[PAGE - 1] == 0
        for use in (lambda: memory[PAGE], lambda: memory[:], lambda: memory.__setitem__(PAGE, 1),
                    lambda: memory == bytes(2 * PAGE)):
            with pytest.raises(Fault) as caught:
                use()
            assert caught.value.kind == Kind.PROTECTED and caught.value.address == memory.address + PAGE
        assert memory.exports == 0


def test_equality_is_of_the_bytes(memory):
    same, other = vmarena.fenced(b"0123456789", "start"), vmarena.fenced(b"0123456780")
    assert memory == same and not memory != same and memory != other and not memory == other
    for equal in (b"0123456789", bytearray(b"0123456789"), memoryview(b"0123456789"), memoryview(same),
                  numpy.frombuffer(b"0123456789", "u1").tobytes()):
        assert memory == equal and equal == memory and not memory != equal
    for unequal in (b"", b"012345678", b"01234567890", "0123456789", None, 5, [48], object()):
        assert memory != unequal and unequal != memory
    assert vmarena.fenced(b"") == b"" and vmarena.fenced(b"") != b"1"
    for ordering in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(memory, ordering)(same) is NotImplemented
    with pytest.raises(TypeError, match="unhashable"):
        hash(memory)


def test_released_memory_equals_itself_only():
    with Arena(PAGE) as arena:
        memory, other = arena.alloc(1), arena.alloc(1)
    assert memory == memory and memory != other and memory != b"" and b"" != memory
    for use in (lambda: memory[0], lambda: memory[:], lambda: memory.__setitem__(0, 1), lambda: memory.cast("B"),
                lambda: list(memory)):
        with pytest.raises(ValueError, match="released"):
            use()


def test_weak_references():
    gone = []
    memory = vmarena.fenced(b"1234")
    reference = weakref.ref(memory, gone.append)
    kept = weakref.WeakValueDictionary(name=memory)
    assert reference() is memory and kept["name"] is memory
    view = memoryview(memory)
    del memory
    gc.collect()
    assert bytes(reference()) == b"1234" and gone == []
    view.release()
    del view
    gc.collect()
    assert reference() is None and gone == [reference] and not kept


@pytest.mark.parametrize(("format", "value"), [("B", 200), ("h", -2), ("I", 1 << 31), ("d", 1.5), ("?", True), ("c", b"x")])
def test_elements_of_other_types(format, value):
    size = struct.calcsize(format)
    with Arena(PAGE) as arena:
        memory = arena.alloc(6 * size, size, zeroed=True)
        numbers = memory.cast(format)
        numbers[5] = value
        assert (len(numbers), numbers.format, numbers.nbytes) == (6, format, 6 * size)
        assert memory[5 * size:] == struct.pack(format, value)
        grid = memory.cast(format, [2, 3])
        assert grid.shape == (2, 3) and grid[1, 2] == value and memory.exports == 2
        with pytest.raises(BufferError):
            arena.reset()
        numbers.release()
        grid.release()
        with pytest.raises(TypeError):
            memory.cast(format, [2, 4])


@pytest.mark.parametrize("make", [
    vmarena.fenced_array,
    lambda *a, **k: Arena(1 << 20).array(*a, **k),
    lambda *a, **k: vmarena.Heap().array(*a, **k),
], ids=["fenced", "arena", "heap"])
def test_fortran_order(make):
    array = make((3, 5), "i4", order="F")
    assert array.flags.f_contiguous and not array.flags.c_contiguous and array.strides == (4, 12)
    array[1, 0] = 7
    assert array.T.ravel()[1] == 7
    assert make((3, 5), "i4").flags.c_contiguous
    for wrong in ("A", "K", "", None, "f"):
        with pytest.raises(ValueError, match="order must be"):
            make((3, 5), "i4", order=wrong)


@pytest.mark.parametrize("side", ["end", "start"])
def test_fortran_order_lies_at_the_guard(side):
    array = vmarena.fenced_array((3, 5), "f8", side, order="F")
    with pytest.raises(Fault) as caught:
        vmarena.read(array.ctypes.data + (array.nbytes if side == "end" else -1), 1)
    assert caught.value.object_size == 120
