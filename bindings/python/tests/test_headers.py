# SPDX-License-Identifier: MIT
"""The package's enumerations and records are those of the public headers: a member in one and not in the other fails."""

import dataclasses
import re

import pytest

import vmarena
from conftest import ROOT
from vmarena import _arena

HEADERS = "\n".join(
    re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S) for path in sorted((ROOT / "include/vmarena").glob("*.h"))
)
ENUMERATIONS = {
    "access": (vmarena.Access, "ACCESS_"), "fault_kind": (vmarena.Kind, "FAULT_"), "huge": (vmarena.Huge, "HUGE_"),
    "guard_kind": (vmarena.GuardKind, "GUARD_"), "commit_policy": (vmarena.CommitPolicy, "COMMIT_"),
    "heap_side": (vmarena.HeapSide, "HEAP_"), "heap_reuse": (vmarena.Reuse, "HEAP_"),
    "view_mode": (vmarena.Mode, "VIEW_"), "view_advice": (vmarena.Advice, "VIEW_"),
    "owner": (vmarena.Owner, "OWNER_"), "thp": (vmarena.Thp, "THP_"),
}


def enumerators(name, prefix):
    body = re.search(rf"enum vmarena_{name} \{{(.*?)\}}", HEADERS, re.S).group(1)
    return [word.strip().removeprefix("VMARENA_" + prefix) for word in body.split(",") if word.strip()]


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_members_in_the_order_of_the_headers(name):
    kind, prefix = ENUMERATIONS[name]
    assert [member.name.removeprefix(prefix) for member in kind] == enumerators(name, prefix)
    assert [member.number for member in kind] == list(range(len(kind)))


def test_tracking_has_all_but_protection():
    names = [None if tracking is None else tracking.name for tracking in _arena._TRACKINGS]
    assert names == [name if name != "PROTECT" else None for name in enumerators("tracking", "TRACK_")]


@pytest.mark.parametrize(("flags", "prefix"), [(vmarena.PageState, "PAGE_"), (vmarena.Flag, ""), (vmarena.Prot, "")])
def test_flags(flags, prefix):
    for flag in flags:
        assert re.search(rf"#define VMARENA_{prefix}{flag.name} {int(flag)}u\s", HEADERS), flag
    if prefix:
        assert set(re.findall(rf"#define VMARENA_{prefix}(\w+) \d+u\s", HEADERS)) == {flag.name for flag in flags}


def fields(name):
    body = re.search(rf"struct vmarena_{name} \{{(.*?)\}};", HEADERS, re.S).group(1)
    declared = re.findall(r"[\s,*](\w+)(?:\[\w+\])?(?=[,;])", body)
    return [field for field in declared if field not in ("spare", "reserved_words")]


@pytest.mark.parametrize(("name", "record"), [
    ("stats", vmarena.Stats), ("caps", vmarena.Caps), ("mapping", vmarena.Mapping), ("view_info", vmarena.ViewInfo),
])
def test_records(name, record):
    assert sorted(field.name for field in dataclasses.fields(record)) == sorted(fields(name))


@pytest.mark.parametrize(("name", "record"), [("totals", vmarena.Totals), ("snapshot_info", vmarena.SnapshotInfo)])
def test_tuples(name, record):
    assert list(record._fields) == fields(name)


def test_heap_stats():
    """Without what the package does not use: stacks, sampling and a fallback."""
    left_out = {"shortened", "unguarded", "unsampled", "stacks", "stack_bytes"}
    assert {field.name for field in dataclasses.fields(vmarena.HeapStats)} == set(fields("heap_stats")) - left_out
