# SPDX-License-Identifier: MIT
"""numpy arrays in guarded memory. numpy is imported at the first use."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ._faults import Memory

Order: TypeAlias = Literal["C", "F"]
Scalar = TypeVar("Scalar", bound="np.generic")


def make_array(
    make: Callable[[int, int], Memory], shape: int | Sequence[int], dtype: Any, order: Order = "C"
) -> NDArray[Any]:
    """An array in the memory that make(size, align) gives, whose bytes are zero.

    order: "C", the last index runs fastest, or "F", the first does, as Fortran and BLAS have it.
    """
    import numpy

    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise TypeError("an array of Python objects cannot lie in foreign memory")
    sizes = (operator.index(shape),) if not isinstance(shape, Iterable) else tuple(map(operator.index, shape))
    if any(length < 0 for length in sizes):
        raise ValueError("negative dimensions are not allowed")
    if order not in ("C", "F"):
        raise ValueError(f'order must be "C" or "F", not {order!r}')
    memory = make(math.prod(sizes) * kind.itemsize, kind.alignment)
    if len(memory) == 0:
        return numpy.ndarray(sizes, kind, memoryview(memory), order=order)
    # numpy.ndarray(buffer=...) would give its buffer back at once, so that the memory could go before the array.
    return numpy.frombuffer(memoryview(memory), kind).reshape(sizes, order=order)
