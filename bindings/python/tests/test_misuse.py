# SPDX-License-Identifier: MIT
"""Wrong use is a Python error, and the interpreter lives on."""

import copy
import pickle
import random

import pytest

import vmarena
from vmarena import Arena, Flag, Heap, Prot, View
from vmarena import _vmarena as low

PAGE = vmarena.page_size()
HUGE = [1 << 63, (1 << 64) - 1, 1 << 64, 1 << 100]


@pytest.fixture
def arena():
    with Arena(64 * PAGE) as arena:
        yield arena


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 1000)
    return path


# ---- closed ----------------------------------------------------------------------------------------------------------


def test_use_of_a_closed_arena():
    arena = Arena(64 * PAGE)
    mark, memory = arena.mark(), arena.alloc(PAGE, PAGE)
    address = memory.address
    arena.close()
    for use in (
        lambda: arena.alloc(1), lambda: arena.array(1), lambda: arena.resize(memory, 1), arena.mark,
        lambda: arena.rewind(mark), lambda: arena.scope().__enter__(), arena.reset, arena.check,
        lambda: arena.protect(Prot.READ), lambda: arena.protected(Prot.READ).__enter__(),
        lambda: arena.protect_range(address, PAGE, Prot.READ), lambda: arena.discard(address, PAGE),
        lambda: arena.prefault(1), arena.seal, lambda: arena.owns(address), arena.stats, arena.open_on_fault,
        arena.__enter__,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert arena.closed and memory.released
    with pytest.raises(ValueError, match="released"):
        memoryview(memory)


def test_use_of_a_closed_heap():
    heap = Heap()
    memory = heap.alloc(10)
    address = memory.address
    heap.close()
    for use in (lambda: heap.alloc(1), heap.check, heap.stats, lambda: heap.owns(address), heap.__enter__):
        with pytest.raises(ValueError, match="closed"):
            use()
    for use in (lambda: heap.free(memory), lambda: heap.resize(memory, 1), lambda: bytes(memory), memory.check):
        with pytest.raises(ValueError, match="closed|released"):
            use()


def test_use_of_a_closed_view(file):
    view = View(file)
    data = view.data
    view.close()
    for use in (view.read, lambda: view.write(0, b"x"), lambda: len(view), lambda: view.data, lambda: view.offset,
                lambda: view.move(0), view.sync, lambda: view.advise("normal"), view.populate, view.lock, view.unlock,
                view.info, view.__enter__):
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises(ValueError, match="released"):
        bytes(data)


def owners(file):
    counters = [vmarena.Counters()] if vmarena.caps().perf_counters else []
    return [Arena(PAGE), Heap(), View(file), Arena(PAGE).snapshot(), *counters]


def test_closing_again_does_nothing(file):
    for owner in owners(file):
        owner.close()
        owner.close()
        assert owner.closed


def test_closing_again_does_not_close_a_successor():
    """The second close() finds a handle without an arena, whatever lies at its address now."""
    first = Arena(PAGE)
    first.close()
    second = Arena(PAGE)
    memory = second.alloc(4)
    first.close()
    vmarena.write(memory, b"1234")
    assert bytes(memory) == b"1234" and not second.closed


def test_closing_in_the_block_is_fine(file):
    for owner in owners(file):
        with owner:
            owner.close()


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_what_owns_memory_is_not_copied(duplicate, file):
    for owner in owners(file):
        with pytest.raises(TypeError, match=f"a vmarena.{type(owner).__name__} cannot be copied or pickled"):
            duplicate(owner)
        assert not owner.closed


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_memory_and_marks_are_not_copied(arena, duplicate):
    for thing in (arena.alloc(10), arena.mark(), arena._handle):
        with pytest.raises(TypeError, match="cannot pickle"):
            duplicate(thing)


# ---- sizes, alignments, addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [-1, -(1 << 70)])
def test_negative(arena, size):
    with Heap() as heap:
        for use in (
            lambda: Arena(size), lambda: Arena(guard=size), lambda: Arena(commit=size), lambda: Heap(size),
            lambda: arena.alloc(size), lambda: arena.alloc(1, size), lambda: arena.reset(size),
            lambda: arena.prefault(size), lambda: arena.resize(arena.alloc(1), size), lambda: arena.array(size),
            lambda: arena.array((2, size)), lambda: heap.alloc(size), lambda: heap.alloc(1, size),
            lambda: vmarena.read(0, size), lambda: vmarena.fill(0, 0, size), lambda: vmarena.copy(0, 0, size),
            lambda: vmarena.compare(0, 0, size), lambda: vmarena.page_round_up(size), lambda: vmarena.fill(0, size, 1),
            lambda: vmarena.fenced(b"x", align=size), lambda: vmarena.fenced_array(size),
        ):
            with pytest.raises(ValueError, match="negative"):
                use()
    with pytest.raises(OverflowError):
        vmarena.read(size, 1)


@pytest.mark.parametrize("size", HUGE)
def test_too_large_for_any_system(arena, size):
    with Heap() as heap:
        for use in (
            lambda: Arena(size), lambda: Arena(guard=size), lambda: arena.alloc(size), lambda: arena.alloc(1, size),
            lambda: arena.reset(size), lambda: arena.prefault(size), lambda: arena.resize(arena.alloc(1), size),
            lambda: heap.alloc(size), lambda: heap.alloc(1, size), lambda: vmarena.read(0, size),
            lambda: vmarena.fill(0, 0, size), lambda: vmarena.fenced(b"x", align=size),
        ):
            with pytest.raises(OverflowError, match="exceeds the address space"):
                use()


def test_too_large_for_this_one(arena):
    for size in ((1 << 63) - 1, 1 << 62, 1 << 50):
        for use in (lambda: Arena(size), lambda: Arena(PAGE, guard=size), lambda: Arena(size, fence="end"),
                    lambda: arena.alloc(size), lambda: arena.prefault(size), lambda: arena.resize(arena.alloc(1), size),
                    lambda: Heap(size)):
            with pytest.raises(vmarena.Error):
                use()
        with Heap() as heap, pytest.raises(vmarena.Error):
            heap.alloc(size)
        with pytest.raises((MemoryError, OverflowError)):
            vmarena.read(0, size)
        with pytest.raises(vmarena.Fault):
            vmarena.fill(0, 0, size)


@pytest.mark.parametrize("fence", [None, "end", "start"])
@pytest.mark.parametrize("align", [0, 3, 5, 6, 7, 12, 100, PAGE - 1, 1 << 40, (1 << 62) + 1, 1 << 62])
def test_bad_alignment(fence, align):
    with Arena(64 * PAGE, fence=fence) as arena, pytest.raises(vmarena.Error) as caught:
        arena.alloc(1, align)
    assert caught.value.errno == 22 and "alignment" in str(caught.value)


def test_size_0(arena):
    with pytest.raises(vmarena.Error, match="0 bytes"):
        arena.alloc(0)
    with pytest.raises(vmarena.Error, match="0 bytes"):
        arena.resize(arena.alloc(1), 0)


def test_a_full_arena():
    for fence in (None, "end", "start"):
        with Arena(8 * PAGE, fence=fence) as arena:
            with pytest.raises(vmarena.Error, match="the arena is full") as caught:
                for _ in range(10):
                    arena.alloc(PAGE, PAGE)
            assert caught.value.errno == 28


def test_ranges(arena):
    memory = arena.alloc(4 * PAGE, PAGE)
    start = memory.address
    for where, length in ((start + 1, PAGE), (start, PAGE - 1), (start, 0), (start, 65 * PAGE), (start - PAGE, PAGE),
                          (start + 64 * PAGE, PAGE), (0, PAGE), (start, (1 << 62))):
        for use in (lambda: arena.protect_range(where, length, Prot.NONE), lambda: arena.discard(where, length)):
            with pytest.raises(vmarena.Error) as caught:
                use()
            assert caught.value.errno == 22
    with pytest.raises(OverflowError):
        arena.protect_range(-1, PAGE, Prot.NONE)
    assert bytes(memory) == bytes(4 * PAGE)


# ---- types and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1.5, "1", b"1", [], object(), 1j])
def test_wrong_types_of_numbers(arena, wrong):
    with Heap() as heap:
        for use in (
            lambda: Arena(wrong), lambda: Arena(flags=wrong), lambda: arena.alloc(wrong), lambda: arena.alloc(1, wrong),
            lambda: arena.reset(wrong), lambda: arena.protect(wrong), lambda: arena.protect_range(wrong, PAGE, 0),
            lambda: arena.protect_range(0, wrong, 0), lambda: arena.owns(wrong), lambda: heap.alloc(wrong),
            lambda: arena.resize(wrong, 1), lambda: arena.rewind(wrong), lambda: vmarena.read(wrong, 1),
            lambda: vmarena.read(0, wrong), lambda: vmarena.write(wrong, b""), lambda: vmarena.fill(0, wrong, 1),
            lambda: vmarena.copy(wrong, 0, 1), lambda: vmarena.compare(0, wrong, 1),
        ):
            with pytest.raises(TypeError):
                use()


@pytest.mark.parametrize("wrong", [1, 1.5, "text", None, [], object()])
def test_what_is_no_buffer(wrong):
    for use in (lambda: vmarena.fenced(wrong), lambda: vmarena.write(0, wrong)):
        with pytest.raises(TypeError):
            use()


def test_what_is_no_contiguous_buffer():
    every_second = memoryview(b"abcdef")[::2]
    for use in (lambda: vmarena.fenced(every_second), lambda: vmarena.write(0, every_second)):
        with pytest.raises(BufferError):
            use()


@pytest.mark.parametrize("wrong", ["ende", "", 1, 1.5, object(), "END"])
def test_what_is_no_member(wrong):
    for name in ("fence", "huge", "guard_kind", "commit_policy"):
        with pytest.raises(ValueError):
            Arena(PAGE, **{name: wrong})
    for name in ("side", "guard_kind", "reuse"):
        with pytest.raises(ValueError):
            Heap(**{name: wrong})
    with pytest.raises(ValueError):
        vmarena.fenced(b"x", wrong)


def test_fenced_needs_a_side():
    with pytest.raises(ValueError):
        vmarena.fenced(b"x", None)


def test_flags_and_protections(arena):
    for flags in (1 << 20, Flag.DONT_FORK | Flag.WIPE_ON_FORK):
        with pytest.raises(vmarena.Error) as caught:
            Arena(PAGE, flags=flags)
        assert caught.value.errno == 22
    for flags in (-1, 1 << 40):
        with pytest.raises(OverflowError):
            Arena(PAGE, flags=flags)
    with pytest.raises(vmarena.Error) as caught:
        arena.protect(8)
    assert caught.value.errno == 22
    with pytest.raises(vmarena.Error) as caught:
        arena.protect(Prot.READ | Prot.EXEC)
    assert caught.value.errno == 13


@pytest.mark.parametrize("name", ["", "a", "n" * 31, "n" * 1000, "\N{SNOWMAN}" * 20, "a\tb\n"])
def test_names(name):
    with Arena(PAGE, name=name) as arena:
        arena.protect(Prot.NONE)
        address = arena.alloc(1).address
        with pytest.raises(vmarena.Fault) as caught:
            vmarena.read(address, 1)
        assert caught.value.owner_name.rstrip("\N{REPLACEMENT CHARACTER}") == name.encode()[:31].decode(errors="ignore")


def test_wrong_names():
    for make in (Arena, Heap):
        with pytest.raises(ValueError, match="NUL"):
            make(PAGE, name="a\0b")
        for wrong in (1, b"name", object()):
            with pytest.raises(TypeError):
                make(PAGE, name=wrong)
        with pytest.raises(UnicodeEncodeError):
            make(PAGE, name="\udc80")


def test_types_cannot_be_made_or_extended():
    for kind in (vmarena.Memory, low.Handle):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Mine", (kind,), {})


def test_memory_has_no_settable_attributes(arena):
    memory = arena.alloc(1)
    for name in ("address", "exports", "released", "other"):
        with pytest.raises(AttributeError):
            setattr(memory, name, 1)


def test_the_low_level_wants_its_own_handles(arena):
    with Heap() as heap:
        for wrong in (None, 0, 1, object(), heap._handle, heap):
            for use in (lambda: low.alloc(wrong, 1, 1, False), lambda: low.mark(wrong), lambda: low.protect(wrong, 0),
                        lambda: low.view_info(wrong), lambda: low.view_data(wrong), lambda: low.check(wrong)):
                with pytest.raises(TypeError):
                    use()
        for wrong in (None, 0, 1, object(), arena):
            with pytest.raises(TypeError):
                low.close(wrong)
    with pytest.raises(ValueError):
        low.decode_fault(b"short")


def test_reinitialising_leaks_but_does_not_crash():
    arena = Arena(64 * PAGE)
    memory = arena.alloc(10)
    arena.__init__(64 * PAGE)
    assert bytes(memory) == bytes(10)
    arena.close()
    assert bytes(memory) == bytes(10)


# ---- anything, in any order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fence", [None, "end", "start"])
@pytest.mark.parametrize("guard_kind", ["auto", "protect"])
@pytest.mark.parametrize("seed", range(8))
def test_no_order_of_calls_crashes(fence, guard_kind, seed):
    """Random calls, in a child. What a buffer was given stays accessible as long as it is out."""

    def play():
        chance = random.Random(seed)
        arena = Arena(64 * PAGE, fence=fence, guard_kind=guard_kind)
        memories, marks, views = [], [arena.mark()], []
        refused = 0

        def some():
            return chance.choice(memories)

        def pages():
            start = some().address // PAGE * PAGE + chance.choice([0, 0, PAGE, -PAGE])
            return start, chance.choice([1, 1, 2, 5]) * PAGE

        def prot():
            return chance.choice([Prot.NONE, Prot.READ, Prot.WRITE, Prot.READ | Prot.WRITE, Prot.READ | Prot.WRITE])

        deeds = [
            lambda: memories.append(arena.alloc(chance.choice([1, 10, PAGE, 3 * PAGE]), chance.choice([1, 16, PAGE]))),
            lambda: memories.append(arena.alloc(chance.choice([1, PAGE]), zeroed=True)),
            lambda: marks.append(arena.mark()),
            lambda: arena.rewind(chance.choice(marks)),
            lambda: arena.reset(chance.choice([0, PAGE])),
            lambda: arena.check(),
            lambda: some().check(),
            lambda: arena.resize(some(), chance.choice([1, 20, PAGE, 2 * PAGE])),
            lambda: arena.protect(prot()),
            lambda: arena.protect(Prot.READ | Prot.WRITE),
            lambda: arena.protect_range(*pages(), prot()),
            lambda: arena.discard(*pages()),
            lambda: arena.prefault(chance.choice([1, PAGE])),
            lambda: arena.open_on_fault(chance.random() < 0.5),
            lambda: views.append(memoryview(some())),
            lambda: views.append(memoryview(some())),
            lambda: views and views.pop(chance.randrange(len(views))).release(),
            lambda: views and views.pop(chance.randrange(len(views))).release(),
            lambda: vmarena.read(some(), chance.choice([1, PAGE])),
            lambda: vmarena.fill(some(), 1, 1),
            lambda: memories.pop(chance.randrange(len(memories))),
        ]
        for _ in range(4000):
            try:
                chance.choice(deeds)()
            except (vmarena.Error, vmarena.Fault, ValueError, BufferError, IndexError):
                refused += 1
            for view in views:
                if view.readonly:
                    view.tobytes()
                else:
                    view[:] = bytes(len(view))
        return refused

    assert 0 < vmarena.call(play, timeout=100) < 4000
