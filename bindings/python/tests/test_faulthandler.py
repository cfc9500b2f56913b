# SPDX-License-Identifier: MIT
"""faulthandler before us, after us, off again, and off: a guarded fault is ours, any other is faulthandler's."""

import errno
import signal

import pytest

import vmarena

CATCH = """
def catch():
    memory = vmarena.fenced(b"1234")
    try:
        vmarena.read(memory, 5)
    except vmarena.Fault as fault:
        print(fault.kind, fault.distance, flush=True)
"""
CRASH = "import ctypes; ctypes.string_at(0)\n"
BEFORE = "import faulthandler; faulthandler.enable(); import vmarena" + CATCH + "catch(); catch()\n"
AFTER = "import vmarena" + CATCH + "catch(); import faulthandler; faulthandler.enable(); catch(); catch()\n"
OFF_AGAIN = BEFORE + "faulthandler.disable(); catch(); catch()\n"
NEVER = "import vmarena" + CATCH + "catch(); catch()\n"
UNDER_X = NEVER


@pytest.mark.parametrize(
    ("program", "options", "times"),
    [(BEFORE, [], 2), (AFTER, [], 3), (OFF_AGAIN, [], 4), (NEVER, [], 2), (UNDER_X, ["-X", "faulthandler"], 2)],
    ids=["before", "after", "off again", "never", "-X"],
)
def test_ours_is_caught(python, program, options, times):
    done = python(program, *options)
    assert (done.stdout, done.stderr, done.returncode) == ("overrun 1\n" * times, "", 0)


@pytest.mark.parametrize(
    ("program", "options", "traceback"),
    [(BEFORE, [], True), (AFTER, [], True), (OFF_AGAIN, [], False), (NEVER, [], False),
     (UNDER_X, ["-X", "faulthandler"], True)],
    ids=["before", "after", "off again", "never", "-X"],
)
def test_another_is_faulthandlers(python, program, options, traceback):
    done = python(program + CRASH, *options)
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.count("Fatal Python error: Segmentation fault") == traceback  # once, and no more
    assert done.stderr.count('File "<string>"') == traceback


def test_status_tells_of_displacement(python):
    done = python("""
import vmarena
print(vmarena.handler_status())
vmarena.read(vmarena.fenced(b"x"), 1)
print(vmarena.handler_status())
import faulthandler; faulthandler.enable()
print(vmarena.handler_status())
vmarena.reassert()
print(vmarena.handler_status())
""")
    assert done.stdout.split() == ["absent", "installed", "displaced", "installed"], done.stderr


def test_importing_installs_nothing(python):
    assert python("import vmarena; print(vmarena.handler_status())").stdout == "absent\n"


# ---- faults that nothing catches -------------------------------------------------------------------------------------

UNCAUGHT = """
import ctypes, sys, vmarena
memory = vmarena.fenced(b"1234")
ctypes.string_at(memory.address, 5)
"""


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_fault_that_nothing_catches_is_told(python, order):
    enable = "import vmarena; vmarena.report_faults()\n"
    program = enable + UNCAUGHT if order == "first" else UNCAUGHT.replace("ctypes.string_at", enable + "ctypes.string_at")
    done = python(program)
    assert done.returncode == -signal.SIGSEGV
    verb = "read" if vmarena.caps().fault_access else "access"
    first, *others = done.stderr.splitlines()
    assert first.startswith(f"vmarena: overrun: {verb} 1 byte past the end of a 4-byte object at 0x")
    assert others[0].startswith("  thread ")
    assert done.stderr.count("vmarena: ") == 1 and done.stderr.count("Fatal Python error: Segmentation fault") == 1
    assert 'in <module>' in others[-1] or "Extension modules" in others[-1]


def test_without_a_traceback(python, tmp_path):
    done = python(f"""
import vmarena
file = open({str(tmp_path / "report")!r}, "w")
vmarena.report_faults(file, traceback=False)
""" + UNCAUGHT)
    assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")
    assert (tmp_path / "report").read_text().startswith("vmarena: overrun: ")


def test_no_longer(python):
    done = python("import vmarena; vmarena.report_faults(traceback=False); vmarena.report_faults(None)" + UNCAUGHT)
    assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")


def test_a_descriptor_that_is_not_open():
    with pytest.raises(vmarena.Error) as caught:
        vmarena.report_faults(1000, traceback=False)
    assert caught.value.errno == errno.EBADF


def test_caught_faults_are_not_reported(python):
    done = python("import vmarena; vmarena.report_faults()" + CATCH + "catch()\nvmarena.call(catch)\n")
    assert (done.stdout, done.stderr) == ("overrun 1\noverrun 1\n", "")
