# SPDX-License-Identifier: MIT
"""Foreign code in a child process."""

import ctypes
import faulthandler
import os
import signal
import sys
import time

import pytest

import vmarena
from vmarena import Access, Crash, Fault, Kind

TELLS_ACCESS = vmarena.caps().fault_access


def pointer(memory):
    return ctypes.c_void_p(memory.address)


def test_result():
    assert vmarena.call(divmod, 17, 5) == (3, 2)
    assert vmarena.call(dict, a=1) == {"a": 1}
    assert vmarena.call(bytes, 3 << 20) == bytes(3 << 20)  # more than a pipe holds
    assert vmarena.call(os.getpid) != os.getpid()


def test_changes_stay_in_the_child():
    memory, seen = vmarena.fenced(b"1234"), []
    vmarena.call(lambda: (vmarena.write(memory, b"abcd"), seen.append(1)))
    assert bytes(memory) == b"1234" and seen == []


@pytest.mark.parametrize("size", [1, 24, 100, vmarena.page_size()])
def test_planted_overread(planted, size):
    memory = vmarena.fenced(b"\1" * size)
    with pytest.raises(Fault) as caught:
        vmarena.call(planted.sum_bytes, pointer(memory), size)
    fault = caught.value
    assert (fault.kind, fault.distance, fault.object, fault.object_size) == (Kind.OVERRUN, 1, memory.address, size)
    assert fault.address == memory.address + size and fault.signal == signal.SIGSEGV
    assert fault.access == (Access.READ if TELLS_ACCESS else Access.UNKNOWN)
    assert fault.place.startswith("sum_bytes+0x") and fault.place.endswith(" in libplanted.so")
    assert fault.__notes__ == [f"in {fault.place}, which sum_bytes called"]


def test_planted_overwrite(planted):
    memory = vmarena.fenced(bytes(24))
    with pytest.raises(Fault) as caught:
        vmarena.call(planted.fill_bytes, pointer(memory), 24, 7)
    assert (caught.value.kind, caught.value.distance, caught.value.object_size) == (Kind.OVERRUN, 1, 24)
    assert caught.value.access == (Access.WRITE if TELLS_ACCESS else Access.UNKNOWN)


def test_planted_underread(planted):
    memory = vmarena.fenced(b" none", "start")
    assert vmarena.call(planted.last_space, pointer(memory), 5) == 0
    vmarena.fill(memory, 0, 1)
    with pytest.raises(Fault) as caught:
        vmarena.call(planted.last_space, pointer(memory), 4)
    assert (caught.value.kind, caught.value.distance) == (Kind.UNDERRUN, -1)


def test_use_after_rewind(planted):
    with vmarena.Arena(1 << 20, fence="end", name="old") as arena:
        with arena.scope():
            where = pointer(arena.alloc(10, 1))
        with pytest.raises(Fault) as caught:
            vmarena.call(planted.reverse_bytes, where, 10)
    assert (caught.value.kind, caught.value.owner_name) == (Kind.USE_AFTER_FREE, "old")


def test_memory_made_in_the_child_is_watched(planted):
    def body():
        memory = vmarena.Arena(1 << 20, fence="end", name="new").alloc(4, 1)
        planted.sum_bytes(pointer(memory), 4)

    with pytest.raises(Fault) as caught:
        vmarena.call(body)
    assert (caught.value.object_size, caught.value.owner_name) == (4, "new")


def test_a_pointer_to_memory_that_nobody_kept(planted):
    with pytest.raises(Fault) as caught:
        vmarena.call(planted.sum_bytes, pointer(vmarena.fenced(b"1234")), 4)
    assert (caught.value.kind, caught.value.object_size) == (Kind.USE_AFTER_FREE, 4)


def test_heap_objects_are_watched(planted):
    with vmarena.Heap(name="tokens") as heap:
        memory = heap.alloc(24, 1)
        with pytest.raises(Fault) as caught:
            vmarena.call(planted.sum_bytes, pointer(memory), 24)
    assert (caught.value.kind, caught.value.owner_name, caught.value.object_size) == (Kind.OVERRUN, "tokens", 24)


def test_correct_code_passes(planted):
    memory = vmarena.fenced(b"1234")
    assert vmarena.call(lambda: (planted.reverse_bytes(pointer(memory), 4), bytes(memory))[1]) == b"4321"


def test_what_a_guarded_operation_waits_for_is_its_own():
    memory = vmarena.fenced(b"1234")

    def body():
        try:
            vmarena.read(memory, 5)
        except Fault as fault:
            return fault.distance

    assert vmarena.call(body) == 1


@pytest.mark.parametrize("when", ["before", "in the child"])
def test_faulthandler(planted, when, python):
    program = f"""
import ctypes, faulthandler, vmarena
library = ctypes.CDLL({planted._name!r})
memory = vmarena.fenced(b"1234")
def body():
    if {when!r} != "before": faulthandler.enable(); vmarena.reassert()
    library.sum_bytes(ctypes.c_void_p(memory.address), 4)
if {when!r} == "before": faulthandler.enable()
try: vmarena.call(body)
except vmarena.Fault as fault: print(fault.kind, fault.distance)
"""
    done = python(program)
    assert (done.stdout, done.returncode) == ("overrun 1\n", 0)
    # A faulthandler that the function itself turned on writes to the file that it was given.
    assert done.stderr.count("Fatal Python error: Segmentation fault") == (when == "in the child")


