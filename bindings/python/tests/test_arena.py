# SPDX-License-Identifier: MIT
"""Arenas, heaps and memory: what they do, and whose life depends on whose."""

import ctypes
import dataclasses
import errno
import gc
import signal
import sys
import weakref

import pytest

import vmarena
from vmarena import Arena, Flag, GuardKind, Heap, Huge, Kind, Prot

PAGE = vmarena.page_size()
FENCES = [None, "end", "start"]


def code_of(function, *arguments, **keywords):
    with pytest.raises(vmarena.Error) as caught:
        function(*arguments, **keywords)
    assert caught.value.strerror
    return caught.value.errno


@pytest.mark.parametrize("fence", FENCES)
def test_alloc(fence):
    with Arena(1 << 20, fence=fence) as arena:
        memories = [arena.alloc(size, align) for size in (1, 10, PAGE) for align in (1, 16, 64)]
        assert [len(memory) for memory in memories] == [1] * 3 + [10] * 3 + [PAGE] * 3
        assert all(memory.address % 16 == 0 for memory in memories[1::3])
        for number, memory in enumerate(memories):
            memoryview(memory)[:] = bytes([number]) * len(memory)
        assert all(set(bytes(memory)) == {number} for number, memory in enumerate(memories))
        assert arena.owns(memories[0]) and arena.owns(memories[0].address) and not arena.owns(id(arena))
        arena.check()


def test_zeroed_after_use():
    with Arena(1 << 20) as arena:
        with arena.scope():
            vmarena.fill(arena.alloc(100), 255, 100)
        assert bytes(arena.alloc(100, zeroed=True)) == bytes(100)


def test_memory_is_a_buffer_without_a_copy():
    with Arena() as arena:
        memory = arena.alloc(8)
        with memoryview(memory) as view:
            assert (view.nbytes, view.format, view.readonly, memory.exports) == (8, "B", False, 1)
            view[:] = b"12345678"
            assert vmarena.read(memory, 8) == b"12345678"
        assert memory.exports == 0


def test_what_is_written_by_ctypes():
    with Arena() as arena:
        memory = arena.alloc(8)
        numbers = (ctypes.c_uint32 * 2).from_buffer(memory)
        assert ctypes.addressof(numbers) == memory.address and memory.exports == 1
        numbers[1] = 0x01010101
        assert bytes(memory)[4:] == b"\1\1\1\1"
        with pytest.raises(BufferError):
            arena.close()
        del numbers
        gc.collect()


@pytest.mark.parametrize("deed", ["rewind", "reset", "close", "protect", "protect_range", "resize"])
@pytest.mark.parametrize("fence", FENCES)
def test_nothing_is_taken_from_under_a_buffer(deed, fence):
    arena = Arena(64 * PAGE, fence=fence)
    mark = arena.mark()
    memory = arena.alloc(PAGE, PAGE)
    view = memoryview(memory)
    deeds = {
        "rewind": lambda: arena.rewind(mark),
        "reset": arena.reset,
        "close": arena.close,
        "protect": lambda: arena.protect(Prot.READ),
        "protect_range": lambda: arena.protect_range(memory, PAGE, Prot.NONE),
        "resize": lambda: arena.resize(memory, 2 * PAGE),
    }
    with pytest.raises(BufferError, match="1 buffers"):
        deeds[deed]()
    view[0] = 42
    assert view[0] == 42 and not memory.released and not arena.closed
    view.release()
    deeds[deed]()


def test_rewind_asks_only_what_it_takes():
    with Arena(1 << 20) as arena:
        view = memoryview(arena.alloc(10))
        mark = arena.mark()
        later = arena.alloc(10)
        arena.rewind(mark)
        assert later.released
        view[0] = 1
        view.release()


def test_released_memory():
    with Arena(1 << 20) as arena:
        with arena.scope():
            memory = arena.alloc(10)
        for use in (lambda: memory.address, lambda: len(memory), lambda: bytes(memory), lambda: vmarena.read(memory, 1),
                    lambda: vmarena.write(memory, b"x"), lambda: arena.owns(memory), memory.check,
                    lambda: arena.resize(memory, 5), lambda: arena.protect_range(memory, PAGE, Prot.READ)):
            with pytest.raises(ValueError, match="released"):
                use()
        assert repr(memory) == "<vmarena.Memory, released>"


def test_memory_keeps_its_arena():
    memory = Arena(name="kept").alloc(10)
    gc.collect()
    vmarena.write(memory, b"1234567890")
    assert bytes(memory) == b"1234567890"


