# SPDX-License-Identifier: MIT
"""What owns memory: closed by close() or the last reference, and not while buffers are out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from . import _vmarena as _c

if TYPE_CHECKING:
    from typing import Literal, NoReturn, Self, SupportsIndex


class Owner:
    """The base of arenas, heaps, views, snapshots and sets of counters."""

    _handle: _c.Handle

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def close(self) -> None:
        """Unmaps the memory. Raises BufferError while a buffer of it is out. A second call does nothing."""
        _c.close(self._handle)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # copy, deepcopy and pickle all come here. A copy would share the handle, and close it for both.
        raise TypeError(f"a vmarena.{type(self).__name__} cannot be copied or pickled: it owns its memory")

    def __enter__(self) -> Self:
        if self.closed:
            raise ValueError(f"the {type(self).__name__.lower()} is closed")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> Literal[False]:
        # Closing in the block is fine. A buffer that the error's traceback keeps alive would hide the error, which
        # matters more; the memory then goes with the last buffer.
        with contextlib.suppress(*(() if error is None else (BufferError,))):
            self.close()
        return False
