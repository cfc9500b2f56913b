# SPDX-License-Identifier: MIT
"""Heaps: objects allocated and freed one by one, each against a guard."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, overload

from . import _vmarena as _c
from ._arena import GuardKind
from ._faults import Address, Memory, Named
from ._numpy import Order, Scalar, make_array
from ._owner import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class HeapSide(Named):
    """Which side of an object lies against its guard; ALTERNATE: each in turn."""

    __module__ = "vmarena"
    END = "end"
    START = "start"
    ALTERNATE = "alternate"


class Reuse(Named):
    """In which order freed addresses are used again."""

    __module__ = "vmarena"
    FIFO = "fifo"
    RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class HeapStats:
    """The fields are those of struct vmarena_heap_stats."""

    __module__ = "vmarena"
    live: int
    live_peak: int
    live_bytes: int
    page_bytes: int
    page_peak: int
    quarantined: int
    quarantined_bytes: int
    allocs: int
    frees: int
    failed: int
    errors: int
    checks: int
    reserved: int
    committed: int
    record_bytes: int
    guard: int
    guard_kind: GuardKind
    guard_limit: int
    map_entry_limit: int
    unlocked: bool
    forked: bool
    unfenced: int


class Heap(Owner):
    """Objects, each on pages of its own against a guard. A context manager, or call close().

    An object lives until free(), or until the last reference to its Memory and the last buffer of it are gone. From
    then on every access to it faults, as "use after free", until its address is used again.
    """

    __module__ = "vmarena"

    def __init__(
        self,
        reserve: int = 0,
        *,
        side: HeapSide | str = HeapSide.END,
        name: str | None = None,
        align: int = 0,
        guard: int = 0,
        guard_kind: GuardKind | str = GuardKind.AUTO,
        reuse: Reuse | str = Reuse.FIFO,
        quarantine: bool = True,
        quarantine_bytes: int = 0,
        quarantine_count: int = 0,
        check_interval: int = 0,
        memory_cap: int = 0,
    ) -> None:
        self._handle = _c.heap_create(
            reserve, align, guard, GuardKind(guard_kind).number, HeapSide(side).number, Reuse(reuse).number,
            quarantine_bytes, quarantine_count, check_interval, memory_cap, quarantine, name,
        )

    def alloc(self, size: int, align: int = 0) -> Memory:
        """size zeroed bytes (0 is allowed: every access faults), aligned to align (0: as the heap was made)."""
        return _c.heap_alloc(self._handle, size, align)

    @overload
    def array(
        self, shape: int | Sequence[int], dtype: type[Scalar] | np.dtype[Scalar], order: Order = "C"
    ) -> NDArray[Scalar]: ...
    @overload
    def array(self, shape: int | Sequence[int], dtype: Any = float, order: Order = "C") -> NDArray[Any]: ...
    def array(self, shape: int | Sequence[int], dtype: Any = float, order: Order = "C") -> NDArray[Any]:
        """A zeroed numpy array in the heap. order: "C", or "F" for the first index running fastest."""
        return make_array(self.alloc, shape, dtype, order)

    def resize(self, memory: Memory, size: int) -> None:
        """Grows or shrinks memory, which may move. BufferError while a buffer of it is out."""
        _c.heap_resize(self._handle, memory, size)

    def free(self, memory: Memory) -> None:
        """Frees memory. BufferError while a buffer of it is out. EILSEQ: freed, but something had written around it."""
        _c.heap_free(self._handle, memory)

    def check(self) -> None:
        """Raises Error (EILSEQ) where a byte around a live object was overwritten."""
        _c.heap_check(self._handle)

    def owns(self, address: Address) -> bool:
        """Whether the address lies in the heap's memory, its guards included."""
        return _c.heap_owns(self._handle, address)

    def stats(self) -> HeapStats:
        found = _c.heap_stats(self._handle)
        return HeapStats(**{**found, "guard_kind": list(GuardKind)[found["guard_kind"]]})
