# SPDX-License-Identifier: MIT
"""Memory with walls: arenas between guard pages, buffers flush against a guard, memory faults as exceptions.

    >>> import vmarena
    >>> data = vmarena.fenced(b"what a parser gets")    # its last byte is the last one that can be touched
    >>> bytes(data)
    b'what a parser gets'
    >>> try:
    ...     vmarena.read(data, len(data) + 1)
    ... except vmarena.Fault as fault:
    ...     print(fault.kind, fault.access, fault.distance)
    overrun read 1

What may fault is done in C and raised afterwards: Python code never runs inside a guarded operation. Foreign code that
may fault (an extension, a ctypes library, a compiled kernel) runs in a child process: see call(), and the pytest
fixture vmarena_fenced.
"""

from ._arena import (
    Arena,
    CommitPolicy,
    Flag,
    GuardKind,
    Huge,
    Mark,
    Prot,
    Snapshot,
    SnapshotInfo,
    Stats,
    Tracking,
)
from ._child import Crash, call
from ._faults import (
    Access,
    Address,
    Caps,
    Error,
    Fault,
    Kind,
    Memory,
    Side,
    Thp,
    caps,
    compare,
    copy,
    fill,
    handler_status,
    page_round_up,
    page_size,
    read,
    reassert,
    report_faults,
    write,
)
from ._fenced import fenced, fenced_array
from ._heap import Heap, HeapSide, HeapStats, Reuse
from ._inspect import (
    Counters,
    FaultCounts,
    Mapping,
    Owner,
    Pages,
    PageState,
    Totals,
    fault_counts,
    frame,
    mapping_at,
    maps,
    residency,
    thread_fault_counts,
    totals,
)
from ._view import Advice, Mode, View, ViewInfo
from ._vmarena import version as _version

__version__: str = _version()
__all__ = [
    "Access", "Address", "Advice", "Arena", "Caps", "CommitPolicy", "Counters", "Crash", "Error", "Fault",
    "FaultCounts", "Flag", "GuardKind", "Heap", "HeapSide", "HeapStats", "Huge", "Kind", "Mapping", "Mark",
    "Memory", "Mode", "Owner", "PageState", "Pages", "Prot", "Reuse", "Side", "Snapshot", "SnapshotInfo",
    "Stats", "Thp", "Totals", "Tracking", "View", "ViewInfo", "call", "caps", "compare", "copy", "fault_counts",
    "fenced", "fenced_array", "fill", "frame", "handler_status", "mapping_at", "maps", "page_round_up",
    "page_size", "read", "reassert", "report_faults", "residency", "thread_fault_counts", "totals", "write",
]
