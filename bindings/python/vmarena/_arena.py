# SPDX-License-Identifier: MIT
"""Arenas, and single buffers flush against a guard."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from typing import TYPE_CHECKING, Any, NewType

from . import _vmarena as _c
from ._faults import Address, Error, Memory, Named, Side, fence_number, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from typing_extensions import Buffer, Self

#: A point in an arena's life: Arena.mark() gives it, Arena.rewind() takes it.
Mark = NewType("Mark", object)


class Prot(enum.IntFlag):
    """Protection of pages."""

    __module__ = "vmarena"
    NONE = 0
    READ = 1
    WRITE = 2
    EXEC = 4


class Flag(enum.IntFlag):
    """What else an arena or a view may be: see arena.h."""

    __module__ = "vmarena"
    LOCK = 1
    DONT_DUMP = 2
    DONT_FORK = 4
    WIPE_ON_FORK = 8
    PREFAULT = 16
    ALLOW_EXEC = 32


class Huge(Named):
    """Huge pages asked for, and the rung of the ladder obtained."""

    __module__ = "vmarena"
    SYSTEM = "system"
    NEVER = "never"
    TRANSPARENT = "transparent"
    COLLAPSE = "collapse"
    HUGE_2M = "2m"
    HUGE_1G = "1g"


class GuardKind(Named):
    """What keeps a guard inside an arena inaccessible."""

    __module__ = "vmarena"
    AUTO = "auto"
    MARKER = "marker"
    PROTECT = "protect"


class CommitPolicy(Named):
    """How each page becomes usable."""

    __module__ = "vmarena"
    AUTO = "auto"
    NORESERVE = "noreserve"
    PROTECT = "protect"


@dataclasses.dataclass(frozen=True)
class Stats:
    """What was asked for and what was obtained; the fields are those of struct vmarena_stats."""

    __module__ = "vmarena"
    reserved: int
    committed: int
    used: int
    peak: int
    objects: int
    resident: int
    huge: int
    guard: int
    page_size: int
    prot: Prot
    flags: Flag
    huge_asked: Huge
    huge_obtained: Huge
    guard_kind: GuardKind
    commit_policy: CommitPolicy
    named: bool
    sealed: bool
    annotated: bool


class Arena:
    """One reservation of address space between guard pages. Use it as a context manager, or call close().

    Memory that was taken from it stays valid until the arena is rewound past it, reset or closed. Each of these raises
    BufferError, and changes nothing, while a buffer of such memory (a memoryview, a numpy array) is out.

    fence None: objects side by side; "end" or "start": each object against a guard of its own, at that side.
    """

    __module__ = "vmarena"

    def __init__(
        self,
        reserve: int = 0,
        *,
        fence: Side | str | None = None,
        name: str | None = None,
        commit: int = 0,
        guard: int = 0,
        huge: Huge | str = Huge.SYSTEM,
        guard_kind: GuardKind | str = GuardKind.AUTO,
        commit_policy: CommitPolicy | str = CommitPolicy.AUTO,
        flags: Flag | int = 0,
    ) -> None:
        self._handle = _c.create(
            reserve, commit, guard, Huge(huge).number, fence_number(fence), GuardKind(guard_kind).number,
            CommitPolicy(commit_policy).number, flags, name,
        )
        self._prot = Prot.READ | Prot.WRITE

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def alloc(self, size: int, align: int = 16, *, zeroed: bool = False) -> Memory:
        """size bytes aligned to align. Raises Error (EINVAL, ENOSPC, ENOMEM, EACCES)."""
        return _c.alloc(self._handle, size, align, zeroed)

    def array(self, shape: int | Sequence[int], dtype: Any = float) -> Any:
        """A zeroed numpy array in the arena."""
        return _array(lambda size, align: self.alloc(size, align, zeroed=True), shape, dtype)

    def resize(self, memory: Memory, size: int) -> None:
        """Grows or shrinks memory, which may move. A later rewind to a mark taken before takes it back."""
        _c.resize(self._handle, memory, size)

    def mark(self) -> Mark:
        """The arena's present point, for rewind()."""
        return Mark(_c.mark(self._handle))

    def rewind(self, mark: Mark) -> None:
        """Takes back what was allocated since the mark. Raises Error (EINVAL, ESTALE, EILSEQ)."""
        _c.rewind(self._handle, mark)

    @contextlib.contextmanager
    def scope(self) -> Iterator[Self]:
        """Takes back, at the end of the block, what was allocated in it."""
        mark = self.mark()
        try:
            yield self
        except BaseException:
            # A buffer that the traceback keeps alive would hide the error that matters.
            with contextlib.suppress(BufferError):
                self.rewind(mark)
            raise
        self.rewind(mark)

    def reset(self, keep: int = 0) -> None:
        """Takes back everything; keep bytes stay in memory for reuse."""
        _c.reset(self._handle, keep)

    def check(self) -> None:
        """In a fenced arena: raises Error (EILSEQ) where a byte around an object was overwritten."""
        _c.check(self._handle)

    def protect(self, prot: Prot) -> None:
        """Changes the protection of the whole arena. BufferError while buffers are out from which it would take a right."""
        _c.protect(self._handle, prot)
        self._prot = Prot(prot)

    @contextlib.contextmanager
    def protected(self, prot: Prot) -> Iterator[Self]:
        """Another protection for the length of a block."""
        before = self._prot
        self.protect(prot)
        try:
            yield self
        finally:
            self.protect(before)

    def protect_range(self, start: Address, length: int, prot: Prot) -> None:
        """The same for whole pages: start and length are multiples of the page size."""
        _c.protect_range(self._handle, start, length, prot)

    def open_on_fault(self, on: bool = True) -> None:
        """Demand paging: each page that is protected becomes readable and writable at its first touch; see `opened`."""
        _c.open_on_fault(self._handle, on)

    @property
    def opened(self) -> int:
        """Pages that were opened so since open_on_fault()."""
        return self._handle.opened

    def discard(self, start: Address, length: int) -> None:
        """Gives the memory of whole pages back to the system: they read as zero from now on."""
        _c.discard(self._handle, start, length)

    def prefault(self, size: int) -> None:
        """Brings the pages of the next size bytes in now."""
        _c.prefault(self._handle, size)

    def seal(self) -> None:
        """Forbids every later change of the mapping until the process ends; close() leaves the memory mapped."""
        _c.seal(self._handle)

    def owns(self, address: Address) -> bool:
        """Whether the address lies in the arena, its guards included."""
        return _c.owns(self._handle, address)

    def stats(self) -> Stats:
        found = _c.stats(self._handle)
        found.update(
            prot=Prot(found["prot"]), flags=Flag(found["flags"]), huge_asked=list(Huge)[found["huge_asked"]],
            huge_obtained=list(Huge)[found["huge_obtained"]], guard_kind=list(GuardKind)[found["guard_kind"]],
            commit_policy=list(CommitPolicy)[found["commit_policy"]],
        )
        return Stats(**found)

    def close(self) -> None:
        """Unmaps the arena. ValueError where that was done already."""
        _c.close(self._handle)

    def __enter__(self) -> Self:
        if self.closed:
            raise ValueError("the arena is closed")
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> Literal[False]:
        if not self.closed:
            # A buffer that the traceback keeps alive would hide the error that matters; the arena goes with the buffer.
            with contextlib.suppress(*(() if error is None else (BufferError,))):
                self.close()
        return False


