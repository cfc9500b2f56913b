# SPDX-License-Identifier: MIT
"""What owns memory: closed once, and not while buffers are out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from . import _vmarena as _c

if TYPE_CHECKING:
    from typing import Literal, Self


class Owner:
    """Of an arena, a heap or a view."""

    _handle: _c.Handle

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def close(self) -> None:
        """Unmaps the memory. BufferError while a buffer of it is out; ValueError where it was closed already."""
        _c.close(self._handle)

    def __enter__(self) -> Self:
        if self.closed:
            raise ValueError(f"the {type(self).__name__.lower()} is closed")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> Literal[False]:
        # Closing in the block is fine. A buffer that the error's traceback keeps alive would hide the error, which
        # matters more; the memory then goes with the last buffer.
        with contextlib.suppress(*(() if error is None else (BufferError,))):
            if not self.closed:
                self.close()
        return False
