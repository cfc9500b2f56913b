# SPDX-License-Identifier: MIT
"""Single buffers flush against a guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from ._arena import Arena, Prot
from ._faults import Memory, Side, page_size, write
from ._heap import Heap
from ._numpy import Order, Scalar, make_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer


_heaps: dict[Side, Heap] = {}


def fenced_memory(size: int, align: int, side: Side | str) -> Memory:
    """Zeroed memory flush against a guard at the side given."""
    side = Side(side)
    if side not in _heaps:
        _heaps[side] = Heap(side=side.value, name="fenced")
    return _heaps[side].alloc(size, align)


def fenced(data: Buffer, side: Side | str = Side.END, *, align: int = 1, writable: bool = True) -> Memory:
    """A copy of data flush against a guard page at the side given. It lives as long as the Memory or a buffer of it.

    With an alignment the guard follows as nearly as that allows. writable False: a write to it faults.
    """
    with memoryview(data) as view:
        size = view.nbytes
    if writable or size == 0:
        memory = fenced_memory(size, align, side)
        write(memory, data)
        return memory
    arena = Arena(size + 4 * max(page_size(), align), fence=Side(side), name="fenced")
    memory = arena.alloc(size, align)
    write(memory, data)
    arena.protect(Prot.READ)
    return memory


@overload
def fenced_array(
    shape: int | Sequence[int], dtype: type[Scalar] | np.dtype[Scalar], side: Side | str = Side.END, order: Order = "C"
) -> NDArray[Scalar]: ...
@overload
def fenced_array(
    shape: int | Sequence[int], dtype: Any = float, side: Side | str = Side.END, order: Order = "C"
) -> NDArray[Any]: ...
def fenced_array(
    shape: int | Sequence[int], dtype: Any = float, side: Side | str = Side.END, order: Order = "C"
) -> NDArray[Any]:
    """A zeroed numpy array flush against a guard page: what runs past it in compiled code faults at the byte.

    order: "C", or "F" for the first index running fastest.
    """
    return make_array(lambda size, align: fenced_memory(size, align, side), shape, dtype, order)
