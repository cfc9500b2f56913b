# SPDX-License-Identifier: MIT
"""numpy arrays in guarded memory."""

import ctypes
import gc

import numpy
import pytest

import vmarena
from vmarena import Arena, Heap, Kind, Side

PAGE = vmarena.page_size()
UFUNCS = [numpy.add, numpy.multiply, numpy.maximum, numpy.logaddexp]
SHAPES = [1, 7, 64, 1000, (3, 5), (17, 31)]


def end_of(array):
    return array.ctypes.data + array.nbytes


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c16", "?", "S3", "i4,u1"])
@pytest.mark.parametrize("shape", [1, 5, (3, 7), (2, 0), ()])
def test_fenced_array(side, dtype, shape):
    array = vmarena.fenced_array(shape, dtype, side)
    assert array.shape == numpy.zeros(shape).shape and array.dtype == numpy.dtype(dtype)
    assert array.flags.writeable and array.flags.c_contiguous and array.tobytes() == bytes(array.nbytes)
    edge = end_of(array) if side == Side.END else array.ctypes.data - 1
    with pytest.raises(vmarena.Fault) as caught:
        vmarena.read(edge, 1)
    assert caught.value.object_size == array.nbytes
    assert caught.value.distance == (1 if side == Side.END else -1)


def test_frombuffer_is_no_copy():
    memory = vmarena.fenced(bytes(80))
    array = numpy.frombuffer(memory, "f8")
    assert memory.exports == 1
    array[3] = 1.5
    assert vmarena.read(memory.address + 24, 8) == array[3].tobytes()
    assert array.ctypes.data == memory.address


@pytest.mark.parametrize("make", [Arena, Heap], ids=["arena", "heap"])
def test_an_array_keeps_its_memory(make):
    owner = make(1 << 22)
    array = owner.array((4, 4))
    part = array[1:, ::2]
    del array
    gc.collect()
    with pytest.raises(BufferError):
        owner.close()
    part[...] = 1
    assert part.sum() == 6
    del part
    gc.collect()
    owner.close()


def test_objects_cannot_lie_there():
    with pytest.raises(TypeError, match="Python objects"):
        vmarena.fenced_array(3, object)


def test_a_protected_array_is_read_only():
    with Arena(64 * PAGE) as arena:
        memory = arena.alloc(PAGE, PAGE)
        arena.protect(vmarena.Prot.READ)
        array = numpy.frombuffer(memory, "u1")
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        del array


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ufuncs_stay_within_their_arrays(vmarena_fenced, ufunc, shape):
    generator = numpy.random.default_rng(1)
    plain = generator.random(shape), generator.random(shape)
    left, right = vmarena_fenced.array(plain[0]), vmarena_fenced.array(plain[1])
    out = vmarena_fenced.zeros(shape)
    vmarena_fenced.call(lambda: ufunc(left, right, out=out) is None)
    assert numpy.array_equal(out, ufunc(*plain))
    assert numpy.array_equal(ufunc(left, right), ufunc(*plain))


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("length", range(1, 70, 3))
def test_reductions_stay_within_their_array(vmarena_fenced, dtype, length):
    plain = numpy.arange(length).astype(dtype)
    array = vmarena_fenced.array(plain)
    assert array.sum() == plain.sum() and array.max() == plain.max() and array.argmin() == 0
    assert bytes(array) == bytes(plain)


def test_a_kernel_that_does_not(vmarena_fenced, planted):
    arrays = [vmarena_fenced.array(numpy.arange(10.0)) for _ in range(3)]
    planted.add_arrays.argtypes = [numpy.ctypeslib.ndpointer()] * 3 + [ctypes.c_size_t]
    if vmarena_fenced.side == Side.END:
        with pytest.raises(vmarena.Fault) as caught:
            vmarena_fenced.call(planted.add_arrays, *arrays, 10)
        fault = caught.value
        assert (fault.kind, fault.object_size, fault.distance) == (Kind.OVERRUN, 80, 1)
        assert fault.address in [end_of(array) for array in arrays]
    else:
        with pytest.raises(vmarena.Error, match="slack overwritten: byte .[1-8] of the 80-byte object"):
            vmarena_fenced.call(planted.add_arrays, *arrays, 10)


def test_shapes_of_numpy_integers():
    assert vmarena.fenced_array(numpy.int64(3)).shape == (3,)
    assert vmarena.fenced_array([numpy.int8(2), 3]).shape == (2, 3)
    with pytest.raises(TypeError):
        vmarena.fenced_array(1.5)
    assert len(vmarena.fenced(b"x", align=numpy.int32(1))) == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_fenced_takes_arrays(order):
    array = numpy.zeros((3, 4), "i4,u1", order=order)
    if order == "C":
        assert len(vmarena.fenced(array)) == array.nbytes
        assert len(vmarena.fenced(numpy.zeros((0, 4)))) == 0
    else:
        with pytest.raises((BufferError, ValueError)):
            vmarena.fenced(array)
