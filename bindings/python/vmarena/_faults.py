# SPDX-License-Identifier: MIT
"""Faults as exceptions, and the operations that raise them."""

from __future__ import annotations

import dataclasses
import enum
import signal
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from . import _vmarena as _c

if TYPE_CHECKING:
    from typing_extensions import Buffer

Error = _c.Error
Memory = _c.Memory
Address: TypeAlias = int | Memory


class Named(enum.StrEnum):
    """Members in the order of the C enumeration; each is its name in words."""

    @property
    def number(self) -> int:
        return list(type(self)).index(self)


class HasFileno(Protocol):
    """A file."""

    def fileno(self) -> int: ...


class Access(Named):
    """What the faulting instruction did, as far as the CPU tells."""

    __module__ = "vmarena"
    UNKNOWN = "unknown"
    READ = "read"
    WRITE = "write"
    EXEC = "exec"


class Kind(Named):
    """What was done wrong."""

    __module__ = "vmarena"
    OTHER = "other"
    OVERRUN = "overrun"
    UNDERRUN = "underrun"
    USE_AFTER_FREE = "use after free"
    PROTECTED = "protected"
    UNMAPPED = "unmapped"
    PAST_END_OF_FILE = "past end of file"
    HARDWARE = "hardware"


class Side(Named):
    """The side of an object at which its guard lies: END finds overruns, START finds underruns."""

    __module__ = "vmarena"
    END = "end"
    START = "start"


def fence_number(side: Side | str | None) -> int:
    return 0 if side is None else 1 + Side(side).number


class Fault(Exception):
    """A memory fault that was caught: which byte, read or written, of which object."""

    __module__ = "vmarena"

    def __init__(self, fields: _c._Fields, done: int = 0) -> None:
        super().__init__(fields[0])
        self._fields = fields
        #: Bytes that the operation had done before the fault.
        self.done = done
        #: The fault in words.
        self.description = fields[0]
        #: SIGSEGV or SIGBUS, and si_code of sigaction(2).
        self.signal = signal.Signals(fields[1])
        self.code = fields[2]
        #: The byte that was touched, and the instruction that did it (0: not known).
        self.address = fields[3]
        self.pc = fields[4]
        self.access = list(Access)[fields[5]]
        self.kind = list(Kind)[fields[6]]
        #: Address of the object that was missed or misused (None where none is known), and its size in bytes.
        self.object: int | None = fields[7] or None
        self.object_size = fields[8]
        #: From the object's nearest edge: 1 is the first byte past its end, -1 the last before its start, 0 inside it.
        self.distance = fields[9]
        #: Name of the arena or view that the memory belongs to.
        self.owner_name = fields[10]
        #: Of the byte in the file, in a view.
        self.file_offset = fields[11]
        #: "function+0x12 in library.so" for a fault in foreign code, where that is known.
        self.place = fields[12]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Fault, (self._fields, self.done), self.__dict__)


_c.use_fault_type(Fault)


def read(start: Address, size: int) -> bytes:
    """size bytes from any address. Raises Fault; its `done` tells how many could be read."""
    __tracebackhide__ = True
    return _c.read_bytes(start, size)


def write(to: Address, data: Buffer) -> None:
    """Writes bytes to any address. Raises Fault. What lies there must be yours: nothing else protects live objects."""
    __tracebackhide__ = True
    _c.write_bytes(to, data)


def copy(to: Address, from_: Address, size: int) -> None:
    """Copies size bytes between any two addresses that are at least so far apart. Raises Fault."""
    __tracebackhide__ = True
    _c.copy(to, from_, size)


def fill(to: Address, byte: int, size: int) -> None:
    """Fills size bytes at any address. Raises Fault."""
    __tracebackhide__ = True
    _c.fill(to, byte, size)


def compare(left: Address, right: Address, size: int) -> int | None:
    """Index of the first byte that differs, or None. Raises Fault."""
    __tracebackhide__ = True
    same = _c.compare(left, right, size)
    return same if same < size else None


def page_size() -> int:
    """Bytes in a page of this system."""
    return _c.page_size()


def page_round_up(size: int) -> int:
    """size rounded up to whole pages; 0 where the result is no size on this system."""
    return _c.page_round_up(size)


def handler_status() -> str:
    """Whether the fault handlers are "absent", "installed", "displaced" by others, or the "host"'s business."""
    return ("absent", "installed", "displaced", "host")[_c.fault_status()]


def reassert() -> None:
    """Puts the fault handlers back on top after somebody (faulthandler, say) displaced them; theirs stay chained.

    Every guarded operation and every call() does this by itself.
    """
    _c.fault_reassert()


def report_faults(file: int | HasFileno | None = 2, *, traceback: bool = True) -> None:
    """From now on a fault in vmarena's memory that nothing catches is reported in words before the process dies of it.

    It names the object, the distance and the access. file: a descriptor, or a file that has one, which must stay open;
    None: no longer. traceback: Python's own follows, for which faulthandler is enabled unless it is. Raises Error (EBADF).
    """
    if file is None:
        _c.report_faults(-1, False)
        return
    import faulthandler  # which subinterpreters with a GIL of their own refuse

    fd = file if isinstance(file, int) else file.fileno()
    if traceback and not faulthandler.is_enabled():
        faulthandler.enable(fd)
    _c.report_faults(fd, False)


class Thp(Named):
    """/sys/kernel/mm/transparent_hugepage/enabled."""

    __module__ = "vmarena"
    ABSENT = "absent"
    NEVER = "never"
    MADVISE = "madvise"
    ALWAYS = "always"


@dataclasses.dataclass(frozen=True)
class Caps:
    """What this system can do, each found by trying it; the fields are those of struct vmarena_caps."""

    __module__ = "vmarena"
    page_size: int
    huge_page_size: int
    thp_sizes: int
    hugetlb_2m_free: int
    hugetlb_1g_free: int
    map_entry_limit: int
    protection_keys: int
    thp: Thp
    guard_markers: bool
    vectored_madvise: bool
    collapse: bool
    populate: bool
    wipe_on_fork: bool
    procmap_query: bool
    pagemap_scan: bool
    seal: bool
    userfaultfd: bool
    userfaultfd_wp: bool
    perf_counters: bool
    perf_tlb: bool
    vma_names: bool
    fault_access: bool
    strict_overcommit: bool


def caps() -> Caps:
    """What this system can do."""
    found = _c.caps()
    return Caps(**{**found, "thp": list(Thp)[found["thp"]]})