def _array(make: Any, shape: int | Sequence[int], dtype: Any) -> Any:
    """A numpy array in the memory that make(size, align) gives."""
    import numpy

    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise TypeError("an array of Python objects cannot lie in foreign memory")
    sizes = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
    if any(size < 0 for size in sizes):
        raise ValueError("negative dimensions are not allowed")
    bytes_needed = kind.itemsize
    for size in sizes:
        bytes_needed *= int(size)
    return numpy.ndarray(sizes, kind, make(bytes_needed, kind.alignment))


def _fenced_memory(size: int, align: int, side: Side | str) -> tuple[Arena, Memory]:
    """Zeroed memory flush against a guard at the side given, in an arena of its own that lives as long as it."""
    page = _c.page_size()
    room = size + 4 * max(page, align)
    arena = Arena(room, fence=Side(side), name="fenced")
    if size:
        return arena, arena.alloc(size, align)
    # Nothing of an empty object may be touched, on either side: next to the guard lies a closed page.
    neighbour = arena.alloc(1, 1)
    arena.protect_range(neighbour.address // page * page, page, Prot.NONE)
    return arena, _c.slice(neighbour, 1 if Side(side) is Side.END else 0, 0)


def fenced(data: Buffer, side: Side | str = Side.END, *, align: int = 1, writable: bool = True) -> Memory:
    """A copy of data flush against a guard page at the side given. It lives as long as the Memory or a buffer of it.

    With an alignment the guard follows as nearly as that allows. writable False: a write to it faults.
    """
    with memoryview(data) as view:
        size = view.nbytes
    arena, memory = _fenced_memory(size, align, side)
    if size:
        write(memory, data)
        if not writable:
            arena.protect(Prot.READ)
    return memory


def fenced_array(shape: int | Sequence[int], dtype: Any = float, side: Side | str = Side.END) -> Any:
    """A zeroed numpy array flush against a guard page: what runs past it in compiled code faults at the byte."""
    return _array(lambda size, align: _fenced_memory(size, align, side)[1], shape, dtype)
