# SPDX-License-Identifier: MIT
"""The fixture vmarena_fenced: on code that is right, and what it says of code that is not."""

import ctypes
import signal
import zlib

import pytest

import vmarena
from vmarena import Access, Kind, Side

CASES = """
import ctypes
import pytest
library = ctypes.CDLL({name!r})

def at(memory):
    return ctypes.c_void_p(memory.address)

{body}
"""


@pytest.fixture
def outcome(pytester, planted):
    def run(body, *options):
        pytester.makepyfile(CASES.format(name=planted._name, body=body))
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)

    return run


def test_both_sides(outcome):
    result = outcome("""
def test_it(vmarena_fenced):
    data = vmarena_fenced(b"1234")
    library.reverse_bytes(at(data), 4)
    assert bytes(data) == b"4321"
    assert vmarena_fenced.side in ("end", "start")
""", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?end? PASSED*", "*test_it?start? PASSED*"])


def test_an_overread_fails_with_the_report(outcome):
    result = outcome("""
def test_it(vmarena_fenced):
    data = vmarena_fenced(bytes(24))
    vmarena_fenced.call(library.sum_bytes, at(data), 24)
""")
    result.assert_outcomes(failed=1, passed=1)
    verb = "read" if vmarena.caps().fault_access else "access"
    result.stdout.fnmatch_lines([
        f"E*Fault: overrun: {verb} 1 byte past the end of a 24-byte object at 0x* in \"fenced\" (SIGSEGV at 0x*)",
        "E*in sum_bytes+0x* in libplanted.so, which sum_bytes called",
    ])


def test_an_underread_fails_on_the_other_side(outcome):
    result = outcome("""
def test_it(vmarena_fenced):
    data = vmarena_fenced(b"none")
    vmarena_fenced.call(library.last_space, at(data), 4)
""", "-rf")
    assert result.ret == 1
    verb = "read" if vmarena.caps().fault_access else "access"
    result.stdout.fnmatch_lines([f"*underrun: {verb} 1 byte before the start of a 4-byte object*"])


def test_what_is_written_on_the_side_without_a_guard_is_found_in_the_end(outcome):
    result = outcome("""
def test_here(vmarena_fenced):
    data = vmarena_fenced(bytes(24))
    if vmarena_fenced.side == "start":
        library.fill_bytes(at(data), 24, 7)

def test_in_a_child(vmarena_fenced):
    data = vmarena_fenced(bytes(24))
    if vmarena_fenced.side == "start":
        vmarena_fenced.call(library.fill_bytes, at(data), 24, 7)
""")
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(["slack overwritten: byte +1 of the 24-byte object at 0x* in \"fenced\" holds 0x07"])
    result.stdout.fnmatch_lines(["E*Error: * slack overwritten: byte +1 of the 24-byte object at 0x*holds 0x07"])


def test_a_crash_elsewhere_fails_with_the_signal(outcome):
    result = outcome("""
def test_it(vmarena_fenced):
    vmarena_fenced.call(library.read_null)

def test_next():
    pass
""")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["E*Crash: read_null was killed by SIGSEGV, outside of guarded memory"])


@pytest.mark.parametrize("options", [[], ["-p", "no:faulthandler"], ["-s"]], ids=["", "no faulthandler", "-s"])
def test_a_fault_outside_of_call_is_told_before_the_end(outcome, options):
    result = outcome("""
def test_it(vmarena_fenced):
    if vmarena_fenced.side == "end":
        library.sum_bytes(at(vmarena_fenced(bytes(24))), 24)
""", *options)
    assert result.ret == -signal.SIGSEGV
    told = [line for line in result.errlines if line.startswith("vmarena: overrun: ")]
    assert len(told) == 1 and "1 byte past the end of a 24-byte object" in told[0]
    dumped = any("Fatal Python error: Segmentation fault" in line for line in result.errlines)
    assert dumped == ("no:faulthandler" not in options)


def test_read_only_input(outcome):
    result = outcome("""
def test_it(vmarena_fenced):
    data = vmarena_fenced(b"1234", writable=False)
    vmarena_fenced.call(library.reverse_bytes, at(data), 4)
""")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*Fault: protected memory: * inside a 4-byte object*"])


def test_failures_and_skips_in_the_child(outcome):
    result = outcome("""
def test_fails(vmarena_fenced):
    vmarena_fenced.call(pytest.fail, "as it should")

def test_skips(vmarena_fenced):
    vmarena_fenced.call(pytest.skip, "as it should")
""")
    result.assert_outcomes(failed=2, skipped=2)


# ---- in this session -------------------------------------------------------------------------------------------------


def test_what_a_call_writes_comes_back(vmarena_fenced, planted):
    data, other = vmarena_fenced(b"1234"), vmarena_fenced(b"same")
    vmarena_fenced.call(planted.reverse_bytes, ctypes.c_void_p(data.address), 4)
    assert bytes(data) == b"4321" and bytes(other) == b"same"


def test_planted_off_by_one(vmarena_fenced, planted):
    """The byte, the side and the access of an off-by-one in a ctypes library."""
    data = vmarena_fenced(b"\1" * 10)
    run = lambda: vmarena_fenced.call(planted.sum_bytes, ctypes.c_void_p(data.address), 10)  # noqa: E731
    if vmarena_fenced.side == Side.START:
        assert run() == 10 + vmarena.read(data.address + 10, 1)[0]  # reads the pattern behind it: no fault
        return
    with pytest.raises(vmarena.Fault) as caught:
        run()
    access = Access.READ if vmarena.caps().fault_access else Access.UNKNOWN
    assert (caught.value.kind, caught.value.access, caught.value.distance) == (Kind.OVERRUN, access, 1)
    assert caught.value.address == data.address + 10


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
def test_zlib(vmarena_fenced, size):
    text = bytes(i * i % 251 for i in range(size))
    packed = vmarena_fenced(zlib.compress(text))
    assert vmarena_fenced.call(zlib.decompress, packed) == text
    assert zlib.decompress(packed) == text
    assert zlib.crc32(vmarena_fenced(text)) == zlib.crc32(text)


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_zlib_cut_short(vmarena_fenced, cut):
    packed = vmarena_fenced(zlib.compress(b"some text that is packed")[:-cut])
    with pytest.raises(zlib.error):
        vmarena_fenced.call(zlib.decompress, packed)


def test_empty(vmarena_fenced, planted):
    data = vmarena_fenced(b"")
    assert zlib.crc32(data) == 0
    with pytest.raises(vmarena.Fault) as caught:
        vmarena_fenced.call(planted.sum_bytes, ctypes.c_void_p(data.address), 0)
    assert caught.value.object_size == 0


def test_handlers_are_ours_although_faulthandler_is_on(vmarena_fenced):
    vmarena_fenced(b"x")
    assert vmarena.handler_status() == "installed"
