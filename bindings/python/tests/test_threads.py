# SPDX-License-Identifier: MIT
"""What may take long lets other threads run, and the calls on one arena come one after the other.

A preloaded library (hold.c) stops a call of the library at its first system call, and only a second Python thread lets it
go on: were the GIL held, the call would never end. Operations that make no system call work on memory that is paged in
on demand, whose handler makes one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOLD = """
import ctypes, os, sys, threading, vmarena
from vmarena import Arena, Flag, Heap, Prot, View
PAGE = vmarena.page_size()
holder = ctypes.CDLL(None)

class Held:
    '''The block runs in a second thread, while the call in the first is held.'''
    def __init__(self, call):
        self.entered, self.go_on = os.pipe(), os.pipe()
        self.result, self.error = None, None
        def run():
            holder.hold_next(self.entered[1], self.go_on[0])
            try: self.result = call()
            except BaseException as error: self.error = error
            if holder.hold_none(): self.error = AssertionError("the call made no system call that is held")
            os.write(self.entered[1], b"x")
        self.thread = threading.Thread(target=run)
    def __enter__(self):
        self.thread.start()
        os.read(self.entered[0], 1)
        return self
    def __exit__(self, *ignored):
        os.write(self.go_on[1], b"x")
        self.thread.join()
        if self.error: raise self.error
"""

# Each makes what it needs and gives the call that may take long.
CALLS = {
    "fill": "memory = on_demand(); call = lambda: vmarena.fill(memory, 1, BIG)",
    "copy from": "memory = on_demand(); to = Arena(BIG).alloc(BIG); call = lambda: vmarena.copy(to, memory, BIG)",
    "copy to": "memory = on_demand(); other = bytes(BIG); call = lambda: vmarena.write(memory, other)",
    "read": "memory = on_demand(); call = lambda: vmarena.read(memory, BIG)",
    "compare": "memory = on_demand(); other = Arena(BIG).alloc(BIG); call = lambda: vmarena.compare(memory, other, BIG)",
    "slice": "memory = on_demand(); call = lambda: memory[:]",
    "assign": "memory = on_demand(); other = bytes(BIG); call = lambda: memory.__setitem__(slice(None), other)",
    "equal": "memory = on_demand(); other = bytes(BIG); call = lambda: memory == other",
    "an address": "memory = on_demand(); address = memory.address; call = lambda: vmarena.fill(address, 1, BIG)",
    "create": "call = lambda: Arena(BIG)",
    "zeroed": "arena = Arena(BIG, commit_policy='protect'); call = lambda: arena.alloc(BIG, zeroed=True)",
    "resize": "arena = Arena(4 * BIG, commit_policy='protect'); memory = arena.alloc(BIG)\n"
              "arena.alloc(1); call = lambda: arena.resize(memory, 2 * BIG)",
    "reset": "arena = used(); call = arena.reset",
    "rewind": "arena = Arena(BIG, fence='end'); mark = arena.mark(); arena.alloc(PAGE); call = lambda: arena.rewind(mark)",
    "discard": "arena = used(); start = arena.alloc(PAGE, PAGE).address; call = lambda: arena.discard(start, PAGE)",
    "prefault": "arena = Arena(BIG); call = lambda: arena.prefault(BIG)",
    "protect": "arena = used(); call = lambda: arena.protect(Prot.READ)",
    "protect range": "arena = used(); start = arena.alloc(PAGE, PAGE).address\n"
                     "call = lambda: arena.protect_range(start, PAGE, Prot.READ)",
    "stats": "arena = used(); call = arena.stats",
    "snapshot": "arena = used(); call = arena.snapshot",
    "snapshot, memory file": "arena = used(Flag.MEMFD); call = arena.snapshot",
    "restore, memory file": "arena = used(Flag.MEMFD); point = arena.snapshot(); call = point.restore",
    "clone": "arena = used(); point = arena.snapshot(); call = point.clone",
    "dirty pages, memory file": "arena = used(Flag.MEMFD); point = arena.snapshot(); call = point.dirty_pages",
    "free a snapshot": "arena = used(); point = arena.snapshot('compare'); call = point.close",
    "close": "arena = used(); call = arena.close",
    "last reference": "arenas = [used()]; call = arenas.clear",
    "last reference to a buffer": "views = [memoryview(Arena(BIG).alloc(BIG))]; call = lambda: views.pop().release()",
    "heap": "call = Heap",
    "heap free": "heap = Heap(); memory = heap.alloc(BIG); call = lambda: heap.free(memory)",
    "heap resize": "heap = Heap(); memory = heap.alloc(BIG); call = lambda: heap.resize(memory, 2 * BIG)",
    "heap close": "heap = Heap(); call = heap.close",
    "view": "call = lambda: View(path)",
    "sync": "view = View(path, 'shared'); call = view.sync",
    "populate": "view = View(path); call = view.populate",
    "advise": "view = View(path); call = lambda: view.advise('will need')",
    "move": "view = View(path); call = lambda: view.move(PAGE)",
    "maps": "call = vmarena.maps",
    "totals": "call = vmarena.totals",
    "residency": "arena = used(); start = arena.alloc(PAGE).address; call = lambda: vmarena.residency(start, PAGE)",
}

MAKERS = """
BIG = 16 * PAGE
path = sys.argv[1]
with open(path, "wb") as file: file.write(bytes(BIG))
vmarena.read(vmarena.fenced(b"x"), 1)  # what is done once, at the first use, is done