def test_arena_does_not_keep_memory():
    """As many Memory objects as are alive are known to the arena, and no more: a million come and go."""
    with Arena(1 << 30) as arena:
        arena.alloc(1, 1)
        before = sys.getallocatedblocks()
        for _ in range(100_000):
            arena.alloc(1, 1)
        assert sys.getallocatedblocks() - before < 1000


def test_arena_goes_with_its_last_reference():
    arena = Arena(1 << 20)
    address = arena.alloc(10).address
    gone = weakref.ref(arena)
    vmarena.read(address, 1)
    del arena
    gc.collect()
    assert gone() is None
    with pytest.raises(vmarena.Fault) as caught:
        vmarena.read(address, 1)
    assert caught.value.kind == Kind.UNMAPPED


def test_marks_nest():
    with Arena(1 << 20) as arena:
        outer = arena.mark()
        first = arena.alloc(10)
        inner = arena.mark()
        second = arena.alloc(10)
        arena.rewind(inner)
        assert second.released and not first.released
        third = arena.alloc(10)
        arena.rewind(outer)
        assert first.released and third.released
        assert code_of(arena.rewind, inner) == errno.ESTALE


def test_a_mark_of_another_arena():
    with Arena(1 << 20) as one, Arena(1 << 20) as other:
        memory = one.alloc(10)
        assert code_of(one.rewind, other.mark()) == errno.EINVAL
        assert not memory.released
        for wrong in (None, b"x" * 32, 0, "mark", object()):
            with pytest.raises(TypeError):
                one.rewind(wrong)


def test_scope_with_an_error_shows_the_error():
    with Arena(1 << 20) as arena:
        with pytest.raises(KeyError):
            with arena.scope():
                view = memoryview(arena.alloc(10))
                raise KeyError
        view.release()
    with pytest.raises(KeyError):
        with Arena(1 << 20) as arena:
            view = memoryview(arena.alloc(10))
            raise KeyError
    view[0] = 1
    view.release()
    arena.close()


def test_resize():
    with Arena(1 << 20) as arena:
        mark = arena.mark()
        memory = arena.alloc(10, 1)
        vmarena.write(memory, b"0123456789")
        arena.alloc(1, 1)
        arena.resize(memory, 20)
        assert len(memory) == 20 and bytes(memory)[:10] == b"0123456789"
        arena.resize(memory, 5)
        assert bytes(memory) == b"01234"
        with Arena() as other, pytest.raises(ValueError, match="not of this arena"):
            other.resize(memory, 5)
        arena.rewind(mark)
        assert memory.released


@pytest.mark.parametrize("fence", FENCES)
def test_free(fence):
    with Arena(1 << 20, fence=fence) as arena, Arena() as other:
        first, last = arena.alloc(16), arena.alloc(16)
        address, used = last.address, arena.stats().used
        with memoryview(last), pytest.raises(BufferError, match="cannot free the memory: 1 buffers"):
            arena.free(last)
        with pytest.raises(ValueError, match="not of this arena"):
            other.free(last)
        arena.free(last)
        assert last.released and not first.released
        with pytest.raises(ValueError, match="released"):
            arena.free(last)
        if fence is None:
            assert arena.stats().used < used and arena.alloc(16).address == address
        else:
            with pytest.raises(vmarena.Fault) as caught:
                vmarena.read(address, 1)
            assert (caught.value.kind, caught.value.object) == (Kind.USE_AFTER_FREE, address)


def test_free_of_overwritten_memory():
    with Arena(1 << 20, fence="end") as arena:
        memory = arena.alloc(10, 1)
        vmarena.write(memory.address - 1, b"x")
        assert code_of(arena.free, memory) == errno.EILSEQ
        assert memory.released


def test_what_grew_after_a_mark_goes_with_it():
    with Arena(1 << 20) as arena:
        memory = arena.alloc(10)
        mark = arena.mark()
        arena.resize(memory, 100)
        arena.rewind(mark)
        assert memory.released


def test_slack_overwritten():
    with Arena(64 * PAGE, fence="end") as arena:
        mark = arena.mark()
        memory = arena.alloc(10, 1)
        vmarena.write(memory.address - 1, b"x")
        assert code_of(arena.check) == code_of(memory.check) == errno.EILSEQ
        assert code_of(arena.rewind, mark) == errno.EILSEQ
        assert memory.released
        arena.check()


