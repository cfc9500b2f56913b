# SPDX-License-Identifier: MIT
"""Strategies for hypothesis: data flush against a guard page.

    from hypothesis import given, settings
    from vmarena.strategies import fenced_bytes

    @settings(deadline=None)                  # a process for each input takes its time
    @given(fenced_bytes(max_size=100))
    def test_parse(data):
        vmarena.call(parser.parse, data)      # a fault is an exception here: hypothesis shrinks the input
        data.check()                          # what was written at the side without a guard

No fixture takes part, so that there is no health check to turn off. A failing example is printed as the call that makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ._faults import Memory, Side
from ._fenced import fenced, fenced_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._numpy import Order


def _sides(side: Side | str | None) -> st.SearchStrategy[Side]:
    return st.sampled_from(Side) if side is None else st.just(Side(side))


def fenced_bytes(
    min_size: int = 0,
    max_size: int | None = None,
    *,
    side: Side | str | None = None,
    align: int = 1,
    writable: bool = True,
) -> st.SearchStrategy[Memory]:
    """Bytes as of hypothesis.strategies.binary(), in vmarena.fenced(): at either side, or at the one given."""
    contents = st.binary(min_size=min_size, max_size=max_size)
    return st.builds(fenced, contents, _sides(side), align=st.just(align), writable=st.just(writable))


def fenced_copy(array: NDArray[Any], side: Side | str = Side.END, order: Order = "C") -> NDArray[Any]:
    """A copy of the array flush against a guard."""
    copy = fenced_array(array.shape, array.dtype, side, order)
    copy[...] = array
    return copy


def fenced_arrays(
    dtype: Any, shape: Any, *, side: Side | str | None = None, order: Order = "C", **options: Any
) -> st.SearchStrategy[NDArray[Any]]:
    """Arrays as of hypothesis.extra.numpy.arrays(), whose options these are, flush against a guard."""
    from hypothesis.extra.numpy import arrays

    return st.builds(fenced_copy, arrays(dtype, shape, **options), _sides(side), st.just(order))
