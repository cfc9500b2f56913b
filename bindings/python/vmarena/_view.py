# SPDX-License-Identifier: MIT
"""Files as memory between guards."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from . import _vmarena as _c
from ._arena import Flag, Huge
from ._faults import HasFileno, Memory, Named, Side, fence_number
from ._owner import Owner

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Mode(Named):
    """What writing does: fault, change a private copy of the page, or change the file."""

    __module__ = "vmarena"
    READ = "read"
    COPY_ON_WRITE = "copy on write"
    SHARED = "shared"


class Advice(Named):
    """How a range will be used."""

    __module__ = "vmarena"
    NORMAL = "normal"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    WILL_NEED = "will need"
    DONT_NEED = "dont need"


@dataclasses.dataclass(frozen=True)
class ViewInfo:
    """What a view is; the fields are those of struct vmarena_view_info."""

    __module__ = "vmarena"
    mode: Mode
    huge_asked: Huge
    huge_obtained: Huge
    file_size: int
    capacity: int
    resident: int
    huge: int
    guard: int
    tail: int
    copied: bool


class View(Owner):
    """A file, or a window of it, as memory between guards. Use it as a context manager, or call close().

    read() and write() survive a file that somebody cuts short, and raise Fault (PAST_END_OF_FILE) with the offset in
    the file. `data` is the memory itself, for memoryview, numpy and foreign code, which in that case end by SIGBUS, as
    they do with the module mmap.
    """

    __module__ = "vmarena"

    def __init__(
        self,
        file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | HasFileno,
        mode: Mode | str = Mode.READ,
        *,
        offset: int = 0,
        length: int = 0,
        fence: Side | str | None = None,
        huge: Huge | str = Huge.SYSTEM,
        flags: Flag | int = 0,
        guard: int = 0,
        name: str | None = None,
    ) -> None:
        path, fd = None, -1
        if isinstance(file, int):
            fd = file
        elif isinstance(file, (str, bytes, os.PathLike)):
            path = os.fsencode(file)
        elif hasattr(file, "fileno"):
            fd = file.fileno()
        else:
            raise TypeError(f"file must be a path, a descriptor or a file, not {type(file).__name__}")
        self._handle = _c.view_open(path, fd, Mode(mode).number, fence_number(fence), Huge(huge).number, flags, offset,
                                    length, guard, name)
        self._data = _c.view_data(self._handle)

    @property
    def data(self) -> Memory:
        """The window. Released by move() and close(), which raise BufferError while a buffer of it is out."""
        _c.view_offset(self._handle)
        return self._data

    @property
    def offset(self) -> int:
        """Of the window's first byte in the file."""
        return _c.view_offset(self._handle)

    def __len__(self) -> int:
        return len(self.data)

    def _check(self, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > len(self):
            raise ValueError(f"{size} bytes from byte {start} on leave the view, which has {len(self)}")

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """size bytes (None: all that follow) of the window from start on. Raises Fault."""
        __tracebackhide__ = True
        size = len(self) - start if size is None else size
        self._check(start, size)
        return _c.read_bytes(self.data, size, start)

    def write(self, start: int, data: Buffer) -> None:
        """Writes data to the window at start. Raises Fault, also where the mode does not allow it."""
        __tracebackhide__ = True
        with memoryview(data) as view:
            self._check(start, view.nbytes)
        _c.write_bytes(self.data, data, start)

    def move(self, offset: int, length: int = 0) -> None:
        """Shows another part of the file; length 0: as much as the view has room for."""
        self._data = _c.view_move(self._handle, offset, length)

    def sync(self, start: int = 0, length: int = 0) -> None:
        """Writes what was changed in a range (length 0: all that follows) to the device, and waits for it."""
        _c.view_sync(self._handle, start, length)

    def advise(self, advice: Advice | str, start: int = 0, length: int = 0) -> None:
        """Tells the system how a range will be used."""
        _c.view_advise(self._handle, start, length, Advice(advice).number)

    def populate(self, start: int = 0, length: int = 0) -> None:
        """Maps a range in now."""
        _c.view_populate(self._handle, start, length)

    def lock(self, start: int = 0, length: int = 0) -> None:
        """Keeps a range in memory."""
        _c.view_lock(self._handle, start, length)

    def unlock(self, start: int = 0, length: int = 0) -> None:
        _c.view_unlock(self._handle, start, length)

    def info(self) -> ViewInfo:
        found = _c.view_info(self._handle)
        found.update(mode=list(Mode)[found["mode"]], huge_asked=list(Huge)[found["huge_asked"]],
                     huge_obtained=list(Huge)[found["huge_obtained"]])
        return ViewInfo(**found)