def quiet(function):
    """As function, without the traceback that pytest's faulthandler would write to the terminal."""

    def run(*args):
        faulthandler.disable()
        return function(*args)

    run.__name__ = function.__name__
    return run


def test_crash_elsewhere_tells_the_signal(planted):
    with pytest.raises(Crash, match="read_null was killed by SIGSEGV, outside of guarded memory") as caught:
        vmarena.call(quiet(planted.read_null))
    assert (caught.value.signal, caught.value.status) == (signal.SIGSEGV, -signal.SIGSEGV)
    with pytest.raises(Crash) as caught:
        vmarena.call(quiet(os.abort))
    assert caught.value.signal == signal.SIGABRT


@pytest.mark.parametrize("crash", ["read_null", "sum_bytes"])
def test_the_stack_of_the_child(planted, crash):
    """Of a fault and of a crash: the frames of the function that was called, and no others."""
    memory = vmarena.fenced(b"1234")

    def inner():
        getattr(planted, crash)(pointer(memory), 4)

    def body():
        inner()

    with pytest.raises((Fault, Crash)) as caught:
        vmarena.call(body)
    first, *frames = caught.value.__notes__[-1].splitlines()
    assert first == "In the child process (most recent call first):"
    assert [frame.split(" in ")[-1] for frame in frames] == ["inner", "body"]
    assert all(f'"{__file__}"' in frame for frame in frames)


def test_no_core_dump(planted, tmp_path, python):
    done = python(f"""
import ctypes, os, resource, vmarena
os.chdir({str(tmp_path)!r})
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try: vmarena.call(ctypes.CDLL({planted._name!r}).read_null)
except vmarena.Crash as crash: print(crash.signal.name, resource.getrlimit(resource.RLIMIT_CORE)[0])
""")
    assert (done.stdout, done.stderr) == ("SIGSEGV -1\n", "") and os.listdir(tmp_path) == []


def test_a_signal_sent_is_no_fault():
    vmarena.fenced(b"x")
    with pytest.raises(Crash) as caught:
        vmarena.call(quiet(lambda: os.kill(os.getpid(), signal.SIGSEGV)))
    assert caught.value.signal == signal.SIGSEGV


@pytest.mark.parametrize("status", [0, 3])
def test_exit(status):
    with pytest.raises(Crash, match=f"ended its process with status {status}") as caught:
        vmarena.call(os._exit, status)
    assert caught.value.signal is None and caught.value.status == status


def test_exceptions_come_back():
    with pytest.raises(ZeroDivisionError) as caught:
        vmarena.call(divmod, 1, 0)
    assert "In the child process:\nTraceback" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        vmarena.call(sys.exit, 3)

    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(one + two)

    def raise_odd():
        raise Odd("1", "2")

    with pytest.raises(RuntimeError, match="Odd: 12"):
        vmarena.call(raise_odd)


def test_a_result_that_cannot_be_pickled():
    with pytest.raises(TypeError, match="the result of fenced cannot be pickled"):
        vmarena.call(vmarena.fenced, b"x")


def test_timeout():
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="within 0.1 s"):
        vmarena.call(time.sleep, 60, timeout=0.1)
    assert time.monotonic() - begin < 60
    assert vmarena.call(int, timeout=60) == 0


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan")])
def test_what_is_no_timeout(timeout):
    with pytest.raises(ValueError, match="timeout must be a number of seconds"):
        vmarena.call(int, timeout=timeout)


def test_timeout_0_does_not_wait():
    with pytest.raises(TimeoutError):
        vmarena.call(time.sleep, 60, timeout=0)


def test_a_child_that_answers_no_more():
    """It has closed the pipe: the time runs all the same."""

    def body():
        os.closerange(3, 1000)
        time.sleep(60)

    with pytest.raises(TimeoutError):
        vmarena.call(body, timeout=0.1)


def test_a_process_that_the_child_leaves_behind():
    """It holds the pipe open; the answer does not wait for it."""
    reader, writer = os.pipe()

    def body():
        if os.fork() == 0:
            os.read(reader, 1)
            os._exit(0)
        return "done"

    assert vmarena.call(body, timeout=60) == "done"
    os.write(writer, b"x")
    os.close(reader)
    os.close(writer)


def test_nothing_is_left_behind(planted):
    vmarena.call(int)
    before = len(os.listdir("/proc/self/fd"))
    for function, arguments in ((int, ()), (os.abort, ()), (sys.exit, (1,)), (planted.read_null, ())):
        try:
            vmarena.call(quiet(function), *arguments)
        except (Crash, RuntimeError):
            pass
    with pytest.raises(TimeoutError):
        vmarena.call(time.sleep, 60, timeout=0.01)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_is_printed_is_printed_once(python):
    done = python("import vmarena; print('before'); vmarena.call(print, 'in it'); print('after')")
    assert done.stdout == "before\nin it\nafter\n"


def test_demand_paging_goes_on():
    page = vmarena.page_size()
    with vmarena.Arena(8 * page) as arena:
        address = arena.alloc(8 * page, page).address
        arena.protect(vmarena.Prot.NONE)
        arena.open_on_fault()
        assert vmarena.call(lambda: (ctypes.memset(address, 1, 8 * page), arena.opened)[1]) == 8
