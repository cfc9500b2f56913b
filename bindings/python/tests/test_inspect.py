# SPDX-License-Identifier: MIT
"""What the system knows of memory."""

import errno
import os

import pytest

import vmarena
from vmarena import Arena, Counters, Heap, Owner, PageState, Prot, View

PAGE = vmarena.page_size()


def test_maps():
    with Arena(16 * PAGE, name="walls") as arena:
        address = arena.alloc(PAGE, PAGE).address
        arena.protect_range(address, PAGE, Prot.READ)
        found = vmarena.maps()
        assert found == sorted(found, key=lambda mapping: mapping.start)
        (mine,) = [mapping for mapping in found if mapping.start <= address < mapping.end]
        assert (mine.start, mine.end, mine.prot, mine.shared) == (address, address + PAGE, Prot.READ, False)
        assert (mine.owner, mine.owner_name) == (Owner.ARENA, "walls")
        assert mine.owner_start == address - PAGE and mine.owner_end == address + 17 * PAGE
        assert vmarena.mapping_at(address) == mine
    with pytest.raises(vmarena.Error) as caught:
        vmarena.mapping_at(address)
    assert caught.value.errno == errno.ENOENT


def test_owners(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with Heap(name="tokens") as heap, View(tmp_path / "file") as view:
        for memory in (heap.alloc(10), heap.alloc(100 << 20)):
            mapping = vmarena.mapping_at(memory)
            assert (mapping.owner, mapping.owner_name) == (Owner.HEAP, "tokens")
        mapping = vmarena.mapping_at(view.data)
        assert (mapping.owner, mapping.name, mapping.prot) == (Owner.VIEW, str(tmp_path / "file"), Prot.READ)
    assert vmarena.mapping_at(id(errno)).owner == Owner.NONE


def test_another_process():
    assert [mapping.owner for mapping in vmarena.maps(os.getpid())] != []
    assert vmarena.totals(os.getpid()).rss > 0
    for use in (vmarena.maps, vmarena.totals, vmarena.fault_counts):
        with pytest.raises(vmarena.Error) as caught:
            use((1 << 22) + 12345)
        assert caught.value.errno == errno.ESRCH


def test_residency():
    with Arena(16 * PAGE, huge="never") as arena:
        memory = arena.alloc(16 * PAGE, PAGE)
        runs, known = vmarena.residency(memory, 16 * PAGE, PageState.RESIDENT)
        assert runs == [] and known == PageState.RESIDENT
        vmarena.fill(memory.address + 2 * PAGE, 1, 3 * PAGE)
        runs, known = vmarena.residency(memory, 16 * PAGE, PageState.RESIDENT)
        assert runs == [(memory.address + 2 * PAGE, memory.address + 5 * PAGE, PageState.RESIDENT)]


def test_faults_are_counted():
    with Arena(64 * PAGE, huge="never") as arena:
        memory = arena.alloc(64 * PAGE, PAGE)
        before, before_here = vmarena.fault_counts(), vmarena.thread_fault_counts()
        vmarena.fill(memory, 1, 64 * PAGE)
        after, after_here = vmarena.fault_counts(), vmarena.thread_fault_counts()
    assert after.minor - before.minor >= 64 and after_here.minor - before_here.minor >= 64
    assert vmarena.fault_counts(os.getpid()).minor >= after.minor


def test_counters():
    if not vmarena.caps().perf_counters:
        with pytest.raises(vmarena.Error):
            Counters()
        pytest.skip("no perf counters allowed here")
    with Arena(64 * PAGE, huge="never") as arena, Counters() as counters:
        memory = arena.alloc(64 * PAGE, PAGE)
        before = counters.read()
        vmarena.fill(memory, 1, 64 * PAGE)
        after = counters.read()
        assert set(after) >= {"page faults", "minor faults", "major faults"}
        assert after["page faults"] - before["page faults"] >= 64
    for use in (counters.read, counters.__enter__):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_wrong_arguments():
    for use in (lambda: vmarena.maps("1"), lambda: vmarena.residency(b"", 1), lambda: vmarena.mapping_at(None),
                lambda: vmarena.residency(0, 1.5)):
        with pytest.raises(TypeError):
            use()
    with pytest.raises(ValueError):
        vmarena.residency(0, -1)
    with pytest.raises(OverflowError):
        vmarena.maps(1 << 40)
    with pytest.raises(vmarena.Error):
        vmarena.maps(-5)
    with pytest.raises(vmarena.Error):
        vmarena.residency((1 << 64) - PAGE, 1 << 62)
