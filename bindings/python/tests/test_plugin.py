# SPDX-License-Identifier: MIT
"""The fixture vmarena_fenced: on code that is right, and what it says of code that is not."""

import ctypes
import os
import shutil
import signal
import subprocess
import zlib
from pathlib import Path

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


def test_frames_of_the_package_are_not_shown(outcome):
    result = outcome("""
import vmarena

def test_a_call(vmarena_fenced):
    vmarena_fenced.call(library.sum_bytes, at(vmarena_fenced(bytes(24), align=1)), 24)

def test_a_read():
    vmarena.read(vmarena.fenced(b"1234"), 5)

def test_a_write():
    vmarena.write(vmarena.fenced(b"1234"), b"12345")
""")
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.no_fnmatch_line("*_faults.py:*")
    result.stdout.no_fnmatch_line("*_child.py:*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")


def test_faults_are_told_in_tests_without_the_fixture(outcome):
    result = outcome("""
import vmarena

def test_it():
    data = vmarena.fenced(bytes(24))
    library.sum_bytes(at(data), 24)
""")
    assert result.ret == -signal.SIGSEGV
    assert len([line for line in result.errlines if line.startswith("vmarena: overrun: ")]) == 1


# ---- the mark fenced -------------------------------------------------------------------------------------------------

MARKED = """
import numpy
import vmarena

@pytest.mark.fenced
@pytest.mark.parametrize("data", [b"1234", bytearray(b"ab"), b""])
def test_bytes(data):
    assert isinstance(data, vmarena.Memory)
    library.reverse_bytes(at(data), len(data))

@pytest.mark.fenced
@pytest.mark.parametrize("numbers", [numpy.arange(4.0)])
def test_arrays(numbers):
    library.add_arrays.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_size_t]
    library.add_arrays(*[numbers.ctypes.data] * 3, 3)

@pytest.mark.fenced("data", timeout=60)
@pytest.mark.parametrize(("data", "expected"), [(b"12", b"12")])
def test_names(data, expected):
    assert type(expected) is bytes and data == expected

@pytest.mark.fenced
class TestClass:
    @pytest.mark.parametrize("data", [b"12"])
    def test_method(self, data):
        assert data == b"12"

@pytest.mark.fenced
def test_side(vmarena_fenced):
    assert vmarena_fenced.side in ("end", "start")

def test_plain():
    pass
"""


def test_the_mark_runs_a_test_at_both_sides(outcome):
    outcome(MARKED, "--strict-markers").assert_outcomes(passed=2 * (3 + 1 + 1 + 1 + 1) + 1)


def test_the_mark_tells_of_faults_and_failures(outcome):
    result = outcome("""
@pytest.mark.fenced
@pytest.mark.parametrize("data", [b"1234"])
def test_overrun(data):
    library.sum_bytes(at(data), 4)

@pytest.mark.fenced
@pytest.mark.parametrize("data", [b"none"])
def test_underrun(data):
    library.last_space(at(data), 4)

@pytest.mark.fenced
@pytest.mark.parametrize("data", [b"12"])
def test_fails(data):
    assert data == b"34", "as it should"

@pytest.mark.fenced
def test_skips():
    pytest.skip("as it should")

@pytest.mark.fenced(timeout=0.1)
def test_hangs():
    import time
    time.sleep(60)
""", "-rf")
    result.assert_outcomes(passed=1, failed=1 + 2 + 2 + 2, skipped=2)
    result.stdout.fnmatch_lines(["E*Fault: overrun: * 1 byte past the end of a 4-byte object*"])
    result.stdout.fnmatch_lines(["E*Fault: underrun: * 1 byte before the start of a 4-byte object*"])
    result.stdout.fnmatch_lines(["E*AssertionError: as it should*"])
    result.stdout.fnmatch_lines(["E*TimeoutError: no answer from the child process within 0.1 s"])