@pytest.mark.parametrize("fence", FENCES)
def test_protection_decides_what_a_buffer_may(fence):
    with Arena(64 * PAGE, fence=fence) as arena:
        memory = arena.alloc(PAGE, PAGE)
        with arena.protected(Prot.READ):
            assert memoryview(memory).readonly
            with pytest.raises(TypeError, match="not writable"):
                (ctypes.c_char * PAGE).from_buffer(memory)
            with arena.protected(Prot.NONE), pytest.raises(BufferError, match="not readable"):
                memoryview(memory)
        assert not memoryview(memory).readonly


def test_protection_of_ranges():
    with Arena(64 * PAGE) as arena:
        pages = [arena.alloc(PAGE, PAGE) for _ in range(6)]

        def rights():
            found = []
            for page in pages:
                try:
                    with memoryview(page) as view:
                        found.append("r" if view.readonly else "w")
                except BufferError:
                    found.append("-")
            return "".join(found)

        assert rights() == "wwwwww"
        arena.protect_range(pages[1], 4 * PAGE, Prot.READ)
        assert rights() == "wrrrrw"
        arena.protect_range(pages[2], 2 * PAGE, Prot.NONE)
        assert rights() == "wr--rw"
        arena.protect_range(pages[3], PAGE, Prot.READ | Prot.WRITE)
        assert rights() == "wr-wrw"
        arena.protect_range(pages[0], 3 * PAGE, Prot.READ)
        assert rights() == "rrrwrw"
        arena.protect(Prot.NONE)
        assert rights() == "------"
        arena.protect_range(pages[5], PAGE, Prot.READ | Prot.WRITE)
        assert rights() == "-----w"
        arena.protect(Prot.READ | Prot.WRITE)
        assert rights() == "wwwwww"


def test_memory_in_a_range_protected_ahead():
    with Arena(64 * PAGE) as arena:
        first = arena.alloc(PAGE, PAGE)
        arena.protect_range(first.address + PAGE, PAGE, Prot.READ)
        second = arena.alloc(PAGE, PAGE)
        assert memoryview(second).readonly
        across = arena.alloc(1, 1)
        assert not memoryview(across).readonly
        assert code_of(arena.alloc, 10, zeroed=True) == errno.EACCES


@pytest.mark.parametrize("owner", [lambda **options: Arena(1 << 20, fence="end", **options), Heap], ids=["arena", "heap"])
def test_guards_by_userfault(owner):
    try:
        made = owner(guard_kind="userfault")
    except vmarena.Error as error:
        pytest.skip(f"no guards by userfaultfd here: {error.strerror}")
    with made:
        memory = made.alloc(10, 1)
        assert made.stats().guard_kind == GuardKind.USERFAULT
        for read in (lambda: vmarena.read(memory, 11), lambda: vmarena.call(ctypes.string_at, memory.address, 11)):
            with pytest.raises(vmarena.Fault) as caught:
                read()
            assert (caught.value.kind, caught.value.distance, caught.value.object_size) == (Kind.OVERRUN, 1, 10)
            assert caught.value.signal == signal.SIGBUS


@pytest.mark.parametrize("guard_kind", ["marker", "protect"])
def test_ranges_of_a_fenced_arena_go_with_their_objects(guard_kind):
    if guard_kind == "marker" and not vmarena.caps().guard_markers:
        pytest.skip("no guard markers here")
    with Arena(64 * PAGE, fence="end", guard_kind=guard_kind) as arena:
        for take_back in (lambda mark: arena.reset(), arena.rewind):
            mark = arena.mark()
            memory = arena.alloc(10, 1)
            page = memory.address // PAGE * PAGE
            assert not memoryview(memory).readonly
            arena.protect_range(page, PAGE, Prot.NONE)
            with pytest.raises(BufferError, match="not readable"):
                memoryview(memory)
            for look in (arena.check, memory.check):
                assert code_of(look) == errno.EACCES
            take_back(mark)
            assert memory.released


def test_open_on_fault():
    with Arena(64 * PAGE) as arena:
        memory = arena.alloc(64 * PAGE, PAGE)
        address = memory.address
        arena.protect(Prot.NONE)
        arena.open_on_fault()
        for page in range(0, 64, 2):
            vmarena.write(address + page * PAGE, b"x")
            vmarena.write(address + page * PAGE, b"y")
        assert arena.opened == 32
        with pytest.raises(vmarena.Fault):
            vmarena.read(address + 64 * PAGE, 1)
        arena.open_on_fault(False)
        with pytest.raises(vmarena.Fault):
            vmarena.read(address + PAGE, 1)
        assert arena.opened == 32


