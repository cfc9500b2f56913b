# SPDX-License-Identifier: MIT
"""Arenas brought back to a point."""

import errno
import os

import pytest

import vmarena
from vmarena import Arena, Flag, Prot, Tracking

PAGE = vmarena.page_size()


def available(arena, tracking):
    try:
        return arena.snapshot(tracking)
    except vmarena.Error as error:
        assert error.errno == errno.EOPNOTSUPP and tracking != "auto"
        pytest.skip(str(error.strerror))


@pytest.mark.parametrize("flags", [Flag(0), Flag.MEMFD], ids=["", "memfd"])
@pytest.mark.parametrize("tracking", list(Tracking), ids=str)
def test_back_to_a_point(tracking, flags):
    with Arena(1 << 20, flags=flags) as arena:
        memory = arena.alloc(10 * PAGE, PAGE)
        vmarena.write(memory, bytes(range(256)) * (10 * PAGE // 256))
        view = memoryview(memory)
        used = arena.stats().used
        with available(arena, tracking) as point:
            for number in range(1, 4):
                view[5 * PAGE + 7] = 0
                later = arena.alloc(100)
                assert any(memory.address + 5 * PAGE in pages for pages in point.dirty_pages())
                point.restore()
                assert bytes(view) == bytes(range(256)) * (10 * PAGE // 256)
                assert later.released and not memory.released and arena.stats().used == used
                assert point.info().restores == number
            assert point.info().tracking == tracking or tracking == "auto"
        view.release()


def test_a_memory_file_makes_it_cheap():
    with Arena(1 << 20, flags=Flag.MEMFD) as arena, arena.snapshot() as point:
        assert point.info() == (Tracking.FILE, 0, 0, 0, 0)


def test_buffers_of_what_would_be_taken_back():
    with Arena(1 << 20) as arena:
        older = arena.alloc(10)
        point = arena.snapshot()
        newer = arena.alloc(10)
        with memoryview(older), memoryview(newer) as view:
            with pytest.raises(BufferError, match="cannot restore the arena: 1 buffers of its memory are out"):
                point.restore()
            view[0] = 1
        assert not newer.released
        with memoryview(older):
            point.restore()
        assert newer.released and not older.released


def test_memory_that_was_resized_since_goes():
    with Arena(1 << 20) as arena:
        memory = arena.alloc(10)
        point = arena.snapshot()
        arena.resize(memory, 5000)
        with memoryview(memory), pytest.raises(BufferError):
            point.restore()
        point.restore()
        assert memory.released


def test_a_clone():
    with Arena(1 << 20, flags=Flag.MEMFD) as arena:
        first, second = arena.alloc(100), arena.alloc(3 * PAGE)
        vmarena.write(first, b"first" * 20)
        vmarena.fill(second, 7, 3 * PAGE)
        with arena.snapshot() as point:
            later = arena.alloc(10)
            vmarena.fill(first, 0, 100)
            clone, (one, two) = point.clone(first, second)
            assert bytes(one) == b"first" * 20 and bytes(two) == b"\7" * 3 * PAGE
            assert clone.owns(one) and not clone.owns(first)
            vmarena.fill(two, 8, 3 * PAGE)
            assert bytes(second) == b"\7" * 3 * PAGE
            with pytest.raises(ValueError, match="was not in the arena when the snapshot was taken"):
                point.clone(later)
            with pytest.raises(ValueError, match="not of the snapshot's arena"):
                point.clone(one)
            with pytest.raises(TypeError):
                point.clone(b"bytes")
        arena.close()
        assert bytes(one) == b"first" * 20
        with memoryview(one), pytest.raises(BufferError):
            clone.close()
        clone.alloc(10)
        clone.close()


def test_misuse():
    arena = Arena(1 << 20)
    point = arena.snapshot("compare")
    with pytest.raises(ValueError, match="is not a valid Tracking"):
        arena.snapshot("protect")
    arena.protect(Prot.READ)
    with pytest.raises(vmarena.Error) as error:
        arena.alloc(1)
        point.restore()
    assert error.value.errno == errno.EACCES
    arena.protect(Prot.READ | Prot.WRITE)
    arena.close()
    for use in (point.restore, point.dirty_pages, lambda: arena.snapshot()):
        with pytest.raises(ValueError, match="the arena is closed"):
            use()
    clone, _ = point.clone()
    clone.close()
    point.close()
    for use in (point.restore, point.dirty_pages, point.info, point.clone, point.__enter__):
        with pytest.raises(ValueError, match="closed"):
            use()
    with Arena(1 << 20, fence="end") as fenced, pytest.raises(vmarena.Error) as error:
        fenced.snapshot()
    assert error.value.errno == errno.EOPNOTSUPP


def test_a_child_has_an_arena_of_its_own():
    with Arena(1 << 20, flags=Flag.MEMFD) as arena:
        memory = arena.alloc(PAGE)
        point = arena.snapshot()
        vmarena.fill(memory, 1, PAGE)
        child = os.fork()
        if child == 0:
            point.restore()
            os._exit(0 if bytes(memory) == bytes(PAGE) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bytes(memory) == b"\1" * PAGE
