# SPDX-License-Identifier: MIT
"""What the system knows of a process's memory, this one's (pid 0) or another's, and how often it faulted."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

from . import _owner
from . import _vmarena as _c
from ._arena import Prot
from ._faults import Address, Named


class Owner(Named):
    """What of this library a mapping belongs to."""

    __module__ = "vmarena"
    NONE = "none"
    ARENA = "arena"
    HEAP = "heap"
    VIEW = "view"


@dataclasses.dataclass(frozen=True)
class Mapping:
    """An entry of the memory map; the fields are those of struct vmarena_mapping."""

    __module__ = "vmarena"
    start: int
    end: int
    offset: int
    inode: int
    device_major: int
    device_minor: int
    prot: Prot
    shared: bool
    name: str
    owner: Owner
    owner_name: str
    owner_start: int
    owner_end: int
    objects: int


def _mapping(found: tuple[Any, ...]) -> Mapping:
    return dataclasses.replace(Mapping(*found), prot=Prot(found[6]), owner=list(Owner)[found[9]])


class PageState(enum.IntFlag):
    """What a page is; a page that is none of these is not there."""

    __module__ = "vmarena"
    RESIDENT = 1
    SWAPPED = 2
    DIRTY = 4
    FILE = 8
    SHARED = 16
    HUGE = 32
    GUARD = 64
    ZERO = 128
    CACHED = 256


class Pages(NamedTuple):
    """Pages side by side that are alike."""

    start: int
    end: int
    state: PageState


class Totals(NamedTuple):
    """Of a whole process, in bytes; the fields are those of struct vmarena_totals."""

    rss: int
    pss: int
    shared_clean: int
    shared_dirty: int
    private_clean: int
    private_dirty: int
    anonymous: int
    huge: int
    hugetlb: int
    swap: int
    locked: int


class FaultCounts(NamedTuple):
    """Minor faults found their page in memory or needed a fresh one, major ones had to wait for a device."""

    minor: int
    major: int


def maps(pid: int = 0) -> list[Mapping]:
    """All mappings of a process in ascending order."""
    return [_mapping(found) for found in _c.maps(pid)]


def mapping_at(address: Address, pid: int = 0) -> Mapping:
    """The mapping that holds the address. Raises Error (ENOENT) where nothing is mapped."""
    return _mapping(_c.mapping_at(pid, address))


def residency(start: Address, length: int, wanted: int = 0, pid: int = 0) -> tuple[list[Pages], PageState]:
    """The runs of like pages in a range, without those that are not there; and which states this system tells.

    wanted: the PageState bits of interest, 0 for all.
    """
    known, runs = _c.residency(pid, start, length, wanted)
    return [Pages(first, end, PageState(state)) for first, end, state in runs], PageState(known)


def frame(address: Address) -> int:
    """Number of the physical page behind an address, 0 where none is. Error (EPERM) without CAP_SYS_ADMIN."""
    return _c.frame(address)


def totals(pid: int = 0) -> Totals:
    """In memory, shared, private, swapped: of a whole process."""
    return Totals(*_c.totals(pid))


def fault_counts(pid: int = 0) -> FaultCounts:
    """Page faults of a process since it began."""
    return FaultCounts(*_c.fault_counts(pid, False))


def thread_fault_counts() -> FaultCounts:
    """Page faults of the calling thread since it began."""
    return FaultCounts(*_c.fault_counts(0, True))


class Counters(_owner.Owner):
    """The kernel's and the CPU's counters for the calling thread, or a process's main thread, from now on.

    children: threads and processes made from now on, too. Error (EACCES) where none is allowed.
    """

    __module__ = "vmarena"

    def __init__(self, pid: int = 0, *, children: bool = False) -> None:
        self._handle = _c.counters_open(pid, 1 if children else 0)

    def read(self) -> dict[str, int | None]:
        """By name; None where a counter is not allowed or not there."""
        return _c.counters_read(self._handle)