def test_discard_prefault_and_stats():
    with Arena(1 << 20, name="numbers", huge=Huge.NEVER) as arena:
        memory = arena.alloc(16 * PAGE, PAGE)
        vmarena.fill(memory, 1, 16 * PAGE)
        assert arena.stats().resident == 16 * PAGE
        arena.discard(memory, 8 * PAGE)
        assert bytes(memory) == bytes(8 * PAGE) + b"\1" * (8 * PAGE)
        stats, info = arena.stats(), arena.info()
        assert (info.resident, info.huge) == (0, 0)
        assert dataclasses.replace(info, resident=stats.resident, huge=stats.huge) == stats
        assert (stats.reserved, stats.used, stats.page_size, stats.prot) == (1 << 20, 16 * PAGE, PAGE, 3)
        assert (stats.huge_asked, stats.sealed, stats.flags) == (Huge.NEVER, False, Flag(0))
        assert isinstance(stats.guard_kind, GuardKind)
        if vmarena.caps().populate:
            before = arena.stats().resident
            arena.prefault(4 * PAGE)
            assert arena.stats().resident == before + 4 * PAGE


def test_seal():
    if not vmarena.caps().seal:
        pytest.skip("no mseal(2) here")
    arena = Arena(16 * PAGE)
    memory = arena.alloc(10)
    arena.seal()
    assert code_of(arena.protect, Prot.READ) == errno.EPERM
    vmarena.write(memory, b"x")
    arena.close()


def test_dont_fork_is_refused_in_the_child():
    arena = Arena(16 * PAGE, flags=Flag.DONT_FORK)
    memory = arena.alloc(10)
    for use in (lambda: bytes(memory), lambda: arena.alloc(1), lambda: len(memory), lambda: arena.protect(Prot.READ)):
        with pytest.raises(ValueError, match="DONT_FORK"):
            vmarena.call(use)
    arena.close()


def test_caps_and_sizes():
    assert vmarena.caps().page_size == PAGE
    assert vmarena.page_round_up(PAGE + 1) == 2 * PAGE


# ---- heaps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["end", "start", "alternate"])
def test_heap(side):
    with Heap(side=side, name="tokens") as heap:
        memories = [heap.alloc(size) for size in (0, 1, 16, 100, PAGE, 5 * PAGE)]
        for memory in memories:
            assert bytes(memory) == bytes(len(memory))
            memoryview(memory)[:] = b"x" * len(memory)
        assert heap.stats().live == 6 and heap.owns(memories[0])
        heap.check()
        for memory in memories:
            heap.free(memory)
        assert all(memory.released for memory in memories) and heap.stats().live == 0


def test_heap_overrun_and_use_after_free():
    with Heap(name="tokens") as heap:
        memory = heap.alloc(24, 1)
        address = memory.address
        with pytest.raises(vmarena.Fault) as caught:
            vmarena.read(memory, 25)
        assert (caught.value.kind, caught.value.distance, caught.value.owner_name) == (Kind.OVERRUN, 1, "tokens")
        heap.free(memory)
        with pytest.raises(vmarena.Fault) as caught:
            vmarena.read(address, 1)
        assert (caught.value.kind, caught.value.object, caught.value.object_size) == (Kind.USE_AFTER_FREE, address, 24)


def test_heap_object_goes_with_its_last_reference():
    with Heap() as heap:
        view = memoryview(heap.alloc(10))
        gc.collect()
        view[0] = 1
        assert heap.stats().live == 1
        view.release()
        del view
        gc.collect()
        assert heap.stats().live == 0


def test_heap_wrong_frees():
    with Heap() as heap, Heap() as other:
        memory = heap.alloc(10)
        with pytest.raises(ValueError, match="not of this heap"):
            other.free(memory)
        with memoryview(memory), pytest.raises(BufferError):
            heap.free(memory)
        with memoryview(memory), pytest.raises(BufferError):
            heap.resize(memory, 5)
        heap.free(memory)
        with pytest.raises(ValueError, match="released"):
            heap.free(memory)
        for wrong in (None, 1, memory.__class__, b"x"):
            with pytest.raises(TypeError):
                heap.free(wrong)


