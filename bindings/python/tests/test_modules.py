# SPDX-License-Identifier: MIT
"""More than one module in a process: imported again, in subinterpreters, after a fork of a busy process."""

import sys

import pytest

import vmarena

PURGE = """
import sys
def purge():
    for name in [name for name in sys.modules if name.partition(".")[0] == "vmarena"]:
        del sys.modules[name]
"""


def test_objects_of_an_earlier_import_stay_valid(python):
    """In an interpreter of its own: this one goes on with one module."""
    done = python(PURGE + """
import gc
import vmarena as first
arena = first.Arena(1 << 20, fence="end", name="old")
memory, heap_object, mark = arena.alloc(4, 1), first.fenced(b"heap"), arena.mark()
view = memoryview(memory)
purge()
import vmarena as second
assert second is not first and second.Memory is not first.Memory
view[:] = b"1234"
assert bytes(memory) == second.read(memory, 4) == first.read(memory, 4) == b"1234"
assert arena.owns(memory) and len(arena.alloc(10)) == 10
view.release()
second.write(memory, b"abcd")
second.copy(second.fenced(b"1234"), memory, 4)
for module in first, second:
    try:
        module.read(memory, 5)
    except module.Fault as fault:
        print(fault.kind, fault.distance, fault.owner_name)
try:
    memory[0:4] = b"12345"
except ValueError as error:
    print(error)
arena.rewind(mark)
del heap_object
arena.close()
try:
    arena.alloc(1)
except ValueError as error:
    print(error)
del first, second, memory, arena, mark, module
purge()
gc.collect()
import vmarena
print(bytes(vmarena.fenced(b"once more")))
""")
    assert done.stdout.splitlines() == [
        "overrun 1 old", "overrun 1 old", "5 bytes do not fit in a slice of 4", "the arena is closed", "b'once more'"
    ], done.stderr
    assert done.returncode == 0


def test_errors_are_those_of_the_module_that_raises_them(python):
    done = python(PURGE + """
import vmarena as first
arena = first.Arena(1 << 20)
purge()
import vmarena as second
try:
    arena.alloc(1 << 30)
except first.Error as error:
    print(isinstance(error, second.Error), error.errno)
""")
    assert done.stdout == "False 28\n", done.stderr


def test_a_fault_in_memory_of_an_earlier_import_is_told(python):
    done = python(PURGE + """
import ctypes
import vmarena
memory = vmarena.fenced(b"1234")
purge()
import vmarena
try:
    vmarena.call(ctypes.string_at, memory.address + 4, 1)
except vmarena.Fault as fault:
    print(fault.kind, fault.distance)
""")
    assert done.stdout == "overrun 1\n", done.stderr


SUBINTERPRETER = """
import _testcapi
import vmarena
memory = vmarena.fenced(b"main")
code = '''
import vmarena
memory = vmarena.fenced(b"1234")
try:
    vmarena.read(memory, 5)
except vmarena.Fault as fault:
    print(fault.kind, fault.distance, flush=True)
try:
    vmarena.Arena(1 << 62)
except vmarena.Error as error:
    print(error.errno, flush=True)
with vmarena.Arena(1 << 20) as arena, arena.snapshot() as point:
    memory[1:3] = b"ab"
    point.restore()
    print(bytes(memory), flush=True)
'''
for _ in range(3):
    assert _testcapi.run_in_subinterp(code) == 0
    try:
        vmarena.read(memory, 5)
    except vmarena.Fault as fault:
        print(fault.kind, bytes(memory), flush=True)
"""


def test_legacy_subinterpreters(python):
    """They share the GIL, and each has types of its own."""
    pytest.importorskip("_testcapi", reason="this Python has no _testcapi, which makes subinterpreters")
    done = python(SUBINTERPRETER)
    assert done.stdout == "overrun 1\n12\nb'1ab4'\noverrun b'main'\n" * 3, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before 3.12 there is one GIL for all interpreters")
def test_subinterpreters_with_a_gil_each(python):
    done = python("""
import threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import vmarena
def run():
    interpreter = interpreters.create()
    problem = interpreters.run_string(interpreter, '''
import vmarena
with vmarena.Arena(1 << 24, fence="end") as arena:
    for size in range(1, 500):
        memory = arena.alloc(size, 1)
        memory[:] = bytes(size)
        try:
            vmarena.read(memory, size + 1)
        except vmarena.Fault as fault:
            assert (fault.kind, fault.done) == ("overrun", size)
''')
    print(problem, flush=True)
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""")
    assert done.stdout == "None\n" * 4, done.stderr
