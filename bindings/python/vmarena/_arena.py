# SPDX-License-Identifier: MIT
"""Arenas."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from typing import TYPE_CHECKING, Any, NamedTuple, NewType, Self, overload

from . import _vmarena as _c
from ._faults import Address, Memory, Named, Side, fence_number
from ._numpy import Order, Scalar, make_array
from ._owner import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

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
    MEMFD = 64


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
    USERFAULT = "userfault"


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


class Tracking(Named):
    """How written pages are detected; AUTO: the first of the others that this arena and system have.

    FILE: the kernel's copy on write, in an arena with Flag.MEMFD. SCAN: PAGEMAP_SCAN, of Linux 6.7. COMPARE: all pages
    are compared with copies. The library's fourth, by protection, is left out: where faulthandler displaces the library's
    handler, a write would end the interpreter.
    """

    __module__ = "vmarena"
    AUTO = "auto"
    FILE = "file"
    SCAN = "scan"
    COMPARE = "compare"

    @property
    def number(self) -> int:
        return _TRACKINGS.index(self)


_TRACKINGS = [Tracking.AUTO, Tracking.FILE, Tracking.SCAN, None, Tracking.COMPARE]


class SnapshotInfo(NamedTuple):
    """How a snapshot was taken, and what it cost; the fields are those of struct vmarena_snapshot_info."""

    tracking: Tracking
    used: int
    copied: int
    restored: int
    restores: int


def _stats(found: dict[str, Any]) -> Stats:
    found.update(
        prot=Prot(found["prot"]), flags=Flag(found["flags"]), huge_asked=list(Huge)[found["huge_asked"]],
        huge_obtained=list(Huge)[found["huge_obtained"]], guard_kind=list(GuardKind)[found["guard_kind"]],
        commit_policy=list(CommitPolicy)[found["commit_policy"]],
    )
    return Stats(**found)


class Arena(Owner):
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

    def alloc(self, size: int, align: int = 16, *, zeroed: bool = False) -> Memory:
        """size bytes aligned to align. Raises Error (EINVAL, ENOSPC, ENOMEM, EACCES)."""
        return _c.alloc(self._handle, size, align, zeroed)

    @overload
    def array(
        self, shape: int | Sequence[int], dtype: type[Scalar] | np.dtype[Scalar], order: Order = "C"
    ) -> NDArray[Scalar]: ...
    @overload
    def array(self, shape: int | Sequence[int], dtype: Any = float, order: Order = "C") -> NDArray[Any]: ...
    def array(self, shape: int | Sequence[int], dtype: Any = float, order: Order = "C") -> NDArray[Any]:
        """A zeroed numpy array in the arena. order: "C", or "F" for the first index running fastest."""
        return make_array(lambda size, align: self.alloc(size, align, zeroed=True), shape, dtype, order)

    def resize(self, memory: Memory, size: int) -> None:
        """Grows or shrinks memory, which may move. A later rewind to a mark taken before takes it back."""
        _c.resize(self._handle, memory, size)

    def free(self, memory: Memory) -> None:
        """Takes memory back: in a fenced arena it faults from now on, in another the last one's bytes are used again.

        BufferError while a buffer of it is out. Error (EILSEQ): taken back, but something had written around it.
        """
        _c.free(self._handle, memory)

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

    def snapshot(self, tracking: Tracking | str = Tracking.AUTO) -> Snapshot:
        """The arena's contents, to come back to: see Snapshot. Raises Error (EOPNOTSUPP: not in a fenced arena, ...)."""
        return Snapshot(self, tracking)

    def check(self) -> None:
        """In a fenced arena: raises Error (EILSEQ) where a byte around an object was overwritten."""
        _c.check(self._handle)

    def protect(self, prot: Prot) -> None:
        """Changes the protection of the whole arena. BufferError where that would take a right from a buffer."""
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
        """All figures. Those of resident memory cost a walk through /proc, whose time grows with it; info() leaves them out."""
        return _stats(_c.stats(self._handle))

    def info(self) -> Stats:
        """What the arena itself knows, without a system call: resident and huge are 0."""
        return _stats(_c.info(self._handle))


class Snapshot(Owner):
    """A point in an arena's life whose contents can be brought back. Arena.snapshot() makes it; a context manager.

    Memory and arrays that were there stay, and show the old contents again. What was allocated since is taken back, with
    BufferError while buffers of it are out.
    """

    __module__ = "vmarena"

    def __init__(self, arena: Arena, tracking: Tracking | str = Tracking.AUTO) -> None:
        self._arena = arena
        self._handle = _c.snapshot(arena._handle, Tracking(tracking).number)

    def restore(self) -> None:
        """Brings the arena back. Raises Error (EACCES: not writable)."""
        _c.restore(self._arena._handle, self._handle)

    def clone(self, *memories: Memory) -> tuple[Arena, list[Memory]]:
        """A new arena with the contents, at another address, and the counterparts in it of memories that were there."""
        clone = Arena.__new__(Arena)
        clone._handle = _c.clone(self._handle)
        clone._prot = clone.stats().prot
        return clone, [_c.counterpart(clone._handle, self._handle, memory) for memory in self._ours(memories)]

    def _ours(self, memories: Sequence[Memory]) -> Sequence[Memory]:
        for memory in memories:
            if not self._arena.owns(memory):
                raise ValueError("the memory is not of the snapshot's arena")
        return memories

    def dirty_pages(self) -> list[range]:
        """Addresses of the pages written since it was taken or restored last, as ranges."""
        return [range(start, end) for start, end in _c.dirty_pages(self._arena._handle, self._handle)]

    def info(self) -> SnapshotInfo:
        number, used, copied, restored, restores = _c.snapshot_info(self._handle)
        tracking = _TRACKINGS[number]
        assert tracking is not None
        return SnapshotInfo(tracking, used, copied, restored, restores)