# ---- hypothesis ------------------------------------------------------------------------------------------------------

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")

PROPERTIES = """
import numpy
import vmarena
from hypothesis import given, settings
from vmarena.strategies import fenced_arrays, fenced_bytes

settings.register_profile("without times", deadline=None)
settings.load_profile("without times")

@given(fenced_bytes(max_size=50))
def test_right(data):
    before = bytes(data)
    library.reverse_bytes(at(data), len(data))
    assert data == before[::-1]
    data.check()

@given(fenced_arrays("f8", (3, 2), order="F"), fenced_arrays(numpy.uint8, 5, side="start", unique=True))
def test_arrays(first, second):
    assert first.flags.f_contiguous and len(set(second)) == 5

@given(fenced_bytes(side="end"))
def test_wrong(data):
    vmarena.call(library.sum_bytes, at(data), len(data))
"""


def test_strategies(outcome):
    """With every health check on, and as few bytes as show the fault."""
    result = outcome(PROPERTIES, "-W", "error")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E*Fault: overrun: * 1 byte past the end of a 0-byte object*"])
    result.stdout.fnmatch_lines(["*test_wrong(*", "*data=fenced(", "*b'',"])


# ---- vmarena guard ---------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(pytester, tmp_path, monkeypatch):
    """Runs tests on a library whose own objects are misused, under the guard."""
    command = os.environ.get("VMARENA") or shutil.which("vmarena")
    if command is None:
        pytest.skip("the command vmarena is not built: $VMARENA names it")
    source = Path(__file__).with_name("misuse.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-g", "-shared", "-fPIC", "-o", tmp_path / "libmisuse.so", source],
                   check=True)
    monkeypatch.setenv("VMARENA", command)

    def run(body, *options):
        pytester.makepyfile(CASES.format(name=str(tmp_path / "libmisuse.so"), body=body))
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)

    return run


MISUSED = """
import os

def test_right():
    assert library.use(32) == 0

def test_overrun():
    library.overrun(32)

def test_after_free():
    library.use_after_free(48)

def test_fails():
    assert library.use(32) == 1

def test_skips():
    pytest.skip("as it should")

def test_dies():
    os.abort()

@pytest.mark.vmarena_guard
def test_marked():
    library.overrun(64)
"""


def test_guard_of_a_whole_session(guarded):
    result = guarded(MISUSED, "--vmarena-guard", "-rA")
    result.assert_outcomes(passed=4, failed=2, skipped=1, errors=3)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_overrun*", "vmarena guard: overrun: read 1 byte past the end of *",
                                 "  accessed by:", "    overrun at misuse.c:*", "  object of 32 bytes at 0x*, live",
                                 "  allocated by:", "    overrun at misuse.c:*"])
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_after_free*", "vmarena guard: use after free: *",
                                 "  freed by:", "    use_after_free at misuse.c:*"])
    result.stdout.fnmatch_lines(["test_dies was killed by SIGABRT"])
    result.stdout.fnmatch_lines(["E*assert 0 == 1*"])


def test_guard_of_marked_tests(guarded):
    result = guarded(MISUSED, "--vmarena-guard-marked", "-k", "test_right or test_marked", "--strict-markers")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_marked*", "vmarena guard: overrun: *64-byte object*"])


def test_guard_with_options_of_its_own(guarded):
    result = guarded("def test_it(): library.underrun(32)", "--vmarena-guard", "--vmarena-guard-options=--side=start")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["vmarena guard: underrun: read 1 byte before the start of *"])


def test_the_first_failure_can_end_a_guarded_session(guarded):
    guarded(MISUSED, "--vmarena-guard", "-x", "-k", "test_right or test_fails or test_skips").assert_outcomes(passed=1, failed=1)


def test_guard_without_the_command(pytester):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("--vmarena-guard", "--vmarena-command=/nowhere/vmarena")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --vmarena-guard: there is no command '/nowhere/vmarena'*"])


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