def test_heap_slack():
    with Heap(align=16) as heap:
        memory = heap.alloc(10)
        vmarena.write(memory.address + 10, b"x")
        for look in (memory.check, lambda: heap.free(memory)):
            assert code_of(look) == errno.EILSEQ
            if not memory.released:
                vmarena.write(memory.address + 10, b"x")
        assert memory.released and heap.stats().errors == 2


def test_heap_slack_of_a_forgotten_object_is_told(recwarn):
    told = []
    before, sys.unraisablehook = sys.unraisablehook, lambda args: told.append((args.exc_type, str(args.exc_value)))
    try:
        with Heap(align=16) as heap:
            memory = heap.alloc(10)
            vmarena.write(memory.address + 10, b"x")
            del memory
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert len(told) == 1 and told[0][0] is vmarena.Error and "+1" in told[0][1]


def test_heap_resize():
    with Heap() as heap:
        memory = heap.alloc(10)
        vmarena.write(memory, b"0123456789")
        heap.resize(memory, 100_000)
        assert bytes(memory) == b"0123456789" + bytes(99_990)
        heap.resize(memory, 0)
        assert len(memory) == 0


def test_heap_close():
    heap = Heap()
    memory = heap.alloc(10)
    with memoryview(memory), pytest.raises(BufferError):
        heap.close()
    heap.close()
    assert memory.released and heap.closed


# ---- found by leaving out a check ------------------------------------------------------------------------------------


def test_memory_half_in_an_open_range():
    with Arena(64 * PAGE) as arena:
        memory = arena.alloc(2 * PAGE, PAGE)
        arena.protect(Prot.NONE)
        for page in (0, PAGE):
            arena.protect_range(memory.address + page, PAGE, Prot.READ | Prot.WRITE)
            if page == 0:
                with pytest.raises(BufferError, match="not readable"):
                    memoryview(memory)
        assert not memoryview(memory).readonly
        arena.protect_range(memory, PAGE, Prot.NONE)
        with pytest.raises(BufferError, match="not readable"):
            memoryview(memory)


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("prot", [Prot.NONE, Prot.READ])
def test_resize_needs_to_copy(fence, prot):
    with Arena(64 * PAGE, fence=fence) as arena:
        memory = arena.alloc(PAGE, PAGE)
        arena.alloc(1, 1)
        arena.protect_range(memory, PAGE, prot)
        assert code_of(arena.resize, memory, 2 * PAGE) == errno.EACCES
        assert len(memory) == PAGE
        arena.protect(prot)
        assert code_of(arena.resize, memory, 2 * PAGE) == errno.EACCES


def test_zeroed_needs_to_write():
    with Arena(64 * PAGE) as arena:
        with arena.scope():
            arena.alloc(10)
        arena.protect(Prot.READ)
        assert code_of(arena.alloc, 10, zeroed=True) == errno.EACCES
        assert len(arena.alloc(10)) == 10
    for fence in ("end", "start"):
        with Arena(64 * PAGE, fence=fence) as arena, arena.protected(Prot.READ):
            assert code_of(arena.alloc, 10) == errno.EACCES


def test_nothing_leaks(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * PAGE)

    def use_everything():
        with Arena(64 * PAGE, fence="end") as arena, Heap() as heap, vmarena.View(tmp_path / "file") as view:
            memory, other = arena.alloc(PAGE, 1), heap.alloc(10)
            memoryview(memory)[0] = 1
            for wrong in (lambda: vmarena.read(memory, PAGE + 1), lambda: arena.alloc(0), lambda: arena.alloc(-1),
                          lambda: arena.rewind(None), lambda: arena.owns("x"), lambda: arena.protect(99),
                          lambda: heap.alloc(1, 3), lambda: vmarena.write(memory, "x"), lambda: heap.free(memory),
                          lambda: vmarena.View("/nonexistent"), lambda: view.move(1 << 40), vmarena.Memory):
                with pytest.raises((vmarena.Error, vmarena.Fault, ValueError, TypeError)):
                    wrong()
            mark = arena.mark()
            arena.resize(memory, 2 * PAGE)
            arena.protect_range(memory, PAGE, Prot.READ)
            arena.rewind(mark)
            heap.resize(other, 100)
            heap.free(other)
            (arena.stats(), heap.stats(), view.info(), vmarena.caps(), vmarena.maps(), vmarena.totals())
            vmarena.residency(view.data, PAGE)

    def blocks_after(rounds):
        for _ in range(rounds):
            use_everything()
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks_after(20)
    assert blocks_after(100) - before < 100  # one for each round would be a leak