def on_demand():
    arena = Arena(BIG)
    memory = arena.alloc(BIG, PAGE)
    arena.protect(Prot.NONE)
    arena.open_on_fault()
    return memory

def used(flags=0):
    arena = Arena(BIG, flags=flags)
    vmarena.fill(arena.alloc(PAGE), 1, PAGE)
    return arena
"""


@pytest.fixture(scope="module")
def holder(tmp_path_factory):
    library = tmp_path_factory.mktemp("hold") / "libhold.so"
    source = Path(__file__).with_name("hold.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def held(holder, tmp_path):
    """Runs a program that can hold calls. One that waits for ever is ended."""

    def run(program):
        command = [sys.executable, "-c", HOLD + MAKERS + program, tmp_path / "file"]
        environment = {**os.environ, "LD_PRELOAD": str(holder)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("name", CALLS)
def test_another_thread_runs_during(held, name):
    program = CALLS[name] + "\nwith Held(call): print('another thread ran')\n"
    assert held(program) == "another thread ran\n"


def test_memory_in_use_is_not_taken(held):
    """An operation of another thread counts as a buffer does."""
    assert held("""
arena = Arena(4 * BIG)
mark = arena.mark()
memory = arena.alloc(BIG, PAGE)
arena.protect(Prot.NONE)
arena.open_on_fault()
with Held(lambda: vmarena.fill(memory, 7, BIG)):
    for taking in (arena.close, arena.reset, lambda: arena.rewind(mark), lambda: arena.resize(memory, 1)):
        try: taking()
        except BufferError as error: print(error)
    print(memory.exports, len(arena.alloc(1)))
print(memory.exports, memory == b"\\7" * BIG)
arena.close()
""").splitlines() == [
        *(f"cannot {deed} the arena: 1 buffers of its memory are out" for deed in ("close", "reset", "rewind")),
        "cannot resize the memory: 1 buffers of it are out", "1 1", "0 True",
    ]


WAITING = """
def waits(thread):
    '''Comes back once the thread sleeps in a futex: of the lock of the arena, as nothing else here is waited for.'''
    while True:
        with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
            if file.read().split()[0] == FUTEX: return
FUTEX = {"x86_64": "202", "aarch64": "98"}[os.uname().machine]
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the number of futex(2) is not known here")
@pytest.mark.parametrize(
    ("deed", "outcome"),
    [("len(arena.alloc(8))", "8"), ("memoryview(memory).nbytes", "released"), ("vmarena.read(memory, 1)", "released"),
     ("len(memory)", "released"), ("arena.close()", "None"), ("arena.mark() is None", "False")],
)
def test_calls_on_one_arena_come_one_after_the_other(held, deed, outcome):
    said = held(WAITING + f"""
arena = used()
memory = arena.alloc(4)
order = []
def second():
    try: result = {deed}
    except ValueError as error: result = error
    order.append("second")
    print("released" if "released" in str(result) else result)
thread = threading.Thread(target=second)
first = Held(lambda: (arena.reset(), order.append("first")))
first.thread.name = "first"
with first:
    thread.start()
    waits(thread)
    assert order == []
thread.join()
print(*order)
""")
    assert said.splitlines()[0] == outcome
    assert sorted(said.splitlines()[1].split()) == ["first", "second"]


def test_a_fork_during_a_call(held):
    """The child has not the thread that was changing the arena; everything else works there."""
    assert held("""
arena, other = used(), used()
memory, elsewhere = arena.alloc(4), other.alloc(4)
def body():
    elsewhere[:] = b"1234"
    said = [bytes(elsewhere), other.stats().used > 4]
    for use in (arena.reset, lambda: bytes(memory), arena.close):
        try: use()
        except ValueError as error: said.append(str(error))
    del other.__dict__["_handle"]
    return said
with Held(arena.reset):
    print(*vmarena.call(body, timeout=30), sep="\\n")
arena.close()
""").splitlines() == [
        "b'1234'", "True", *["another thread was changing the arena when this process was forked"] * 3
    ]


def test_buffers_of_a_memory_file_keep_the_gil(held):
    """Its mapping is exchanged: a write of another thread in that moment would end the interpreter."""
    assert held("""
arena = Arena(BIG, flags=Flag.MEMFD)
memory = arena.alloc(BIG)
writing = True
def write():
    with memoryview(memory) as view:
        while writing: view[0] = view[BIG - 1] = 1
thread = threading.Thread(target=write)
thread.start()
while memory.exports == 0: pass
point = arena.snapshot()
for _ in range(300): point.restore()
writing = False
thread.join()
print(point.info().restores)
""") == "300\n"
